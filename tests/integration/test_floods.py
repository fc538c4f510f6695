"""Listeners under a flood of connections, on real sockets: who asks is answered, and no more is held than may be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from subprocess import PIPE

import pytest

from archiver.core.callback import signature_of
from archiver.core.model import TaskId
from archiver.core.records.kinds.names import KindName
from archiver.web.callbacks import PATH, Callbacks, CallbackServer
from archiver.web.health import ask
from archiver.web.server import Page, PageServer
from tests import ROOT
from tests.fakes.events import Events
from tests.fakes.flood import KINDS, descriptors_of, flooded

KEY = "whk_test_0123456789abcdef"
HELD = 64 + 64
"""Connections of a listener: those that wait, and those that are answered."""
FEW = 16

IN_THE_RUN = [("pages", "silent"), ("pages", "metrics"), ("callbacks", "silent"), ("callbacks", "bodiless")]
ALL = [(target, kind) for target in ("pages", "callbacks") for kind in KINDS]


class Listeners:
    def __init__(self) -> None:
        self.events, self.woken = Events(), list[TaskId]()
        pages = {
            "/healthz": lambda: Page(200, "application/json", b'{"status": "alive"}'),
            "/metrics": lambda: Page(200, "text/plain", b"x" * 40_000),
        }
        callbacks = Callbacks(key=KEY, wake=self.wake, clock=lambda: datetime.now(UTC), log=self.events)
        self.pages = PageServer("127.0.0.1", 0, pages, self.events, at_once={"/healthz"})
        self.callbacks = CallbackServer("127.0.0.1", 0, callbacks, self.events)

    def wake(self, task: TaskId, _kind: KindName | None) -> None:
        self.woken.append(task)

    def close(self) -> None:
        self.pages.close()
        self.callbacks.close()

    def address_of(self, target: str) -> str:
        return self.pages.address if target == "pages" else self.callbacks.address

    def probe(self) -> float:
        """Ask for /healthz as Docker does, and return the seconds that it took."""
        began = time.monotonic()
        host, _, port = self.pages.address.rpartition(":")
        assert ask(host, int(port), seconds=1.0) == (True, '{"status": "alive"}')
        return time.monotonic() - began

    def call_back(self, task: str) -> bytes:
        """Call as the provider does, and return the first of the answer."""
        host, _, port = self.callbacks.address.rpartition(":")
        body, stamp = json.dumps({"data": {"task_id": task}}), str(int(time.time()))
        signature = signature_of(KEY, TaskId(task), stamp)
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: a\r\nX-Webhook-Timestamp: {stamp}\r\nX-Webhook-Signature: {signature}\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            return connection.recv(12)


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    with closing(Listeners()) as listeners:
        yield listeners


def endure(listeners: Listeners, target: str, kind: str, *, rate: float, rounds: int) -> None:
    before, most = descriptors_of(os.getpid()), 0
    with flooded(listeners.address_of(target), kind, rate=rate, held=1200):
        for number in range(rounds):
            assert listeners.probe() < 1
            assert listeners.call_back(f"called-{number:04}") == b"HTTP/1.1 200"
            most = max(most, descriptors_of(os.getpid()))
            time.sleep(0.05)
    assert most - before <= HELD + FEW
    assert len(listeners.woken) == rounds
    assert len(listeners.events.seen) <= 4, "a flood is told of once a minute"


@pytest.mark.parametrize(("target", "kind"), IN_THE_RUN)
def test_flood_of_connections_keeps_no_probe_and_no_callback_out(listeners: Listeners, target: str, kind: str) -> None:
    endure(listeners, target, kind, rate=300, rounds=10)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("target", "kind"), ALL)
def test_flood_of_any_kind_for_ten_seconds_keeps_nobody_out(listeners: Listeners, target: str, kind: str) -> None:
    endure(listeners, target, kind, rate=1000, rounds=100)


def test_probes_are_answered_while_24_silent_connections_stay(listeners: Listeners) -> None:
    host, _, port = listeners.pages.address.rpartition(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(24)]
    assert max(listeners.probe() for _ in range(30)) < 1
    for each in idle:
        each.close()


SHORT_OF_DESCRIPTORS = """
import os, resource, sys, time
from archiver.web.server import Page, PageServer
from tests.fakes.events import Silence
pages = {"/healthz": lambda: Page(200, "application/json", b'{"status": "alive"}')}
server = PageServer("127.0.0.1", 0, pages, Silence())
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 10, hard))
print(server.address, flush=True)
sys.stdin.read()
print(time.process_time())
"""


def test_listener_without_a_descriptor_left_pushes_out_silent_ones_and_does_not_spin() -> None:
    words = [sys.executable, "-c", SHORT_OF_DESCRIPTORS]
    with subprocess.Popen(words, cwd=ROOT, text=True, stdin=PIPE, stdout=PIPE) as popen, ExitStack() as stack:
        assert popen.stdout is not None
        host, _, port = popen.stdout.readline().strip().rpartition(":")
        for _ in range(40):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
        assert ask(host, int(port), seconds=10) == (True, '{"status": "alive"}')
        time.sleep(1)
        out, _ = popen.communicate("")
    assert float(out) < 1
