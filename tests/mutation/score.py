"""Changes the code on purpose, one spot at a time, and counts how often the tests notice. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import unified_diff
from itertools import accumulate, islice
from pathlib import Path

from tests import ROOT
from tests.mutation.mutants import Mutant, mutants_of

PATIENCE = 60.0
"""Seconds that the tests of a mutant may take beyond twice what they took, under coverage, on the code as it is."""
IMPORTS = 60.0
"""Seconds of tests that a mutant meets whose line is run by an import."""
ONCE = ("-x", "-q", "-p", "no:cacheprovider")


@dataclass(frozen=True, slots=True)
class Part:
    """Files whose score is counted together, and the tests that are to notice."""

    name: str
    code: str
    tests: tuple[str, ...]

    def files(self, root: Path) -> list[Path]:
        """The Python files, from `root`."""
        return [path.relative_to(root) for path in sorted(root.glob(self.code))]


PARTS = (
    Part(
        "core",
        "archiver/core/**/*.py",
        (
            "tests/unit/**/test_*.py",
            "tests/property/test_keys_and_metadata.py",
            "tests/property/test_plan.py",
            "tests/property/test_record_any_json.py",
        ),
    ),
    Part(
        "pipeline",
        "archiver/pipeline/*.py",
        ("tests/unit/**/test_*.py", "tests/integration/test_deferring.py"),
    ),
    Part(
        "downloader",
        "archiver/adapters/downloader/*.py",
        (
            "tests/unit/**/test_*.py",
            "tests/property/test_body_chunking.py",
            "tests/contracts/test_downloader.py",
            "tests/integration/downloader/test_*.py",
        ),
    ),
    Part(
        "object_store",
        "archiver/adapters/object_store/*.py",
        (
            "tests/unit/**/test_*.py",
            "tests/property/test_keys_and_metadata.py",
            "tests/contracts/test_object_store.py",
            "tests/integration/object_store/test_*.py",
        ),
    ),
)


class Bench:
    """A copy of the checkout in which mutants are tried, and what its tests are known to run."""

    def __init__(self, root: Path, python: str) -> None:
        self.root = root
        self._python = python
        self._env = {**os.environ, "PYTHONPATH": str(root)}
        self._seconds: dict[str, float] = {}
        self._lines: dict[str, dict[int, set[str]]] = {}

    def measure(self, tests: Iterable[str]) -> None:
        """Run `tests` on the code as it is; raise CalledProcessError when one fails."""
        found = sorted({str(path.relative_to(self.root)) for pattern in tests for path in self.root.glob(pattern)})
        options = ["--cov", "--cov-context=test", "--cov-report=", "--cov-fail-under=0", "--junitxml=times.xml"]
        self._python_runs("pytest", *ONCE, *options, *found)
        self._python_runs("coverage", "json", "-q", "--fail-under=0", "--show-contexts", "-o", "lines.json")
        self.learn(self.root)

    def _python_runs(self, *module: str) -> None:
        subprocess.run([self._python, "-m", *module], cwd=self.root, env=self._env, check=True)

    def learn(self, folder: Path) -> None:
        """Read what the run of the tests wrote down."""
        self._seconds = _seconds(folder / "times.xml")
        self._lines = _lines(folder / "lines.json")

    @contextmanager
    def ready(self) -> Iterator[None]:
        """While this lasts mutants can be tried; raise ValueError when tests fail without any."""
        # No bytecode: a file that changes twice within a second would be taken for the one before.
        env = {**self._env, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [self._python, "-m", "tests.mutation.forks"]
        with subprocess.Popen(
            command, cwd=self.root, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as self._forks:
            if self._code_of(self._by_cost(self._seconds)[:50], PATIENCE) != 0:
                raise ValueError("tests fail in a fork, without any mutant")
            yield

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that run the mutant's line, the quickest first.

        What is run when its module is imported belongs to all; of these, as many as IMPORTS has room for.
        """
        lines = self._lines.get(str(mutant.path), {})
        at = max((line for line in lines if line <= mutant.line), default=0)
        if found := lines.get(at, set()) - {""}:
            return self._by_cost(found)
        everyone = self._by_cost(self._seconds)
        spent = accumulate(map(self._cost, everyone))
        return [test for test, seconds in zip(everyone, spent, strict=True) if seconds < IMPORTS]

    def _by_cost(self, tests: Iterable[str]) -> list[str]:
        return sorted(tests, key=lambda test: (self._cost(test), test))

    def _cost(self, test: str) -> float:
        return self._seconds.get(test, 0.0)

    def killed(self, mutant: Mutant) -> bool:
        """Say whether a test fails, or does not end, with the mutant in place."""
        tests = self.tests_of(mutant)
        if not tests:
            return False
        limit = PATIENCE + 2 * sum(map(self._cost, tests))
        file = self.root / mutant.path
        source = file.read_text(encoding="utf-8")
        file.write_text(mutant.applied(source), encoding="utf-8")
        try:
            return self._code_of(tests, limit) != 0
        finally:
            file.write_text(source, encoding="utf-8")

    def _code_of(self, tests: Sequence[str], limit: float) -> int:
        if self._forks.stdin is None or self._forks.stdout is None:
            raise AssertionError("the fork server is talked to by pipes")
        print(json.dumps([[*ONCE, *tests], limit]), file=self._forks.stdin, flush=True)
        return int(self._forks.stdout.readline())

    def change(self, mutant: Mutant) -> str:
        """Return the changed lines, as they are and as the mutant has them."""
        source = (self.root / mutant.path).read_text(encoding="utf-8")
        lines = unified_diff(source.splitlines(), mutant.applied(source).splitlines(), n=0, lineterm="")
        return "\n".join(f"    {line[0]} {line[1:].strip()}" for line in islice(lines, 3, None))


def _seconds(report: Path) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    for case in ET.parse(report).iter("testcase"):
        path = case.attrib["classname"].replace(".", "/") + ".py"
        seconds[f"{path}::{case.attrib['name'].partition('[')[0]}"] += float(case.attrib["time"])
    return dict(seconds)


def _lines(report: Path) -> dict[str, dict[int, set[str]]]:
    """Return for each file, and each line that was run, the test functions that ran it; "" is an import."""
    files = json.loads(report.read_text(encoding="utf-8"))["files"]
    return {
        path: {
            int(line): {test.partition("|")[0].partition("[")[0] for test in tests}
            for line, tests in file["contexts"].items()
        }
        for path, file in files.items()
    }


def copied(to: Path) -> Path:
    """Copy what git knows of the checkout, as it is now, and return the copy's root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)
    return to


def drawn(part: Part, root: Path, options: argparse.Namespace) -> list[Mutant]:
    """Return the part's mutants: all, or a sample that depends on nothing but the code and the seed."""
    choose = random.Random(f"{options.seed} {part.name}")
    mutants = [mutant for path in part.files(root) for mutant in mutants_of(root, path, choose)]
    if options.sample and options.sample < len(mutants):
        mutants = choose.sample(mutants, options.sample)
    wanted = options.only or [""]
    return [mutant for mutant in mutants if str(mutant).startswith(tuple(wanted))]


def tried(part: Part, bench: Bench, mutants: list[Mutant]) -> list[Mutant]:
    """Try each mutant, tell how it went, and return the survivors."""
    survivors = []
    for count, mutant in enumerate(mutants, 1):
        began = time.monotonic()
        killed = bench.killed(mutant)
        verdict = "killed" if killed else "SURVIVED"
        print(f"{part.name} {count}/{len(mutants)} {mutant} {verdict} {time.monotonic() - began:.0f} s", flush=True)
        if not killed:
            print(bench.change(mutant), flush=True)
            survivors.append(mutant)
    return survivors


def main() -> int:
    """Print the score of each part and its survivors; 1 when a score is below the least one."""
    parser = argparse.ArgumentParser(prog="tests/mutation/run.sh", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="core, pipeline, downloader, object_store (all)")
    parser.add_argument("--sample", type=int, metavar="N", help="try N mutants of each part, drawn at random (all)")
    parser.add_argument("--seed", type=int, default=1, help="draws the sample, and one of like mutants (%(default)s)")
    parser.add_argument("--only", action="append", metavar="PATH[:LINE]", help="of these, try only those; repeatable")
    parser.add_argument("--least", type=float, default=85, help="per cent, below which the end is 1 (%(default)s)")
    parser.add_argument("--python", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    parts = [part for part in PARTS if part.name in (options.parts or [part.name])]
    if unknown := set(options.parts) - {part.name for part in parts}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        root = copied(Path(folder))
        bench = Bench(root, options.python)
        bench.measure(test for part in parts for test in part.tests)
        results = {}
        with bench.ready():
            for part in parts:
                mutants = drawn(part, root, options)
                results[part.name] = len(mutants), tried(part, bench, mutants)
        print("\nSurvivors")
        for mutant in (mutant for _, survivors in results.values() for mutant in survivors):
            print(f"{mutant}\n{bench.change(mutant)}")
    print()
    scores = {name: 100 * (1 - len(alive) / tries) for name, (tries, alive) in results.items() if tries}
    for name, score in scores.items():
        print(f"{name:14}{score:6.1f} %  of {results[name][0]} mutants")
    return int(any(score < options.least for score in scores.values()))


if __name__ == "__main__":
    sys.exit(main())
