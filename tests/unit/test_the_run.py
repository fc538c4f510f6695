"""The run of the tests itself: a test that hangs is ended, and a property asks the same examples each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests import ROOT

HANGS = """
import threading

def test_that_hangs():
    threading.Event().wait()
"""


def pytest_on(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, f"--rootdir={file.parent}", *options, str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_test_that_hangs_fails_at_the_limit_and_shows_where_it_stood(tmp_path: Path) -> None:
    file = tmp_path / "test_hanging.py"
    file.write_text(HANGS)
    done = pytest_on(file, "-o", "timeout=1")
    assert done.returncode != 0
    assert "Timeout" in done.stdout + done.stderr
    assert "in test_that_hangs" in done.stdout + done.stderr


def test_limit_is_two_minutes_and_python_shows_its_threads_before(tmp_path: Path) -> None:
    file = tmp_path / "test_quick.py"
    file.write_text("def test_quick(pytestconfig):\n    assert pytestconfig.getini('faulthandler_timeout') == 110\n")
    done = pytest_on(file)
    assert done.returncode == 0, done.stdout
    assert "timeout: 120.0s\ntimeout method: thread\n" in done.stdout


def drawn(profile: str) -> list[int]:
    numbers: list[int] = []

    @settings.get_profile(profile)
    @given(st.integers())
    def test(number: int) -> None:
        numbers.append(number)

    test()
    return numbers


def test_profile_run_draws_the_same_examples_each_time_and_deep_ten_times_as_many_anew() -> None:
    assert drawn("run") == drawn("run")
    assert len(drawn("run")) == 100
    first, second = drawn("deep"), drawn("deep")
    assert first != second
    assert len(first) == 1000
