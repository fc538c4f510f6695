"""Supervision of the daemon: the watchdog, and settings read again on SIGHUP."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from archiver.adapters.systemd import Systemd
from archiver.demo.emulator import API_KEY
from archiver.demo.records import EmulatedTask
from archiver.service.daemon import HUNG_AFTER, Daemon, Job
from archiver.service.liveness import Liveness
from archiver.service.shutdown import Shutdown
from archiver.service.supervision import Hangup, Supervision
from archiver.settings import Settings, load
from archiver.settings.model import Ledger, Provider, Store
from tests import ROOT
from tests.fakes.cores import NotedCores
from tests.fakes.events import Events
from tests.fakes.service_manager import Listener, listening
from tests.fakes.time import Seconds
from tests.fakes.waiting import until
from tests.house import DaemonProcess, Machine, Role, SockAddr, daemon, s3_client, tunables
from tests.worlds.site import Process, Site, measured, stems_of

OFTEN = timedelta(seconds=0.1)

IDLE = 75_000
"""Kilobytes of memory that an idle daemon may have, without what is mapped from files; with that 90 MB."""
IDLE_AFTER_UPGRADE = 86_000
"""The same where it began with the ledger's schema, and with the store's proof."""


@contextmanager
def at_work(run: Callable[[], None], clock: Seconds, events: Events, address: str) -> Iterator[Listener]:
    """Run a daemon with this job and another that always succeeds, under a watchdog of a minute."""
    shutdown, liveness = Shutdown(), Liveness(clock)
    jobs = {"sick": Job(run, OFTEN), "sound": Job(lambda: None, OFTEN)}
    manager = Systemd(address, watchdog=60.0, clock=clock)
    supervision = Supervision(manager, liveness, lambda: "well", Hangup(), lambda: None, events)
    daemon = Daemon(jobs, shutdown=shutdown, supervision=supervision, clock=lambda: datetime.now(UTC), log=events)
    thread = threading.Thread(target=daemon.run, args=(lambda: None,))
    with listening(address) as listener:
        thread.start()
        try:
            yield listener
        finally:
            shutdown.ask()
            thread.join()


def test_hung_job_starves_the_watchdog_though_all_else_goes_on(tmp_path: Path) -> None:
    clock, events, running, release = Seconds(), Events(), threading.Event(), threading.Event()

    def hang() -> None:
        running.set()
        release.wait()

    with at_work(hang, clock, events, str(tmp_path / "notify")) as listener:
        assert running.wait(30)
        seen = listener.wait_for("WATCHDOG=1")
        clock.sleep(290)
        seen = listener.wait_for("WATCHDOG=1", after=seen)
        clock.sleep(20)
        stalled = listener.wait_for("STATUS=stalled: sick", after=seen)
        clock.sleep(60)
        hung = len(listener.take())
        release.set()
        well = listener.wait_for("STATUS=well", after=stalled)
        assert not any(message.startswith("WATCHDOG") for message in listener.messages[stalled:hung])
        listener.wait_for("WATCHDOG=1", after=well)
    assert [event["loops"] for event in events.of("daemon.stalled")][-1:] == [["sick"]]
    assert len(events.of("daemon.recovered")) >= 1


def test_job_that_always_fails_starves_the_watchdog_too(tmp_path: Path) -> None:
    clock, events = Seconds(), Events()

    def fail() -> None:
        raise RuntimeError("as ever")

    with at_work(fail, clock, events, str(tmp_path / "notify")) as listener:
        seen = listener.wait_for("WATCHDOG=1")
        clock.sleep(360)
        listener.wait_for("STATUS=stalled: sick", after=seen)


def test_sighup_changes_the_rates_of_accounts_and_asks_for_a_restart_where_they_are_others(site: Site) -> None:
    def second(requests: int, more: str = "") -> None:
        site.configure()
        config = site.folder / "archiver.toml"
        account = f'[[provider.accounts]]\nname = "second"\napi_key = "{API_KEY}"\nrequests_per_10s = {requests}\n'
        config.write_text(f"{config.read_text()}{account}{more}")

    second(1)
    with site.daemon() as daemon:
        daemon.wait_event("daemon.started")
        slow = [f"of-second-{number}" for number in range(3)]
        with site.queue.open("a") as queue:
            queue.write("".join(f"{name} kind=separation account=second\n" for name in slow))
        daemon.wait_event("record.fetched", task_id=slow[0])
        second(100)
        daemon.signal(signal.SIGHUP)
        reloaded = daemon.wait_event("settings.reloaded")
        assert (reloaded["changed"], reloaded["needs_restart"]) == (["provider.accounts"], [])
        assert daemon.wait_event("record.fetched", task_id=slow[2], seconds=8)["account"] == "second"
        second(100, more=f'[[provider.accounts]]\nname = "third"\napi_key = "{API_KEY}"\n')
        daemon.signal(signal.SIGHUP)
        daemon.wait_event("settings.reloaded", needs_restart=["provider.accounts"])
        assert daemon.stop() == 0


def enqueued(site: Site, name: str, *stems: str, size: int = 50_000) -> EmulatedTask:
    task = EmulatedTask(task_id=name, stems=stems_of(*(stems or ("vocal",)), size=size, seed=name))
    site.emulator.add(task)
    with site.queue.open("a") as queue:
        queue.write(f"{name}\n")
    return task


def test_sighup_tells_all_faults_or_lets_what_can_change_take_effect_and_names_what_needs_a_restart(site: Site) -> None:
    address = str(site.folder / "notify")
    site.extra_env = {"NOTIFY_SOCKET": address}
    with listening(address) as listener, site.daemon() as daemon:
        ready = listener.wait_for("READY=1")
        site.configure(log={"level": "loud"}, download={"concurrency": 0})
        daemon.signal(signal.SIGHUP)
        faults = "\n".join(daemon.wait_event("settings.refused")["faults"])
        assert "log.level" in faults
        assert "download.concurrency" in faults
        ready = listener.wait_for("READY=1", after=ready)
        new: Mapping[str, Mapping[str, object]] = {
            "log": {"level": "info"},
            "provider": {"requests_per_10s": 500},
            "download": {
                "concurrency": "auto",
                "concurrency_max": 3,
                "tasks_in_flight": 2,
                "bandwidth": "9MiB",
                "allowed_hosts": ["cdn.example.com"],
                "exclude": ["image"],
            },
            "verify": {"list_every": "off", "within": "90d", "bandwidth": "1MiB", "max_cost": 1.5, "prices": "aws"},
            "store": {"prefix": "elsewhere/"},
        }
        site.configure(**new)
        daemon.signal(signal.SIGHUP)
        reloading = listener.wait_for("RELOADING=1\nMONOTONIC_USEC=", after=ready)
        listener.wait_for("READY=1", after=reloading)
        reloaded = daemon.wait_event("settings.reloaded")
        assert set(reloaded["changed"]) == {
            "log.level",
            "provider.requests_per_10s",
            "download.concurrency",
            "download.concurrency_max",
            "download.tasks_in_flight",
            "download.bandwidth",
            "download.allowed_hosts",
            "download.exclude",
            "verify.list_every",
            "verify.within",
            "verify.bandwidth",
            "verify.max_cost",
            "verify.prices",
        }
        assert reloaded["needs_restart"] == ["store.prefix"]
        refused = enqueued(site, "refused-01")
        reason = daemon.wait_event("stem.refused", task_id=refused.task_id)["reason"]
        assert "download.allowed_hosts" in reason
        assert not daemon_says(daemon, "task.claimed"), "that is said at debug alone"
        assert daemon.stop() == 0


def daemon_says(daemon: Process, event: str) -> bool:
    return any(line["event"] == event for line in daemon.events)


def test_daemon_tells_systemd_of_start_work_and_end_and_a_sighup_in_between_disturbs_no_transfer(site: Site) -> None:
    address = str(site.folder / "notify")
    site.extra_env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"}
    tasks = [enqueued(site, f"undisturbed-{number}", "vocal", "drums", size=4 << 20) for number in range(2)]
    with listening(address) as listener, site.daemon() as daemon:
        ready = listener.wait_for("READY=1")
        daemon.wait_event("stem.started")
        site.configure(download={"concurrency": 1, "tasks_in_flight": 1})
        daemon.signal(signal.SIGHUP)
        daemon.wait_event("settings.reloaded")
        site.configure(download={"concurrency": 8, "tasks_in_flight": 4})
        daemon.signal(signal.SIGHUP)
        site.wait_for([task.task_id for task in tasks], seconds=120)
        assert not daemon_says(daemon, "stem.retry")
        idle = listener.wait_for("STATUS=waiting for work", after=ready)
        fed = listener.wait_for("WATCHDOG=1", after=idle)
        assert daemon.stop() == 0
        listener.wait_for("STOPPING=1", after=fed)
    site.oracles(*tasks)


def test_transfers_that_hang_for_ever_are_late_though_all_jobs_go_on(site: Site) -> None:
    clock, connecting, release = Seconds(), threading.Event(), threading.Event()

    def hang(_address: SockAddr, _seconds: float) -> socket.socket:
        connecting.set()
        release.wait()
        raise ConnectionRefusedError

    enqueued(site, "hung-00001")
    with running(site, Machine(monotonic=clock, connect=hang)) as process:
        try:
            assert connecting.wait(30)
            clock.sleep(660)
            until(lambda: set(process.liveness.late()) & {"work", "dispatch", "intake"} == {"work"})
            release.set()
            until(lambda: "work" not in process.liveness.late())
        finally:
            release.set()


def test_transfer_whose_bytes_flow_is_not_late_however_long_it_takes(site: Site) -> None:
    clock, late, fetched = Seconds(), list[Mapping[str, float]](), threading.Event()

    def step(name: str) -> None:
        # More than ten minutes since the task was claimed; the file itself may take ten, and be silent for five.
        clock.sleep({"record.fetched": 200, "download.opened": 220, "download.first_byte": 200}.get(name, 0))
        if name == "put.begun":
            late.append(process.liveness.late())
            fetched.set()

    enqueued(site, "slow-00001")
    with running(site, Machine(monotonic=clock, checkpoint=step)) as process:
        assert fetched.wait(60)
    assert "work" not in late[0]


def test_what_the_queue_file_brings_is_begun_with_the_reading_of_it(site: Site) -> None:
    seen: list[str] = []
    machine = Machine(s3_client=partial(s3_client, session=site.s3.session), checkpoint=seen.append)
    settings = load(site.folder / "archiver.toml", {}).settings
    with daemon(settings, Role.RUN, log=Events(), machine=machine) as process:
        enqueued(site, "fresh-0001")
        process.jobs()["intake"].run()
        assert seen.count("ledger.claimed") == 1
        assert process.parts.dispatcher.wait_idle(60)


def test_who_works_on_a_task_or_a_small_stem_keeps_to_the_core_that_the_machine_names(site: Site) -> None:
    cores = NotedCores()
    machine = Machine(s3_client=partial(s3_client, session=site.s3.session), cores=cores)
    with daemon(load(site.folder / "archiver.toml", {}).settings, Role.RUN, log=Events(), machine=machine) as process:
        enqueued(site, "fresh-0001", "vocal", "drums")
        process.jobs()["intake"].run()
        assert process.parts.dispatcher.wait_idle(60)
        site.wait_for(["fresh-0001"])
    assert cores.seen == ["gather"] * 3, "one for the task, and one for each stem"


def test_job_that_proves_a_slow_store_is_not_taken_for_hung_before_an_hour(site: Site) -> None:
    machine = Machine(s3_client=partial(s3_client, session=site.s3.session))
    with daemon(load(site.folder / "archiver.toml", {}).settings, Role.RUN, log=Events(), machine=machine) as process:
        patience = {name: job.hung_after for name, job in process.jobs().items() if job.hung_after != HUNG_AFTER}
    assert patience == {"proof": timedelta(hours=1), "probe": timedelta(hours=1)}


def test_key_that_is_changed_before_its_file_is_watched_is_used_too(site: Site) -> None:
    key, events = site.folder / "key", Events()
    key.touch(mode=0o600)
    key.write_text("sk-of-before")
    site.configure(provider={"api_key": None, "api_key_file": str(key)})
    with running(site, Machine(), events, meanwhile=lambda: key.write_text(API_KEY)):
        until(lambda: events.of("settings.reloaded"), 10)
    assert [told["changed"] for told in events.of("settings.reloaded")] == [["provider.api_key"]]


@contextmanager
def running(
    site: Site, machine: Machine, events: Events | None = None, meanwhile: Callable[[], object] = lambda: None
) -> Iterator[DaemonProcess]:
    """Run the daemon in a thread of this process; `meanwhile` happens once the settings were read."""
    shutdown, machine = Shutdown(), replace(machine, s3_client=partial(s3_client, session=site.s3.session))

    def read() -> Settings:
        return load(site.folder / "archiver.toml", {}).settings

    settings = read()
    meanwhile()
    with daemon(settings, Role.RUN, log=events or Events(), machine=machine) as process:
        thread = threading.Thread(target=process.run, args=(shutdown, Hangup(), read))
        thread.start()
        try:
            yield process
        finally:
            shutdown.ask()
            thread.join()


def test_example_marks_just_the_settings_that_can_change_while_the_service_is_at_work(tmp_path: Path) -> None:
    settings = Settings(
        provider=Provider(api_key=SecretStr("0" * 32)),
        store=Store(bucket="any", region="us-east-1"),
        ledger=Ledger(url=f"sqlite:///{tmp_path}/ledger.db"),
    )
    with daemon(settings, Role.RUN, log=Events()) as process:
        tunable = set(tunables(process.parts)) | {"callback.hmac_key", "callback.hmac_key_file"}
    sections = re.split(r"(?m)^\[(\w+)\]$", (ROOT / "config/archiver.example.toml").read_text(encoding="utf-8"))
    marked = {
        f"{section}.{key}"
        for section, text in zip(sections[1::2], sections[2::2], strict=True)
        for block in text.split("\n\n")
        for key in re.findall(rf"(?m)^#\[\[{section}\.(\w+)\]\]", block) or re.findall(r"(?m)^#(\w+) = ", block)
        if "SIGHUP" in block
    }
    assert marked == tunable


def test_signal_is_taken_at_any_moment_of_the_wait_for_one() -> None:
    """Also while the wait holds a lock: a thousand signals a second would find it."""
    script = """
import signal, time
from archiver.service.shutdown import Shutdown
shutdown = Shutdown()
signal.signal(signal.SIGALRM, lambda number, frame: shutdown.ask())
signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
until = time.monotonic() + 3
while time.monotonic() < until:
    shutdown = Shutdown()
    shutdown.wait(0)
signal.setitimer(signal.ITIMER_REAL, 0)
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=30, check=False, capture_output=True, cwd=ROOT)
    assert done.returncode == 0


@pytest.mark.skipif(bool(measured()), reason="what counts lines takes memory")
def test_idle_daemon_is_as_small_as_promised_and_keeps_little_of_its_first_start(site: Site) -> None:
    site.queue.touch()
    for most in (IDLE_AFTER_UPGRADE, IDLE):
        with site.daemon() as daemon:
            daemon.wait_event("daemon.started")
            time.sleep(2)
            assert own_memory(daemon) < most
            assert daemon.stop() == 0


def own_memory(daemon: Process) -> int:
    """Return its kilobytes that no file backs."""
    status = Path(f"/proc/{daemon.popen.pid}/status").read_text()
    return sum(int(size) for size in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", status, re.MULTILINE))
