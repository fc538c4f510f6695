"""What people and the service wait for, on a ledger of ten million trimmed tasks: none of it reads them all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

TASKS = int(os.environ.get("ARCHIVER_TRIMMED_TASKS", "10000000"))
"""How many there are: 0.4 GB of disk a million."""
SECONDS = {"start": 2, "status": 1, "claim": 0.1, "intake_of_500": 1, "plan_of_verify": 1, "show": 1, "list_of_50": 2}
MEMORY = 150_000_000


@pytest.mark.slow
@pytest.mark.timeout(300 + TASKS / 2000)
def test_nothing_that_is_waited_for_takes_longer_or_more_memory_for_millions_of_trimmed_tasks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.trimmed", str(TASKS), "--folder", str(tmp_path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
    print(json.dumps(found, indent=1))
    assert {name: found[name] for name, most in SECONDS.items() if found[name] > most} == {}
    assert found["peak_memory"] <= MEMORY
    # Without the index of the page, as the specification counts.
    sizes = found["bytes_a_task"]
    assert sum(size for name, size in sizes.items() if name != "tasks_newest") <= 300 or TASKS < 1_000_000
