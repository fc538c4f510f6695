"""A start and a task's way in a process that will fork others: what is imported and compiled once, all of them have."""

from __future__ import annotations

import itertools
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from archiver.core.due import First
from archiver.core.intake import Intake
from archiver.core.model import AccountName, Stage
from tests.fakes.audio import mp3
from tests.fakes.time import NOW
from tests.fixtures import compiled
from tests.fixtures.ledgers import DAY, LEASE
from tests.house import Ledger
from tests.worlds.path import TASK, path_in

LAZY = (
    "alembic.command",
    "archiver.adapters.ledger.schema.upgrade",
    "archiver.app.descriptors",
    "archiver.commands.printing",
    "archiver.commands.screen",
    "encodings.utf_8_sig",
    "pydantic.type_adapter",
)
"""Modules that are imported where they are first needed."""

OWNER = "warm"


def warm() -> None:
    """Import what is imported late, and compile the statements of `run` and `backfill`."""
    compiled.share()
    for name in LAZY:
        import_module(name)
    with TemporaryDirectory() as folder, path_in(Path(folder)) as path:
        _begins(path.ledger)
        path.lists(path.serves("vocal", mp3(2000)), path.serves("bass", mp3(3000, 1)))
        path.dispatcher.renew()
        path.passes(timedelta(minutes=1), [TASK])
        assert path.archived(TASK), "a task's way was not gone"
        _ends(path.ledger)


def _begins(ledger: Ledger) -> None:
    ledger.claims.release_dead(lambda _: True, now=NOW)
    ledger.processes.ahead(now=NOW)
    ledger.proofs.of("none")
    ledger.processes.begin(OWNER, role="run", place="here", pid=1, now=NOW)
    ledger.intakes.known([TASK])
    ledger.intakes.take_in(Intake(ids=(TASK,)), source="queue", now=NOW)
    ledger.intakes.enlist(OWNER, [TASK])
    for enlisted, first, stage in itertools.product((True, False), First, Stage):
        claims = {"owner": OWNER, "stage": stage, "enlisted_only": enlisted, "first": first}
        if ledger.claims.claim(now=NOW, lease=LEASE, **claims) is not None:  # type: ignore[arg-type]  # as named
            ledger.claims.release(OWNER)


def _ends(ledger: Ledger) -> None:
    for blocked in ((), (AccountName("other"),)):
        ledger.reports.open_work(OWNER, blocked)
    ledger.claims.next_deadline(OWNER, now=NOW, enlisted_only=True)
    ledger.reports.enlisted(OWNER, limit=10)
    ledger.reports.quarantined()
    ledger.reports.overview(now=NOW, at_risk=DAY)
    ledger.uploads.of_dead(lambda _: True)
    ledger.uploads.keys()
    ledger.intakes.retry(None, now=NOW)
    ledger.claims.release(OWNER)
    ledger.processes.end(OWNER, now=NOW)
