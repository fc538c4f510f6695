"""`verify`, composed: the ledger and the bucket, both read only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from archiver.adapters.ledger import SqlLedger
from archiver.app.machine import THIS_MACHINE, Machine
from archiver.app.places import store_place
from archiver.app.retrieval import opened
from archiver.app.store import open_store
from archiver.core.fixity_cost import Plan, Speed, plan_of
from archiver.core.levels import Level
from archiver.core.model import TaskId
from archiver.core.walks import WITHIN
from archiver.ports.archive import Archive
from archiver.ports.runtime import EventLog
from archiver.ports.transfer import Received
from archiver.preservation.beside_tasks import BesideTasks
from archiver.preservation.looking import Looking
from archiver.preservation.proving import Allowance, Proving
from archiver.preservation.verification import Verification
from archiver.preservation.walking import Walking
from archiver.settings import Settings


@dataclass(frozen=True, slots=True)
class Halts:
    """The command's own clock: how it waits, and when it is to end."""

    wait: Callable[[float], None]
    """Waits so many seconds, or until the command is to end."""
    stopped: Callable[[], bool]
    received: Received


def plan(
    settings: Settings, ledger: SqlLedger, level: Level, ids: Sequence[TaskId] | None, machine: Machine = THIS_MACHINE
) -> Plan:
    """Return the work ahead, by the ledger alone: nothing is asked of the store."""
    rate = settings.download.bandwidth.rate_at(machine.local())
    speed = Speed(settings.download.most_transfers, rate)
    holdings = ledger.objects.holdings(ids)
    return plan_of(level, holdings, settings.verify.prices, speed, ids=None if ids is None else len(ids))


def allowance(ahead: Plan, most: float | None) -> Allowance:
    """Return what may be read beyond the plan, within the cost that is allowed."""
    if most is None or not ahead.prices.gigabyte:
        return Allowance()
    return Allowance((most - ahead.price) / ahead.prices.of(0, 0, 1))


def walking(
    settings: Settings,
    ledger: SqlLedger,
    level: Level,
    ids: Sequence[TaskId] | None,
    *,
    anew: bool,
    machine: Machine = THIS_MACHINE,
) -> Walking:
    """Return the walk of the same level and selection that broke off lately, or a new one."""
    prefix = settings.store.prefix
    selection = hashlib.sha256(json.dumps([store_place(settings), prefix, ids]).encode()).hexdigest()
    walk = ledger.walks.take(level, selection, now=machine.clock(), within=WITHIN, anew=anew)
    return Walking(ledger.walks, walk, ids, prefix, machine.clock, machine.monotonic)


@contextmanager
def verification(
    settings: Settings,
    ledger: SqlLedger,
    log: EventLog,
    level: Level,
    extra: Allowance,
    halts: Halts,
    machine: Machine = THIS_MACHINE,
) -> Iterator[Verification]:
    """Open the archive for reading, and be ready to judge."""
    wait, stopped, received = halts.wait, halts.stopped, halts.received

    @contextmanager
    def fresh() -> Iterator[Archive]:
        with closing(open_store(settings, log, replace(machine, sleep=wait))) as store:
            yield store.archive

    with opened(settings, log, wait=wait, stopped=stopped, received=received, machine=machine) as fetching:
        proving = Proving(fetching, fresh)
        prefix = settings.store.prefix
        looking = Looking(fetching.archive, ledger.objects, proving, prefix, level, extra)
        concurrency = settings.download.most_transfers
        work = Verification(fetching.archive, ledger.objects, looking, prefix, level, concurrency, fetching.look)
        if level is Level.READ:
            work.beside = BesideTasks(lambda: ledger.claims.are_held(now=machine.clock()), wait, machine.monotonic)
        yield work
