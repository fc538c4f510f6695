"""What holds of every decision, whatever the numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from archiver.core import plan
from archiver.core.chronicle import End
from archiver.core.errors import (
    AddressForbidden,
    ArchiverError,
    BodyEmpty,
    BodyNotAudio,
    BodyShort,
    KeyTaken,
    LinkSpent,
    NoLink,
    OriginBusy,
    StoreBusy,
)
from archiver.core.manifest import manifest_of
from archiver.core.model import (
    Claim,
    Failed,
    Later,
    Missing,
    Phase,
    Policy,
    Receipt,
    RecordInfo,
    StemName,
    StemRow,
    StemSource,
    TaskId,
)
from archiver.core.states import StemEvent, StemState, TaskState
from archiver.core.succession import Succession

ROUNDING = timedelta(microseconds=1)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive by hypothesis' rule
MAYBE = st.none() | MOMENTS
COUNTS = st.integers(0, 40) | st.just(10**9)
JITTER = st.floats(0, 1, exclude_max=True) | st.just(1.0)
RETRY_AFTER = st.none() | st.floats(0, 1e6)


def spans(least: timedelta, most: timedelta) -> st.SearchStrategy[timedelta]:
    return st.timedeltas(least, most)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    second, hour, day = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
    retry_first, pending_first = draw(spans(second, hour)), draw(spans(second, hour))
    return Policy(
        retention=draw(spans(hour, 30 * day)),
        grace_after_deadline=draw(spans(timedelta(0), 5 * day)),
        retry_first=retry_first,
        retry_max=retry_first + draw(spans(timedelta(0), day)),
        pending_first=pending_first,
        pending_max=pending_first + draw(spans(timedelta(0), day)),
        missing_after=draw(spans(second, 3 * day)),
    )


@given(COUNTS, MOMENTS, MAYBE, policies(), JITTER, RETRY_AFTER)
def test_next_try_keeps_its_bounds(
    failures: int,
    now: datetime,
    deadline: datetime | None,
    policy: Policy,
    jitter: float,
    retry_after: float | None,
) -> None:
    wait = plan.next_try(failures, now, deadline, policy, jitter, retry_after) - now
    assert timedelta(0) < wait <= policy.retry_max * 1.25 + ROUNDING
    if deadline is not None and now < deadline:
        assert wait <= max((deadline - now) / 2, policy.retry_first)
        if deadline - now >= policy.retry_first:
            assert now + wait <= deadline
    else:
        assert wait >= policy.retry_first * 0.75 - ROUNDING
        asked = timedelta(seconds=min(retry_after or 0, policy.retry_max.total_seconds()))
        assert wait >= asked


@given(st.integers(0, 40), MOMENTS, MAYBE, policies(), JITTER, RETRY_AFTER)
def test_next_try_never_comes_sooner_after_more_failures(
    failures: int,
    now: datetime,
    deadline: datetime | None,
    policy: Policy,
    jitter: float,
    retry_after: float | None,
) -> None:
    sooner = plan.next_try(failures, now, deadline, policy, jitter, retry_after)
    assert sooner <= plan.next_try(failures + 1, now, deadline, policy, jitter, retry_after)
    assert sooner <= plan.next_try(failures, now, deadline, policy, 1.0, retry_after)
    assert plan.next_try(failures, now, deadline, policy, jitter, retry_after, outage=True) <= sooner


@given(policies(), st.integers(0, 500), st.lists(JITTER, min_size=1, max_size=5))
def test_last_try_before_the_deadline_is_no_more_than_two_first_waits_away(
    policy: Policy, left: int, jitters: list[float]
) -> None:
    now = last = EPOCH
    deadline = EPOCH + left * policy.retry_first
    failures = 0
    while now < deadline:
        last = now
        now = plan.next_try(failures, now, deadline, policy, jitters[failures % len(jitters)])
        failures += 1
    assert deadline - last <= 2 * policy.retry_first + ROUNDING


@given(COUNTS, MOMENTS, MAYBE, policies())
def test_stem_is_lost_only_past_its_deadline_and_after_an_answer(
    gone: int, now: datetime, deadline: datetime | None, policy: Policy
) -> None:
    if plan.gone_for_good(gone, now, deadline, policy):
        assert deadline is not None
        assert now >= deadline
        assert gone >= 1
        assert plan.gone_for_good(gone + 1, now + timedelta(seconds=1), deadline, policy)


ERRORS = st.sampled_from(
    [
        OriginBusy(),
        BodyShort(),
        StoreBusy(retry_after=30),
        LinkSpent(status=404),
        NoLink(),
        BodyNotAudio(),
        BodyEmpty(),
        KeyTaken(),
        AddressForbidden(),
    ]
)


def stem(*, attempts: int = 0, gone: int = 0) -> StemRow:
    return StemRow(StemName("vocal"), StemState.WANTED, None, "", "vocalUrl", attempts=attempts, gone=gone)


@given(st.builds(stem, attempts=COUNTS, gone=COUNTS), ERRORS, MOMENTS, MAYBE, policies(), JITTER)
def test_failed_try_leaves_a_stem_wanted_with_a_date_or_ends_it_for_a_reason(
    row: StemRow, error: ArchiverError, now: datetime, deadline: datetime | None, policy: Policy, jitter: float
) -> None:
    ruling = plan.judge_stem(row, error, now, deadline, policy, jitter)
    if ruling.event is None:
        assert ruling.not_before is not None
    if ruling.not_before is not None:
        assert ruling.not_before > now
    if ruling.event is StemEvent.GONE:
        assert isinstance(error, LinkSpent)
        assert deadline is not None
        assert deadline <= now
    if (
        ruling.event is StemEvent.REFUSED
        and isinstance(error, BodyNotAudio | NoLink)
        and deadline is not None
        and now < deadline
    ):
        assert ruling.not_before is not None
        assert ruling.not_before <= now + max((deadline - now) / 2, policy.retry_first)
    assert ruling.event is not StemEvent.RETRIED


CLAIMS = st.builds(
    lambda accepted, asked, asks: Claim(
        TaskId("3e63b4cc88d5"), "token", TaskState.QUEUED, accepted, first_asked_at=asked, asks=asks
    ),
    MOMENTS,
    MAYBE,
    COUNTS,
)
SOURCES = st.lists(
    st.sampled_from(["vocal", "drums", "origin"]).map(lambda name: StemSource(StemName(name), "https://a.test", name)),
    max_size=3,
)
RECORDS = st.builds(
    RecordInfo,
    phase=st.sampled_from(Phase),
    stems=SOURCES.map(tuple),
    created_at=MAYBE,
    completed_at=MAYBE,
    error_code=st.none() | st.just(413),
    error_message=st.sampled_from(["", "no"]),
)


@given(CLAIMS, RECORDS, MOMENTS, policies(), JITTER)
def test_record_that_names_audio_is_always_listed(
    claim: Claim, record: RecordInfo, now: datetime, policy: Policy, jitter: float
) -> None:
    answer = plan.resolve(claim, record, now, policy, jitter)
    only_mix = record.phase is Phase.FAILED and all(stem.name == "origin" for stem in record.stems)
    assert isinstance(answer, plan.Listed) == (bool(record.stems) and not only_mix)
    if isinstance(answer, plan.Listed):
        starts = [moment for moment in (record.created_at, record.completed_at) if moment is not None]
        # Nobody can have been given an id a day before its task was created: our clock was wrong then.
        too_early = record.created_at is not None and claim.accepted_at < record.created_at - plan.ZONES
        accepted = [] if too_early else [claim.accepted_at]
        assert answer.deadline == min([*starts, *accepted]) + policy.retention


@given(CLAIMS, RECORDS, MOMENTS, policies(), JITTER)
def test_first_answer_ends_a_task_only_when_the_provider_failed_or_never_finished(
    claim: Claim, record: RecordInfo, now: datetime, policy: Policy, jitter: float
) -> None:
    answer = plan.resolve(replace(claim, first_asked_at=None), record, now, policy, jitter)
    assert not isinstance(answer, Missing)
    if isinstance(answer, Failed) and record.phase is not Phase.FAILED:
        assert record.phase is Phase.PENDING
        assert now > min(record.created_at or claim.accepted_at, claim.accepted_at) + policy.retention
    if isinstance(answer, Later):
        assert now < answer.at <= now + policy.pending_max * 1.25 + ROUNDING
        assert not answer.fault


RECEIPTS = st.builds(
    Receipt,
    key=st.text(max_size=9),
    size=st.integers(1, 10**12),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    etag=st.text(max_size=5),
    content_type=st.just("audio/mpeg"),
    stored_at=MOMENTS,
    alias_of=st.none() | st.just(StemName("other")),
)
ROWS = st.lists(
    st.builds(
        StemRow,
        name=st.text("abc_", min_size=1, max_size=3).map(StemName),
        state=st.sampled_from(StemState),
        url=st.none(),
        url_shown=st.text(max_size=9),
        field=st.text(max_size=9),
        duration=st.none() | st.floats(0, 1e6),
        reason=st.text(max_size=9),
        receipt=RECEIPTS,
    ).map(lambda row: row if row.state is StemState.STORED else replace(row, receipt=None)),
    max_size=4,
    unique_by=lambda row: row.name,
)


REFUSED = End(TaskState.LISTED, "refused")


@given(ROWS, CLAIMS, MOMENTS)
def test_manifest_is_sealed_and_the_same_in_any_order_of_stems(
    rows: list[StemRow], claim: Claim, now: datetime
) -> None:
    one = manifest_of(claim, rows, REFUSED, version="1", now=now)
    other = manifest_of(claim, rows[::-1], REFUSED, version="1", now=now)
    assert one == other
    assert Succession(one, claim.task_id).keeps(one)


@given(ROWS.filter(bool), CLAIMS, st.data())
def test_manifest_with_any_byte_changed_is_another_or_says_the_same(
    rows: list[StemRow], claim: Claim, data: st.DataObject
) -> None:
    whole = manifest_of(claim, rows, REFUSED, version="1", now=EPOCH)
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255))
    changed = whole[:at] + bytes([byte]) + whole[at + 1 :]
    if Succession(whole, claim.task_id).keeps(changed):
        assert json.loads(changed) == json.loads(whole)
