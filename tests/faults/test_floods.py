"""A daemon under floods of connections: it archives, answers whoever supervises it, and stays within its bounds."""

from __future__ import annotations

import json
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from archiver.core.callback import signature_of
from archiver.core.model import TaskId
from archiver.demo.emulator import Emulator
from archiver.demo.records import EmulatedTask
from archiver.demo.seaweed import S3Server
from archiver.web.health import ask
from tests.fakes.flood import KINDS, descriptors_of, flooded
from tests.worlds.site import Process, Site, stems_of

KEY = "whk_test_0123456789abcdef"
TRIES = 3
"""A machine that does something else for a moment makes a few tasks late, with and without a flood."""

LIMIT = 1024
"""Descriptors that the daemon may have."""


@pytest.fixture
def site(tmp_path: Path, s3_server: S3Server, bucket: str) -> Iterator[Site]:
    with Emulator() as emulator:
        site = Site(tmp_path, s3_server, bucket, emulator)
        here = "127.0.0.1:0"
        site.configure(http={"listen": here}, callback={"enabled": True, "listen": here, "hmac_key": KEY})
        site.configure(log={"level": "info"})
        yield site


@contextmanager
def daemon_of(site: Site) -> Iterator[Process]:
    limited = ["sh", "-c", f'ulimit -n {LIMIT} && exec "$@"', "sh", *site.command("run")]
    with site.daemon(argv=limited) as daemon:
        yield daemon
        assert daemon.stop() == 0


@dataclass(slots=True)
class Watch:
    """What is seen of a daemon while tasks keep coming."""

    site: Site
    daemon: Process
    lags: dict[str, float] = field(default_factory=dict)
    """Seconds from the append of an id until it is archived."""
    probes: list[float] = field(default_factory=list)
    """Seconds that each /healthz took; a refused one counts as infinite."""
    descriptors: int = 0

    def address_of(self, event: str) -> str:
        return str(self.daemon.wait_event(event)["address"])

    def watch(self, tasks: Sequence[EmulatedTask], *, every: float) -> None:
        """Append a task, and probe, each `every` seconds; then wait until all are archived."""
        host, _, port = self.address_of("http.listening").rpartition(":")
        self.site.emulator.add(*tasks)
        appended = {}
        for task in tasks:
            with self.site.queue.open("a") as queue:
                queue.write(f"{task.task_id}\n")
            appended[str(task.task_id)] = time.time()
            began = time.monotonic()
            alive, _ = ask(host, int(port), seconds=1)
            self.probes.append(time.monotonic() - began if alive else float("inf"))
            self.descriptors = max(self.descriptors, descriptors_of(self.daemon.popen.pid))
            time.sleep(every)
        self.site.wait_for([task.task_id for task in tasks], seconds=60)
        for event in self.daemon.events:
            if event["event"] == "task.archived" and event["task_id"] in appended:
                at = datetime.fromisoformat(event["timestamp"]).timestamp()
                self.lags[event["task_id"]] = at - appended[event["task_id"]]

    def p99(self) -> float:
        return statistics.quantiles(self.lags.values(), n=100)[98]


def tasks_of(name: str, count: int) -> list[EmulatedTask]:
    return [
        EmulatedTask(task_id=f"{name}-{number:05}", stems=stems_of("vocal", seed=f"{name}{number}"))
        for number in range(count)
    ]


def call_back(address: str, task: str) -> bytes:
    host, _, port = address.rpartition(":")
    body, stamp = json.dumps({"data": {"task_id": task}}), str(int(time.time()))
    fields = f"X-Webhook-Timestamp: {stamp}\r\nX-Webhook-Signature: {signature_of(KEY, TaskId(task), stamp)}\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"POST /callbacks/vocal-removal HTTP/1.1\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
        connection.sendall(f"{head}{body}".encode())
        return connection.recv(12)


def test_daemon_with_1024_descriptors_archives_while_1200_idle_connections_flood_its_callbacks(site: Site) -> None:
    with daemon_of(site) as daemon:
        seen = Watch(site, daemon)
        called = seen.address_of("callback.listening")
        with flooded(called, "silent", rate=300, held=1200):
            seen.watch(tasks_of("flooded", 20), every=0.1)
            assert call_back(called, "called-00001") == b"HTTP/1.1 200"
            daemon.wait_event("callback.unknown", task_id="called-00001")
        [flood] = [event for event in daemon.events if event["event"] == "listener.flooded"]
        assert flood["address"] == called
        assert max(seen.probes) < 1
        assert seen.descriptors < 300
        assert len(daemon.log) < 100_000


def test_daemon_raises_its_limit_of_descriptors_to_the_most_it_may_have(site: Site) -> None:
    site.configure(log={"level": "debug"})
    argv = ["sh", "-c", 'ulimit -Sn 300 && ulimit -Hn 2000 && exec "$@"', "sh", *site.command("run")]
    with site.daemon(argv=argv) as daemon:
        raised = daemon.wait_event("descriptors.raised")
        assert (raised["level"], raised["before"], raised["now"]) == ("debug", 300, 2000)
        daemon.wait_event("daemon.started")
        limits = Path(f"/proc/{daemon.popen.pid}/limits").read_text().splitlines()
        assert daemon.stop() == 0
    assert [line.split()[3:5] for line in limits if line.startswith("Max open files")] == [["2000", "2000"]]


def lag(site: Site, name: str, *floods: tuple[str, str]) -> tuple[float, Watch]:
    """Return the p99 lag of 150 tasks in a quarter of a minute, beside floods of a kind against listeners."""
    with daemon_of(site) as daemon, ExitStack() as stack:
        seen = Watch(site, daemon)
        seen.watch(tasks_of(f"{name}-warm", 5), every=0.1)
        seen.lags.clear()
        for event, kind in floods:
            stack.enter_context(flooded(seen.address_of(event), kind, rate=1000, held=1200, seconds=120))
        seen.watch(tasks_of(name, 150), every=0.1)
        stack.close()
        return seen.p99(), seen


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("listener", ["callback", "http"])
def test_lag_beside_a_flood_of_any_kind_is_at_most_twice_that_without_one(site: Site, listener: str, kind: str) -> None:
    for number in range(TRIES):
        alone, _ = lag(site, f"alone-{number}")
        beside, seen = lag(site, f"beside-{number}", (f"{listener}.listening", kind))
        print(
            f"\n{listener:8} {kind:9} p99 {alone:.2f} s, beside it {beside:.2f} s, ratio {beside / alone:.2f}; "
            f"healthz {max(seen.probes):.3f} s; {seen.descriptors} descriptors; {len(seen.daemon.log)} bytes of log"
        )
        assert seen.descriptors < 300
        assert len(seen.daemon.log) < 1_000_000
        if max(seen.probes) < 1 and beside < 2 * max(alone, 0.5):
            return
    raise AssertionError(f"{TRIES} times too slow")
