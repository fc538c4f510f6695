"""The dry run of a backfill."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

from archiver.app.adapters import open_accounts
from archiver.app.ledger import on_server, open_ledger
from archiver.core.errors import ArchiverError
from archiver.core.intake import Intake
from archiver.core.keys import object_key
from archiver.core.model import DEFAULT_ACCOUNT, TaskId
from archiver.core.text import shown_url
from archiver.ports.runtime import EventLog
from archiver.settings import Settings


@dataclass(frozen=True, slots=True)
class PreviewedStem:
    """A stem that would be fetched from `url` and stored under `key`."""

    url: str
    key: str
    """Its extension is known only from the first bytes, and shown as `*`."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The stems that a backfill would store of one task."""

    task_id: TaskId
    says: str
    stems: tuple[PreviewedStem, ...] = ()


def preview(settings: Settings, intakes: Iterable[Intake], *, limit: int | None, log: EventLog) -> Iterator[Preview]:
    """Ask for each record and yield its stems; store nothing. Raises LedgerFault.

    A ledger on a server is opened all the same: requests count with those of whoever is at work there.
    """
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(open_ledger(settings))) if on_server(settings) else None
        accounts = stack.enter_context(closing(open_accounts(settings, log, ledger=ledger)))
        asked = {each: intake.accounts.get(each, DEFAULT_ACCOUNT) for intake in intakes for each in intake.ids}
        for task_id, account in itertools.islice(asked.items(), limit):
            try:
                record = accounts.of(account).fetch(task_id)
            except ArchiverError as error:
                yield Preview(task_id, f"{error.code}: {error}")
                continue
            stems = tuple(
                PreviewedStem(shown_url(stem.url), object_key(settings.store.prefix, task_id, stem.name, "*"))
                for stem in record.stems
            )
            yield Preview(task_id, f"{record.phase.value}, {len(stems)} stems", stems)
