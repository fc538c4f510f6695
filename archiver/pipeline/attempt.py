"""One try at one task under one lease: ask, store every stem, conclude."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from queue import Queue

from archiver.core import plan
from archiver.core.clocks import LONG_AGO
from archiver.core.errors import ArchiverError, Interrupted, Preempted, Verdict
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
    RecordInfo,
    Refused,
    StemName,
    StemRow,
    Subject,
    Yielded,
)
from archiver.core.refusals import ManifestTooLong
from archiver.core.settling import last_chance
from archiver.core.states import StemState, TaskState
from archiver.core.text import host_of
from archiver.core.transfer import Transfer
from archiver.pipeline.adoption import Adopted, Adoption
from archiver.pipeline.completed import CompletedStems
from archiver.pipeline.context import TaskContext
from archiver.pipeline.duplicates import Duplicates
from archiver.pipeline.listing import Listing
from archiver.pipeline.sidecars import Sidecars
from archiver.pipeline.stem import StemTransfer


class TaskAttempt:
    """One try at one task: what was learned on the way, and why it ends early."""

    def __init__(self, context: TaskContext, claim: Claim) -> None:
        self._context = context
        self._out = context.outside
        self._listing = Listing(context, claim)
        self._began = context.clock()
        self._began_queued = claim.state is TaskState.QUEUED
        self._duplicates = Duplicates(claim.stems)
        self._completed = CompletedStems(context, self._listing)
        self._tried: set[StemName] = set()
        self._usable: dict[str, bool] = {}
        """Hosts by name: whether this attempt may use them."""
        self._gave_way_until: datetime | None = None
        self._pause: ArchiverError | None = None
        self._crash: BaseException | None = None
        bucket = self._out.bucket
        self._adoption = None if bucket is None else Adoption(context, self._listing, bucket)
        self.ended_at: datetime | None = None
        """The time that the manifest tells; None until one is written that tells an end."""

    @property
    def record(self) -> RecordInfo | None:
        """The provider's last answer, when one came."""
        return self._listing.record

    def age(self, now: datetime) -> timedelta | None:
        """Return how long ago the provider created the task, as far as that is known by now."""
        created = self._listing.claim.created_at
        return None if created is None else now - created

    # --- the picture, top to bottom

    def run(self) -> Outcome:
        """Return how far the task came; raise ArchiverError when the asking itself failed, or the store did."""
        adopted = None if self._adoption is None else self._adoption.at_first()
        if adopted is not None:
            return self._adopted(adopted)
        outcome = self._run()
        return self._end_of_none(outcome) if isinstance(outcome, Failed | Missing) else outcome

    def _run(self) -> Outcome:
        if self._waits_for_hosts():
            return self._put_off(list(self._due()))
        if self._gives_way():
            return Yielded(self._gave_way_until)
        if self._asks_now():
            early = (self._fetch(with_link=True) if self._with_link() else None) or self._listing.ask()
            if early is not None:
                return self._in_time(early)
        return self._fetch() or self._conclude()

    def _asks_now(self) -> bool:
        """Return whether the provider is to be asked: not while what has a link can go on, and what has none waits."""
        if not self._listing.must_ask():
            return False
        return not self._with_link() or any(row.url is None for row in self._due())

    def _with_link(self) -> list[StemRow]:
        """Return the stems that can be fetched without asking; none of a task that begins, or begins anew."""
        if self._began_queued:
            return []
        return [row for row in self._listing.rows.values() if row.state is StemState.WANTED and row.url is not None]

    def _fetch(self, *, with_link: bool = False) -> Outcome | None:
        """Store what is due, or of it what has a link; return the outcome where the attempt ends with that."""
        by = self._listing.claim.task_id
        if any(self._to_fetch(with_link=with_link)):
            usable = self._out.breakers.try_use(Dependency.ORIGIN, Dependency.STORE, by=by)
            if not (usable and self._listing.neutral.store_is_up()):
                return Yielded()
        while wanted := [row for row in self._to_fetch(with_link=with_link) if self._may_use(_host(row))]:
            self._store(wanted)
        if self._gave_way_until is not None:
            return Yielded(self._gave_way_until)
        return None if self._pause is None else self._paused(self._pause)

    def _to_fetch(self, *, with_link: bool) -> Iterator[StemRow]:
        return (row for row in self._due() if row.url is not None or not with_link)

    def _in_time(self, outcome: Outcome) -> Outcome:
        """Return the outcome of asking, but no later than what has a link is to be tried again."""
        with_link = self._with_link()
        if not with_link or not isinstance(outcome, Later | Paused | Yielded):
            return outcome
        soon = self._context.clock() + self._context.policy.retry_first
        at = min(max(self._try_at(row) or soon, soon) for row in with_link)
        if isinstance(outcome, Yielded) and outcome.at is None:
            return Yielded(at, (Subject.of(Dependency.PROVIDER, self._listing.claim.account),))
        return replace(outcome, at=at if outcome.at is None else min(at, outcome.at))

    def _try_at(self, row: StemRow) -> datetime | None:
        host = _host(row)
        if self._is_usable(host):
            return row.not_before
        return self._look_at(host)

    def _look_at(self, host: str) -> datetime:
        """Return when the task is to look whether the host works again; the end of its pause makes it due at once."""
        tried = self._has_failed(host)
        return self._out.breakers.look_at(_origin(host), self._longest_look(), tried=tried)

    def _longest_look(self) -> timedelta:
        return plan.longest_look(self._listing.deadline, self._context.clock())

    # --- stems

    def _due(self) -> Iterator[StemRow]:
        """Yield the stems that are to be tried now, each once an attempt; none once a dependency is paused."""
        now = self._context.clock()
        if self._pause is not None or self._gave_way_until is not None:
            return
        for row in self._listing.rows.values():
            due = plan.is_due(row.not_before, now, self._context.policy)
            again = row.state is StemState.REFUSED and row.not_before is not None
            if row.name not in self._tried and due and (row.state is StemState.WANTED or again):
                yield row

    def _may_use(self, host: str) -> bool:
        """Return whether the host may be used, asked once an attempt; if so, this may be its probe."""
        if host not in self._usable:
            by = self._listing.claim.task_id
            tried = self._has_failed(host)
            self._usable[host] = self._out.breakers.try_use(
                Dependency.ORIGIN, host=host, by=by, tried=tried, newcomer=self._is_new and not tried
            )
        return self._usable[host]

    def _waits_for_hosts(self) -> bool:
        """Return whether all stems that could be tried now are on hosts that are to be left alone."""
        hosts = {_host(row) for row in self._due()}
        return bool(hosts) and not any(map(self._may_try, hosts))

    def _may_try(self, host: str) -> bool:
        tried = self._has_failed(host)
        return self._out.breakers.is_usable(_origin(host), tried=tried, newcomer=self._is_new and not tried)

    @property
    def _is_new(self) -> bool:
        return self._context.clock() - self._listing.claim.accepted_at <= plan.YOUNG

    def _is_usable(self, host: str) -> bool:
        return self._out.breakers.is_usable(_origin(host), tried=self._has_failed(host))

    def _has_failed(self, host: str) -> bool:
        return any(row.attempts > 0 and _host(row) == host for row in self._listing.rows.values())

    def _put_off(self, due: Sequence[StemRow]) -> Yielded:
        """Give the task back until one of the hosts that its stems wait for works, or a stem's own wait is over."""
        hosts = {_host(row) for row in due}
        if any(self._usable.get(host, True) and self._is_usable(host) for host in hosts):
            return Yielded()
        at = min(self._look_at(host) for host in hosts)
        waits = (row.not_before for row in self._listing.rows.values() if row.state is StemState.WANTED)
        now = self._context.clock()
        at = min(at, *(moment for moment in waits if moment is not None and moment > now), at)
        return Yielded(at, tuple(_origin(host) for host in sorted(hosts)))

    def _store(self, wanted: Sequence[StemRow]) -> None:
        """Put every wanted stem through the shared pool, and write down what is complete until each has ended."""
        # No SimpleQueue: who waits there waits by no condition, and simulated time would never go on.
        ended: Queue[Future[None]] = Queue()
        for row in wanted:
            self._tried.add(row.name)
            claim = self._listing.claim
            transfer = Transfer(self._listing.deadline, _host(row), claim.account, claim.task_id, row.name)
            transfer.tried = row.attempts > 0
            self._out.pool.submit(transfer, partial(self._store_one, row, transfer)).add_done_callback(ended.put)
        dropped = False
        for _ in wanted:
            with self._context.watch.waiting():
                dropped = isinstance(ended.get().exception(), Preempted) or dropped
            failure = self._completed.write_down()
            self._crash = self._crash or failure
        if self._context.cancelled():
            for row in wanted:
                self._context.kept.give_up(self._listing.claim.task_id, row.name)
        if dropped:
            self._gives_way(dropped=True)
        if self._crash is not None:
            raise self._crash

    def _gives_way(self, *, dropped: bool = False) -> bool:
        """Return whether the task waits a while, for others that would wait for its slow transfers."""
        hosts = {_host(row) for row in self._listing.rows.values() if row.state is StemState.WANTED}
        span = self._out.pool.put_off(hosts, dropped=dropped) if hosts else None
        if span is not None:
            self._gave_way_until = self._context.clock() + span
        return span is not None

    def _store_one(self, row: StemRow, transfer: Transfer) -> None:
        """Store one stem unless the attempt is to end; runs in the pool."""
        if self._ends(_host(row)):
            return
        try:
            stem = StemTransfer(self._context, self._listing, self._duplicates, self._completed, row, transfer)
            pause = stem.run()
            self._pause = self._pause or pause
        except Preempted:
            raise
        except BaseException as crash:  # noqa: BLE001 - handed to the task's own thread by _store
            self._crash = self._crash or crash

    def _ends(self, host: str) -> bool:
        if self._context.cancelled():
            self._crash = self._crash or Interrupted()
        blocked = self._out.breakers.is_blocked(Dependency.ORIGIN, Dependency.STORE, host=host)
        return blocked or self._crash is not None or self._pause is not None or self._is_overtaken()

    def _is_overtaken(self) -> bool:
        """Return whether the deadline has passed since the attempt began, and others wait whose has not."""
        now = self._context.clock()
        return self._began < self._listing.deadline <= now and self._listing.more_urgent_waits(now)

    # --- the end

    def _conclude(self) -> Outcome:
        now = self._context.clock()
        groups = plan.by_state(self._listing.rows.values())
        if wanted := groups[StemState.WANTED]:
            if due := [row for row in wanted if plan.is_due(row.not_before, now, self._context.policy)]:
                return self._put_off(due)
            first = min(wanted, key=lambda row: row.not_before or now)
            return Later(first.not_before or now, first.reason, True, self._listing.failed_at)
        if not self._listing.claim.settled:
            return plan.not_settled(self._listing.claim, now, self._context.policy, self._context.jitter())
        if refused := groups[StemState.REFUSED]:
            again = [row.not_before for row in refused if row.not_before is not None]
            return self._seal(Refused(refused[0].reason, min(again) if again else None))
        if lost := groups[StemState.LOST]:
            return self._lost(Lost(", ".join(f"{row.name} ({row.reason})" for row in lost)))
        return self._seal(Archived())

    def _lost(self, outcome: Lost) -> Outcome:
        """End the task so, unless the bucket has of it what was lost."""
        if (waits := self._waits_for_store()) is not None:
            return waits
        if self._adoption is None or self._adoption.before(outcome) is not None:
            return self._write_down(outcome)
        return self._conclude()

    def _end_of_none(self, outcome: Failed | Missing) -> Outcome:
        """End a task that the provider has nothing of, unless the bucket has."""
        if (waits := self._waits_for_store()) is not None:
            return waits
        verdict = outcome if self._adoption is None else self._adoption.before(outcome)
        if verdict is None:
            return self._conclude()
        return self._adopted(verdict) if isinstance(verdict, Adopted) else self._write_down(verdict)

    def _adopted(self, adopted: Adopted) -> Outcome:
        self.ended_at = adopted.ended_at
        return adopted.outcome

    def _waits_for_store(self) -> Outcome | None:
        """Return the outcome while the store cannot be used; while it is paused, no task ends."""
        by, breakers, store = self._listing.claim.task_id, self._out.breakers, Subject.of(Dependency.STORE)
        if breakers.try_use(Dependency.STORE, by=by) and self._listing.neutral.store_is_up():
            return None
        return Yielded(breakers.look_at(store, self._longest_look()), (store,))

    def _seal(self, outcome: Outcome) -> Outcome:
        """Write the sidecars that tell `outcome`, and return it."""
        if (waits := self._waits_for_store()) is not None:
            return waits
        return self._write_down(outcome)

    def _write_down(self, outcome: Outcome) -> Outcome:
        try:
            with self._context.watch.writing(tried=self._listing.claim.attempts > 0):
                self.ended_at = Sidecars(self._context).write(self._listing, outcome)
        except ManifestTooLong as error:
            return Refused(f"{error.code}: {error}", self._context.clock() + plan.SLOW_RETRY)
        return outcome

    def outcome_of(self, error: ArchiverError) -> Outcome:
        """Return what an error that stopped the whole try means for the task."""
        outcome = self._outcome_of(error)
        if not isinstance(outcome, Failed):
            return outcome
        try:
            return self._end_of_none(outcome)
        except Interrupted:
            return Yielded()
        except ArchiverError as fault:
            return self._outcome_of(fault)

    def _outcome_of(self, error: ArchiverError) -> Outcome:
        pauses = error.verdict in (Verdict.PAUSE_PROVIDER, Verdict.PAUSE_STORE)
        if pauses and not self._listing.neutral.blames(error):
            return self._in_time(self._paused(error))
        self._listing.count_failure(error)
        return self._end_of(error) or self._in_time(self._later(error))

    def _paused(self, error: ArchiverError) -> Paused:
        """Pause what refused us, and let others probe it before this task does."""
        dependency = Dependency.PROVIDER if error.verdict is Verdict.PAUSE_PROVIDER else Dependency.STORE
        account, reason = Subject.of(dependency, self._listing.claim.account).account, f"{error.code}: {error}"
        refusal = Paused(dependency, reason, error.hint, error.lasting, account)
        return replace(refusal, at=self._out.breakers.trip(refusal))

    def _end_of(self, error: ArchiverError) -> Outcome | None:
        """Return the end of a task that alone was refused too often; None until then."""
        claim, now, policy = self._listing.claim, self._context.clock(), self._context.policy
        reason = f"{error.code}: {error}"
        if error.verdict is Verdict.PAUSE_STORE:
            return plan.sidecar_refused(claim, reason, now, policy)
        if claim.state is TaskState.LISTED:
            alone = plan.is_one_too_many(claim.attempts) and self._listing.neutral.works_for_others(error)
            return self._refused(reason) if alone else None
        of_the_provider = error.down is Dependency.PROVIDER or error.verdict is Verdict.PAUSE_PROVIDER
        if not of_the_provider or not plan.refused_for_good(claim, self._context.look.sure(), policy):
            return None
        if not self._context.look.seen(f"{claim.task_id} refused") or not self._listing.neutral.provider_works(
            known=True
        ):
            return None
        return Failed(f"the provider answers about other ids, and only this about this one: {reason}")

    def _refused(self, reason: str) -> Refused:
        """Return the refusal of a listed task; for good once a second look has confirmed that its time is over.

        Where nothing is left to fetch its time does not matter: the store has refused what it has.
        """
        claim, look, policy = self._listing.claim, self._context.look, self._context.policy
        last = last_chance(claim, policy)
        fetched = all(row.state in {StemState.STORED, StemState.LOST} for row in self._listing.rows.values())
        past = not fetched and last is not None and look.sure() >= last and look.seen(f"{claim.task_id} refused")
        sure = look.sure() if past else LONG_AGO
        return Refused(reason, plan.slow_retry(self._context.clock(), last, policy, sure=sure))

    def _later(self, error: ArchiverError) -> Later:
        claim = self._listing.claim
        at = plan.next_try(
            claim.attempts,
            self._context.clock(),
            claim.deadline,
            self._context.policy,
            self._context.jitter(),
            error.retry_after,
            outage=error.down is not None,
        )
        return Later(at, f"{error.code}: {error}", True, self._listing.failed_at)


def _host(row: StemRow) -> str:
    return _host_of(row.url or row.url_shown)


_host_of = lru_cache(maxsize=256)(host_of)


def _origin(host: str) -> Subject:
    return Subject.of(Dependency.ORIGIN, host=host)
