"""How settings are grouped."""

from __future__ import annotations

from syncsrv.control.shapes_page import SettingInfo
from syncsrv.web.views.settings import groups


def test_by_file_and_first_key_with_what_stands_alone_first() -> None:
    found = groups(
        [
            SettingInfo("ssh.listen", "127.0.0.1:8022", "node.yaml", 4),
            SettingInfo("node", "fw1", "node.yaml", 1),
            SettingInfo("ssh.from", "[]", "node.yaml"),
            SettingInfo("areas.app.paths", "[/etc/app]", "cluster.yaml", 3),
            SettingInfo("areas.app.extra", "delete", "cluster.yaml", 0, "changed"),
            SettingInfo("carp.lan", "set", "secrets.yaml", 1),
        ]
    )
    assert [(one.file, one.title, [key for key, _ in one.values], one.written) for one in found] == [
        ("node.yaml", "", ["node"], 1),
        ("node.yaml", "ssh", ["listen", "from"], 1),
        ("cluster.yaml", "areas", ["app.paths", "app.extra"], 2),
        ("secrets.yaml", "", ["carp.lan"], 1),
    ]
