"""Knowledge of one task: its claim, its stems, and the provider's last answer."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial

from archiver.core import plan
from archiver.core.clocks import LONG_AGO
from archiver.core.errors import ApiBusy, ArchiverError, LinkSpent, NoLink
from archiver.core.keys import label_of
from archiver.core.model import (
    Claim,
    Dependency,
    Failed,
    Later,
    Missing,
    Outcome,
    Phase,
    RecordInfo,
    StemName,
    StemRow,
    Subject,
    Yielded,
)
from archiver.core.records.again import beside, named_as_before
from archiver.core.records.facts import NO_FACTS, Facts
from archiver.core.records.kinds.names import KindName
from archiver.core.records.record import record_in
from archiver.core.reports import Moved
from archiver.core.said import AUTOMATIC
from archiver.core.states import StemState, TaskState
from archiver.core.text import host_of
from archiver.pipeline.asking import ask_on, kinds_to_ask
from archiver.pipeline.context import TaskContext
from archiver.pipeline.neutral import NeutralProbe
from archiver.ports.provider import RecordApi

_MOST_NAMED = 20
_OF_THE_SOURCE = ("url", "url_shown", "field", "duration", "media")
"""Events about what is left out of one record; the manifest has it all."""


class Listing:
    """The claim and the stems as they stand by now; asks the provider for them. Safe for an attempt's threads."""

    def __init__(self, context: TaskContext, claim: Claim) -> None:
        self._context = context
        self._out = context.outside
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        """Held over the provider's answer by whoever asks for fresh links."""
        self._refreshed = False
        self._unanswered: ArchiverError | None = None
        """The error in their place, for all that need them."""
        self.changing = threading.RLock()
        """Held over the ledger by whoever changes what it has of the stems, and their rows here with it."""
        self._label: str | None = None
        self._facts: Facts | None = None
        self.claim = claim
        self.neutral = NeutralProbe(context, claim.account, claim.task_id)
        self.rows: dict[StemName, StemRow] = {row.name: row for row in claim.stems}
        self.failed_at: Subject | None = None
        """The subject that failed this attempt by being busy or out of reach, if any did."""
        self.crc32: dict[StemName, str] = {}
        """Those of the objects that this attempt stored, where they are known."""
        self.record: RecordInfo | None = None
        """The provider's last answer, when one came."""

    @property
    def deadline(self) -> datetime:
        """The moment that orders the task among others."""
        return self.claim.deadline or self.claim.accepted_at

    def label(self) -> str:
        """Return what stands before the stem in the task's keys, the same for the whole attempt."""
        with self._lock:
            if self._label is None:
                self._label = label_of(self.claim.title, self.rows.values(), self._context.names)
            return self._label

    def facts(self) -> Facts:
        """Return the facts of the record: as it was just read, else of what is kept of it; a separation's has none."""
        with self._lock:
            if self.record is not None and self.record.document:
                return self.record.facts
            kind = self.claim.kind or KindName.SEPARATION
            if self._facts is None:
                self._facts = NO_FACTS if kind is KindName.SEPARATION else record_in(self.claim.document, kind).facts
            return self._facts

    def must_ask(self) -> bool:
        """Return whether the provider must be asked before the path can go on."""
        if self.claim.state is TaskState.QUEUED:
            return True
        wanted = [row for row in self.rows.values() if row.state is StemState.WANTED]
        return any(row.url is None for row in wanted) or not (wanted or self.claim.settled)

    def ask(self) -> Outcome | None:
        """Ask for the record; None when the path goes on, else the outcome."""
        if not self._out.breakers.try_use(Dependency.PROVIDER, account=self.claim.account, by=self.claim.task_id):
            return Yielded()
        record = self._fetch()
        now = self._context.clock()
        resolution = self._resolve(record, now)
        if isinstance(resolution, plan.Listed):
            fresh = self.claim.state is TaskState.QUEUED
            self._list(record, resolution, now)
            # One whose links are kept nowhere would come back just to ask for them again.
            return Yielded() if fresh and self.more_urgent_waits(now) else None
        if self.claim.state is TaskState.QUEUED:
            return resolution
        # The stems were listed before and the record no longer lists any: what we know still counts.
        if isinstance(resolution, Later):
            wanted = any(row.state is StemState.WANTED for row in self.rows.values())
            return replace(resolution, fault=True) if wanted else resolution
        self.claim = replace(self.claim, settled=True)
        return None

    def _resolve(self, record: RecordInfo, now: datetime) -> plan.Listed | Later | Failed | Missing:
        """Return what the record means; what it would mean by its age alone once a second look has confirmed it."""
        look, key = self._context.look, f"{self.claim.task_id} {record.phase}"
        resolve = partial(plan.resolve, self.claim, record, now, self._context.policy, self._context.jitter())
        young, aged = resolve(sure=LONG_AGO), resolve(sure=look.sure())
        if isinstance(young, Failed) or (isinstance(young, plan.Listed) and young.settled):
            return young
        return aged if look.seen(key) else young

    def more_urgent_waits(self, now: datetime) -> bool:
        """Return whether such does that is to have this worker first; not while the urgent may hold up all of them."""
        if self._out.pool.held_up():
            return False
        blocked = self._out.breakers.blocked_accounts()
        return self._out.progress.more_urgent_waits(self.claim, self.deadline, now, blocked)

    def api(self) -> RecordApi:
        """Return the provider's API as the task's account has it; raise AccountUnknown."""
        return self._out.accounts.of(self.claim.account)

    def _fetch(self) -> RecordInfo:
        """Ask about the task, as all kinds in turn where its own is not known; raise what ends the round."""
        kinds = kinds_to_ask(self.claim.kind, self.claim.hint)
        record = self.record = ask_on(kinds, self._fetch_as)
        of_none = record.phase is Phase.ABSENT and len(kinds) > 1
        self._context.log.info(
            "record.fetched",
            task_id=self.claim.task_id,
            account=self.claim.account,
            kind=AUTOMATIC if of_none else record.kind.value,
            flag=record.flag,
            phase=record.phase.value,
            stems=len(record.stems),
            error_code=record.error_code,
            error_message=record.error_message,
        )
        if record.blemish:
            self._context.log.warning("record.blemished", task_id=self.claim.task_id, blemish=record.blemish)
        return record

    def _fetch_as(self, kind: KindName) -> RecordInfo:
        record = self.api().fetch(self.claim.task_id, kind=kind, first=self._goes_first())
        self._context.look.note_date(record.answered_at)
        self._out.breakers.worked(Dependency.PROVIDER, self.claim.account)
        self._out.breakers.evidence.answered(self.claim.account, self.claim.task_id)
        self._context.checkpoint("record.fetched")
        return record

    def _goes_first(self) -> bool:
        """Return whether it came just now and was never asked about, or its links are needed for a first try."""
        if self.claim.attempts or any(row.attempts for row in self.rows.values()):
            return False
        young = self._context.clock() - self.claim.accepted_at <= plan.YOUNG
        return self.claim.state is TaskState.LISTED or (young and not self.claim.asks)

    def _list(self, record: RecordInfo, listed: plan.Listed, now: datetime, *, links_spent: bool = False) -> None:
        with self.changing:
            named = named_as_before(record, self.rows.values(), links_spent=links_spent, history=self._moves)
            deadline = min(listed.deadline, self.claim.deadline or listed.deadline)
            self._write(named, deadline, settled=listed.settled, now=now)

    def as_moved(self, row: StemRow) -> StemRow:
        """Return the stem as it is listed now, if it has another address on its host since; else `row`."""
        listed = self.rows[row.name]
        is_elsewhere = bool(listed.url) and listed.url_shown != row.url_shown
        return listed if is_elsewhere and host_of(listed.url_shown) == host_of(row.url_shown) else row

    def keep_sources(self, complete: Iterable[StemRow]) -> None:
        """List these stems where their bytes came from, and beside them what a record has put in their places since.

        Needs `changing`.
        """
        moved = {row.name: row for row in complete if row.url and row.url_shown != self.rows[row.name].url_shown}
        if moved and self.record is not None:
            record = beside(self.record, self.rows.values(), moved, history=self._moves)
            self._write(record, self.deadline, settled=self.claim.settled, now=self._context.clock())

    def _moves(self) -> Iterable[Moved]:
        return self._out.progress.chronicle(self.claim).events

    def _write(self, named: RecordInfo, deadline: datetime, *, settled: bool, now: datetime) -> None:
        known = set(self.rows)
        self.record = named
        record = self._context.exclusion.applied_to(named)
        self.take(self._out.progress.listed(self.claim, record, deadline, settled=settled, now=now))
        log, task_id = self._context.log, self.claim.task_id
        for source in record.stems:
            if source.name in known:
                continue
            if source.not_taken:
                log.warning("record.not_taken", task_id=task_id, field=source.field, reason=source.not_taken)
            elif not source.known:
                self._context.observer.unknown_name()
                log.warning("stem.unknown_name", task_id=task_id, stem=source.name, field=source.field)
        for left in () if known else record.left_out[:_MOST_NAMED]:
            log.info("record.not_taken", task_id=task_id, field=left.field, reason=f"{left.kind}: {left.url}")
        until = deadline.isoformat()
        log.info("task.listed", task_id=task_id, stems=len(self.rows), deadline=until, settled=settled)

    def refresh(self, error: LinkSpent | NoLink) -> None:
        """Ask for fresh links once an attempt, whichever stem needs them first; raise ApiBusy or ProviderPaused.

        What is raised is raised for the other stems too: each would wait for the next as long.
        """
        with self._context.watch.waiting():  # for another that asks, and is watched
            self._refreshing.acquire()
        try:
            if self._unanswered is not None:
                raise self._unanswered
            if not self._refreshed:
                self._refresh(error)
        except ArchiverError as fault:
            self._unanswered = fault
            raise
        finally:
            self._refreshing.release()

    def _refresh(self, error: LinkSpent | NoLink) -> None:
        if not self._out.breakers.try_use(Dependency.PROVIDER, account=self.claim.account, by=self.claim.task_id):
            raise ApiBusy(f"{error}, and the provider is paused, so no fresh link can be asked for")
        record = self._fetch()
        self._refreshed = True
        self._context.log.info("stem.link_refreshed", task_id=self.claim.task_id, stems=len(record.stems))
        resolution = self._resolve(record, self._context.clock())
        if isinstance(resolution, plan.Listed):
            self._list(record, resolution, self._context.clock(), links_spent=True)

    def take(self, claim: Claim) -> None:
        """Go on with the claim as it stands in the ledger now."""
        with self.changing:
            self.claim = claim
            self.rows = {row.name: row for row in claim.stems}

    def note(self, row: StemRow) -> None:
        """Take `row` for what its stem is from now on; its source is as it was listed last, as in the ledger."""
        with self.changing:
            listed = self.rows.get(row.name, row)
            source = {name: getattr(listed, name) for name in _OF_THE_SOURCE}
            self.rows[row.name] = replace(row, **source)

    def note_crc32(self, stem: StemName, crc32: str) -> None:
        """Keep the CRC-32 of the stem's object for the manifest, if it is known."""
        if crc32:
            with self._lock:
                self.crc32[stem] = crc32

    def count_failure(self, error: ArchiverError, host: str = "") -> None:
        """Count the error against the dependency that may be down, if it says so of one."""
        if error.down is not None and error.shows is None:
            self.failed_at = Subject.of(error.down, self.claim.account, host)
        if error.down is not None:
            works = {
                Dependency.PROVIDER: self.neutral.provider_works,
                Dependency.STORE: self.neutral.store_works,
                Dependency.ORIGIN: lambda: error.shows is None and self.neutral.host_works(host),
            }
            self._out.breakers.failed(
                error.down, error, self.claim.account, host, by=self.claim.task_id, works=works[error.down]
            )
