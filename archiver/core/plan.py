"""Decisions: what a record means for a task, what a failed try means for a stem, when to try again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from archiver.core.errors import AddressPrivate, ArchiverError, BodyNotAudio, NoLink, Verdict
from archiver.core.model import (
    Claim,
    Failed,
    Later,
    Missing,
    Phase,
    Policy,
    RecordInfo,
    Refused,
    StemRow,
)
from archiver.core.put_off import UNKNOWN_YET
from archiver.core.records.kinds.names import AUTO
from archiver.core.records.kinds.table import KINDS
from archiver.core.settling import (
    EMPTY_FOR,
    SAME_ERROR_FOR,
    is_bare,
    is_settled,
    retention_of,
    said_for,
)
from archiver.core.states import StemEvent, StemState, TaskState

GONE_ANSWERS_TO_LOSE = 3
"""Answers of `gone` between the deadline and its grace that make a stem lost."""

TRIES_TO_REFUSE = 3
"""Bodies that are no audio, missing links, or private addresses of a name, after which a stem is refused."""

TRIES_TO_GIVE_UP = 5
"""Failed tries after which an id may end that the provider answers only with errors, while it answers about others."""

TRIES_OF_ONE = 12
"""Failed tries, over some hours, after which one is refused for whom alone the provider or the store is always busy."""

SLOW_RETRY = timedelta(hours=6)
"""The wait before a refused stem is tried again by itself, as long as its audio may exist."""

OUTAGE_WAITS = 10
"""In a possible outage a wait is at most one part in so many of the time that is left."""

DEATHS_TO_QUARANTINE = 2
"""Processes that died uncleanly while at a task, in a row, after which it is tried last and alone."""

FIRST_QUARANTINE = timedelta(minutes=1)
LONGEST_QUARANTINE = timedelta(hours=6)
"""The wait of a task that took a process down though it was alone; it doubles from the one to the other."""

MOST_SPREAD = 1.25
"""The part of its span that a wait takes at most."""


def longest_wait(*settable: timedelta) -> timedelta:
    """Return the longest wait there is, by its settings; a moment farther ahead was written by a wrong clock."""
    return max(*settable, SLOW_RETRY, LONGEST_QUARANTINE) * MOST_SPREAD


@dataclass(frozen=True, slots=True)
class Listed:
    """The record names audio; the rest of the path can begin."""

    deadline: datetime
    settled: bool


ZONES = timedelta(days=1)
"""More than any two time zones differ by."""


def deadline_of(record: RecordInfo, accepted_at: datetime, policy: Policy) -> datetime:
    """Return when the files may vanish: their kind's retention after the task's creation, the safe reading of the docs.

    The earliest of creation, completion and our acceptance of the id counts: a time without its zone may be read
    hours late.
    """
    began = _began(record, accepted_at)
    return min(began, record.completed_at or began) + retention_of(record.kind, policy).urgency


def _began(record: RecordInfo, accepted_at: datetime) -> datetime:
    """Return when the task began: no later than it was accepted, unless our clock was wrong then by more than zones."""
    created_at = record.created_at or accepted_at
    return created_at if accepted_at < created_at - ZONES else min(created_at, accepted_at)


def resolve(
    claim: Claim, record: RecordInfo, now: datetime, policy: Policy, jitter: float, *, sure: datetime | None = None
) -> Listed | Later | Failed | Missing:
    """Return what `record` means for the task. URLs decide; the flag is only a hint.

    What ends by its age does so as of `sure`, which is `now` where it is not given: see archiver.pipeline.second_look.
    """
    sure = now if sure is None else sure
    age = sure - (claim.first_asked_at or sure)
    again = _ask_again(claim, now, policy, jitter)
    if record.stems and not (record.phase is Phase.FAILED and is_bare(record)):
        settled = is_settled(claim, record, sure, policy) or age > policy.missing_after
        return Listed(deadline=deadline_of(record, claim.accepted_at, policy), settled=settled)
    if record.phase is Phase.FAILED:
        return Failed(_blame(record))
    if record.phase is Phase.ABSENT:
        if age > policy.missing_after:
            return Missing(
                f"the provider does not know this id, asked as {_asked_as(claim)} (is it of another kind, or another "
                "account's, or older than two months?)"
            )
        return Later(again, f"{UNKNOWN_YET}, asked as {_asked_as(claim)}")
    why_not = _fruitless(claim, record, sure, policy)
    if why_not:
        return Failed(why_not)
    if record.phase is Phase.DONE:
        return Later(again, f"{_EMPTY} yet")
    faulty = record.error_code or record.error_message
    return Later(again, f"still pending, with an error: {_blame(record)}" if faulty else "the provider is not ready")


_NOTHING_FOUND = (
    "no notes were found: the provider is done, and an empty result is an answer of this kind; nothing is lost"
)
_EMPTY = "the provider reports success but lists no audio"


def _fruitless(claim: Claim, record: RecordInfo, sure: datetime, policy: Policy) -> str:
    """Return why a record without files, not failed by its own word, fails all the same; else nothing."""
    is_old, same_for = sure - (claim.first_asked_at or sure) > policy.missing_after, said_for(claim, record, sure)
    if record.phase is Phase.DONE:
        if KINDS[record.kind].empty_is_answer:
            return _NOTHING_FOUND
        return _EMPTY if is_old or same_for >= EMPTY_FOR else ""
    if record.error_code or record.error_message:
        return _blame(record) if is_old or same_for >= SAME_ERROR_FOR else ""
    late = sure > _began(record, claim.accepted_at) + policy.retention + policy.grace_after_deadline
    return "the provider never finished this task" if late else ""


def _asked_as(claim: Claim) -> str:
    """Return the kinds that the task was asked about as."""
    return " or ".join([", ".join(AUTO[:-1]), AUTO[-1]]) if claim.kind is None else claim.kind.value


def _blame(record: RecordInfo) -> str:
    code = "" if record.error_code is None else f" {record.error_code}"
    return f"{record.flag or 'error'}{code}: {record.error_message or 'no message'}"


def _ask_again(claim: Claim, now: datetime, policy: Policy, jitter: float) -> datetime:
    return now + _spread(_doubled(policy.pending_first, claim.asks, policy.pending_max), jitter)


def _doubled(first: timedelta, times: int, most: timedelta) -> timedelta:
    return min(first * (1 << min(times, 20)), most)


def _spread(span: timedelta, jitter: float) -> timedelta:
    return timedelta(seconds=span.total_seconds() * (0.75 + 0.5 * jitter))


def longest_look(deadline: datetime | None, now: datetime) -> timedelta:
    """Return how long a task may wait for the end of a pause before it looks itself.

    The end makes it due; this is for one that missed it. Six hours at most, no more than an eighth of what is left to
    its deadline, and half an hour where that is near: a large backlog behind a dead host costs little.
    """
    if deadline is None:
        return _SHORTEST_LOOK
    return min(max((deadline - now) / 8, _SHORTEST_LOOK), _LONGEST_LOOK)


def next_try(
    failures: int,
    now: datetime,
    deadline: datetime | None,
    policy: Policy,
    jitter: float,
    retry_after: float | None = None,
    *,
    outage: bool = False,
) -> datetime:
    """Return when to try again after `failures` failed tries in a row (0 for the first).

    Doubles from retry_first to retry_max, spread by a quarter either way, no earlier than `retry_after` seconds.
    Before the deadline the wait is at most half the time that is left, or retry_first where that is more. In a
    possible `outage` it is at most a tenth: the most urgent tasks tried last, and should be there when it ends.
    """
    wait = _spread(_doubled(policy.retry_first, failures, policy.retry_max), jitter)
    if outage:
        wait = _in_time(wait, now, deadline, policy, part=OUTAGE_WAITS)
    if retry_after is not None:
        wait = max(wait, timedelta(seconds=min(retry_after, policy.retry_max.total_seconds())))
    return now + _in_time(wait, now, deadline, policy)


def _in_time(wait: timedelta, now: datetime, deadline: datetime | None, policy: Policy, *, part: int = 2) -> timedelta:
    if deadline is None or now >= deadline:
        return wait
    return min(wait, max((deadline - now) / part, policy.retry_first))


def is_due(not_before: datetime | None, now: datetime, policy: Policy) -> bool:
    """Return whether the time has come; a moment beyond the longest wait counts as come."""
    return not_before is None or not now < not_before <= now + longest_wait(policy.pending_max, policy.retry_max)


def quarantine_wait(deaths: int, now: datetime, deadline: datetime | None) -> timedelta:
    """Return how long a quarantined task waits after so many deaths; not at all before its first try alone.

    Before the deadline at most half the time that is left, or FIRST_QUARANTINE where that is more.
    """
    alone = deaths - DEATHS_TO_QUARANTINE
    if alone < 1:
        return timedelta()
    wait = _doubled(FIRST_QUARANTINE, alone - 1, LONGEST_QUARANTINE)
    if deadline is None or now >= deadline:
        return wait
    return min(wait, max((deadline - now) / 2, FIRST_QUARANTINE))


def gone_for_good(gone_answers: int, now: datetime, deadline: datetime | None, policy: Policy) -> bool:
    """Return whether a stem that the origin called gone `gone_answers` times, fresh links included, is lost."""
    if gone_answers < 1 or deadline is None or now < deadline:
        return False
    return gone_answers >= GONE_ANSWERS_TO_LOSE or now >= deadline + policy.grace_after_deadline


@dataclass(frozen=True, slots=True)
class Ruling:
    """The meaning of a failed try for a stem: its move, if any, and the time of the next try."""

    event: StemEvent | None
    not_before: datetime | None


def judge_stem(
    row: StemRow,
    error: ArchiverError,
    now: datetime,
    deadline: datetime | None,
    policy: Policy,
    jitter: float,
    *,
    sure: datetime | None = None,
    last: datetime | None = None,
) -> Ruling:
    """Rule on a failed try at a stem whose error is about the stem; one with a PAUSE verdict is by a neutral probe.

    It is lost, or refused for good, only as of `sure`, which is `now` where it is not given, and past the `last`
    chance, which is the deadline where it is not given.
    """
    last = deadline if last is None else last
    again = next_try(row.attempts, now, deadline, policy, jitter, error.retry_after, outage=error.down is not None)
    match error.verdict:
        case Verdict.REFRESH if gone_for_good(row.gone + 1, now if sure is None else sure, last, policy):
            return Ruling(StemEvent.GONE, None)
        case Verdict.REFUSE if not isinstance(error, BodyNotAudio | NoLink | AddressPrivate):
            return Ruling(StemEvent.REFUSED, None)
        case Verdict.REFUSE if isinstance(error, AddressPrivate) and not row.reason.startswith(error.code):
            return Ruling(None, again)  # the tries before it may have failed for another reason
        case Verdict.REFUSE | Verdict.PAUSE_STORE | Verdict.PAUSE_PROVIDER if row.attempts + 1 >= TRIES_TO_REFUSE:
            return Ruling(StemEvent.REFUSED, slow_retry(now, last, policy, sure=sure))
        case _:
            return Ruling(None, again)


def slow_retry(
    now: datetime, deadline: datetime | None, policy: Policy, *, sure: datetime | None = None
) -> datetime | None:
    """Return when what was refused is tried again by itself; None where, as of `sure`, its audio can hardly exist."""
    hopeful = deadline is None or (now if sure is None else sure) < deadline + policy.grace_after_deadline
    return now + _in_time(SLOW_RETRY, now, deadline, policy) if hopeful else None


def is_one_too_many(attempts: int) -> bool:
    """Return whether a failed try, after so many others, may be about this one task or stem alone."""
    return attempts + 1 >= TRIES_OF_ONE


def refused_for_good(claim: Claim, now: datetime, policy: Policy) -> bool:
    """Return whether a try that failed is one too many for an id that the provider never answers about."""
    tried = claim.attempts + 1 >= TRIES_TO_GIVE_UP
    return claim.state is TaskState.QUEUED and tried and now > claim.accepted_at + policy.missing_after


def sidecar_refused(claim: Claim, reason: str, now: datetime, policy: Policy) -> Refused | None:
    """Return the outcome once the store has refused the sidecars of this task alone too often; None until then."""
    if claim.state is not TaskState.LISTED or claim.attempts + 1 < TRIES_TO_REFUSE:
        return None
    return Refused(reason, now + _in_time(SLOW_RETRY, now, claim.deadline, policy))


def not_settled(claim: Claim, now: datetime, policy: Policy, jitter: float) -> Later:
    """Return the next ask for a task whose known stems are all done, and whose record may list more."""
    again = _ask_again(claim, now, policy, jitter)
    return Later(again, "the provider may list more stems")


def forecast(backlog: Iterable[tuple[datetime, int]], stems_a_second: float, now: datetime) -> int:
    """Return how many stems of `backlog` expire before they are reached, at this rate.

    `backlog` is pairs of a deadline and the number of its stems. The earliest goes first, and no time is spent on
    what has expired.
    """
    fetched, late = 0.0, 0
    for deadline, stems in sorted(backlog):
        room = max(0.0, stems_a_second * (deadline - now).total_seconds() - fetched)
        saved = min(stems, int(room))
        fetched += saved
        late += stems - saved
    return late


_SHORTEST_LOOK, _LONGEST_LOOK = timedelta(minutes=30), timedelta(hours=6)

YOUNG = timedelta(minutes=1)
"""The age up to which an id that was never asked about goes before those that were accepted earlier."""


def urgency(deadline: datetime | None, accepted_at: datetime) -> datetime:
    """Return the key by which tasks are ordered, the earliest first.

    A task without a known deadline may expire at any moment, so its age counts as its deadline.
    """
    return deadline or accepted_at


ASKED_AGAIN = datetime(2500, 1, 1, tzinfo=UTC)
"""Urgencies from here on are those of tasks that were asked about, and are to be asked about again."""
_ASKED_AGAIN_BY = timedelta(days=365_250)


def urgency_of_asked(asked_at: datetime) -> datetime:
    """Return the urgency of a task that was last asked about then, and of which there is nothing to fetch yet.

    After all that was never asked about, and after all links that are needed by a deadline.
    """
    return asked_at + _ASKED_AGAIN_BY


_PRIORITIES_FROM = datetime(2020, 1, 1, tzinfo=UTC)
_HALF = 1 << 30


def priority(urgency: datetime, deadline: datetime | None, now: datetime) -> int:
    """Return `urgency` as a number for queues that take the highest first, in 32 bits and to the second.

    Tasks past their deadline go after all others.
    """
    seconds = int((urgency - _PRIORITIES_FROM).total_seconds())
    past = deadline is not None and deadline <= now
    return -max(0, min(seconds, _HALF - 1)) - (_HALF if past else 0)


def by_state(stems: Iterable[StemRow]) -> Mapping[StemState, list[StemRow]]:
    """Group stems by state; every state has its list."""
    groups: dict[StemState, list[StemRow]] = {state: [] for state in StemState}
    for row in stems:
        groups[row.state].append(row)
    return groups
