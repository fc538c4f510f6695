"""How many tasks a second go through intake, record-info and ledger when there is no audio to move.

    .venv/bin/python -m tests.benchmarks.dispatch [--tasks 2000] [--runs 3]

The API (nginx) says of every task at once that the provider made no audio; the pace is lifted. A run is one
whole `stem-archiver backfill`; the rate is that of the tasks beyond the first, so that Python's start, which a
daemon pays once, does not count.
"""

from __future__ import annotations

import argparse
import json

from tests.benchmarks.backfill import Cost, measured
from tests.benchmarks.ground import Ground, ground, memory_folder
from tests.benchmarks.peers import KIB, Work, ours_of, prepare

FAILED = 1
"""The exit code of a backfill of which some tasks ended without audio."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with memory_folder() as folder, ground(folder) as site:
        for number in range(options.runs):
            one = run(site, 1, 2 * number)
            many = run(site, options.tasks, 2 * number + 1)
            rate = (options.tasks - 1) / (many.seconds - one.seconds)
            cpu = (many.cpu - one.cpu) / (options.tasks - 1) * 1000
            print(f"{rate:7.0f} tasks/s {cpu:6.2f} CPU-ms a task  (start: {one.seconds:.2f} s)", flush=True)


def run(site: Ground, tasks: int, number: int) -> Cost:
    """Backfill so many tasks that have failed."""
    files = prepare(site, Work(tasks, KIB), number, "192MiB", stems_a_task=1)
    for task_id in files.ids.read_text().split():
        file = site.records / f"{task_id}.json"
        record = json.loads(file.read_text())
        record["data"] |= {"successFlag": "GENERATE_AUDIO_FAILED", "response": None}
        file.write_text(json.dumps(record))
    return measured(ours_of(site, files), site.env(), ends_with=FAILED)


if __name__ == "__main__":
    main()
