"""The same pairs as `peers`, over a long line: 1 Gbit/s each way, 50 ms round trip, 0.1 % of the packets lost.

    .venv/bin/python -m tests.benchmarks.line [WORK...] [--pairs 1] [--ms 50] [--loss 0.1] [--mbit 1000]

Servers and clients get a network namespace each, with a device of line.c between them: real TCP (CUBIC) waits and
loses. Needs Linux, root and /dev/net/tun, beside what `peers` needs. What bounds a transfer here is its connection:
a stem of ours is fetched, then put, while rclone does both at once, and so has two connections a transfer. With the
defaults both have 32.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests import ROOT
from tests.benchmarks.ground import Ground, ground, memory_folder
from tests.benchmarks.peers import MIB, PEERS, Run, Work, checkout_of, compare

NEAR, FAR = "10.77.7.2", "10.77.7.1"
DEVICES = ("far", "near")
WORKS = {
    "5MiB": Work(192, 5 * MIB),
    "50MiB": Work(24, 50 * MIB),
    "5MiB-tls": Work(192, 5 * MIB, tls=True),
}
_APART = "ARCHIVER_BENCHMARK_LINE"
"""Set in the process that has its own namespace."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("works", nargs="*", default=[], metavar="WORK", help=f"of {', '.join(WORKS)}; default: all")
    parser.add_argument("--peer", default="rclone", help=f"{', '.join(PEERS)}, or the path of another checkout")
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of files")
    parser.add_argument("--transfers", type=int, default=32, help="of ours, at one time")
    parser.add_argument("--peer-transfers", type=int, default=16, help="of rclone's")
    parser.add_argument("--ms", type=float, default=50.0, help="of the round trip")
    parser.add_argument("--loss", type=float, default=0.1, help="percent of the packets, each way")
    parser.add_argument("--mbit", type=float, default=1000.0, help="a second, each way")
    options = parser.parse_args()
    if missing := [tool for tool in ("ip", "unshare", "nsenter", "gcc") if shutil.which(tool) is None]:
        raise SystemExit(f"skipped: needs {', '.join(missing)} on PATH")
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        raise SystemExit("skipped: needs root and /dev/net/tun")
    if _APART not in os.environ:
        words = ["unshare", "--net", sys.executable, "-m", "tests.benchmarks.line", *sys.argv[1:]]
        raise SystemExit(subprocess.run(words, cwd=ROOT, env=os.environ | {_APART: "1"}, check=False).returncode)
    named = PEERS.get(options.peer) or checkout_of(Path(options.peer).resolve())

    def peer(site: Ground, run: Run) -> list[str]:
        return named(site, replace(run, threads=options.peer_transfers))

    long = line(options.mbit, options.ms, options.loss)
    with memory_folder() as folder, long as near, ground(folder, FAR) as site:
        for name in options.works or WORKS:
            stems = max(1, round(WORKS[name].stems * options.scale))
            work = replace(WORKS[name], stems=stems, threads=options.transfers)
            print(f"{name}: {work.stems} stems, {options.peer}, {options.pairs} pairs", flush=True)
            compare(site, work, peer, options.pairs, "192MiB", within=near)


@contextmanager
def line(mbit: float, ms: float, percent: float) -> Iterator[Sequence[str]]:
    """Yield the words before a command that have it run at the near end of a line whose far end is here."""
    with tempfile.TemporaryDirectory() as folder, _ended(["unshare", "--net", "sleep", "infinity"]) as apart:
        namespace = f"/proc/{apart.pid}/ns/net"
        while Path(namespace).readlink() == Path("/proc/self/ns/net").readlink():
            os.sched_yield()
        program = f"{folder}/line"
        subprocess.run(["gcc", "-O2", "-o", program, Path(__file__).with_name("line.c")], check=True)
        near = ["nsenter", f"--net={namespace}"]
        with _ended([program, *DEVICES, namespace, str(mbit), str(ms / 2), str(percent * 10)]) as carrier:
            if carrier.stdout is None or carrier.stdout.readline() != b"ready\n":
                raise SystemExit("the line did not come up")
            _set_up([], DEVICES[0], FAR, NEAR)
            _set_up(near, DEVICES[1], NEAR, FAR)
            yield near


@contextmanager
def _ended(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def _set_up(words: Sequence[str], device: str, own: str, other: str) -> None:
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "link", "set", device, "up", "txqueuelen", "10000"],
        ["ip", "address", "add", own, "dev", device],
        ["ip", "route", "add", other, "dev", device, "congctl", "cubic"],
    ):
        subprocess.run([*words, *command], check=True)


if __name__ == "__main__":
    main()
