"""A process carp that speaks as the real one does, and whose reports a test decides."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncsrv.control.ask import address
from syncsrv.errors import SyncsrvError
from syncsrv.failover.intent import Intent
from syncsrv.failover.messages import (
    LARGEST,
    SOCKET,
    Answer,
    Apply,
    DeviceReport,
    Done,
    PeerServes,
    Refused,
    Report,
    VipReport,
    Watch,
    decode_ask,
    encode_answer,
)
from syncsrv.failover.settings import Settings

NOTHING = Report(
    seq=1, pid=4242, guardian_pid=4241, node="fw1", timing="real-time", settings_digest="", disabled=False,
    maintenance=False, switchover=False, hold_preempt="", ready=False, demotion_total=0, demotion_reasons={},
    hold_down_s=0.0, vips=(), devices=(), troubles=(),
)  # fmt: skip
DEVICE = DeviceReport(
    device="eth0", up=True, sources=("192.0.2.1",), drops={"own": 3}, received=12, accepted=9, sent=7, send_errors=0,
    vrrp_ids=(), foreign=(), badauth=(),
)  # fmt: skip


def vip(settings: Settings, number: int = 0, **other: Any) -> VipReport:
    """A configured VIP as BACKUP of fw2, or otherwise."""
    one = settings.vips[number]
    known = VipReport(
        vhid=one.vhid, interface=one.interface, device=one.device, state="BACKUP", reason="fw2 is better",
        since_boot_s=100.0, addresses=one.addresses, held=(), advbase=one.advbase, advskew=settings.advskew,
        advertised=settings.advskew, master_source="192.0.2.2", master_peer="fw2", master_advskew=100, heard_age_s=0.4,
        transitions=1, handover="", conflicts=(), counters={"received": 12},
    )  # fmt: skip
    return replace(known, **other)


def master(settings: Settings, number: int = 0, **other: Any) -> VipReport:
    """A configured VIP as MASTER, which knows whom it heard before it."""
    known = vip(
        settings, number, state="MASTER", reason="no advert for 3.4 s", held=settings.vips[number].addresses,
        heard_age_s=77.0, transitions=2,
    )  # fmt: skip
    return replace(known, **other)


class FakeCarp:
    """Serves ``run_dir/carp.sock``.

    Attributes:
        applied: every order that was taken.
        heard_of: what it was told of peers.
        refuses: why it takes none; empty where it does.
        does: what an order changes in its report, beyond echoing it.
        mute: whether it reads and does not answer.
        late_s: seconds after which those who watch hear of a change.
    """

    def __init__(self, run_dir: Path, report: Report = NOTHING) -> None:
        self.report = report
        self.applied: list[Apply] = []
        self.heard_of: list[PeerServes] = []
        self.refuses = ""
        self.mute = False
        self.late_s = 0.0
        self.does: Callable[[Report, Apply], Report] = lambda report, _: report
        self._watchers: list[socket.socket] = []
        self._open: list[socket.socket] = []
        self._lock = threading.RLock()
        run_dir.mkdir(parents=True, exist_ok=True)
        self._path = run_dir / SOCKET
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with address(self._path) as name:
            self._listener.bind(name)
        self._listener.listen(8)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> FakeCarp:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End as a process that ends does: its socket stays, and nobody listens. Twice is once."""
        if self._listener.fileno() < 0:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:  # gone already
                    continue
        for thread in self._threads:
            thread.join()

    def says(self, **other: Any) -> None:
        """Report something else, to all who watch."""
        with self._lock:
            self._set(replace(self.report, **other))

    def intents(self) -> list[Intent]:
        """The intents that came, in order."""
        return [one.intent for one in self.applied if one.intent is not None]

    def _set(self, report: Report) -> None:
        self.report = replace(report, seq=self.report.seq + 1)
        if self.late_s > 0:
            later = threading.Timer(self.late_s, self._tell, [self.report])
            self._threads.append(later)
            later.start()
        else:
            self._tell(self.report)

    def _tell(self, report: Report) -> None:
        with self._lock:
            for sock in [] if self.mute else list(self._watchers):
                self._send(sock, report)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(sock)
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            while data := self._receive(sock):
                with self._lock:
                    if not self.mute:
                        self._send(sock, self._answer(sock, data))
            with self._lock:
                self._open.remove(sock)
                if sock in self._watchers:
                    self._watchers.remove(sock)

    def _receive(self, sock: socket.socket) -> bytes:
        try:
            return sock.recv(LARGEST)
        except OSError:
            return b""

    def _answer(self, sock: socket.socket, data: bytes) -> Answer:
        try:
            ask = decode_ask(data)
        except SyncsrvError as error:
            return Refused(str(error))
        if isinstance(ask, Apply):
            if self.refuses:
                return Refused(self.refuses)
            self._apply(ask)
            return Done()
        if isinstance(ask, PeerServes):
            self.heard_of.append(ask)
            return Done()
        if isinstance(ask, Watch):
            self._watchers.append(sock)
        return self.report

    def _apply(self, order: Apply) -> None:
        self.applied.append(order)
        report = self.report
        if order.settings is not None:
            report = replace(report, settings_digest=order.settings.digest)
        if order.ready is not None:
            report = replace(report, ready=order.ready)
        if order.intent is not None:
            known = {name: report.demotion_reasons[name] for name in report.demotion_reasons if ":" in name}
            flags = {"maintenance": order.intent.maintenance, "switchover": order.intent.switchover}
            known |= {name: 240 for name, on in flags.items() if on} | dict(order.intent.demotions)
            report = replace(
                report, disabled=order.intent.disabled, hold_preempt=order.intent.hold_preempt,
                maintenance=order.intent.maintenance, switchover=order.intent.switchover,
                demotion_reasons=known, demotion_total=sum(known.values()),
            )  # fmt: skip
        self._set(self.does(report, order))

    def _send(self, sock: socket.socket, answer: Answer) -> None:
        try:
            sock.send(encode_answer(answer))
        except OSError:  # whoever asked is gone
            return
