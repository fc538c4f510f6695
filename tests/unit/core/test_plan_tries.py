"""When a failed try is made again, and what it means for its stem."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from archiver.core import plan
from archiver.core.errors import (
    AddressForbidden,
    AddressPrivate,
    ArchiverError,
    BodyEmpty,
    BodyNotAudio,
    BodyShort,
    BodyTooLarge,
    KeyTaken,
    LinkSpent,
    NoLink,
    OriginBusy,
    StoreBusy,
)
from archiver.core.model import Policy, StemRow
from archiver.core.refusals import RedirectForbidden
from archiver.core.states import StemEvent, StemState, TaskState
from tests.unit.core.tasks import DAY, EVEN, HOUR, NOW, POLICY, SECOND, claim, row

DEFAULT = Policy()


@pytest.mark.parametrize(
    ("failures", "jitter", "retry_after", "seconds"),
    [
        (0, EVEN, None, 4),
        (0, 0.0, None, 3),
        (0, 1.0, None, 5),
        (1, EVEN, None, 8),
        (5, EVEN, None, 128),
        (10, EVEN, None, 3600),
        (10**9, EVEN, None, 3600),
        (10**9, 1.0, None, 4500),
        (0, EVEN, 100.0, 100),
        (0, EVEN, 0.0, 4),
        (0, EVEN, -5.0, 4),
        (5, EVEN, 100.0, 128),
        (0, EVEN, 1e12, 3600),
        (0, EVEN, float("inf"), 3600),
    ],
)
def test_next_try_without_deadline(failures: int, jitter: float, retry_after: float | None, seconds: float) -> None:
    assert plan.next_try(failures, NOW, None, POLICY, jitter, retry_after) == NOW + seconds * SECOND


@pytest.mark.parametrize(
    ("left", "seconds"),
    [
        (7200 * SECOND, 3600),
        (7198 * SECOND, 3599),
        (100 * SECOND, 50),
        (8 * SECOND, 4),
        (SECOND, 4),
        (timedelta(0), 3600),
        (-DAY, 3600),
    ],
)
def test_next_try_waits_at_most_half_the_time_left(left: timedelta, seconds: float) -> None:
    assert plan.next_try(20, NOW, NOW + left, POLICY, EVEN) == NOW + seconds * SECOND
    assert plan.next_try(0, NOW, NOW + left, POLICY, EVEN, 3600) == NOW + seconds * SECOND


@pytest.mark.parametrize(
    ("left", "seconds"),
    [
        (36000 * SECOND, 3600),
        (35990 * SECOND, 3599),
        (100 * SECOND, 10),
        (40 * SECOND, 4),
        (SECOND, 4),
        (timedelta(0), 3600),
        (-DAY, 3600),
    ],
)
def test_next_try_in_an_outage_waits_at_most_a_tenth_of_the_time_left(left: timedelta, seconds: float) -> None:
    assert plan.next_try(20, NOW, NOW + left, POLICY, EVEN, outage=True) == NOW + seconds * SECOND


def test_next_try_in_an_outage_still_waits_as_long_as_it_was_told_up_to_half_the_time_left() -> None:
    assert plan.next_try(0, NOW, NOW + 100 * SECOND, POLICY, EVEN, 30, outage=True) == NOW + 30 * SECOND
    assert plan.next_try(0, NOW, NOW + 100 * SECOND, POLICY, EVEN, 90, outage=True) == NOW + 50 * SECOND


@pytest.mark.parametrize(
    ("error", "seconds"), [(OriginBusy(), 10), (StoreBusy(), 10), (BodyShort(), 10), (LinkSpent(status=404), 50)]
)
def test_stem_waits_less_where_an_outage_may_be_to_blame(error: ArchiverError, seconds: float) -> None:
    assert judge(row(attempts=20), error, NOW + 100 * SECOND).not_before == NOW + seconds * SECOND


def test_next_try_of_long_first_waits_does_not_overflow() -> None:
    patient = replace(POLICY, retry_first=30 * DAY, retry_max=60 * DAY)
    assert plan.next_try(10**9, NOW, None, patient, EVEN) == NOW + 60 * DAY


def judge(stem: StemRow, error: ArchiverError, deadline: datetime | None = NOW + 10 * DAY) -> plan.Ruling:
    return plan.judge_stem(stem, error, NOW, deadline, POLICY, EVEN)


@pytest.mark.parametrize("error", [OriginBusy(), BodyShort(), StoreBusy(), LinkSpent(status=403)])
def test_busy_world_leaves_the_stem_wanted(error: ArchiverError) -> None:
    assert judge(row(attempts=3), error) == plan.Ruling(None, NOW + 32 * SECOND)


def test_retry_after_of_the_error_is_kept_to() -> None:
    assert judge(row(), OriginBusy(retry_after=90)) == plan.Ruling(None, NOW + 90 * SECOND)


@pytest.mark.parametrize("error", [KeyTaken(), BodyTooLarge(), AddressForbidden()])
def test_what_only_an_operator_can_mend_is_refused_at_once(error: ArchiverError) -> None:
    assert judge(row(), error) == plan.Ruling(StemEvent.REFUSED, None)


def test_redirect_to_a_place_we_do_not_go_is_a_passing_fault_until_it_is_given_again_and_again() -> None:
    error = RedirectForbidden("scheme 'http': only https is fetched")
    assert judge(row(), error) == plan.Ruling(None, NOW + 4 * SECOND)
    again = replace(row(attempts=2), reason=f"{error.code}: {error}")
    assert judge(again, error) == plan.Ruling(StemEvent.REFUSED, NOW + 6 * HOUR)


@pytest.mark.parametrize("error", [BodyNotAudio(), BodyEmpty(), NoLink()])
@pytest.mark.parametrize(
    ("attempts", "ruling"),
    [
        (0, plan.Ruling(None, NOW + 4 * SECOND)),
        (1, plan.Ruling(None, NOW + 8 * SECOND)),
        (2, plan.Ruling(StemEvent.REFUSED, NOW + 6 * HOUR)),
        (50, plan.Ruling(StemEvent.REFUSED, NOW + 6 * HOUR)),
    ],
)
def test_body_that_is_no_audio_or_link_that_is_not_given_is_refused_at_the_third_time(
    error: ArchiverError, attempts: int, ruling: plan.Ruling
) -> None:
    assert judge(row(attempts=attempts), error) == ruling


@pytest.mark.parametrize(
    ("attempts", "reason", "event"),
    [
        (0, "", None),
        (1, "cdn.address_forbidden: cdn.example leads to 10.0.0.7", None),
        (2, "cdn.address_forbidden: cdn.example leads to 10.0.0.7", StemEvent.REFUSED),
        (50, "cdn.address_forbidden: cdn.example leads to 10.0.0.7", StemEvent.REFUSED),
        (2, "cdn.busy: timed out", None),
        (50, "cdn.busy: timed out", None),
    ],
)
def test_private_address_of_a_name_is_refused_only_when_it_is_given_again_and_at_the_third_try(
    attempts: int, reason: str, event: StemEvent | None
) -> None:
    ruling = judge(replace(row(attempts=attempts), reason=reason), AddressPrivate())
    assert ruling.event is event
    assert ruling.not_before is not None
    assert event is None or ruling.not_before == NOW + 6 * HOUR


@pytest.mark.parametrize(
    ("deadline", "again"),
    [
        (None, NOW + 6 * HOUR),
        (NOW + 12 * HOUR, NOW + 6 * HOUR),
        (NOW + 2 * HOUR, NOW + HOUR),
        (NOW, NOW + 6 * HOUR),
        (NOW - 2 * DAY + SECOND, NOW + 6 * HOUR),
        (NOW - 2 * DAY, None),
    ],
)
@pytest.mark.parametrize("error", [BodyNotAudio(), NoLink()])
def test_refused_stem_that_may_mend_is_looked_at_again_before_it_expires(
    error: ArchiverError, deadline: datetime | None, again: datetime | None
) -> None:
    assert judge(row(attempts=2, gone=100), error, deadline) == plan.Ruling(StemEvent.REFUSED, again)


@pytest.mark.parametrize(
    ("gone", "deadline", "event"),
    [
        (100, NOW + SECOND, None),
        (1, NOW, None),
        (2, NOW, StemEvent.GONE),
        (0, NOW - 2 * DAY, StemEvent.GONE),
        (100, None, None),
    ],
)
def test_spent_link_loses_the_stem_only_past_its_deadline(
    gone: int, deadline: datetime | None, event: StemEvent | None
) -> None:
    ruling = judge(row(gone=gone), LinkSpent(status=404), deadline)
    assert ruling.event is event
    assert (ruling.not_before is None) == (event is not None)


@pytest.mark.parametrize(
    ("wait", "due"),
    [
        (None, True),
        (timedelta(seconds=-1), True),
        (timedelta(), True),
        (timedelta(seconds=1), False),
        (timedelta(hours=7.5), False),
        (timedelta(hours=7.5, seconds=1), True),
    ],
)
def test_moment_is_due_once_it_has_come_or_lies_farther_ahead_than_any_wait(
    wait: timedelta | None, *, due: bool
) -> None:
    assert plan.is_due(None if wait is None else NOW + wait, NOW, DEFAULT) is due


@pytest.mark.parametrize("policy", [Policy(pending_max=30 * DAY), Policy(retry_max=30 * DAY)])
def test_longest_wait_follows_the_settings(policy: Policy) -> None:
    assert not plan.is_due(NOW + timedelta(days=37), NOW, policy)
    assert plan.is_due(NOW + timedelta(days=38), NOW, policy)


def test_stems_are_grouped_by_state() -> None:
    stored, wanted = replace(row(), state=StemState.STORED), row()
    assert plan.by_state([stored, wanted]) == {
        StemState.WANTED: [wanted],
        StemState.STORED: [stored],
        StemState.REFUSED: [],
        StemState.LOST: [],
    }


@pytest.mark.parametrize(
    ("left", "hours"),
    [(None, 0.5), (-1, 0.5), (1, 0.5), (4, 0.5), (8, 1), (40, 5), (48, 6), (300, 6)],
)
def test_task_that_waits_for_a_pause_looks_itself_within_an_eighth_of_what_is_left(
    left: float | None, hours: float
) -> None:
    deadline = None if left is None else NOW + timedelta(hours=left)
    assert plan.longest_look(deadline, NOW) == timedelta(hours=hours)


def test_twelfth_failed_try_may_be_about_one_alone_and_the_eleventh_is_not() -> None:
    assert [plan.is_one_too_many(before) for before in (10, 11)] == [False, True]


@pytest.mark.parametrize(
    ("before", "since", "state", "ends"),
    [
        (4, DAY + SECOND, TaskState.QUEUED, True),
        (3, DAY + SECOND, TaskState.QUEUED, False),
        (4, DAY, TaskState.QUEUED, False),
        (4, DAY + SECOND, TaskState.LISTED, False),
    ],
)
def test_id_that_the_provider_never_answers_about_ends_with_the_fifth_try_and_after_a_day(
    before: int, since: timedelta, state: TaskState, ends: bool
) -> None:
    tried = replace(claim(), attempts=before, state=state)
    policy = replace(POLICY, missing_after=DAY)
    assert plan.refused_for_good(tried, NOW + since, policy) is ends
