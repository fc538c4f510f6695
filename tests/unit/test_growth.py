"""Regular expressions on hostile input: the cost of each one of the package is in proportion to the input."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

QUADRATIC = [
    rb"fullmatch=([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*\r?\n",
    rb"sub=\S*(://|[=?&@])\S*",
    rb"sub=(?s)<(script|style)\b.*?</\1>|<[^>]*>?",
    rb"search=(a+)+b",
    rb"fullmatch=(?:a|aa)*c",
]
"""Patterns of earlier versions, and the well-known ones."""


def measured(*words: str) -> tuple[str, list[str]]:
    """Return all that the measurement said in a process whose CPU time is limited, and what grows too fast."""
    run = [sys.executable, "-m", "tests.fixtures.growth", *words]
    done = subprocess.run(run, capture_output=True, text=True, timeout=280, check=False)
    lines = done.stdout.splitlines()
    cut = [] if done.returncode == 0 else [f"{lines[-1:]} took the CPU time of all: {done.stderr[-500:]}"]
    return done.stdout, [line for line in lines if line.startswith("  ")] + cut


def test_cost_of_each_pattern_of_the_package_grows_with_its_input_alone() -> None:
    said, too_fast = measured("archiver")
    assert too_fast == []
    for known in (
        "settings.rules._HOST_PORT",
        "core.text._TERMINAL",
        "http1.head._FIELD",
        "core.redaction._BEARER",
        "downloader.others._TAG",
        "ledger.database.faults._SAID[][]",
    ):
        assert f"archiver.{known} " in said or f"archiver.adapters.{known} " in said
    assert int(said.splitlines()[-1].split()[0]) > 75


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_cost_of_each_pattern_grows_with_inputs_of_a_mebibyte_alone() -> None:
    assert measured("--large", "archiver")[1] == []


@pytest.mark.parametrize("bad", [pattern.decode() for pattern in QUADRATIC])
def test_pattern_whose_cost_grows_faster_is_found(bad: str) -> None:
    assert measured("--", bad)[1]
