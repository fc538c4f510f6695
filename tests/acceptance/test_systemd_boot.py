"""The units on a real systemd: archive, die, freeze, drain, reload, backfill, and look at night.

The machine shares this one's network, so that the emulated provider and the S3 server stand beside it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.demo.emulator import API_KEY
from archiver.demo.records import EmulatedTask
from tests import ROOT
from tests.acceptance.machine import UNIT, Machine, booted, eventually
from tests.worlds.site import Site, stems_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TOOLS = ("mmdebstrap", "systemd-nspawn", "nsenter")
MIB = 1 << 20


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not on this machine: {', '.join(missing)} (see deploy/systemd/test.sh)")
    if os.geteuid():
        pytest.skip("booting a machine needs root")
    folder = tmp_path_factory.mktemp("machine")
    image = Path(os.environ.get("ARCHIVER_IMAGE") or folder / "image")
    subprocess.run(["sh", ROOT / "deploy/systemd/image.sh", image], check=True)
    with booted(image, folder / "console.log") as machine:
        yield machine


@pytest.fixture
def machine(host: Machine, site: Site) -> Iterator[Machine]:
    """Install what an operator does: settings, the key in a file of its own, what boto3 reads."""
    host.forget()
    configure(host, site)
    yield host
    host.forget()


def configure(machine: Machine, site: Site, **sections: dict[str, object]) -> None:
    unset = {"provider": {"api_key": None}, "queue": {"path": None}, "ledger": {"url": None}}
    site.configure(**{name: {**unset.get(name, {}), **sections.get(name, {})} for name in {*unset, *sections}})
    folder = machine.image / "etc/stem-archiver"
    folder.mkdir(exist_ok=True)
    (folder / "archiver.toml").write_text((site.folder / "archiver.toml").read_text())
    secret(folder / "kie-api-key", f"{API_KEY}\n")
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    secret(folder / "environment", "".join(f"{name}={site.env[name]}\n" for name in names))


def secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def added(
    site: Site, *names: str, stems: tuple[str, ...] = ("vocal", "drums"), size: int = 50_000
) -> list[EmulatedTask]:
    tasks = [EmulatedTask(task_id=name, stems=stems_of(*stems, size=size, seed=name)) for name in names]
    site.emulator.add(*tasks)
    return tasks


def started_with_work(machine: Machine, site: Site) -> list[EmulatedTask]:
    """Start the service, and give it work that takes a while; return once it is in the midst of it."""
    tasks = added(site, *(f"heavy-{number:04}" for number in range(6)), size=20 * MIB)
    machine.systemctl("start", UNIT)
    machine.enqueue(*(task.task_id for task in tasks))
    eventually(lambda: machine.said('"stem.started"'), "a transfer begins")
    return tasks


def swept(machine: Machine, site: Site) -> None:
    """Wait until the uploads that a killed process never learned the ids of are gone: a start looks for them."""
    machine.systemctl("restart", UNIT)
    eventually(lambda: site.uploads() == [], "uploads of the dead are aborted")


def ids(tasks: list[EmulatedTask]) -> list[str]:
    return [task.task_id for task in tasks]


def test_service_reads_its_key_from_the_credential_and_archives(machine: Machine, site: Site) -> None:
    tasks = added(site, "first-0001", "second-0002")
    machine.systemctl("enable", "--now", UNIT)
    assert machine.shown("ActiveState") == "active"
    machine.enqueue(*ids(tasks))
    site.wait_for(ids(tasks), seconds=180)
    site.oracles(*tasks)
    eventually(lambda: machine.shown("StatusText") == "waiting for work", "the status is told")
    pid = machine.shown("MainPID")
    assert API_KEY not in machine.run("cat", f"/proc/{pid}/environ")
    assert API_KEY not in machine.run("cat", "/etc/stem-archiver/archiver.toml")
    assert API_KEY not in machine.journal()
    assert int(machine.run("stat", "--format=%u", f"/proc/{pid}")) in range(61184, 65520), "systemd's dynamic users"
    machine.systemctl("disable", UNIT)


def test_service_killed_in_mid_work_is_started_again_and_loses_nothing(machine: Machine, site: Site) -> None:
    tasks = started_with_work(machine, site)
    machine.systemctl("kill", "--signal=KILL", UNIT)
    eventually(lambda: machine.shown("NRestarts") == "1", "systemd starts it again")
    site.wait_for(ids(tasks), seconds=300)
    swept(machine, site)
    site.oracles(*tasks)


def test_frozen_service_is_killed_by_the_watchdog_and_loses_nothing(machine: Machine, site: Site) -> None:
    machine.drop_in(UNIT, "[Service]", "WatchdogSec=10s")
    tasks = started_with_work(machine, site)
    machine.systemctl("kill", "--signal=STOP", UNIT)
    eventually(lambda: machine.said("Watchdog timeout"), "the watchdog bites")
    eventually(lambda: machine.said("Fatal Python error: Aborted"), "it says where it stood")
    eventually(lambda: machine.shown("NRestarts") == "1", "systemd starts it again")
    site.wait_for(ids(tasks), seconds=300)
    assert machine.shown("NRestarts") == "1", "the watchdog leaves it alone while it works"
    swept(machine, site)
    site.oracles(*tasks)


def test_service_that_waits_is_left_alone_by_the_watchdog(machine: Machine, site: Site) -> None:
    machine.drop_in(UNIT, "[Service]", "WatchdogSec=3s")
    machine.systemctl("start", UNIT)
    time.sleep(10)  # the very thing: that nothing happens
    assert machine.shown("NRestarts") == "0"
    assert machine.shown("ActiveState") == "active"


def test_stop_drains_and_leaves_nothing_half_done(machine: Machine, site: Site) -> None:
    tasks = started_with_work(machine, site)
    machine.systemctl("stop", UNIT)
    assert machine.shown("Result") == "success"
    assert machine.said('"daemon.draining"')
    assert machine.said('"daemon.stopped"')
    assert site.uploads() == []
    machine.systemctl("start", UNIT)
    site.wait_for(ids(tasks), seconds=300)
    site.oracles(*tasks)


def test_reload_lets_new_settings_take_effect_without_a_restart(machine: Machine, site: Site) -> None:
    machine.systemctl("start", UNIT)
    pid = machine.shown("MainPID")
    configure(machine, site, download={"concurrency": 2}, store={"prefix": "elsewhere/"})
    machine.systemctl("reload", UNIT)
    eventually(lambda: machine.said('"settings.reloaded"'), "the settings are read again")
    assert machine.said('"changed": ["download.concurrency"], "needs_restart": ["store.prefix"]')
    eventually(lambda: machine.shown("ActiveState") == "active", "it is at work again")
    assert machine.shown("MainPID") == pid


def test_service_with_faulty_settings_is_not_started_over_and_over(machine: Machine, site: Site) -> None:
    configure(machine, site, download={"concurrency": 0})
    machine.systemctl("start", UNIT, check=False)
    eventually(lambda: machine.shown("ActiveState") == "failed", "it gives up")
    assert machine.shown("ExecMainStatus") == "2"
    assert machine.shown("NRestarts") == "0"
    assert machine.said("download.concurrency")


def test_backfill_takes_the_file_that_its_instance_names(machine: Machine, site: Site) -> None:
    tasks = added(site, "old-000001", "old-000002", "old-000003")
    path = machine.image / "root/old ids.txt"
    secret(path, "".join(f"{task.task_id}\n" for task in tasks))
    unit = machine.run("systemd-escape", "--path", "--template=stem-archiver-backfill@.service", "/root/old ids.txt")
    machine.systemctl("start", unit.strip())
    site.oracles(*tasks)
    assert machine.shown("Result", unit.strip()) == "success"


def test_nightly_look_fails_when_audio_is_refused_and_calls_on_whom_it_names(machine: Machine, site: Site) -> None:
    status, alarm = "stem-archiver-status.service", "stem-archiver-alarm.service"
    machine.systemctl("start", "stem-archiver-status.timer")
    assert machine.shown("NextElapseUSecRealtime", "stem-archiver-status.timer")
    machine.drop_in(status, "[Unit]", f"OnFailure={alarm}")
    lines = "[Service]\nType=oneshot\nExecStart=/bin/echo help\n"
    machine.run("sh", "-c", f"cat > /run/systemd/system/{alarm}; systemctl daemon-reload", stdin=lines)
    machine.systemctl("start", UNIT)
    machine.systemctl("start", status)
    assert machine.shown("Result", status) == "success"
    configure(machine, site, download={"allowed_hosts": ["cdn.example.com"]})
    machine.systemctl("restart", UNIT)
    added(site, "refused-001")
    machine.enqueue("refused-001")
    eventually(lambda: machine.said('"task.refused"'), "a task is refused")
    machine.systemctl("start", status, check=False)
    assert machine.shown("Result", status) == "exit-code"
    assert machine.shown("ExecMainStatus", status) == "1"
    eventually(lambda: machine.said("help", alarm), "the alarm is raised")
