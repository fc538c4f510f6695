"""The daemon at the full pace of one API key: 2 tasks a second of 12 stems of 5 MB, TLS on both sides.

    .venv/bin/python -m tests.benchmarks.pace [--seconds 60]

An id is appended to the queue file when its task is done at the provider. Prints the cores that the daemon
used, and how long after that its tasks were archived.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from archiver.settings import load
from tests import ROOT
from tests.benchmarks.ground import STEMS, ground, memory_folder
from tests.benchmarks.idle import WARM_UP, cpu_seconds
from tests.benchmarks.peers import settings
from tests.house import note_proof

EVERY = 0.5
SIZE = 5_000_000
PATIENCE = 60.0
"""Seconds that the last tasks get."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    tasks = int(parser.parse_args().seconds / EVERY)
    with memory_folder() as folder, ground(folder) as site:
        ids = site.tasks(tasks * len(STEMS), SIZE, tls=True)
        queue, log, config = folder / "queue.txt", folder / "log", folder / "archiver.toml"
        queue.touch()
        config.touch(mode=0o600)
        text = settings(site, folder, site.sink_tls, "192MiB").replace("[queue]", '[queue]\npoll_interval = "1s"')
        config.write_text(text.replace('level = "warning"', 'level = "info"\nformat = "json"'))
        # The sink keeps nothing to prove the store by: an unproven one would stay paused.
        note_proof(load(config, site.env()).settings, now=datetime.now(UTC))
        command = [sys.executable, "-m", "archiver", "--config", str(config), "run"]
        with log.open("wb") as out:
            process = subprocess.Popen(command, env=site.env(), cwd=ROOT, stderr=out)
            try:
                report(process.pid, queue, log, ids)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()


def report(pid: int, queue: Path, log: Path, ids: list[str]) -> None:
    """Feed the daemon, wait for the last task, print what it took."""
    time.sleep(WARM_UP)
    before, began, done = cpu_seconds(pid), time.monotonic(), {}
    for number, task_id in enumerate(ids):
        time.sleep(max(0.0, began + number * EVERY - time.monotonic()))
        done[task_id] = time.time()
        with queue.open("a") as lines:
            lines.write(f"{task_id}\n")
    give_up = time.monotonic() + PATIENCE
    while len(ended := archived(log)) < len(ids) and time.monotonic() < give_up:
        time.sleep(0.5)
    cores = (cpu_seconds(pid) - before) / (len(ids) * EVERY)
    lags = [ended[task_id] - done[task_id] for task_id in ids if task_id in ended]
    p50, p99 = statistics.median(lags), statistics.quantiles(lags, n=100)[98]
    print(f"{len(lags)} of {len(ids)} tasks archived; {cores:.2f} cores; lag p50 {p50:.1f} s, p99 {p99:.1f} s")


def archived(log: Path) -> dict[str, float]:
    """Return when each task was archived."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"task.archived"' in line]
    return {line["task_id"]: datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines}


if __name__ == "__main__":
    main()
