from __future__ import annotations

from tests.transport.fakecore import Node

Pair = tuple[Node, Node]


def test_a_peer_answers_as_itself(pair: Pair) -> None:
    fw1, fw2 = pair
    who = fw1.links.call("fw2", "who", deadline_s=10)
    assert who == {"label": "fw1", "power": "operator", "door": "peer", "via": "peer"}
    assert fw2.links.call("fw1", "who", deadline_s=10, person="alice")["label"] == "alice via fw2"
