"""What the daemon takes while there is nothing to do: memory, and CPU by the time of its own process.

.venv/bin/python -m tests.benchmarks.idle [--seconds 600]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from archiver.settings import load
from tests import ROOT
from tests.benchmarks.ground import ground, memory_folder
from tests.benchmarks.peers import settings
from tests.house import note_proof

MOST = 90.0
"""MB that are promised."""
WARM_UP = 15.0
"""Seconds until the start is surely over."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    seconds = parser.parse_args().seconds
    with memory_folder() as folder, ground(folder) as site:
        (folder / "queue.txt").touch()
        config = folder / "archiver.toml"
        config.touch(mode=0o600)
        config.write_text(settings(site, folder, site.sink, "192MiB"))
        command = [sys.executable, "-m", "archiver", "--config", str(config)]
        # The sink keeps nothing to prove the store by: an unproven one would be paused, and probed.
        note_proof(load(config, site.env()).settings, now=datetime.now(UTC))
        process = subprocess.Popen([*command, "run"], env=site.env(), cwd=ROOT)
        try:
            time.sleep(WARM_UP)
            began, before = time.monotonic(), cpu_seconds(process.pid)
            time.sleep(seconds)
            taken = resident_mb(process.pid)
            share = (cpu_seconds(process.pid) - before) / (time.monotonic() - began)
            print(f"{taken:.0f} MB resident, {share:.2%} of a core over {seconds:.0f} s")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    if taken > MOST:
        raise SystemExit(f"more than the {MOST:.0f} MB that are promised")


def cpu_seconds(pid: int) -> float:
    """Return user + sys of a living process, as Linux counts them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Return VmRSS in MB of 2**20 bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main()
