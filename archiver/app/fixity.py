"""Results of checks, composed: their faults, and the reports of them in the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial

from archiver import __version__
from archiver.adapters.ledger import SqlLedger
from archiver.adapters.object_store.late import LateStore
from archiver.app.assembly import Parts, store_proof
from archiver.app.machine import THIS_MACHINE, Machine
from archiver.app.places import store_name
from archiver.app.schemas import read_fixity_schema
from archiver.app.store import open_store
from archiver.core.fixity_report import ChainFault, Sealed
from archiver.core.model import Dependency, Subject
from archiver.ports.runtime import EventLog
from archiver.preservation.fault_book import FaultBook
from archiver.preservation.fixity_reports import FixityReports, ReportSchedule, chain_faults
from archiver.preservation.walking import Walking
from archiver.service.proof import StoreProof
from archiver.settings import Settings


def fault_book(ledger: SqlLedger, walking: Walking, machine: Machine = THIS_MACHINE) -> FaultBook:
    """Return where a check writes down what it finds on its walk."""
    return FaultBook(ledger.faults, walking.walk.level, machine.clock, covers=walking.comes_to)


def report_schedule(parts: Parts) -> ReportSchedule:
    """Return what sees to it, in a process of the service, that checks are reported."""
    adapters = parts.adapters
    reports = _reports(parts.settings, adapters.ledger, adapters.store, parts.proof, parts.machine)
    return ReportSchedule(reports, partial(parts.breakers.is_usable, Subject(Dependency.STORE)), parts.log)


def write_report(
    settings: Settings, ledger: SqlLedger, log: EventLog, machine: Machine = THIS_MACHINE
) -> Sealed | None:
    """Put the report of today, if it is due and the store was proven before; else a `run` does it."""
    if ledger.proofs.of(store_name(settings)) is None:
        return None
    with closing(open_store(settings, log, machine)) as store:
        proof = store_proof(settings, store, ledger, machine, log)
        return ReportSchedule(_reports(settings, ledger, store, proof, machine), lambda: True, log)()


def broken_reports(
    settings: Settings, ledger: SqlLedger, log: EventLog, machine: Machine = THIS_MACHINE
) -> Iterator[ChainFault]:
    """Yield which reports are gone from the bucket, or were changed; raises ArchiverError, LedgerFault."""
    with closing(open_store(settings, log, machine)) as store:
        yield from chain_faults(store.archive, settings.store.prefix, ledger.checks.reports())


def _reports(
    settings: Settings, ledger: SqlLedger, store: LateStore, proof: StoreProof, machine: Machine
) -> FixityReports:
    return FixityReports(
        ledger.checks,
        ledger.faults,
        store,
        store.archive,
        proof.ensure,
        settings.store.prefix,
        __version__,
        read_fixity_schema,
        machine.clock,
        lambda: ledger.checks.oldest(now=machine.clock()),
        machine.checkpoint,
    )
