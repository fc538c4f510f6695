"""Faults of the host that only a process of its own can meet: full disks, limits, permissions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from archiver.demo.records import EmulatedTask
from tests.faults.matrix import End, Hop, Seen
from tests.worlds.site import Finished, Site, measured, stems_of

TASKS = 6
"""Enough to outgrow what the limits below leave."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What the host denies a process."""

    name: str
    end: End
    reason: str
    """What the process says of it."""
    wrap: Callable[[Site], Sequence[str]]
    """The words before the command that put it under the limit."""
    words: str = "backfill"
    mend: Callable[[Site], None] = lambda _: None
    deaf: bool = False
    """Whether standard error takes nothing."""
    hop: Hop = "host"
    tls: bool = False

    @property
    def title(self) -> str:
        return f"{self.hop}: {self.name}"


def carry_out_limit(row: Limit, site: Site) -> Seen:
    """Run the command under the limit, then plainly; nothing is lost, and nothing ended in silence."""
    tasks = [
        EmulatedTask(task_id=f"limited-{number:04}", stems=stems_of("vocal", "drums", seed=str(number)))
        for number in range(TASKS)
    ]
    site.emulator.add(*tasks)
    site.queue.write_text("".join(f"{task.task_id}\n" for task in tasks))
    done = _run(site, row)
    assert "Traceback" not in done.err, done.err
    if row.end is End.STOPPED:
        assert done.code == 3, done.err
        assert row.reason in done.err, done.err
        assert row.words != "run" or done.named("ledger.fault"), "the log says nothing of it"
    row.mend(site)
    again = site.run("backfill")
    assert again.code == 0, again.err
    site.oracles(*tasks)
    said = next((line for line in done.err.splitlines() if line.startswith("stem-archiver: ")), "")
    said = said.removeprefix("stem-archiver: ").replace(str(site.folder), "")
    return Seen(row.end, said[:90], timedelta())


def _run(site: Site, row: Limit) -> Finished:
    # Not part of a measurement of coverage: its own files would meet the limit, too.
    env = {name: value for name, value in site.env.items() if name not in measured()}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*row.wrap(site), *site.command(row.words)],
            env=env,
            cwd=site.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=full if row.deaf else subprocess.PIPE,
            timeout=60,
            check=False,
        )
    return Finished(done.returncode, done.stdout.decode(), (done.stderr or b"").decode())


def _shell(script: str, *words: str) -> Sequence[str]:
    return ["sh", "-c", script, "sh", *words]


def _ulimit(what: str) -> Callable[[Site], Sequence[str]]:
    return lambda _: _shell(f'ulimit {what} && exec "$@"')


def _small_disk(site: Site) -> Sequence[str]:
    """Put the ledger on a disk of 412 kB, and keep what it left."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("the right to mount is needed")
    state, kept = site.ledger.parent, site.folder / "kept"
    state.mkdir(mode=0o700)
    script = 'mount -t tmpfs -o size=412k,mode=700 none "$0" && { "$@"; code=$?; cp -a "$0" "$KEPT"; exit $code; }'
    return ["env", f"KEPT={kept}", "unshare", "-m", "sh", "-c", script, str(state)]


def _larger_disk(site: Site) -> None:
    site.ledger.parent.rmdir()
    (site.folder / "kept").rename(site.ledger.parent)


def _read_only(site: Site) -> Sequence[str]:
    """Take the right to write into the ledger's folder, from root too."""
    site.ledger.parent.mkdir(mode=0o500)
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def _writable(site: Site) -> None:
    site.ledger.parent.chmod(0o700)


def _limits() -> Iterator[Limit]:
    full = "the disk is full"
    yield Limit("the ledger's disk is full", End.STOPPED, full, _small_disk, words="run", mend=_larger_disk)
    yield Limit("files may not grow any more", End.STOPPED, "read or write error", _ulimit("-f 720"), words="run")
    yield Limit("there are too few file descriptors", End.STOPPED, "ulimit -n", _ulimit("-n 10"))
    yield Limit("the ledger's folder is read-only", End.STOPPED, "Permission denied", _read_only, mend=_writable)
    yield Limit("the log's disk is full", End.ARCHIVED, "", lambda _: [], deaf=True)


FAULTS = tuple(_limits())
