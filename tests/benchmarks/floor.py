"""What no Python can go below: bare sockets that move the bytes from the origin to the sink, and one SHA-256 of them.

    .venv/bin/python -m tests.benchmarks.floor [--pairs 3]

No HTTP but fixed heads, no checks, no ledger, nothing imported but the standard library. Each way is a process of
its own, as in `peers`; beside them what rclone takes on the same work, where it is on PATH.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import shutil
import socket
import ssl
import statistics
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.backfill import measured
from tests.benchmarks.ground import BUCKET, Ground, ground, memory_folder
from tests.benchmarks.peers import THREADS, WORKS, Work, prepare, rclone_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--move", nargs=5, metavar=("URLS", "SIZE", "SINK", "CA", "HASH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.move:
        urls, size, sink, ca, hashed = options.move
        move(Path(urls), int(size), sink, ca, hashed=hashed == "hash")
        return
    with memory_folder() as folder, ground(folder) as site:
        for name, work in WORKS.items():
            compare(site, name, work, options.pairs)


def compare(site: Ground, name: str, work: Work, pairs: int) -> None:
    """Print the medians of all ways on one work."""
    costs: dict[str, list[float]] = {}
    for number in range(pairs):
        run = prepare(site, work, number, "192MiB")
        bare = [sys.executable, "-m", "tests.benchmarks.floor", "--move", str(run.urls), str(work.size), run.sink]
        ways = {how: [*bare, str(site.ca), how] for how in ("bare", "hash")}
        if shutil.which("rclone"):
            ways["rclone"] = rclone_of(site, run)
        for way, command in ways.items():
            costs.setdefault(way, []).append(measured(command, site.env()).cpu)
    told = ", ".join(f"{way} {statistics.median(cpus):.2f} CPU-s" for way, cpus in costs.items())
    print(f"{name}: {told}", flush=True)


def move(urls: Path, size: int, sink: str, ca: str, *, hashed: bool) -> None:
    """Move every file of the list in THREADS threads."""
    lines = [line.split(",") for line in urls.read_text().splitlines()]
    numbers = itertools.count()
    trust = ssl.create_default_context(cafile=ca) if sink.startswith("https") else None

    def work() -> None:
        ends: dict[str, socket.socket] = {}
        buffer = memoryview(bytearray(size))
        while (number := next(numbers)) < len(lines):
            url, key = lines[number]
            _fetch(_end(ends, url, trust), urlsplit(url).path, buffer)
            digest = hashlib.sha256(buffer).hexdigest() if hashed else ""
            _put(_end(ends, sink, trust), f"/{BUCKET}/{key}", buffer, digest)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _end(ends: dict[str, socket.socket], url: str, trust: ssl.SSLContext | None) -> socket.socket:
    place = urlsplit(url)
    if place.netloc not in ends:
        sock = socket.create_connection((place.hostname or "", place.port or 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ends[place.netloc] = trust.wrap_socket(sock, server_hostname=place.hostname) if trust else sock
    return ends[place.netloc]


def _fetch(sock: socket.socket, path: str, buffer: memoryview) -> None:
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = b"".join(_head(sock))
    got = len(head) - head.index(b"\r\n\r\n") - 4
    buffer[:got] = head[len(head) - got :]
    while got < len(buffer):
        got += sock.recv_into(buffer[got:])


def _put(sock: socket.socket, path: str, buffer: memoryview, digest: str) -> None:
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(buffer)}\r\nx-digest: {digest}\r\n\r\n"
    sock.sendall(head.encode())
    sock.sendall(buffer)
    list(_head(sock))


def _head(sock: socket.socket) -> Iterator[bytes]:
    tail = b""
    while b"\r\n\r\n" not in tail:
        block = sock.recv(4096)
        if not block:
            raise SystemExit("a server hung up")
        tail = tail[-3:] + block
        yield block


if __name__ == "__main__":
    main()
