"""`rebuild` of many tasks as a process, out of a bucket whose own work is small: one that nginx reads out of memory.

    .venv/bin/python -m tests.benchmarks.rebuild [--tasks 20000] [--pairs 2] [--peer CHECKOUT] [--seaweed]

The peer is another checkout of this project, by the Python in its .venv: what a change costs. The two run in turn, each
into a ledger of its own. CPU is user + sys of the command and of the processes that it started; memory is the sum of
their proportional shares (PSS), looked at four times a second. `--seaweed` puts the same manifests into SeaweedFS, a
real S3 server, which takes a share of the machine for itself.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT
from tests.benchmarks.ground import BUCKET, CREDENTIALS, memory_folder
from tests.benchmarks.reading import PREFIX, objects_of, reading, settings
from tests.fixtures.ledgers import tid
from tests.property.test_rebuild_scale import manifest

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took."""

    seconds: float
    cpu: float
    memory: float
    """MB of all its processes together, at most."""

    def line(self, tasks: int) -> str:
        each, minutes = self.cpu / tasks * 1000, MILLION / tasks / 60
        return (
            f"{self.seconds:6.1f} s, {self.cpu:6.1f} CPU-s ({each:.2f} ms a task), {self.memory:.0f} MB: "
            f"a million takes {self.seconds * minutes:.1f} min and {self.cpu * minutes:.1f} min of CPU"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--peer", type=Path, help="another checkout")
    parser.add_argument("--seaweed", action="store_true")
    options = parser.parse_args()
    checkouts = {"ours": ROOT} | ({"peer": options.peer.resolve()} if options.peer else {})
    with memory_folder() as folder, (seaweed_of if options.seaweed else nginx_of)(folder, options.tasks) as (url, env):
        costs: dict[str, list[Cost]] = {name: [] for name in checkouts}
        for number in range(options.pairs):
            for name, checkout in checkouts.items():
                costs[name].append(rebuilt(checkout, settings(folder / f"{name}-{number}", url), env, options.tasks))
                print(f"{name:<5} {costs[name][-1].line(options.tasks)}", flush=True)
    if options.peer:
        both = list(zip(costs["ours"], costs["peer"], strict=True))
        wall = statistics.median(ours.seconds / peer.seconds for ours, peer in both)
        cpu = statistics.median(ours.cpu / peer.cpu for ours, peer in both)
        print(f"ratio ours/peer: wall {wall:.2f}, CPU {cpu:.2f}")


@contextmanager
def nginx_of(folder: Path, tasks: int) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Lay so many manifests down, and serve them; yield address and environment."""
    ids = [tid(number) for number in range(tasks)]
    for task in ids:
        own = objects_of(folder) / task
        own.mkdir(parents=True)
        (own / "manifest.json").write_bytes(manifest(task))
    with reading(folder, ids) as served:
        yield served


@contextmanager
def seaweed_of(folder: Path, tasks: int) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The same in a real server."""
    from archiver.demo.seaweed import seaweed

    with seaweed(folder / "s3") as s3:
        client = s3.client(max_pool_connections=8)
        client.create_bucket(Bucket=BUCKET)

        def put(number: int) -> None:
            task = tid(number)
            client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{task}/manifest.json", Body=manifest(task))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, range(tasks)))
        keys = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
        yield s3.endpoint_url, CREDENTIALS | keys


def rebuilt(checkout: Path, config: Path, env: Mapping[str, str], tasks: int) -> Cost:
    """Run the command of that checkout to its end."""
    words = [str(checkout / ".venv/bin/python"), "-P", "-m", "archiver", "--config", str(config), "rebuild", "--json"]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    quiet = {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"}
    before, began, most = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0.0
    with subprocess.Popen(words, env=kept | quiet | dict(env), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        while process.poll() is None:
            most = max(most, memory_of(process.pid))
            time.sleep(0.25)
        seconds, said = time.monotonic() - began, process.stdout.read()
    if process.returncode or f'"archived": {tasks}' not in said:
        raise SystemExit(f"rebuild ended with {process.returncode}: {said}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, cpu, most)


def memory_of(pid: int) -> float:
    """Return the MB that a process and its children hold, by the kernel."""
    total = 0.0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            total += int(line.split()[1]) / 1024 if line.startswith("Pss:") else 0
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for task in Path(f"/proc/{pid}/task").iterdir():
            if task.name != str(pid):
                children += (task / "children").read_text().split()
    except (OSError, ValueError):
        return total
    return total + sum(memory_of(int(child)) for child in children)


if __name__ == "__main__":
    main()
