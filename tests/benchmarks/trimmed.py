"""A ledger of millions of trimmed tasks: how large it is, and how long what people and the service wait for takes.

    python -m tests.benchmarks.trimmed 1000000          # about 0.35 GB below --folder, removed at the end

The tasks are laid by bulk SQL, as `ledger trim` leaves them; beside them stand some that are open, and some that are
archived and not trimmed. It measures; it judges nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from archiver.core.fixity import TrimmedFolder, pairs_of
from archiver.core.model import TaskId
from archiver.core.reports import TaskQuery
from archiver.core.trimming import folder_digest
from archiver.ports.archive import ListedObject
from tests.fixtures.ledgers import DAY, LEASE, NOW, open_ledger, overview, take_in
from tests.fixtures.whole_tasks import drawn, fill
from tests.house import Ledger

STEMS = 12
AT_ONCE = 10_000
MERGED = 50_000
"""Tasks that the merge is measured by: their folders are made up, which takes longer than to merge them."""
OPEN = 2_000
MICROSECONDS = 1_000_000
T = TypeVar("T")


def id_of(number: int, of: int) -> str:
    """One of so many ids, in their order, that looks like the provider's."""
    return f"{number * ((1 << 128) // of):032x}"


def folder(task: str) -> list[tuple[str, int, str]]:
    lines = [(f"s{each:02}.mp3", 5_000_000, f"{task[:24]}{each:08x}") for each in range(STEMS)]
    return [("manifest.json", 6_700, task), *lines]


def listing(count: int, of: int) -> Iterator[ListedObject]:
    for number in range(count):
        task = id_of(number, of)
        both = sorted([*folder(task), ("record-info.json", 900, "r")])
        yield from (ListedObject(f"stems/{task}/{name}", size, etag) for name, size, etag in both)


def rows(count: int) -> Iterator[tuple[object, ...]]:
    now = int(NOW.timestamp()) * MICROSECONDS
    for number in range(count):
        task, at = id_of(number, count), now - (60 * 86_400 + number) * MICROSECONDS
        times = (at, at, at, at, at + 14 * 86_400 * MICROSECONDS, at + 14 * 86_400 * MICROSECONDS)
        digest = folder_digest(folder(task)) if number < MERGED else task + "A" * 11
        yield (task, *times, at + 60 * MICROSECONDS, STEMS, STEMS * 5_000_000, digest)


_INSERT = """
INSERT INTO tasks (task_id, state, source, accepted_at, first_asked_at, created_at, completed_at, deadline, urgency,
  stage, awaited, asks, attempts, settled, flag, reason, document, deaths, kind, ended_at, trimmed_stems, trimmed_bytes,
  folder_digest)
VALUES (?1, 'archived', 'queue', ?2, ?3, ?4, ?5, ?6, ?7, 'store', 0, 0, 0, 1, 'SUCCESS', '', '', 0, 'separation', ?8,
  ?9, ?10, ?11)
"""


def lay(file: Path, count: int) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -200000")
        left = rows(count)
        while some := list(islice(left, AT_ONCE)):
            db.executemany(_INSERT, some)
            db.commit()
        of_all = (count, count * STEMS, count * STEMS * 5_000_000, int(NOW.timestamp()) * MICROSECONDS)
        db.execute("INSERT INTO trims VALUES (1, ?, ?, ?, ?)", of_all)
        db.execute("UPDATE tallies SET stems = stems + ?, bytes = bytes + ? WHERE state = 'stored'", of_all[1:3])
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def timed(work: Callable[[], T], times: int = 3) -> tuple[T, float]:
    """What it returns, and the seconds that the quickest of some runs took."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        found = work()
        best = min(best, time.perf_counter() - began)
    return found, best


def bytes_of(file: Path) -> dict[str, int]:
    with closing(sqlite3.connect(file)) as db:
        return dict(db.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC"))


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def merge(ledger: Ledger, count: int, of: int) -> dict[str, float]:
    """Merge the ledger's tasks with the listing of their folders, as `verify --level list` does."""
    before, began, fitting = peak(), time.perf_counter(), 0
    known = (each for each in ledger.objects.all_known() if each.trimmed is not None)
    for pair in pairs_of(islice(known, count), listing(count, of), "stems/"):
        fitting += isinstance(pair, TrimmedFolder) and pair.fits("stems/")
    if fitting != count:
        raise AssertionError(f"{fitting} of {count} folders fit")
    seconds = time.perf_counter() - began
    return {"tasks_a_second": round(count / seconds), "more_memory": peak() - before}


def measure(folder_: Path, count: int) -> dict[str, Any]:
    with closing(open_ledger(folder_)) as ledger:
        fill(ledger, *drawn(50))
        for first in range(0, OPEN, 500):
            take_in(ledger, *range(10_000 + first, 10_500 + first))
    began = time.perf_counter()
    file = folder_ / "ledger.db"
    # In a process of its own: its memory is not what is measured.
    laying = get_context("spawn").Process(target=lay, args=(file, count))
    laying.start()
    laying.join()
    found: dict[str, Any] = {"tasks": count, "laid_in": round(time.perf_counter() - began, 1)}
    sizes = bytes_of(file)
    found["bytes_a_task"] = {name: round(size / count, 1) for name, size in sizes.items() if size / count >= 1}
    found["file"] = file.stat().st_size

    def start() -> None:
        open_ledger(folder_).close()

    found["start"] = timed(start)[1]
    with closing(open_ledger(folder_)) as ledger:
        found |= seconds_of(ledger, count)
        found["merge"] = merge(ledger, min(count, MERGED), count)
    found["peak_memory"] = peak()
    return found


def seconds_of(ledger: Ledger, count: int) -> dict[str, float]:
    middle = TaskId(id_of(count // 2, count))
    works: dict[str, Callable[[], object]] = {
        "status": lambda: overview(ledger),
        "plan_of_verify": ledger.objects.holdings,
        "claim": lambda: ledger.claims.claim(owner="us", now=NOW, lease=LEASE),
        "intake_of_500": lambda: take_in(ledger, *range(900_000, 900_500)),
        "show": lambda: ledger.reports.show(middle),
        "page_of_rebuild_check": lambda: ledger.rebuilds.page(middle, 500),
        "trim_with_nothing_due": lambda: ledger.trimming.due(NOW - 40 * DAY, None, 500),
        "list_of_50": lambda: list(islice(ledger.reports.newest(TaskQuery(), now=NOW, at_risk=DAY), 50)),
    }
    return {name: round(timed(work)[1], 5) for name, work in works.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", type=int)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        print(json.dumps(measure(Path(temporary), given.tasks), indent=1))


if __name__ == "__main__":
    main()
