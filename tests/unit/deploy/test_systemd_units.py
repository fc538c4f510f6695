"""The units as systemd judges them: nothing misspelt, little exposed, and at one with the settings' defaults."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from archiver.settings import Settings, parse_duration
from archiver.settings.key_file import KEYS_IN_FILES
from tests import ROOT

FOLDER = ROOT / "deploy/systemd"
SERVICES = sorted(path.name for path in FOLDER.glob("*.service"))
UNITS = sorted([*SERVICES, *(path.name for path in FOLDER.glob("*.timer"))])
MOST_EXPOSED = 1.3
PROGRAM = "/opt/stem-archiver/bin/stem-archiver"

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine (Debian: systemd)"
)


def lines(name: str) -> list[tuple[str, str]]:
    """Return the settings of a unit, in order."""
    return re.findall(r"(?m)^(\w+)=(.*)$", (FOLDER / name).read_text(encoding="utf-8"))


def value(name: str, key: str) -> str:
    [found] = [text for setting, text in lines(name) if setting == key]
    return found


@needs_systemd_analyze
def test_units_are_clean(tmp_path: Path) -> None:
    for name in UNITS:
        # That the program is not installed here is no fault of the unit.
        text = (FOLDER / name).read_text(encoding="utf-8").replace(PROGRAM, "/bin/true")
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name in UNITS)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd_analyze
@pytest.mark.parametrize("name", SERVICES)
def test_service_is_hardly_exposed(name: str) -> None:
    threshold = f"--threshold={round(MOST_EXPOSED * 10)}"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", threshold, FOLDER / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_services_run_as_one_user_that_owns_nothing_but_the_state() -> None:
    for name in SERVICES:
        assert value(name, "DynamicUser") == "yes"
        assert value(name, "User") == value(name, "StateDirectory") == "stem-archiver"
        assert (value(name, "UMask"), value(name, "LimitCORE")) == ("0077", "0")


AT_WORK = ["stem-archiver.service", "stem-archiver-worker@.service", "stem-archiver-backfill@.service"]


@pytest.mark.parametrize("name", AT_WORK)
def test_service_gets_longer_to_stop_than_it_asks_for(name: str) -> None:
    least = Settings().shutdown_grace + timedelta(seconds=5)
    assert parse_duration(value(name, "TimeoutStopSec")) > least


@pytest.mark.parametrize("name", AT_WORK)
def test_service_gets_the_key_as_the_credential_that_is_looked_for(name: str) -> None:
    assert value(name, "LoadCredential").partition(":")[0] == KEYS_IN_FILES[0].credential


def test_worker_differs_from_the_daemon_in_what_it_runs_alone() -> None:
    daemon, worker = (lines(name) for name in ("stem-archiver.service", "stem-archiver-worker@.service"))
    changed = {setting for setting, _ in {*daemon} ^ {*worker}}
    assert changed == {"Description", "ExecStartPre", "ExecStart", "Environment"}
    assert ("Environment", "ARCHIVER_HTTP__LISTEN=127.0.0.1:%i") in worker
