"""The rebuild of a ledger from the bucket, and the comparison of the two, composed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from archiver.adapters.downloader.sniff import sniff
from archiver.adapters.ledger import SqlLedger
from archiver.app.adapters import only_run, open_store
from archiver.app.ledger import open_ledger
from archiver.app.machine import THIS_MACHINE, Machine
from archiver.app.standing import seen_processes
from archiver.core.errors import LedgerFault
from archiver.core.rebuilding import Found
from archiver.core.records.kinds.names import Media
from archiver.ports.runtime import EventLog
from archiver.preservation.adoption import Adoption
from archiver.preservation.comparison import Comparison
from archiver.preservation.rebuild import Looks, Rebuild
from archiver.settings import Settings

_TEXTS = ("text/", "application/json")


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
        _looks(settings, log, wait, machine) as looks,
    ):
        _refuse_busy(settings, ledger, machine)
        yield Rebuild(looks, ledger.rebuilds, machine.clock, machine.monotonic, stopped, shown)


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
    with _looks(settings, log, wait, machine) as looks:
        yield Comparison(looks, ledger.rebuilds, wait, stopped, shown)


@contextmanager
def _looks(settings: Settings, log: EventLog, wait: Callable[[float], None], machine: Machine) -> Iterator[Looks]:
    prefix = settings.store.prefix
    with closing(open_store(settings, log, replace(machine, sleep=wait))) as store:
        yield Looks(store.archive, prefix, Adoption(store.archive, prefix, media_of, machine.clock))


def media_of(head: bytes, whole: bool, declared: str) -> Media | None:
    """Return what a file is by its first bytes; None where it is nothing that a task has."""
    if declared.startswith(_TEXTS):
        return Media.TEXT
    for media in (Media.AUDIO, Media.IMAGE, Media.VIDEO):
        if sniff(head, whole=whole, declared=declared, media=media) is not None:
            return media
    return None


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
