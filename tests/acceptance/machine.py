"""A machine of its own that boots a real systemd: a container on this machine's network, held by its first process."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

UNIT = "stem-archiver.service"
STATE = "/var/lib/stem-archiver"


@dataclass(frozen=True, slots=True)
class Machine:
    """A booted machine."""

    image: Path
    leader: int
    """Its systemd, as this machine numbers it."""

    def run(self, *words: str, check: bool = True, stdin: str = "") -> str:
        """Run a command inside, as root; return what it printed."""
        done = subprocess.run(
            ["nsenter", "--target", str(self.leader), "--all", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        if check and done.returncode:
            raise AssertionError(f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}\n{self.journal()}")
        return done.stdout

    def systemctl(self, *words: str, check: bool = True) -> str:
        return self.run("systemctl", "--no-pager", *words, check=check)

    def shown(self, name: str, unit: str = UNIT) -> str:
        """Return a property of a unit."""
        return self.systemctl("show", "--value", "--property", name, unit).strip()

    def journal(self, unit: str = UNIT) -> str:
        """Return what a unit, and systemd of it, logged since `forget`."""
        return self.run("journalctl", "--no-pager", "--output=cat", "--boot", f"--unit={unit}", check=False)

    def said(self, words: str, unit: str = UNIT) -> bool:
        return words in self.journal(unit)

    def drop_in(self, unit: str, *lines: str) -> None:
        """Add lines to a unit."""
        folder = self.image / "etc/systemd/system" / f"{unit}.d"
        folder.mkdir(exist_ok=True)
        (folder / "test.conf").write_text("\n".join(lines) + "\n")
        self.systemctl("daemon-reload")

    def enqueue(self, *ids: str) -> None:
        """Append to the queue file, as root would on the machine."""
        self.run("sh", "-c", f"cat >> {STATE}/queue.txt", stdin="".join(f"{each}\n" for each in ids))

    def forget(self) -> None:
        """Stop all that is ours and take away its state, drop-ins and logs."""
        self.systemctl("stop", "stem-archiver*", check=False)
        self.systemctl("reset-failed", "stem-archiver*", check=False)
        for folder in (self.image / "etc/systemd/system").glob("*.d"):
            shutil.rmtree(folder)
        self.systemctl("daemon-reload")
        self.run("sh", "-c", f"rm -rf {STATE} /var/lib/private/stem-archiver")
        self.run("journalctl", "--rotate", check=False)
        self.run("journalctl", "--vacuum-time=1us", check=False)


def eventually(condition: Callable[[], bool], what: str, *, seconds: float = 120) -> None:
    """Wait until `condition` holds."""
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.2)


@contextmanager
def booted(image: Path, console: Path) -> Iterator[Machine]:
    """Boot `image`, and power it off at the end."""
    options = ["--quiet", "--register=no", "--keep-unit", "--console=pipe", "--resolv-conf=off", "--timezone=off"]
    with console.open("wb") as out:
        nspawn = subprocess.Popen(
            ["systemd-nspawn", *options, "--directory", str(image), "--boot"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={"PATH": os.environ["PATH"]},
        )
        try:
            machine = Machine(image, _leader(nspawn, console))
            eventually(
                lambda: machine.systemctl("is-system-running", check=False).strip() in {"running", "degraded"},
                "the machine is up",
            )
            yield machine
        finally:
            nspawn.terminate()  # asks the inner systemd to power off
            try:
                nspawn.wait(60)
            except subprocess.TimeoutExpired:
                nspawn.kill()
                nspawn.wait()


def _leader(nspawn: subprocess.Popen[bytes], console: Path) -> int:
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    found: list[int] = []

    def boots() -> bool:
        if nspawn.poll() is not None:
            raise AssertionError(f"it does not boot:\n{console.read_text(errors='replace')}")
        found[:] = [int(pid) for pid in children.read_text().split()]
        return bool(found) and Path(f"/proc/{found[0]}/comm").read_text().strip() == "systemd"

    eventually(boots, "the machine's first process")
    return found[0]
