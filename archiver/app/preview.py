"""The dry run of a backfill."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from archiver.adapters.ledger import SqlLedger
from archiver.adapters.provider.accounts import KieAccounts
from archiver.app.adapters import open_accounts
from archiver.app.clock import utc_now
from archiver.app.ledger import open_ledger
from archiver.core.errors import ArchiverError, LedgerAbsent
from archiver.core.exclusion import Exclusion
from archiver.core.intake import Intake
from archiver.core.keys import Names, label_of, object_key
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Phase, RecordInfo, StemName, TaskId
from archiver.core.records.kinds.names import KindName
from archiver.core.reports import TaskRow
from archiver.core.states import StemState, TaskState
from archiver.core.text import INLINE, shown_url
from archiver.pipeline.asking import ask_on, kinds_to_ask
from archiver.ports.runtime import EventLog
from archiver.service.backfill import within
from archiver.settings import Settings


class Does(StrEnum):
    """An action of a backfill on a task."""

    FETCH = "fetch"
    ASK = "ask again"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class PreviewedStem:
    """A stem that would be fetched from `url` and stored under `key`."""

    url: str
    key: str
    """Its extension is known only from the first bytes, and shown as `*`."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The action of a backfill on one task, and the stems that it would store."""

    task_id: TaskId
    says: str
    stems: tuple[PreviewedStem, ...] = ()
    does: Does = Does.ASK


def preview(settings: Settings, intakes: Iterable[Intake], *, limit: int | None, log: EventLog) -> Iterator[Preview]:
    """Look each id up in the ledger, ask for the records of those that a run would ask about; store nothing.

    Makes no ledger where there is none. Raises LedgerFault.
    """
    with ExitStack() as stack:
        ledger = None
        with suppress(LedgerAbsent):
            ledger = stack.enter_context(closing(open_ledger(settings, create=False)))
        accounts = stack.enter_context(closing(open_accounts(settings, log, ledger=ledger)))
        look = _Look(
            settings.store.prefix, settings.store.names, ledger, accounts, Exclusion(settings.download.exclude)
        )
        yield from look.at(intakes, limit)


@dataclass(frozen=True, slots=True)
class _Look:
    """Looks at tasks with the ledger's eyes; None: nothing is known yet."""

    prefix: str
    names: Names
    ledger: SqlLedger | None
    accounts: KieAccounts
    exclusion: Exclusion

    def at(self, intakes: Iterable[Intake], limit: int | None) -> Iterator[Preview]:
        """Yield what would be done about each id, until `limit` of those that there is work on."""
        seen: set[TaskId] = set()
        room = limit
        for intake in intakes:
            ids = [each for each in dict.fromkeys(intake.ids) if each not in seen]
            seen.update(ids)
            resting = self._resting(ids)
            some, left_out = within(ids, resting, room)
            for task_id in some:
                yield self._of(task_id, intake.accounts.get(task_id), intake.named_kinds().get(task_id))
            room = None if room is None else room - sum(each not in resting for each in some)
            if left_out or room == 0:
                return

    def _resting(self, ids: Sequence[TaskId]) -> Collection[TaskId]:
        return () if self.ledger is None else self.ledger.intakes.resting(ids)

    def _of(self, task_id: TaskId, account: AccountName | None, kind: KindName | None) -> Preview:
        row = None if self.ledger is None else self.ledger.reports.show(task_id)
        if row is None:
            return self._asked(task_id, account or DEFAULT_ACCOUNT, kind)
        if row.state is TaskState.ARCHIVED:
            return Preview(task_id, "archived already", does=Does.NOTHING)
        if row.ended_at is not None or row.not_before is None:
            why = row.reason or next((stem.reason for stem in row.stems if stem.reason), "")
            return Preview(task_id, f"{row.state.value}: {why}; only `retry` would try it again", does=Does.NOTHING)
        if row.state is TaskState.QUEUED:
            return self._asked(task_id, account or row.account, row.kind or kind, row)
        return self._listed(row)

    def _listed(self, row: TaskRow) -> Preview:
        left = [stem for stem in row.stems if stem.state is not StemState.STORED]
        label = label_of(row.title, row.stems, self.names)
        stems = tuple(self._stem(row.task_id, stem.url_shown.partition(INLINE)[0], stem.name, label) for stem in left)
        stored = len(row.stems) - len(left)
        return Preview(row.task_id, f"listed, {stored} stored{_busy(row)}, {len(left)} to fetch", stems, Does.FETCH)

    def _asked(
        self, task_id: TaskId, account: AccountName, kind: KindName | None, row: TaskRow | None = None
    ) -> Preview:
        try:
            api = self.accounts.of(account)
            record = ask_on(kinds_to_ask(kind), lambda kind: api.fetch(task_id, kind=kind))
        except ArchiverError as error:
            return Preview(task_id, f"{error.code}: {error}" + (f"; {error.hint}" if error.hint else ""))
        stored = set() if row is None else {stem.name for stem in row.stems if stem.state is StemState.STORED}
        wanted = [stem for stem in self.exclusion.applied_to(record).stems if stem.name not in stored]
        label = label_of((row.title if row else "") or record.facts.title, row.stems if row else (), self.names)
        stems = tuple(self._stem(task_id, stem.not_taken or shown_url(stem.url), stem.name, label) for stem in wanted)
        says = f"{record.phase.value}, {_means(record, len(stems))}{'' if row is None else _busy(row)}"
        nothing = record.phase is Phase.FAILED and not stems
        return Preview(task_id, says, stems, Does.FETCH if stems else Does.NOTHING if nothing else Does.ASK)

    def _stem(self, task_id: TaskId, url: str, name: StemName, label: str) -> PreviewedStem:
        return PreviewedStem(url, object_key(self.prefix, task_id, name, "*", label))


def _means(record: RecordInfo, stems: int) -> str:
    """Return what a record means for a backfill that would fetch so many stems of it."""
    if stems:
        return f"{stems} to fetch"
    if record.phase is Phase.ABSENT:
        return "the provider does not know this id (is it of another kind, or older than two months?)"
    if record.phase is Phase.FAILED:
        return f"no audio: {record.flag} {record.error_code or ''} {record.error_message}".rstrip()
    return "no audio yet" if record.phase is Phase.PENDING else "no audio is listed"


def _busy(row: TaskRow, now: datetime | None = None) -> str:
    until = row.leased_until
    return " (being worked on now)" if until is not None and until > (now or utc_now()) else ""
