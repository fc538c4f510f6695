"""The run of the tests: what hangs is ended, the dearest files begin first, properties ask the same each time."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import ROOT
from tests.conftest import DEAREST
from tests.fixtures.compiled import COMPILED
from tests.fixtures.ledgers import listed, overview, ready_ledger
from tests.fixtures.purses import PURSES, overdrawn

pytestmark = pytest.mark.long

HANGS = """
import threading

def test_that_hangs():
    threading.Event().wait()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as it is configured for these tests."""
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)


def test_test_that_hangs_fails_at_the_limit_and_shows_where_it_stood(tmp_path: Path) -> None:
    file = tmp_path / "test_hanging.py"
    file.write_text(HANGS)
    done = run(f"--rootdir={tmp_path}", "-o", "timeout=1", str(file))
    assert done.returncode != 0
    assert "Timeout" in done.stdout + done.stderr
    assert "in test_that_hangs" in done.stdout + done.stderr


def test_limit_is_two_minutes_and_dearest_files_begin_first_whatever_order_they_are_named_in() -> None:
    files = ("tests/unit/test_docs.py", *(f"tests/{name}" for name in DEAREST[::-1]))
    collected = run("--collect-only", *files).stdout
    assert "timeout: 120.0s\ntimeout method: thread\n" in collected
    begun = re.findall(r"<Module (\S+)>", collected)
    assert begun == [*(Path(name).name for name in DEAREST), "test_docs.py"]


def test_python_shows_its_threads_where_no_limit_of_a_run_could_end_a_test(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getini("faulthandler_timeout") == 1000


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


def test_statements_are_compiled_for_the_first_ledger_and_no_further_one(tmp_path: Path) -> None:
    known = []
    for name in ("first", "second"):
        with closing(ready_ledger(tmp_path / name)) as ledger:
            listed(ledger)
            overview(ledger)
        known.append(len(COMPILED))
    assert known[0] == known[1] > 20


def test_every_folder_of_tests_has_a_purse() -> None:
    folders = {file.relative_to(ROOT / "tests").parts[0] for file in (ROOT / "tests").rglob("test_*.py")}
    assert PURSES.keys() == folders - {"benchmarks", "mutation"}


@pytest.mark.parametrize("busy", [1, 3])
def test_folder_that_took_half_more_than_its_purse_is_named_however_busy_the_machine_was(busy: float) -> None:
    spent = {folder: busy * purse for folder, purse in PURSES.items()}
    assert overdrawn(spent, PURSES) == {}
    dear = spent | {"unit": 1.6 * spent["unit"]}
    assert overdrawn(dear, PURSES) == {"unit": dear["unit"]}


def test_run_of_three_folders_overdraws_none() -> None:
    assert overdrawn({"unit": 10_000, "contracts": 1, "golden": 1}, PURSES) == {}


PURSED = """
from tests.fixtures.purses import fail_overdrawn, name_overdrawn

PURSES = {"bad": %f, "good": 60, "better": 60, "best": 60}

def pytest_terminal_summary(terminalreporter):
    name_overdrawn(terminalreporter, PURSES)

def pytest_sessionfinish(session):
    fail_overdrawn(session, PURSES)
"""


@pytest.mark.parametrize(("purse", "code"), [(0.01, 1), (60, 0)])
def test_run_in_which_a_folder_overdrew_its_purse_fails_and_names_it(tmp_path: Path, purse: float, code: int) -> None:
    (tmp_path / "conftest.py").write_text(PURSED % purse)
    for folder in ("bad", "good", "better", "best"):
        file = tmp_path / "tests" / folder / f"test_{folder}.py"
        file.parent.mkdir(parents=True)
        file.write_text(f"import time\n\ndef test_that_passes():\n    time.sleep({0.1 * (folder == 'bad')})\n")
    done = run(f"--rootdir={tmp_path}", str(tmp_path))
    assert (done.returncode, "4 passed" in done.stdout) == (code, True)
    assert ("which fails the run: bad 0 s of 0.01" in done.stdout) == (code == 1)
