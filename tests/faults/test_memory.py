"""What the service takes from its machine: memory that grows with nothing, a quick start, a flat week.

What can be promised of memory: it does not grow with the number of ids, and with the size of a stem only
up to the size of its buffer (store.part_size for large ones); all buffers together never take more than
download.buffer_budget. So sizes are compared with one transfer at a time, and many transfers with the budget.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archiver.core.intake import Intake
from archiver.demo.emulator import Emulator
from archiver.demo.records import EmulatedTask
from archiver.demo.seaweed import S3Server
from tests.fixtures.ledgers import accept, archive_all, tid
from tests.house import ready_ledger_at
from tests.worlds.site import Site, stems_of

pytestmark = pytest.mark.timeout(300)

MB = 1_000_000
MIB = 1 << 20

_MEASURE = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""
"""Run by an interpreter as small as can be: a child's peak begins with that of whoever forked it."""


@pytest.fixture
def site(tmp_path: Path, s3_server: S3Server, bucket: str) -> Iterator[Site]:
    with Emulator() as emulator:
        site = Site(tmp_path, s3_server, bucket, emulator)
        site.prove()  # which holds 16 MiB for a moment, once a day
        yield site


def peak(site: Site, *words: str) -> float:
    """Run a command to its end and return the most memory it ever held, in MiB."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _MEASURE, *site.command(*words)],
        env=site.env,
        cwd=site.folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    code, kilobytes = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr[-2000:]
    return int(kilobytes) / 1024


def backfill_of(site: Site, *, stems: int, size: int, concurrency: int) -> float:
    """Return the peak of a backfill of one task with so many stems of so many bytes."""
    name = f"size-{size:012}"
    task = EmulatedTask(task_id=name, stems=stems_of(*(f"stem{n}" for n in range(stems)), size=size, seed=name))
    site.emulator.add(task)
    site.queue.write_text(f"{name}\n")
    site.configure(download={"concurrency": concurrency, "max_stem_bytes": "2GiB"})
    return peak(site, "backfill", "--json")


def compared(what: str, peaks: dict[int, float], within: float) -> None:
    """Print the peaks and assert that the largest is not that much above the first."""
    print(f"\npeak RSS by {what}: " + ", ".join(f"{key:,}: {mib:.0f} MiB" for key, mib in peaks.items()))
    first = next(iter(peaks.values()))
    assert max(peaks.values()) <= first * (1 + within), peaks
    assert min(peaks.values()) >= first * (1 - within), peaks


def test_peak_memory_does_not_grow_with_the_size_of_a_stem(site: Site) -> None:
    peaks = {size: backfill_of(site, stems=1, size=size, concurrency=1) for size in (1 * MB, 64 * MB, 256 * MB)}
    compared("stem's size", peaks, within=0.10)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_peak_memory_of_a_stem_of_a_gigabyte_is_that_of_one_of_a_megabyte(site: Site) -> None:
    peaks = {size: backfill_of(site, stems=1, size=size, concurrency=1) for size in (1 * MB, 1000 * MB)}
    compared("stem's size", peaks, within=0.10)


def test_peak_memory_of_many_transfers_at_once_stays_within_the_budget(site: Site) -> None:
    alone = backfill_of(site, stems=1, size=1 * MB, concurrency=1)
    budget = 32 * MIB
    site.configure(download={"buffer_budget": budget})
    together = backfill_of(site, stems=16, size=20 * MB, concurrency=16)
    print(f"\npeak RSS: one small transfer {alone:.0f} MiB, sixteen large ones {together:.0f} MiB")
    assert together <= alone + budget / MIB + 24, "the rest is threads, connections, and what they have in flight"


# --- many ids


def finished(site: Site, count: int) -> None:
    """Give the site a ledger with so many archived tasks of two stems, and a queue file that names them all."""
    site.ledger.parent.mkdir(mode=0o700, exist_ok=True)
    ids = tuple(tid(number) for number in range(count))
    with closing(ready_ledger_at(f"sqlite:///{site.ledger}")) as ledger:
        accept(ledger, Intake(ids=ids), now=datetime.now(UTC))
        archive_all(ledger)
    site.queue.write_text("".join(f"{name}\n" for name in ids))


def test_peak_memory_does_not_grow_with_the_number_of_finished_ids(site: Site) -> None:
    peaks = {}
    for count in (1_000, 100_000):
        site.ledger.unlink(missing_ok=True)
        finished(site, count)
        peaks[count] = peak(site, "backfill", "--json")
    assert site.emulator.requests == []
    compared("finished ids", peaks, within=0.20)


def test_restart_with_a_hundred_thousand_tasks_works_within_two_seconds(site: Site) -> None:
    finished(site, 100_000)
    fresh = EmulatedTask(task_id="fresh-task-1", stems=stems_of("vocal"))
    site.emulator.add(fresh)
    assert site.run("backfill", "-", "--no-wait", stdin="").code == 0  # so that all modules are compiled
    with closing(ready_ledger_at(f"sqlite:///{site.ledger}")) as ledger:
        accept(ledger, Intake(ids=(tid(100_001),)), now=datetime.now(UTC))
    began = time.monotonic()
    with site.daemon() as process:
        while not site.emulator.requests:
            assert process.popen.poll() is None, process.log
            time.sleep(0.005)
        took, waited = site.emulator.requests[0].at - began, _waited_for_a_processor(process.popen.pid)
        process.stop()
    print(f"\nfirst work {took:.2f} s after the start with 100,001 tasks, {waited:.2f} s of it in line for a processor")
    assert took - waited < 2


def _waited_for_a_processor(pid: int) -> float:
    """Seconds that the busiest thread was ready to run and others ran: no fault of ours on a loaded machine."""
    runs = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return max((int(ran), int(waited)) for ran, waited, _ in runs)[1] / 1e9
