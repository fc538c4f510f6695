"""Which step became dearer: `backfill` of this checkout against one of an earlier commit, in pairs.

    .venv/bin/python -m tests.benchmarks.steps [COMMIT] [--tasks 40] [--each 12] [--pairs 3]

Both run by this Python with its libraries, in turn, A B A B: what differs is our own code. First whole processes, and
starts with a single task, in CPU-seconds of the process; then once more with every thread under a profiler that counts
its own CPU time, where a step is what its functions take with all they call. A profiler makes many small calls look
dear, so a step's milliseconds are for its ratio alone. Ends with 1 where a whole run takes more than 5 % more.
"""

from __future__ import annotations

import argparse
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT
from tests.benchmarks.backfill import measured
from tests.benchmarks.ground import Ground, ground, memory_folder
from tests.benchmarks.peers import KIB, PROVEN, settings, spread

LAST = "a27cc43"
"""The commit whose figures stand in README.md; it goes on with them."""

DEARER = 1.05
"""A whole run that takes more than so many times what it took fails."""
STEP_DEARER = 1.1
"""A step that does in every pair is marked."""

_RUN = "import sys; sys.path.insert(0, {checkout!r}); sys.argv = {words!r}; from archiver.__main__ import main; main()"

_PROFILED = """
import cProfile, pstats, sys, threading, time
sys.path.insert(0, {checkout!r})
sys.argv = {words!r}
from archiver.__main__ import main
profiles, run = [], threading.Thread.run
def profiled(work):
    profile = cProfile.Profile(time.thread_time)
    profiles.append(profile)
    try:
        return profile.runcall(work)
    finally:
        profile.create_stats()
threading.Thread.run = lambda thread: profiled(lambda: run(thread))
try:
    profiled(main)
except SystemExit as ended:
    code = ended.code
stats = [pstats.Stats(profile) for profile in profiles if profile.stats]
stats[0].add(*stats[1:]).dump_stats({out!r})
sys.exit(code)
"""

Function = tuple[str, str]
"""Its name, and the end of its file's."""


@dataclass(frozen=True, slots=True)
class Step:
    """What some functions take, less what others take within them."""

    name: str
    of: Sequence[Function]
    without: Sequence[Function] = ()
    a_stem: bool = False


_FLOW: Sequence[Function] = (("readinto", "downloader/body.py"),)
STEPS = (
    Step("claim a task", [("claim", "ledger/claims.py")]),
    Step("look for its manifest", [("at_first", "pipeline/adoption.py")]),
    Step("ask about it", [("fetch", "provider/client.py")]),
    Step("list its stems", [("listed", "ledger/progress.py")]),
    Step("fetch a stem", [("open", "downloader/client.py"), *_FLOW], a_stem=True),
    Step("put a stem", [("put", "object_store/late.py")], _FLOW, a_stem=True),
    Step("note a stem", [("stored", "ledger/progress.py")], a_stem=True),
    Step("write record and manifest", [("write", "pipeline/sidecars.py")]),
    Step("end a try", [("finish", "ledger/progress.py")]),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", nargs="?", default=LAST, help=f"what to compare with; default: {LAST}")
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--each", type=int, default=12, help="stems a task")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    with checkout_of(options.commit) as before, memory_folder() as folder, ground(folder) as site:
        both = (Way(site, ROOT, "now"), Way(site, before, "before"))
        whole = compare_whole(both, options.tasks, options.each, options.pairs)
        compare_steps(both, options.tasks, options.each, options.pairs)
    sys.exit(whole > DEARER)


@contextmanager
def checkout_of(commit: str) -> Iterator[Path]:
    """Yield a folder with the files of a commit."""
    with tempfile.TemporaryDirectory() as name:
        packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=False, capture_output=True)
        if packed.returncode:
            raise SystemExit(f"{commit} is no commit that this clone has: name another")
        subprocess.run(["tar", "-x", "-C", name], input=packed.stdout, check=True)
        yield Path(name)


@dataclass(frozen=True, slots=True)
class Way:
    """One checkout on the ground, run by this Python."""

    site: Ground
    checkout: Path
    name: str

    def words(self, tasks: int, each: int, number: str) -> list[str]:
        """Return the words of a backfill of as many new tasks into a ledger that is made already."""
        folder = self.site.folder / f"{self.name}-{number}"
        folder.mkdir()
        config, ids = folder / "archiver.toml", folder / "ids"
        config.touch(mode=0o600)
        config.write_text(settings(self.site, folder, self.site.sink, "192MiB"))
        ids.write_text("".join(f"{task}\n" for task in self.site.tasks(tasks * each, 64 * KIB, each=each)))
        words = ["stem-archiver", "--config", str(config), "backfill"]
        self.run(PROVEN, config=str(config))
        self.run(_RUN, words=[*words, os.devnull])
        return [*words, str(ids)]

    def run(self, program: str, **values: object) -> float:
        """Run a program in this checkout and return the CPU-seconds that it took."""
        code = program.format(checkout=str(self.checkout), **values)
        return measured([sys.executable, "-P", "-c", code], self.site.env()).cpu

    def steps(self, words: Sequence[str], tasks: int, stems: int) -> Mapping[str, float]:
        """Return the milliseconds of each step, for a task or a stem, by its name; 0 where a function is not there."""
        out = self.site.folder / "profile"
        self.run(_PROFILED, words=words, out=str(out))
        return {step.name: _took(pstats.Stats(str(out)), step) / (stems if step.a_stem else tasks) for step in STEPS}


def _took(profile: pstats.Stats, step: Step) -> float:
    taken: Mapping[tuple[str, int, str], tuple[int, int, float, float, object]] = profile.stats  # type: ignore[attr-defined]  # typeshed lacks it

    def of(functions: Sequence[Function]) -> float:
        return sum(
            spent[3]
            for (file, _, name), spent in taken.items()
            for its, end in functions
            if (name == its and file.endswith(end))
        )

    return 1000 * (of(step.of) - of(step.without))


def compare_whole(both: Sequence[Way], tasks: int, each: int, pairs: int) -> float:
    """Print what whole runs and starts take; return the median ratio of the whole runs."""
    medians = {}
    for title, count, stems in ((f"{tasks} tasks of {each} stems", tasks, each), ("one task of two", 1, 2)):
        ratios, spent = [], []
        for pair in range(pairs):
            now, before = (way.run(_RUN, words=way.words(count, stems, f"{title.split()[0]}-{pair}")) for way in both)
            ratios.append(now / before)
            spent.append((now, before))
        medians[title] = statistics.median(ratios)
        now, before = (statistics.median(column) for column in zip(*spent, strict=True))
        print(f"{title:26} {now:8.2f} {before:8.2f} CPU-s {spread(ratios)}", flush=True)
    return next(iter(medians.values()))


def compare_steps(both: Sequence[Way], tasks: int, each: int, pairs: int) -> None:
    """Print each step's ratio, now to before."""
    found = [
        [way.steps(way.words(tasks, each, f"steps-{pair}"), tasks, tasks * each) for way in both]
        for pair in range(pairs)
    ]
    for step in STEPS:
        spent = [(now[step.name], before[step.name]) for now, before in found]
        ratios = [now / before for now, before in spent if before] or [float("nan")]
        now, before = (statistics.median(column) for column in zip(*spent, strict=True))
        # Stems are written down together, more or fewer at a time: one pair alone tells little.
        mark = "  DEARER" if min(ratios) > STEP_DEARER else "" if before else "  not there then"
        print(f"{step.name:26} {now:8.3f} {before:8.3f} ms    {spread(ratios)}{mark}", flush=True)


if __name__ == "__main__":
    main()
