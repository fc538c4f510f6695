"""Guards are noticed: each of tests/mutation/guards.py stands in the tree, and one of its tests fails without it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from tests import ROOT
from tests.mutation.guards import ELSEWHERE, GUARDS, Guard

SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
THREATS = re.findall(r"^### (.+)$", SECURITY, re.MULTILINE)
PARTS = ("archiver", "config", "deploy", "tests")


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_guard_stands_once_in_its_file_and_its_tests_are_there(guard: Guard) -> None:
    text = (ROOT / guard.file).read_text(encoding="utf-8")
    assert text.count(guard.old) == 1
    assert guard.new != guard.old
    for test in guard.tests.split():
        file, _, name = test.partition("::")
        assert (ROOT / file).exists()
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_every_threat_of_the_security_page_has_a_guard_that_is_tried() -> None:
    assert [threat for threat in THREATS if not any(threat.startswith(guard.threat) for guard in GUARDS)] == []
    known = (*THREATS, *ELSEWHERE)
    assert [guard for guard in GUARDS if sum(each.startswith(guard.threat) for each in known) != 1] == []


@dataclass(slots=True)
class Copy:
    """A copy of the tree in which guards are taken away, one at a time."""

    root: Path
    passed: set[str] = field(default_factory=set)
    """Tests that pass on the tree as it is."""
    _seconds: count[int] = field(default_factory=lambda: count(1_000_000_000, 10))

    def write(self, file: str, text: str) -> None:
        """Put a file, with a time of its own: byte code that was compiled from another text of it is not taken."""
        path = self.root / file
        path.write_text(text, encoding="utf-8")
        at = next(self._seconds)
        os.utime(path, (at, at))

    def run(self, tests: str) -> subprocess.CompletedProcess[str]:
        """Run tests until one fails."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        words = ("-x", "-q", "-n", "0", "--reruns", "0", "-p", "no:cacheprovider")
        return subprocess.run(
            [sys.executable, "-m", "pytest", *words, *tests.split()],
            cwd=self.root,
            env=environ | {"PYTHONPATH": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    root = tmp_path_factory.mktemp("guards") / "tree"
    root.mkdir()
    for each in ROOT.iterdir():
        if each.name in PARTS:
            shutil.copytree(each, root / each.name, symlinks=True)
        elif each.is_file() and each.name != ".git":
            shutil.copy2(each, root / each.name)
    return Copy(root)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_guard_that_is_taken_away_is_noticed(tree: Copy, guard: Guard) -> None:
    if guard.tests not in tree.passed:
        whole = tree.run(guard.tests)
        assert whole.returncode == 0, f"its tests fail without a change: {whole.stdout}"
        tree.passed.add(guard.tests)
    text = (tree.root / guard.file).read_text(encoding="utf-8")
    tree.write(guard.file, text.replace(guard.old, guard.new))
    try:
        done = tree.run(guard.tests)
    finally:
        tree.write(guard.file, text)
    assert done.returncode == 1, f"nobody noticed: {done.stdout[-500:]}"
    assert re.search(r"^(FAILED |ERROR |\++ Timeout \++$)", done.stdout, re.MULTILINE), done.stdout[-500:]
