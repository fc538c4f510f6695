"""THE path of one task: ask, list, fetch and store each stem, write the sidecars, finish.

Order of writes, never otherwise: object complete in the store, then the ledger's STORED, then the
manifest, then the task's end. A crash between any two repeats work and never claims work not done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

from archiver.core import plan
from archiver.core.errors import ApiBusy, ArchiverError, Interrupted, LeaseLost, LedgerFault, LinkSpent, NoLink, Verdict
from archiver.core.model import (
    Archived,
    Claim,
    Dependency,
    Failed,
    Later,
    Lost,
    Missing,
    Outcome,
    Paused,
    Policy,
    Receipt,
    RecordInfo,
    Refused,
    StemName,
    StemRow,
    StoredObject,
    TaskId,
    Yielded,
)
from archiver.core.records.envelope import host_of
from archiver.core.states import StemEvent, StemState, TaskState
from archiver.pipeline.breakers import Breakers
from archiver.ports.ledger import Ledger
from archiver.ports.provider import Accounts, RecordApi
from archiver.ports.runtime import Checkpoint, Clock, EventLog, Jitter, Observer, unobserved
from archiver.ports.store import ObjectStore
from archiver.ports.transfer import Body, Downloader, TransferPool


class _SameBytes(Exception):
    """The body that just ended equals a stem of the task that is stored already."""

    def __init__(self, twin: StemRow) -> None:
        super().__init__(twin.name)
        self.twin = twin


@dataclass(frozen=True, slots=True)
class Outside:
    """What the path works with: the four outside things and the two guards."""

    accounts: Accounts
    downloader: Downloader
    store: ObjectStore
    ledger: Ledger
    breakers: Breakers
    pool: TransferPool


@dataclass(frozen=True, slots=True)
class Archiver:
    """Takes claims along the path. Holds no state of its own between two tasks; safe for many threads."""

    outside: Outside
    owner: str
    prefix: str
    policy: Policy
    version: str
    clock: Clock
    jitter: Jitter
    log: EventLog
    observer: Observer
    cancelled: Callable[[], bool] = lambda: False
    checkpoint: Checkpoint = unobserved

    def archive(self, claim: Claim) -> Outcome:
        """Take the task as far as it goes now, write the outcome down and return it.

        Raises LeaseLost when another process took the task over, and LedgerFault. A bug on the way is
        logged and costs the task a try, never the service.
        """
        journey = _Journey(self, claim)
        try:
            outcome = journey.travel()
        except Interrupted:
            outcome = Yielded()
        except ArchiverError as error:
            self.observer.try_failed(error)
            outcome = journey.outcome_of(error)
        except (LeaseLost, LedgerFault):
            raise
        except Exception as bug:
            self.log.exception("task.crashed", task_id=claim.task_id, error=repr(bug))
            fault = ArchiverError(f"a bug: {bug!r}")
            self.observer.try_failed(fault)
            outcome = journey.outcome_of(fault)
        now = self.clock()
        self.outside.ledger.finish(claim, outcome, record=journey.record, now=now)
        self.checkpoint("task.finished")
        self.observer.task_ended(outcome, journey.age(now))
        _report(self.log, claim.task_id, outcome)
        return outcome


class _Journey:
    """One try at one task: what was learned on the way."""

    def __init__(self, archiver: Archiver, claim: Claim) -> None:
        self._a = archiver
        self._out = archiver.outside
        self._claim = claim
        self._rows: dict[StemName, StemRow] = {row.name: row for row in claim.stems}
        self._tried: set[StemName] = set()
        self._twins = _Twins(claim.stems)
        self._lock = threading.RLock()
        self._refreshed = False
        self._pause: ArchiverError | None = None
        self._crash: BaseException | None = None
        self.record: RecordInfo | None = None

    # ------------------------------------------------------------------ the picture, top to bottom

    def travel(self) -> Outcome:
        """Return how far the task came; raise ArchiverError when the asking itself failed."""
        if self._must_ask():
            early = self._ask()
            if early is not None:
                return early
        if any(self._untried()) and not self._out.breakers.try_use(Dependency.ORIGIN, Dependency.STORE):
            return Yielded()
        while wanted := list(self._untried()):
            self._store(wanted)
        if self._pause is not None:
            return self.outcome_of(self._pause)
        return self._conclude()

    def _must_ask(self) -> bool:
        if self._claim.state is TaskState.QUEUED:
            return True
        wanted = [row for row in self._rows.values() if row.state is StemState.WANTED]
        return any(row.url is None for row in wanted) or not (wanted or self._claim.settled)

    def _ask(self) -> Outcome | None:
        """Ask for the record; None when the path goes on, else the outcome."""
        if not self._out.breakers.try_use(Dependency.PROVIDER, account=self._claim.account):
            return Yielded()
        record = self._fetch()
        now = self._a.clock()
        resolution = plan.resolve(self._claim, record, now, self._a.policy, self._a.jitter())
        if isinstance(resolution, plan.Listed):
            fresh = self._claim.state is TaskState.QUEUED
            self._list(record, resolution, now)
            # One whose links are kept nowhere would come back just to ask for them again.
            return Yielded() if fresh and self._more_urgent_waits(now) else None
        if self._claim.state is TaskState.QUEUED:
            return resolution
        # The stems were listed before and the record no longer lists any: what we know still counts.
        if isinstance(resolution, Later) and any(row.state is StemState.WANTED for row in self._rows.values()):
            return replace(resolution, fault=True)
        return resolution if isinstance(resolution, Later) else self._settle()

    def _more_urgent_waits(self, now: datetime) -> bool:
        deadline = self._claim.deadline or self._claim.accepted_at
        return self._out.ledger.more_urgent_waits(self._claim, deadline, now, self._out.breakers.blocked_accounts())

    def _settle(self) -> Outcome | None:
        self._claim = replace(self._claim, settled=True)
        return None

    def _api(self) -> RecordApi:
        return self._out.accounts.of(self._claim.account)

    def _fetch(self) -> RecordInfo:
        record = self.record = self._api().fetch(self._claim.task_id)
        self._out.breakers.worked(Dependency.PROVIDER, self._claim.account)
        self._a.log.info(
            "record.fetched",
            task_id=self._claim.task_id,
            account=self._claim.account,
            flag=record.flag,
            phase=record.phase.value,
            stems=len(record.stems),
            error_code=record.error_code,
            error_message=record.error_message,
        )
        self._a.checkpoint("record.fetched")
        return record

    def _list(self, record: RecordInfo, listing: plan.Listed, now: datetime) -> None:
        known = set(self._rows)
        deadline = min(listing.deadline, self._claim.deadline or listing.deadline)
        claim = self._out.ledger.listed(self._claim, record, deadline, settled=listing.settled, now=now)
        with self._lock:
            self._claim = claim
            self._rows = {row.name: row for row in claim.stems}
        for source in record.stems:
            if not source.known and source.name not in known:
                self._a.observer.unknown_name()
                self._a.log.warning("stem.unknown_name", task_id=claim.task_id, stem=source.name, field=source.field)
        self._a.log.info(
            "task.listed",
            task_id=claim.task_id,
            stems=len(self._rows),
            deadline=deadline.isoformat(),
            settled=listing.settled,
        )

    # ------------------------------------------------------------------ stems

    def _untried(self) -> Iterator[StemRow]:
        now = self._a.clock()
        if self._pause is not None:
            return
        for row in self._rows.values():
            due = plan.is_due(row.not_before, now)
            again = row.state is StemState.REFUSED and row.not_before is not None
            if row.name not in self._tried and due and (row.state is StemState.WANTED or again):
                yield row

    def _store(self, wanted: list[StemRow]) -> None:
        """Put every wanted stem through the shared pool and wait until each has ended."""
        deadline = self._claim.deadline or self._claim.accepted_at
        futures = []
        for row in wanted:
            self._tried.add(row.name)
            futures.append(self._out.pool.submit(deadline, partial(self._store_one, row), host_of(row.url or "")))
        for future in futures:
            future.result()
        if self._crash is not None:
            raise self._crash

    def _store_one(self, row: StemRow) -> None:
        """Fetch and store one stem and write down how it ended; runs in the pool."""
        if self._stopped():
            return
        try:
            self._try_one(row)
        except BaseException as crash:  # noqa: BLE001 - handed to the task's own thread by _store
            self._crash = self._crash or crash

    def _try_one(self, row: StemRow) -> None:
        try:
            if row.state is StemState.REFUSED:
                row = self._out.ledger.stem_retried(self._claim, row.name, now=self._a.clock())
            receipt = self._receive(row)
            self._out.ledger.stored(self._claim, row.name, receipt)
            self._a.checkpoint("stem.recorded")
            self._note(replace(row, state=StemState.STORED, receipt=receipt, reason=""))
        except ArchiverError as error:
            self._stem_failed(row, error)

    def _stopped(self) -> bool:
        if self._a.cancelled():
            self._crash = self._crash or Interrupted()
        blocked = self._out.breakers.is_blocked(Dependency.ORIGIN, Dependency.STORE)
        return blocked or self._crash is not None or self._pause is not None

    def _receive(self, row: StemRow) -> Receipt:
        """Try the known link, then a fresh one, then the provider's rescue link."""
        try:
            return self._transfer(row, _link(row))
        except (LinkSpent, NoLink) as error:
            self._refresh(error)
        fresh = self._rows[row.name].url or _link(row)
        try:
            return self._transfer(row, fresh)
        except LinkSpent:
            rescue = self._rescue(row, fresh)
            if rescue is None:
                raise
            return self._transfer(row, rescue)

    def _refresh(self, error: LinkSpent | NoLink) -> None:
        """Ask for fresh links once a journey, whichever stem needs them first."""
        with self._lock:
            if self._refreshed:
                return
            if not self._out.breakers.try_use(Dependency.PROVIDER, account=self._claim.account):
                raise ApiBusy(f"{error}, and the provider is paused, so no fresh link can be asked for")
            record = self._fetch()
            self._refreshed = True
            self._a.log.info("stem.link_refreshed", task_id=self._claim.task_id, stems=len(record.stems))
            resolution = plan.resolve(self._claim, record, self._a.clock(), self._a.policy, self._a.jitter())
            if isinstance(resolution, plan.Listed):
                self._list(record, resolution, self._a.clock())

    def _rescue(self, row: StemRow, url: str) -> str | None:
        link = self._api().fresh_link(url)
        self._a.log.info("stem.link_rescue", task_id=self._claim.task_id, stem=row.name, offered=link is not None)
        return link

    def _transfer(self, row: StemRow, url: str) -> Receipt:
        began = time.monotonic()
        task_id = self._claim.task_id
        self._a.log.info("stem.started", task_id=task_id, stem=row.name, url=row.url_shown)
        with self._out.downloader.open(url) as body:
            self._out.breakers.worked(Dependency.ORIGIN)
            key = plan.object_key(self._a.prefix, task_id, row.name, body.extension)
            metadata = {"task-id": task_id, "stem": row.name}
            try:
                with self._twins.of(row):
                    watched = _Watched(body, row, self._twins, self._a, host_of(url))
                    stored = self._out.store.put(key, watched, metadata=metadata, journal=_Journal(self._a))
                    receipt = _receipt(stored, body, self._a.clock())
                    self._twins.stored(replace(row, receipt=receipt))
            except _SameBytes as same:
                receipt = self._second(key, same.twin)
                if receipt.alias_of is not None:
                    self._a.log.info("stem.aliased", task_id=task_id, stem=row.name, alias_of=receipt.alias_of)
                    return receipt
        self._out.breakers.worked(Dependency.STORE)
        seconds = time.monotonic() - began
        self._a.observer.stem_stored(receipt.size, seconds)
        self._a.log.info(
            "stem.stored",
            task_id=task_id,
            stem=row.name,
            key=receipt.key,
            bytes=receipt.size,
            sha256=receipt.sha256,
            seconds=round(seconds, 3),
        )
        return receipt

    def _second(self, key: str, twin: StemRow) -> Receipt:
        """Return the receipt of a stem whose bytes are stored already: an alias of its twin.

        Unless it has an object of its own, from a try that died before it was written down.
        """
        known = twin.receipt
        if known is None:
            raise AssertionError("a twin always has its receipt")
        own = self._out.store.find(key, size=known.size, sha256=known.sha256)
        if own is None:
            return replace(known, alias_of=twin.name, stored_at=self._a.clock())
        return replace(known, key=own.key, etag=own.etag, stored_at=self._a.clock())

    def _stem_failed(self, row: StemRow, error: ArchiverError) -> None:
        self._a.observer.try_failed(error)
        if error.verdict in (Verdict.PAUSE_PROVIDER, Verdict.PAUSE_STORE):
            self._pause = self._pause or error
            return
        self._count_against(error)
        now = self._a.clock()
        ruling = plan.judge_stem(row, error, now, self._claim.deadline, self._a.policy, self._a.jitter())
        reason = f"{error.code}: {error}"
        gone = error.verdict is Verdict.REFRESH
        self._out.ledger.stem_failed(
            self._claim, row.name, event=ruling.event, reason=reason, gone=gone, not_before=ruling.not_before, now=now
        )
        self._a.checkpoint("stem.failed")
        state = _STATE_AFTER[ruling.event]
        self._note(replace(row, state=state, reason=reason, not_before=ruling.not_before, attempts=row.attempts + 1))
        report = self._a.log.info if ruling.event is None else self._a.log.error
        report(
            _EVENT_AFTER[ruling.event],
            task_id=self._claim.task_id,
            stem=row.name,
            reason=reason,
            hint=error.hint,
            again_at=ruling.not_before and ruling.not_before.isoformat(),
        )

    def _count_against(self, error: ArchiverError) -> None:
        if error.down is not None:
            self._out.breakers.failed(error.down, error, self._claim.account)

    def _note(self, row: StemRow) -> None:
        with self._lock:
            self._rows[row.name] = row

    # ------------------------------------------------------------------ the end

    def _conclude(self) -> Outcome:
        now = self._a.clock()
        groups = plan.by_state(self._rows.values())
        if wanted := groups[StemState.WANTED]:
            if any(row.not_before is None or row.not_before <= now for row in wanted):
                return Yielded()
            first = min(wanted, key=lambda row: row.not_before or now)
            return Later(first.not_before or now, first.reason, fault=True)
        if not self._claim.settled:
            return plan.not_settled(self._claim, now, self._a.policy, self._a.jitter())
        self._write_sidecars(now)
        if refused := groups[StemState.REFUSED]:
            again = [row.not_before for row in refused if row.not_before is not None]
            return Refused(refused[0].reason, min(again) if again else None)
        if lost := groups[StemState.LOST]:
            return Lost(", ".join(f"{row.name} ({row.reason})" for row in lost))
        return Archived()

    def _write_sidecars(self, now: datetime) -> None:
        claim, store, prefix = self._claim, self._out.store, self._a.prefix
        record = claim.document.encode()
        store.put_document(plan.record_key(prefix, claim.task_id), record, same=lambda theirs: theirs == record)
        self._a.checkpoint("record.put")
        manifest = plan.manifest_of(claim, self._rows.values(), version=self._a.version, now=now)
        store.put_document(
            plan.manifest_key(prefix, claim.task_id),
            manifest,
            same=lambda theirs: plan.says_as_much(theirs, manifest),
        )
        self._out.breakers.worked(Dependency.STORE)
        self._a.checkpoint("manifest.put")

    def age(self, now: datetime) -> timedelta | None:
        """Return how long ago the provider created the task, as far as that is known by now."""
        created = self._claim.created_at
        return None if created is None else now - created

    def outcome_of(self, error: ArchiverError) -> Outcome:
        """Say what an error that stopped the whole try means for the task."""
        if error.verdict is Verdict.PAUSE_PROVIDER:
            account = self._claim.account
            return Paused(Dependency.PROVIDER, f"{error.code}: {error}", error.hint, error.lasting, account)
        if error.verdict is Verdict.PAUSE_STORE:
            return Paused(Dependency.STORE, f"{error.code}: {error}", error.hint, error.lasting)
        self._count_against(error)
        claim, now = self._claim, self._a.clock()
        at = plan.next_try(
            claim.attempts,
            now,
            claim.deadline,
            self._a.policy,
            self._a.jitter(),
            error.retry_after,
            outage=error.down is not None,
        )
        return Later(at, f"{error.code}: {error}", fault=True)


def _link(row: StemRow) -> str:
    if row.url is None:
        raise NoLink("the provider no longer gives a link for this stem")
    return row.url


_STATE_AFTER: Mapping[StemEvent | None, StemState] = {
    None: StemState.WANTED,
    StemEvent.REFUSED: StemState.REFUSED,
    StemEvent.GONE: StemState.LOST,
}
_EVENT_AFTER: Mapping[StemEvent | None, str] = {
    None: "stem.retry",
    StemEvent.REFUSED: "stem.refused",
    StemEvent.GONE: "stem.lost",
}


def _receipt(stored: StoredObject, body: Body, now: datetime) -> Receipt:
    return Receipt(
        key=stored.key,
        size=body.size,
        sha256=body.sha256,
        etag=stored.etag,
        content_type=body.content_type,
        stored_at=now,
    )


class _Twins:
    """Stems of one task by their bytes, so that equal ones are stored once."""

    def __init__(self, rows: tuple[StemRow, ...]) -> None:
        self._changed = threading.Condition()
        self._stored = {row.receipt.sha256: row for row in rows if row.receipt and row.receipt.alias_of is None}
        self._underway: dict[str, StemName] = {}

    @contextmanager
    def of(self, row: StemRow) -> Iterator[None]:
        """While this lasts, `row` may stand for its bytes."""
        try:
            yield
        finally:
            with self._changed:
                self._underway = {sha: name for sha, name in self._underway.items() if name != row.name}
                self._changed.notify_all()

    def twin(self, row: StemRow, sha256: str) -> StemRow | None:
        """Return the stored stem with these bytes; waits for one that is just being stored."""
        with self._changed:
            while self._underway.get(sha256, row.name) != row.name:
                self._changed.wait()
            found = self._stored.get(sha256)
            if found is None or found.name == row.name:
                self._underway[sha256] = row.name
                return None
            return found

    def stored(self, row: StemRow) -> None:
        """From now on `row` is what equal stems are aliases of."""
        if row.receipt is not None:
            with self._changed:
                self._stored[row.receipt.sha256] = row


class _Watched:
    """A body that reports its bytes, stops when the service does, and ends in _SameBytes for a twin."""

    def __init__(self, body: Body, row: StemRow, twins: _Twins, archiver: Archiver, host: str) -> None:
        self._body = body
        self._host = host
        self._row = row
        self._twins = twins
        self._archiver = archiver
        self.length = body.length
        self.extension = body.extension
        self.content_type = body.content_type

    @property
    def sha256(self) -> str:
        return self._body.sha256

    @property
    def size(self) -> int:
        return self._body.size

    def readinto(self, buffer: memoryview) -> int:
        if self._archiver.cancelled():
            raise Interrupted
        count = self._body.readinto(buffer)
        self._archiver.observer.received(count)
        self._archiver.outside.pool.moved(self._host, count)
        if count < len(buffer):
            twin = self._twins.twin(self._row, self._body.sha256)
            if twin is not None:
                raise _SameBytes(twin)
        return count


class _Journal:
    """Writes multipart uploads into the ledger under this process's name."""

    def __init__(self, archiver: Archiver) -> None:
        self._archiver = archiver

    def opened(self, key: str, upload_id: str) -> None:
        ledger = self._archiver.outside.ledger
        ledger.upload_opened(self._archiver.owner, key, upload_id, now=self._archiver.clock())

    def closed(self, key: str, upload_id: str) -> None:
        self._archiver.outside.ledger.upload_closed(key, upload_id)


def _report(log: EventLog, task_id: TaskId, outcome: Outcome) -> None:
    """Log how a try at a task ended."""
    match outcome:
        case Archived():
            log.info("task.archived", task_id=task_id)
        case Later(at=at, reason=reason, fault=fault):
            event = "task.later" if fault else "record.not_ready"
            log.info(event, task_id=task_id, reason=reason, again_at=at.isoformat())
        case Refused(reason=reason, at=again):
            log.error("task.refused", task_id=task_id, reason=reason, again_at=again and again.isoformat())
        case Lost(reason=reason):
            log.error("task.lost", task_id=task_id, reason=reason)
        case Failed(reason=reason):
            log.error("task.failed", task_id=task_id, reason=reason)
        case Missing(reason=reason):
            log.error("task.missing", task_id=task_id, reason=reason)
        case Paused(dependency=dependency, reason=reason):
            log.warning("task.released", task_id=task_id, paused=dependency.value, reason=reason)
        case Yielded():
            log.debug("task.released", task_id=task_id)
        case _:
            assert_never(outcome)
