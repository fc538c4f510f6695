"""Backfill of N stems against SeaweedFS, next to a plain loop of httpx.stream + upload_fileobj, in one run.

    .venv/bin/python -m tests.benchmarks.backfill [--stems 300] [--size 5000000] [--pairs 1]

Each way runs as a process of its own, whole: Python's start included. Prints stems/s, MB/s and
CPU-seconds (user + sys) a GB of 1e9 bytes, and the ratios. The plain loop is given its URLs; the
backfill asks for the records too, and verifies, checksums and writes down what it does.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT

STEMS_A_TASK = 12
THREADS = 16
GB = 1e9


@dataclass(frozen=True, slots=True)
class Cost:
    """What one way took."""

    seconds: float
    cpu: float
    peak_rss: int

    def line(self, name: str, stems: int, size: int) -> str:
        total = stems * size
        return (
            f"{name:<28} {stems / self.seconds:8.1f} stems/s {total / self.seconds / 1e6:8.1f} MB/s "
            f"{self.cpu / (total / GB):7.2f} CPU-s/GB {self.peak_rss / 1024:7.0f} MB peak"
        )


@dataclass(frozen=True, slots=True)
class Site:
    """Where the emulated provider is, and what it serves."""

    base_url: str
    cdn_url: str
    api_key: str
    task_ids: Sequence[str]


def measured(command: Sequence[str], env: Mapping[str, str], *, ends_with: int = 0) -> Cost:
    """Run a command to its end and return what it cost; exit when it ends with another code."""
    with tempfile.TemporaryFile() as err:
        began = time.monotonic()
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=err, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != ends_with:
            err.seek(0)
            raise SystemExit(f"{command} failed:\n{err.read().decode()[-3000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def plain(urls: Path, bucket: str, endpoint: str) -> None:
    """What most people write: stream the body and hand it to upload_fileobj, in 16 threads."""
    import boto3
    import httpx
    from botocore.config import Config

    # Over TLS boto3's own checksums would be sent in chunks, at twice the cost, and which the sink does not take.
    checksums = "when_required" if endpoint.startswith("https") else "when_supported"
    config = Config(
        max_pool_connections=THREADS * 10,
        s3={"addressing_style": "path"},
        request_checksum_calculation=checksums,  # type: ignore[arg-type]  # one of two literals
    )
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)
    trust = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
    http = httpx.Client(limits=httpx.Limits(max_connections=THREADS), timeout=60, trust_env=False, verify=trust)

    class Reader:
        def __init__(self, response: httpx.Response) -> None:
            self.chunks = response.iter_raw(1 << 20)
            self.left = b""

        def read(self, size: int = -1) -> bytes:
            while size < 0 or len(self.left) < size:
                chunk = next(self.chunks, None)
                if chunk is None:
                    break
                self.left += chunk
            cut = len(self.left) if size < 0 else size
            piece, self.left = self.left[:cut], self.left[cut:]
            return piece

    def one(line: str) -> None:
        url, key = line.split()
        for left in (2, 1, 0):
            try:
                with http.stream("GET", url) as response:
                    response.raise_for_status()
                    client.upload_fileobj(Reader(response), bucket, key)  # type: ignore[arg-type]  # all it needs is read()
            except httpx.TransportError:
                if not left:
                    raise
            else:
                return

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, urls.read_text().splitlines()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stems", type=int, default=300)
    parser.add_argument("--size", type=int, default=5_000_000)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--plain", nargs=3, metavar=("URLS", "BUCKET", "ENDPOINT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain(Path(options.plain[0]), *options.plain[1:])
        return
    compare(options.stems, options.size, options.pairs)


def compare(stems: int, size: int, pairs: int) -> None:
    """Start the ground, run both ways in turn, print the figures and the ratios."""
    from archiver.demo.seaweed import seaweed

    tasks = -(-stems // STEMS_A_TASK)
    with tempfile.TemporaryDirectory() as name, seaweed(Path(name) / "s3") as s3:
        folder = Path(name)
        ground = _emulator(folder, tasks, size)
        try:
            site = Site(**json.loads((folder / "ports.json").read_text()))
            env = os.environ | {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
            for pair in range(pairs):
                bucket = f"bench-{pair}"
                s3.client().create_bucket(Bucket=bucket)
                urls = _urls(folder, site)
                script = [sys.executable, "-m", "tests.benchmarks.backfill", "--plain", str(urls), bucket]
                theirs = measured([*script, s3.endpoint_url], env)
                ours = measured(_backfill(folder, site, bucket, s3.endpoint_url, pair), env)
                done = tasks * STEMS_A_TASK
                print(ours.line("stem-archiver backfill", done, size))
                print(theirs.line("httpx.stream + upload_fileobj", done, size))
                print(f"ratio ours/plain: wall {ours.seconds / theirs.seconds:.2f}, CPU {ours.cpu / theirs.cpu:.2f}")
        finally:
            ground.terminate()
            ground.wait()


def _emulator(folder: Path, tasks: int, size: int) -> subprocess.Popen[bytes]:
    ports = folder / "ports.json"
    words = ["--port-file", str(ports), "--tasks", str(tasks), "--stems", str(STEMS_A_TASK), "--size", str(size)]
    process = subprocess.Popen([sys.executable, "-m", "archiver.demo.emulator", *words], cwd=ROOT)
    while not (ports.exists() and ports.stat().st_size):
        if process.poll() is not None:
            raise SystemExit("the emulator did not start")
        time.sleep(0.1)
    return process


def _urls(folder: Path, site: Site) -> Path:
    import httpx

    from archiver.core.records.envelope import read_envelope
    from archiver.core.records.record import record_of

    lines = []
    headers = {"Authorization": f"Bearer {site.api_key}", "User-Agent": "bench"}
    with httpx.Client(base_url=site.base_url, headers=headers, trust_env=False) as api:
        for task_id in site.task_ids:
            answer = api.get("/api/v1/vocal-removal/record-info", params={"taskId": task_id})
            record = record_of(read_envelope(answer.content).data)
            lines += [f"{stem.url} plain/{task_id}/{stem.name}.mp3" for stem in record.stems]
    (folder / "urls").write_text("\n".join(lines) + "\n")
    return folder / "urls"


def _backfill(folder: Path, site: Site, bucket: str, endpoint: str, pair: int) -> list[str]:
    (folder / "ids").write_text("".join(f"{task_id}\n" for task_id in site.task_ids))
    config = folder / f"archiver-{pair}.toml"
    config.touch(mode=0o600)
    config.write_text(
        f"""
[provider]
base_url = "{site.base_url}"
api_key = "{site.api_key}"
requests_per_10s = 1000
[store]
bucket = "{bucket}"
prefix = "ours/"
endpoint_url = "{endpoint}"
region = "us-east-1"
addressing_style = "path"
[download]
allow_http = true
allow_private_addresses = true
[ledger]
url = "sqlite:///{folder}/ledger-{pair}.db"
[log]
level = "warning"
"""
    )
    return [sys.executable, "-m", "archiver", "--config", str(config), "backfill", str(folder / "ids")]


if __name__ == "__main__":
    main()
