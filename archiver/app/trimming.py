"""The trimming of the ledger, composed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial

from archiver import __version__
from archiver.adapters.ledger import SqlLedger
from archiver.app.assembly import Parts, store_proof
from archiver.app.machine import THIS_MACHINE, Machine
from archiver.app.schemas import read_schemas
from archiver.app.store import open_store
from archiver.core.model import Dependency, Subject
from archiver.core.reports import TaskRow
from archiver.core.trimming import Trims, shortest_span
from archiver.pipeline.schemas import Schemas
from archiver.ports.archive import Archive
from archiver.ports.runtime import EventLog
from archiver.ports.store import ObjectStore
from archiver.preservation import trimmed_task
from archiver.preservation.trim_schedule import TrimSchedule
from archiver.preservation.trimming import Renewing, Trim
from archiver.settings import Settings


def shortest(settings: Settings) -> timedelta:
    """Return the least span after its end at which a task may be trimmed."""
    return shortest_span(settings.provider.retention, settings.schedule.grace_after_deadline)


@contextmanager
def trimming(
    settings: Settings,
    ledger: SqlLedger,
    log: EventLog,
    *,
    wait: Callable[[float], None],
    stopped: Callable[[], bool],
    shown: Callable[[Trims], object],
    machine: Machine = THIS_MACHINE,
) -> Iterator[Trim]:
    """Open the bucket beside a ledger that may be worked on."""
    with closing(open_store(settings, log, replace(machine, sleep=wait))) as store:
        ensure = store_proof(settings, store, ledger, machine, log).ensure
        yield trim_on(settings, ledger, (store, store.archive), ensure, machine, stopped=stopped, shown=shown)


def trim_on(
    settings: Settings,
    ledger: SqlLedger,
    bucket: tuple[ObjectStore, Archive],
    ensure: Callable[[], None],
    machine: Machine,
    *,
    stopped: Callable[[], bool] = lambda: False,
    shown: Callable[[Trims], object] = lambda _: None,
) -> Trim:
    """Return what trims the ledger by the manifests of that bucket, as it is written and read."""
    store, archive = bucket
    prefix, schemas = settings.store.prefix, Schemas(read_schemas)
    renewing = Renewing(store, ensure, partial(schemas.put, store, prefix), prefix, __version__, machine.clock)
    return Trim(ledger.trimming, archive, renewing, prefix, machine.monotonic, stopped, shown, machine.checkpoint)


def by_manifest(settings: Settings, row: TaskRow, log: EventLog, machine: Machine = THIS_MACHINE) -> TaskRow:
    """Return a task that was trimmed with the stems and the history that its manifest has.

    Raises ManifestBroken, also where there is none, and what the store raises.
    """
    with closing(open_store(settings, log, machine)) as store:
        return trimmed_task.by_manifest(store.archive, settings.store.prefix, row)


def trim_schedule(parts: Parts) -> TrimSchedule:
    """Return what trims the ledger of a process day by day."""
    settings, adapters, machine = parts.settings, parts.adapters, parts.machine
    bucket = adapters.store, adapters.store.archive

    def begin() -> Trim:
        return trim_on(settings, adapters.ledger, bucket, parts.proof.ensure, machine)

    usable = partial(parts.breakers.is_usable, Subject(Dependency.STORE))
    return TrimSchedule(begin, settings.ledger.trim_after, usable, machine.clock, parts.log)
