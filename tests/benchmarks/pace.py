"""The daemon at the full pace of one API key: 2 tasks a second of 12 stems of 5 MB, TLS on both sides.

    .venv/bin/python -m tests.benchmarks.pace [--seconds 60] [--size 5000000] [--beside]

An id is appended to the queue file when its task is done at the provider. Prints the cores that the daemon
used, and how long after that its tasks were archived. `--beside` does so on SeaweedFS (without TLS), which costs
more than the daemon: first alone, then while browsers look at the page and `verify` reads all that is stored; and
tells the CPU-seconds of each, of which this process has those of the browsers.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from archiver.settings import load
from tests import ROOT
from tests.benchmarks.ground import BUCKET, STEMS, Ground, ground, memory_folder
from tests.benchmarks.idle import WARM_UP, cpu_seconds
from tests.benchmarks.peers import settings
from tests.house import note_proof
from tests.worlds.browsers import Browsers

EVERY = 0.5
PATIENCE = 60.0
"""Seconds that the last tasks get."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument(
        "--size", type=int, default=5_000_000, help="bytes of a stem; few show what is no moving of bytes"
    )
    parser.add_argument("--beside", action="store_true", help="the same twice, then beside `verify` and browsers")
    options = parser.parse_args()
    tasks = int(options.seconds / EVERY)
    with memory_folder() as folder, ground(folder) as site, ExitStack() as stack:
        store, env = (site.sink_tls, {}) if not options.beside else seaweed_in(folder, stack)
        config = configured(site, folder, store, page=options.beside)
        env = site.env() | env
        if not options.beside:
            # The sink keeps nothing to prove the store by: an unproven one would stay paused.
            note_proof(load(config, env).settings, now=datetime.now(UTC))
        command = [sys.executable, "-m", "archiver", "--config", str(config)]
        pace = Pace(folder / "queue.txt", folder / "log", folder / "printed")
        with pace.log.open("wb") as out, pace.printed.open("wb") as printed:
            process = subprocess.Popen([*command, "run"], env=env, cwd=ROOT, stderr=out, stdout=printed)
            try:
                time.sleep(WARM_UP)
                pace.report(process.pid, site.tasks(tasks * len(STEMS), options.size, tls=True))
                if options.beside:
                    with beside(command, env, pace):
                        pace.report(process.pid, site.tasks(tasks * len(STEMS), options.size, tls=True))
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()


def configured(site: Ground, folder: Path, store: str, *, page: bool) -> Path:
    """Write the settings, with a page or without."""
    (folder / "queue.txt").touch()
    config = folder / "archiver.toml"
    config.touch(mode=0o600)
    text = settings(site, folder, store, "192MiB")
    text = text.replace('level = "warning"', 'level = "info"\nformat = "json"')
    config.write_text(text + ('[page]\nlisten = "127.0.0.1:0"\nwith_run = true\n' if page else ""))
    return config


def seaweed_in(folder: Path, stack: ExitStack) -> tuple[str, dict[str, str]]:
    """Start a store that gives back what it takes; return its address and what opens it."""
    from archiver.demo.seaweed import seaweed

    server = stack.enter_context(seaweed(folder / "s3"))
    server.client().create_bucket(Bucket=BUCKET)
    return server.endpoint_url, {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_REGION": server.region,
    }


@contextmanager
def beside(command: Sequence[str], env: Mapping[str, str], pace: Pace) -> Iterator[None]:
    """Let browsers look at the page, and `verify` read all that is stored, one round after the other, until it ends."""
    browsers = Browsers(lambda: pace.log.read_text() + pace.printed.read_text())
    over, rounds = threading.Event(), list[int]()

    def verify() -> None:
        while not over.is_set():
            reading = subprocess.Popen(
                [*command, "verify", "--level", "read"],
                env=env,
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            while reading.poll() is None and not over.wait(0.1):
                pass
            reading.terminate()
            rounds.append(reading.wait())

    thread = threading.Thread(target=verify)
    with browsers.at_work():
        thread.start()
        yield
        over.set()
        thread.join()
    print(f"beside it {len(browsers.answers)} requests to the page, and rounds of verify that exited with {rounds}")


@dataclass(frozen=True, slots=True)
class Pace:
    """A daemon at work, by its files."""

    queue: Path
    log: Path
    printed: Path

    def report(self, pid: int, ids: Sequence[str]) -> None:
        """Feed the daemon, wait for the last task, print what it took."""
        before, began, done, spent_before = cpu_seconds(pid), time.monotonic(), {}, spent(self.queue.parent)
        for number, task_id in enumerate(ids):
            time.sleep(max(0.0, began + number * EVERY - time.monotonic()))
            done[task_id] = time.time()
            with self.queue.open("a") as lines:
                lines.write(f"{task_id}\n")
        give_up = time.monotonic() + PATIENCE
        while not (ended := archived(self.log)).keys() >= done.keys() and time.monotonic() < give_up:
            time.sleep(0.5)
        cores = (cpu_seconds(pid) - before) / (len(ids) * EVERY)
        lags = [ended[task_id] - done[task_id] for task_id in ids if task_id in ended]
        p50, p99 = statistics.median(lags), statistics.quantiles(lags, n=100)[98]
        print(f"{len(lags)} of {len(ids)} tasks archived; {cores:.2f} cores; lag p50 {p50:.1f} s, p99 {p99:.1f} s")
        spent_by = {name: end - spent_before.get(name, 0.0) for name, end in spent(self.queue.parent).items()}
        told = (f"{name} {seconds:.1f}" for name, seconds in spent_by.items() if seconds >= 0.1)
        print(f"CPU-seconds: {', '.join(told)}")


def spent(folder: Path) -> Mapping[str, float]:
    """Return the CPU-seconds of this process, and by name of those whose words or place are of the folder, as of now.

    What we started and has ended was `verify`, from one look to the next.
    """
    ended = os.times()
    found = {"this": time.process_time(), "verify": ended.children_user + ended.children_system}
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (each / "cmdline").read_text().split("\0")
            if str(folder) in " ".join([*words, str((each / "cwd").readlink())]):
                name = next((word for word in ("run", "page", "verify") if word in words), Path(words[0]).name)
                found[name] = found.get(name, 0.0) + cpu_seconds(int(each.name))
    return found


def archived(log: Path) -> dict[str, float]:
    """Return when each task was archived."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"task.archived"' in line]
    return {line["task_id"]: datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines}


if __name__ == "__main__":
    main()
