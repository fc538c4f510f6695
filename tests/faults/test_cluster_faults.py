"""Workers on several machines that are killed, frozen, and cut off from PostgreSQL and S3: nothing is lost or doubled.

A machine is a process with a home folder of its own: nobody on another can tell by its lock that it lives.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from archiver.core.model import TaskId
from archiver.core.states import TaskState
from archiver.demo.audio import EmulatedStem
from archiver.demo.emulator import Emulator
from archiver.demo.records import EmulatedTask
from archiver.demo.seaweed import S3Server
from tests.fakes.relay import Relay
from tests.fakes.s3_proxy import Exchange, S3Proxy
from tests.fakes.scripted import Reply
from tests.fakes.waiting import until
from tests.faults.scenes import LARGE, STORE, versioning, versions
from tests.fixtures.ledgers import overview
from tests.fixtures.postgres import PostgresServer
from tests.house import counts, ledger_at
from tests.worlds.site import Process, Site, stems_of

pytestmark = pytest.mark.timeout(300)

RECOVERY = 15.0
"""Seconds within which what a dead worker was at is taken up by another, with the defaults as shipped."""


@dataclass
class Cluster:
    """An intake, and workers each on a machine of its own; all end with the block that made it."""

    site: Site
    stack: ExitStack
    tasks: list[EmulatedTask] = field(default_factory=list)
    made: int = 0
    processes: list[Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        return str(self.site.settings["ledger"]["url"])

    def give(self, count: int, *, size: int = 20_000, every_large: int = 0) -> list[EmulatedTask]:
        """Let the provider have so many tasks more, and the queue file their ids."""
        fresh = []
        for number in range(len(self.tasks), len(self.tasks) + count):
            name = f"cluster-{number:05}"
            stems = stems_of("vocal", "instrumental", size=size, seed=name)
            if every_large and number % every_large == 0:
                stems = {"vocal": EmulatedStem(LARGE, f"{name}/vocal")}
            fresh.append(EmulatedTask(task_id=name, stems=stems))
        self.site.emulator.add(*fresh)
        self.tasks += fresh
        with self.site.queue.open("a") as lines:
            lines.writelines(f"{task.task_id}\n" for task in fresh)
        return fresh

    def start(self, command: str, site: Site | None = None) -> Process:
        self.made += 1
        site = site or self.site
        home = self.site.folder / f"machine-{self.made}"
        home.mkdir()
        file = home / "archiver.toml"
        file.touch(mode=0o600)
        file.write_bytes((site.folder / "archiver.toml").read_bytes())
        env = {"HOME": str(home), "ARCHIVER_CONFIG": str(file)}
        machine = replace(site, extra_env={**site.extra_env, **env})
        self.processes.append(self.stack.enter_context(machine.daemon(argv=machine.command(command), apart=True)))
        return self.processes[-1]

    def elsewhere(self, name: str, *, ledger: Relay, store: Relay) -> Site:
        """The site as it is seen over these two relays."""
        folder = self.site.folder / name
        folder.mkdir()
        site = Site(folder, self.site.s3, self.site.bucket, self.site.emulator, settings=dict(self.site.settings))
        url = self.url.replace(f":{urlsplit(self.url).port}/", f":{ledger.port}/")
        store_url = f"http://127.0.0.1:{store.port}"
        site.settings = {name: dict(section) for name, section in site.settings.items()}
        site.configure(ledger={"url": url}, store={"endpoint_url": store_url}, queue={"path": str(self.site.queue)})
        return site

    def archived(self) -> int:
        return sum(key.endswith("/manifest.json") for key in self.site._keys())

    def wait_archived(self, seconds: float) -> None:
        try:
            self.site.wait_for([task.task_id for task in self.tasks], seconds=seconds)
        except AssertionError as error:
            for each in self.processes:
                error.add_note(f"{each.popen.args!r}, exit {each.popen.poll()}:\n{each.log[-4000:]}")
            raise

    def oracles(self) -> None:
        """Every task is archived, every object equals its source and was written once, and no job is left."""
        self.settle()
        self.site.oracles(*self.tasks)
        assert set(versions(self.site).values()) == {1}, "an object was written twice"
        with closing(ledger_at(self.url)) as ledger:
            for task in self.tasks:
                row = ledger.reports.show(TaskId(task.task_id))
                assert row is not None, f"{task.task_id} is lost"
                assert row.state is TaskState.ARCHIVED, row
            overview = ledger.reports.overview(now=datetime.now(UTC), at_risk=timedelta())
            assert sum(overview.tasks.values()) == len(self.tasks)

    def settle(self) -> None:
        """Wait until no job, lease or upload is left."""
        give_up = time.monotonic() + 120
        while True:
            with closing(ledger_at(self.url)) as ledger:
                working = overview(ledger, now=datetime.now(UTC), at_risk=timedelta()).working
            found = counts(self.url)
            assert found is not None
            left = (found.waiting, found.scheduled, found.doing, found.stalled, working, len(self.site.uploads()))
            if not any(left):
                return
            assert time.monotonic() < give_up, f"left over: {left}"
            time.sleep(0.5)


@pytest.fixture
def cluster(tmp_path: Path, s3_server: S3Server, bucket: str, postgres_url: str) -> Iterator[Cluster]:
    with closing(s3_server.client()) as client:
        versioning(client, bucket)
    settings: dict[str, dict[str, object]] = {"ledger": {"url": postgres_url}, "store": dict(STORE)}
    with Emulator() as emulator, ExitStack() as stack:
        yield Cluster(Site(tmp_path, s3_server, bucket, emulator, settings=settings), stack)


def test_task_of_a_killed_worker_on_another_machine_is_archived_within_15_seconds(cluster: Cluster) -> None:
    with S3Proxy(upstream=cluster.site.s3.endpoint_url) as proxy:
        cluster.site.configure(store={"endpoint_url": proxy.url})
        waits = threading.Event()

        def late(exchange: Exchange) -> Reply:
            waits.wait(60)
            return exchange.forward()

        put = proxy.on("PutObject", late, key=".mp3")
        cluster.start("run")
        victim = cluster.start("worker")
        cluster.give(1)
        until(lambda: put.seen)
        cluster.start("worker").wait_event("daemon.started")
        victim.signal(signal.SIGKILL)
        killed = time.monotonic()
        cluster.wait_archived(85)
        took = time.monotonic() - killed
        print(f"archived {took:.1f} s after its worker was killed")
        waits.set()
        assert took < RECOVERY
        cluster.oracles()


@pytest.mark.parametrize("put_comes", ["before", "after"])
def test_worker_that_wakes_after_its_job_was_rescued_changes_nothing(cluster: Cluster, put_comes: str) -> None:
    """Frozen in its first PUTs, which reach the store before or after those of the worker that took over."""
    with S3Proxy(upstream=cluster.site.s3.endpoint_url) as proxy:
        cluster.site.configure(store={"endpoint_url": proxy.url})
        stopped, archived = threading.Event(), threading.Event()

        def held(exchange: Exchange) -> Reply:
            (stopped if put_comes == "before" else archived).wait(90)
            return exchange.forward()

        puts = proxy.on("PutObject", held, times=2, key=".mp3")
        cluster.start("run")
        frozen = cluster.start("worker")
        cluster.give(1)
        # Both have come: none of its threads is in a transaction, whose locks the other would wait for.
        until(lambda: puts.seen == 2)
        frozen.signal(signal.SIGSTOP)
        stopped.set()
        other = cluster.start("worker")
        cluster.wait_archived(85)
        archived.set()
        frozen.signal(signal.SIGCONT)
        frozen.wait_event("lease.lost")
        other.wait_event("task.archived")
        assert not [line for line in frozen.events if line["event"] == "task.archived"]
        # The one that woke is of use again.
        assert other.stop() == 0
        cluster.give(1)
        cluster.wait_archived(85)
        assert frozen.stop() == 0
        cluster.oracles()


def test_few_tasks_under_kills_of_workers_are_all_archived_once(cluster: Cluster) -> None:
    _kill(cluster, tasks=60, kills=4, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_2000_tasks_under_kills_of_workers_are_all_archived_once(cluster: Cluster) -> None:
    _kill(cluster, tasks=2000, kills=1 << 30, seed=random.randrange(1 << 32))


def _kill(cluster: Cluster, *, tasks: int, kills: int, seed: int) -> None:
    """Kill one of three workers every few seconds, and start another in its place, until all is archived."""
    chance, began, done = random.Random(seed), time.monotonic(), 0
    intake = cluster.start("run")
    workers = [cluster.start("worker") for _ in range(3)]
    cluster.give(tasks, every_large=20)
    while cluster.archived() < tasks:
        assert time.monotonic() - began < 60 + 2 * tasks, f"{cluster.archived()} of {tasks} archived"
        assert [each.popen.poll() for each in (intake, *workers)] == [None] * 4, "a process ended by itself"
        time.sleep(chance.uniform(2, 5))
        if done < kills:
            number = chance.randrange(3)
            workers[number].popen.kill()
            workers[number].popen.wait()
            workers[number] = cluster.start("worker")
            done += 1
    took = time.monotonic() - began
    print(f"seed {seed}: {done} kills over {tasks} tasks in {took:.0f} s: 0 lost, 0 corrupt, 0 duplicates")
    assert done
    # An upload that its worker had no time to write down is found by whoever starts, or ten minutes later.
    assert intake.stop() == 0
    cluster.start("run")
    cluster.oracles()


@pytest.mark.slow
def test_restart_of_postgresql_in_the_middle_loses_nothing(cluster: Cluster, postgres: PostgresServer) -> None:
    processes = [cluster.start(command) for command in ("run", "worker", "worker", "worker")]
    cluster.give(60)
    for restart in (postgres.stop, postgres.crash):
        before = cluster.archived()
        until(lambda before=before: cluster.archived() > before)  # type: ignore[misc]
        restart()
        time.sleep(2)
        postgres.start()
        cluster.give(20)
    cluster.wait_archived(120)
    assert [process.popen.poll() for process in processes] == [None] * 4, "a process ended"
    cluster.oracles()


@pytest.mark.slow
def test_worker_that_is_cut_off_from_postgresql_and_then_from_s3_loses_nothing(
    cluster: Cluster, postgres: PostgresServer
) -> None:
    s3_port = urlsplit(cluster.site.s3.endpoint_url).port
    assert s3_port is not None
    with Relay(to=postgres.port) as ledger, Relay(to=s3_port) as store:
        far = cluster.elsewhere("far", ledger=ledger, store=store)
        cluster.start("run")
        cut_off = cluster.start("worker", far)
        cut_off.wait_event("daemon.started")
        # Longer than a lease, and than all tries of a put.
        for relay, seconds in ((ledger, 12), (store, 10)):
            cluster.give(40)
            before = len(_archived_by(cut_off))
            until(lambda before=before: len(_archived_by(cut_off)) > before)  # type: ignore[misc]
            relay.cut()
            if cluster.made == 2:
                cluster.start("worker")
            time.sleep(seconds)
            relay.mend()
            cluster.wait_archived(120)
        before = len(_archived_by(cut_off))
        while len(_archived_by(cut_off)) == before:
            cluster.give(10)
            cluster.wait_archived(85)
        assert cut_off.stop() == 0
        cluster.oracles()


def _archived_by(worker: Process) -> list[str]:
    return [line["task_id"] for line in worker.events if line["event"] == "task.archived"]
