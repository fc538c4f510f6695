"""Backups that a process of its own writes: the same bytes, each fault told, and gone when nobody wants it any more."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from statistics import median
from threading import Thread

import pytest

from archiver.adapters.ledger import BackupsApart
from archiver.adapters.ledger.apart import pauses
from archiver.core.backup import BackupReader, Scope
from archiver.core.errors import Interrupted, LedgerFault
from archiver.core.intake import Intake
from tests.fixtures.ledgers import NOW, claim, listed, open_ledger, release, take_in, tid
from tests.house import Ledger

OPEN_TASKS = 100_000


def _url(folder: Path) -> str:
    return f"sqlite:///{folder}/ledger.db"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(open_ledger(tmp_path)) as ledger:
        take_in(ledger, 1, 2, 3)
        listed(ledger, 1, "vocal", "drums")
        yield ledger


def _children() -> set[int]:
    pid = os.getpid()
    return {
        int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()
    }


def test_backup_apart_is_the_one_that_this_process_would_write_while_it_writes_on(
    ledger: Ledger, tmp_path: Path
) -> None:
    mine: list[bytes] = []
    apart: list[bytes] = []
    calls: list[None] = []
    here = ledger.backups.write(Scope.OPEN, mine.append, now=NOW, version="1")
    there = BackupsApart(_url(tmp_path)).write(
        Scope.OPEN, apart.append, now=NOW, version="1", rest=lambda: calls.append(None)
    )
    assert there == here == BackupReader(apart).check()
    assert b"".join(apart) == b"".join(mine)
    assert calls


def test_backup_that_its_caller_gives_up_leaves_no_process(ledger: Ledger, tmp_path: Path) -> None:
    before, seen = _children(), set[int]()

    def rest() -> None:
        seen.update(_children() - before)
        raise Interrupted

    with pytest.raises(Interrupted):
        BackupsApart(_url(tmp_path)).write(Scope.OPEN, lambda _: None, now=NOW, version="1", rest=rest)
    assert len(seen) == 1
    assert not seen & _children()


def test_fault_of_the_ledger_is_told_and_makes_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerFault, match="there is no ledger at") as raised:
        BackupsApart(_url(tmp_path)).write(Scope.OPEN, lambda _: None, now=NOW, version="1")
    assert raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_process_that_dies_is_a_fault_with_its_exit_code(tmp_path: Path) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nprintf '\\000\\000\\000\\010half'\nexit 9\n")
    dying.chmod(0o700)
    with pytest.raises(LedgerFault, match=r"died \(exit code 9\)"):
        BackupsApart(_url(tmp_path), str(dying)).write(Scope.OPEN, lambda _: None, now=NOW, version="1")


def test_process_that_cannot_be_started_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        BackupsApart(_url(tmp_path), str(tmp_path / "none")).write(Scope.OPEN, lambda _: None, now=NOW, version="1")


def test_pauses_of_a_backup_are_as_long_as_it_computed_before_each() -> None:
    clock, slept = iter((1.0, 1.5, 1.6, 1.8, 1.8)), list[float]()
    rest = pauses(clock.__next__, slept.append)
    rest()
    rest()
    assert slept == pytest.approx([0.5, 0.2])


TELLS_OF_ITS_SLEEP = """
import sys, time
log, sleep = open({log!r}, "w", buffering=1), time.sleep
def told(seconds):
    print(seconds, file=log)
    sleep(seconds)
time.sleep = told
exec(sys.argv[1])
"""


def test_process_that_writes_a_backup_sleeps_after_each_part_of_it(ledger: Ledger, tmp_path: Path) -> None:
    log, python = tmp_path / "slept", tmp_path / "python"
    (tmp_path / "program.py").write_text(TELLS_OF_ITS_SLEEP.format(log=str(log)))
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{tmp_path}/program.py" "$3"\n')
    python.chmod(0o700)
    found = BackupsApart(_url(tmp_path), str(python)).write(Scope.OPEN, lambda _: None, now=NOW, version="1")
    slept = [float(line) for line in log.read_text().splitlines()]
    assert len(slept) >= sum(rows > 0 for rows in found.rows.values())
    assert all(0 <= each < 10 for each in slept)


# --- how dear it is


def _claims(ledger: Ledger, number: int) -> tuple[float, float]:
    """The seconds, and those of CPU, that a claim takes."""
    began, cpu = time.perf_counter(), time.thread_time()
    for _ in range(number):
        claim(ledger, now=NOW + timedelta(seconds=1))
    spent = (time.perf_counter() - began) / number, (time.thread_time() - cpu) / number
    release(ledger)
    return spent


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_claims_hardly_notice_a_backup_of_many_open_tasks(tmp_path: Path) -> None:
    peaks: list[float] = []
    seconds: list[float] = []
    pairs: list[list[float]] = []

    def rest() -> None:
        for child in _children():
            with suppress(OSError):
                status = Path(f"/proc/{child}/status").read_text()
                peaks.extend(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def take() -> None:
        began = time.monotonic()
        BackupsApart(_url(tmp_path)).write(Scope.OPEN, lambda _: None, now=NOW, version="1", rest=rest)
        seconds.append(time.monotonic() - began)

    with closing(open_ledger(tmp_path)) as ledger:
        ledger.intakes.take_in(Intake(ids=tuple(map(tid, range(OPEN_TASKS)))), source="queue", now=NOW)
        for _ in range(8):
            alone = _claims(ledger, 500)
            backup = Thread(target=take)
            backup.start()
            while not peaks:
                time.sleep(0.1)
            while backup.is_alive():
                beside = _claims(ledger, 500)
                pairs.append([b / a for a, b in zip(alone, beside, strict=True)])
            backup.join()
    wall, cpu = (median(each) for each in zip(*pairs, strict=True))
    load = os.getloadavg()[0]
    print(
        f"\n{OPEN_TASKS} open tasks: a backup takes {median(seconds):.1f} s and {max(peaks):.0f} MB; claims take "
        f"{wall:.2f} times as long beside it, and {cpu:.2f} times as much CPU (load {load:.1f})"
    )
    assert max(peaks) <= 64
    assert cpu < 1.5
