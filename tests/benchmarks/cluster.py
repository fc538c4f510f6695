"""How many tasks a second go through the engine: one intake, workers, PostgreSQL, and no audio to move.

    .venv/bin/python -m tests.benchmarks.cluster [--tasks 2000] [--workers 1 2 4] [--backlog 0] [--stems 0]

The API (nginx) says of every task at once that the provider made no audio; the pace is lifted. All processes are
started before the ids are appended to the queue file. The rate is that from the first tenth of the tasks to the last
one; CPU is that of the processes over the whole of the work. With `--backlog` so many tasks are due from the start, and
the rate is that of the first `--tasks` of them. With `--stems` each task has so many of 64 KiB, which are moved.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from psycopg.sql import SQL, Literal

from archiver.core.intake import Intake
from archiver.core.model import TaskId
from tests.benchmarks.ground import Ground, ground, memory_folder
from tests.benchmarks.peers import KIB, settings
from tests.fixtures.postgres import PostgresServer, running
from tests.house import ledger_at

TICKS = os.sysconf("SC_CLK_TCK")
FIRST = 0.1
"""The part of the tasks that is left out of the rate: until then the workers have only begun."""


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that share one ledger."""

    intake: int
    workers: Sequence[int]
    server: PostgresServer
    database: str

    def cpu(self) -> dict[str, float]:
        """CPU-seconds so far of each kind of process; PostgreSQL's with those of connections that have ended."""
        postmaster = int((self.server.folder / "data" / "postmaster.pid").read_text().split()[0])
        every = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        backends = [pid for pid in every if _parent(pid) == postmaster]
        return {
            "intake": _spent(self.intake),
            "workers": sum(map(_spent, self.workers)),
            "PostgreSQL": sum(map(_spent, backends)) + _spent(postmaster, children=True),
        }

    def size(self) -> int:
        [(size,)] = self.server.run(SQL("SELECT pg_database_size({})").format(Literal(self.database)))
        return int(str(size))

    def ended(self) -> int:
        [(count,)] = self.server.run("SELECT count(*) FROM tasks WHERE ended_at IS NOT NULL", self.database)
        return int(str(count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--backlog", type=int, default=0)
    parser.add_argument("--stems", type=int, default=0)
    options = parser.parse_args()
    with memory_folder() as folder, ground(folder) as site, running() as server:
        for workers in options.workers:
            run(site, server, workers, options)


def run(site: Ground, server: PostgresServer, workers: int, options: argparse.Namespace) -> None:
    """Let so many workers do so many tasks, and print what that came to."""
    tasks, backlog, stems = options.tasks, options.backlog, options.stems
    ids = site.tasks(stems * tasks, 64 * KIB, each=stems) if stems else [uuid.uuid4().hex for _ in range(tasks)]
    folder = site.folder / f"cluster-{workers}"
    folder.mkdir()
    with server.database() as database:
        url = server.url(database)
        queue_up(url, backlog)
        with team(site, folder, server, database, workers) as at_work:
            before, size = at_work.cpu(), at_work.size()
            if not backlog:
                with (folder / "queue.txt").open("a") as queue:
                    queue.writelines(f"{task_id}\n" for task_id in ids)
            seconds = _wait(at_work, tasks)
            spent = {name: 1000 * (cpu - before[name]) / tasks for name, cpu in at_work.cpu().items()}
            grown = (at_work.size() - size) / tasks / KIB
    each = ", ".join(f"{name} {cpu:.1f}" for name, cpu in spent.items())
    rate, load = tasks * (1 - FIRST) / seconds, os.getloadavg()[0]
    print(
        f"{workers} workers: {rate:5.0f} tasks/s; CPU-ms a task: {each}; {grown:.1f} KiB a task; load {load:.1f}",
        flush=True,
    )


def queue_up(url: str, count: int) -> None:
    """Let so many tasks be due."""
    began = time.monotonic()
    with closing(ledger_at(url)) as ledger:
        for start in range(0, count, 10_000):
            ids = tuple(TaskId(f"backlog-{number:07}") for number in range(start, min(start + 10_000, count)))
            ledger.intakes.take_in(Intake(ids=ids), source="queue", now=datetime.now(UTC))
    if count:
        print(f"{count} ids taken in within {time.monotonic() - began:.0f} s", flush=True)


@contextmanager
def team(site: Ground, folder: Path, server: PostgresServer, database: str, workers: int) -> Iterator[Team]:
    """Start an intake and workers; yield once all of them are at work."""
    config = folder / "archiver.toml"
    text = settings(site, folder, site.sink, "192MiB")
    config.touch(mode=0o600)
    config.write_text(
        text.replace(f"sqlite:///{folder}/ledger.db", server.url(database)).replace(
            f'path = "{folder}/queue.txt"', f'path = "{folder}/queue.txt"\npoll_interval = "200ms"'
        )
        + '[http]\nlisten = ""\n'
    )
    (folder / "queue.txt").touch()
    with ExitStack() as stack:
        started = [
            stack.enter_context(_process(site, folder, config, command)) for command in ("run", *["worker"] * workers)
        ]
        until = time.monotonic() + 120
        while not _all_there(server, database, workers):
            assert time.monotonic() < until, "the workers did not start"
            time.sleep(0.2)
        time.sleep(3)
        yield Team(started[0], started[1:], server, database)


@contextmanager
def _process(site: Ground, folder: Path, config: Path, command: str) -> Iterator[int]:
    home = {"HOME": str(folder)}
    with (folder / "log").open("ab") as log:
        command_line = [sys.executable, "-m", "archiver", "-c", str(config), command]
        process = subprocess.Popen(command_line, env=site.env() | home, stderr=log)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _all_there(server: PostgresServer, database: str, workers: int) -> bool:
    [(made,)] = server.run("SELECT to_regclass('procrastinate.procrastinate_workers')", database)
    if made is None:
        return False
    [(count,)] = server.run("SELECT count(*) FROM procrastinate.procrastinate_workers", database)
    return count == workers


def _wait(at_work: Team, tasks: int) -> float:
    """Seconds that the last nine tenths of so many tasks take from now on."""
    before = at_work.ended()
    first = before + tasks * FIRST
    while at_work.ended() < first:
        time.sleep(0.05)
    began, counted = time.monotonic(), at_work.ended()
    while (done := at_work.ended()) < before + tasks:
        time.sleep(0.05)
    return (time.monotonic() - began) * tasks * (1 - FIRST) / (done - counted)


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _spent(pid: int, *, children: bool = False) -> float:
    fields = _stat(pid)
    return sum(map(int, fields[11 : 15 if children else 13])) / TICKS if fields else 0.0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


if __name__ == "__main__":
    main()
