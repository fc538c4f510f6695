"""The rebuild of a ledger from the bucket, and the comparison of the two, composed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Final

from archiver.adapters.ledger import SqlLedger
from archiver.adapters.proving import ProvingProcesses
from archiver.app.adapters import folders_in, only_run
from archiver.app.ledger import open_ledger
from archiver.app.machine import THIS_MACHINE, Machine
from archiver.app.standing import seen_processes
from archiver.app.store import open_store
from archiver.core.errors import Interrupted, LedgerFault
from archiver.core.model import TaskId
from archiver.core.rebuilding import Found
from archiver.core.whole_task import WholeTask
from archiver.ports.runtime import EventLog
from archiver.preservation.comparison import Comparison
from archiver.preservation.looks import Looks
from archiver.preservation.rebuild import Rebuild
from archiver.preservation.task_folders import TaskFolders
from archiver.settings import Settings

_MOST_PROCESSES: Final = 2
"""A third would wait: to prove takes half as long again as to read and write, which is this one's."""


@contextmanager
def rebuilding(
    settings: Settings,
    log: EventLog,
    *,
    wait: Callable[[float], None],
    stopped: Callable[[], bool],
    shown: Callable[[Found], object],
    machine: Machine = THIS_MACHINE,
) -> Iterator[Rebuild]:
    """Open bucket and ledger, which nobody may work on; raise LedgerFault."""
    with (
        closing(open_ledger(settings, machine.checkpoint, machine.patience, log)) as ledger,
        only_run(settings, machine),
        _folders(settings, log, wait, machine) as folders,
    ):
        _refuse_busy(settings, ledger, machine)
        looks = Looks(folders, partial(_known, ledger), partial(_alive, stopped))
        with ProvingProcesses(_processes(), settings.store.prefix) as proving:
            yield Rebuild(
                looks, ledger.rebuilds, machine.clock, machine.monotonic, stopped, shown, proving=proving.proven
            )


@contextmanager
def comparing(
    settings: Settings,
    ledger: SqlLedger,
    log: EventLog,
    *,
    wait: Callable[[float], None],
    stopped: Callable[[], bool],
    shown: Callable[[Found], object],
    machine: Machine = THIS_MACHINE,
) -> Iterator[Comparison]:
    """Open the bucket beside a ledger that may be worked on."""
    with _folders(settings, log, wait, machine) as folders:
        yield Comparison(Looks(folders, alive=partial(_alive, stopped)), ledger.rebuilds, wait, stopped, shown)


@contextmanager
def _folders(
    settings: Settings, log: EventLog, wait: Callable[[float], None], machine: Machine
) -> Iterator[TaskFolders]:
    with closing(open_store(settings, log, replace(machine, sleep=wait))) as store:
        yield folders_in(store, settings, machine)


def _processes() -> int:
    return min(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, _MOST_PROCESSES
    )


def _known(ledger: SqlLedger, task: TaskId) -> WholeTask | None:
    return next(iter(ledger.rebuilds.whole([task])), None)


def _alive(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise Interrupted


def _refuse_busy(settings: Settings, ledger: SqlLedger, machine: Machine) -> None:
    """Raise LedgerFault where a process works on the ledger: it would take up tasks before all are there."""
    seen = seen_processes(settings, ledger.reports.processes(), machine.clock())
    for each in seen:
        if each.alive:
            process = each.process
            raise LedgerFault(
                f"`{process.role}` is at work on this ledger: process {process.pid} on {process.place}",
                "stop it, then run the command again",
            )
