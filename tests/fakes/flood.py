"""A flood of connections, from a process of its own: so many a second, so many held at one time, for so long.

Run as `python -m tests.fakes.flood HOST PORT KIND RATE HELD SECONDS`; prints how many were opened.
"""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import ROOT

CALLBACK = "/callbacks/vocal-removal"

KINDS = {
    "silent": b"",
    "begun": b"GET /healthz HTT",
    "headless": b"POST " + CALLBACK.encode() + b" HTTP/1.1\r\nHost: flood\r\nX-Endless: " + b"a" * 12_000,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "bodiless": b"POST " + CALLBACK.encode() + b" HTTP/1.1\r\nHost: flood\r\nContent-Length: 60000\r\n\r\n{",
    "rubbish": b"\x00\xff{}\r\n\r\n",
    "metrics": b"GET /metrics HTTP/1.1\r\nHost: flood\r\n\r\n",
    "healthz": b"GET /healthz HTTP/1.1\r\nHost: flood\r\n\r\n",
    "unsigned": b"POST " + CALLBACK.encode() + b" HTTP/1.1\r\nHost: flood\r\nContent-Length: 2\r\n\r\n{}",
}
"""What each connection sends before it falls silent."""


_BEGUN = 100


def flood(host: str, port: int, kind: str, rate: float, held: int, seconds: float) -> int:
    """Open `rate` connections a second, hold the newest `held` of them, and return how many were opened."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    open_ones: deque[socket.socket] = deque()
    began, opened = time.monotonic(), 0
    while (spent := time.monotonic() - began) < seconds:
        while opened < rate * spent:
            open_ones.append(_begin(host, port, KINDS[kind]))
            opened += 1
            if opened == _BEGUN:
                print("begun", flush=True)
            if len(open_ones) > held:
                open_ones.popleft().close()
        time.sleep(0.002)
    for each in open_ones:
        each.close()
    return opened


def _begin(host: str, port: int, said: bytes) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex((host, port))
    with suppress(OSError):  # not connected yet, or refused: it is a silent one then
        connection.send(said)
    return connection


@contextmanager
def flooded(address: str, kind: str, *, rate: float, held: int, seconds: float = 60) -> Iterator[subprocess.Popen[str]]:
    """Flood an address while this lasts, `seconds` at most, once the first hundred have come."""
    host, _, port = address.rpartition(":")
    words = [sys.executable, "-m", "tests.fakes.flood", host, port, kind, str(rate), str(held), str(seconds)]
    with subprocess.Popen(words, cwd=ROOT, text=True, stdout=subprocess.PIPE) as popen:
        try:
            assert popen.stdout is not None
            assert popen.stdout.readline() == "begun\n"
            yield popen
        finally:
            popen.terminate()


def descriptors_of(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


if __name__ == "__main__":
    host, port, kind, rate, held, seconds = sys.argv[1:]
    print(flood(host, int(port), kind, float(rate), int(held), float(seconds)))
