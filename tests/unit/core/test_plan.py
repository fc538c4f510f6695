"""What a record means for a task, branch by branch."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from archiver.core import plan
from archiver.core.model import Failed, Later, Missing, Phase, RecordInfo
from tests.unit.core.tasks import BASS, DAY, EVEN, HOUR, MIX, NOW, OLD, POLICY, SECOND, VOCAL, YOUNG, claim


def resolve(record: RecordInfo, asked: datetime | None = None) -> plan.Listed | Later | Failed | Missing:
    return plan.resolve(claim(first_asked_at=asked), record, NOW, POLICY, EVEN)


def later(reason: str, seconds: float = 20) -> Later:
    return Later(NOW + seconds * SECOND, reason)


@pytest.mark.parametrize("asked", [None, NOW, YOUNG, OLD])
@pytest.mark.parametrize("phase", [Phase.DONE, Phase.FAILED])
def test_audio_with_a_final_flag_is_listed_and_settled(phase: Phase, asked: datetime | None) -> None:
    record = RecordInfo(phase, stems=(VOCAL, BASS), created_at=NOW - DAY)
    assert resolve(record, asked) == plan.Listed(deadline=NOW + 13 * DAY, settled=True)


@pytest.mark.parametrize(("asked", "settled"), [(None, False), (YOUNG, False), (OLD, True)])
def test_audio_under_pending_is_listed_and_settles_with_age(asked: datetime | None, settled: bool) -> None:
    assert resolve(RecordInfo(Phase.PENDING, stems=(VOCAL,)), asked) == plan.Listed(NOW + 14 * DAY, settled=settled)


@pytest.mark.parametrize(
    ("phase", "asked", "settled"),
    [(Phase.DONE, YOUNG, False), (Phase.DONE, OLD, True), (Phase.PENDING, YOUNG, False)],
)
def test_source_mix_alone_settles_only_with_age(phase: Phase, asked: datetime, settled: bool) -> None:
    assert resolve(RecordInfo(phase, stems=(MIX,)), asked) == plan.Listed(NOW + 14 * DAY, settled=settled)
    assert resolve(RecordInfo(Phase.DONE, stems=(VOCAL, BASS, MIX)), asked) == plan.Listed(NOW + 14 * DAY, settled=True)


def test_failure_that_lists_only_the_source_mix_is_a_failure() -> None:
    assert isinstance(resolve(RecordInfo(Phase.FAILED, stems=(MIX,)), YOUNG), Failed)


def test_deadline_counts_from_the_earliest_time_there_is() -> None:
    late = RecordInfo(Phase.DONE, stems=(VOCAL, BASS), created_at=NOW + 8 * HOUR, completed_at=NOW + 9 * HOUR)
    assert resolve(late, None) == plan.Listed(NOW + 14 * DAY, settled=True), "a time read in the wrong zone"


@pytest.mark.parametrize(
    ("ahead", "deadline"), [(DAY, NOW + 14 * DAY), (DAY + timedelta(seconds=1), NOW + 15 * DAY + timedelta(seconds=1))]
)
def test_task_that_was_created_a_day_after_it_came_is_one_of_another_zone_and_later_of_a_wrong_clock(
    ahead: timedelta, deadline: datetime
) -> None:
    record = RecordInfo(Phase.DONE, stems=(VOCAL, BASS), created_at=NOW + ahead)
    assert resolve(record, None) == plan.Listed(deadline, settled=True)


@pytest.mark.parametrize(
    ("backlog", "pace", "late"),
    [
        ([], 1.0, 0),
        ([(NOW + HOUR, 3600)], 1.0, 0),
        ([(NOW + HOUR, 3600)], 0.5, 1800),
        ([(NOW + 2 * HOUR, 3600), (NOW + HOUR, 3600)], 1.0, 0),
        ([(NOW + HOUR, 7200), (NOW + 2 * HOUR, 3600)], 1.0, 3600),
        ([(NOW - HOUR, 5), (NOW + HOUR, 10)], 1.0, 5),
        ([(NOW + HOUR, 10)], 0.0, 10),
    ],
)
def test_forecast_counts_stems_that_expire_before_they_are_reached(
    backlog: list[tuple[datetime, int]], pace: float, late: int
) -> None:
    assert plan.forecast(backlog, pace, NOW) == late


@pytest.mark.parametrize("asked", [None, OLD])
def test_failure_without_audio_fails_at_once(asked: datetime | None) -> None:
    record = RecordInfo(Phase.FAILED, flag="CREATE_TASK_FAILED", error_code=500, error_message="Internal Error")
    assert resolve(record, asked) == Failed("CREATE_TASK_FAILED 500: Internal Error")
    assert resolve(RecordInfo(Phase.FAILED), asked) == Failed("error: no message")


@pytest.mark.parametrize("asked", [None, YOUNG])
def test_absent_record_is_waited_for_while_young(asked: datetime | None) -> None:
    assert resolve(RecordInfo(Phase.ABSENT), asked) == later(
        "the provider does not know this id yet, asked as separation, jobs or music"
    )


def test_absent_record_is_missing_when_old() -> None:
    assert isinstance(resolve(RecordInfo(Phase.ABSENT), OLD), Missing)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (YOUNG, later("the provider reports success but lists no audio yet")),
        (OLD, Failed("the provider reports success but lists no audio")),
    ],
)
def test_success_without_audio_fails_only_with_age(asked: datetime, expected: Later | Failed) -> None:
    assert resolve(RecordInfo(Phase.DONE), asked) == expected


@pytest.mark.parametrize(
    ("record", "blame"),
    [
        (RecordInfo(Phase.PENDING, flag="PENDING", error_code=413), "PENDING 413: no message"),
        (RecordInfo(Phase.PENDING, flag="PENDING", error_message="no"), "PENDING: no"),
    ],
)
def test_error_under_pending_fails_only_with_age(record: RecordInfo, blame: str) -> None:
    assert resolve(record, YOUNG) == later(f"still pending, with an error: {blame}")
    assert resolve(record, OLD) == Failed(blame)


def test_pending_is_asked_again_however_long_ago_it_was_first_asked() -> None:
    assert resolve(RecordInfo(Phase.PENDING), OLD) == later("the provider is not ready")


@pytest.mark.parametrize(
    ("age", "kind"), [(16 * DAY, Later), (16 * DAY + SECOND, Failed)]
)  # retention and grace after the start
def test_pending_is_given_up_only_past_retention_and_grace(age: timedelta, kind: type) -> None:
    by_record = RecordInfo(Phase.PENDING, created_at=NOW - age)
    by_claim = claim(accepted_at=NOW - age)
    assert isinstance(plan.resolve(claim(), by_record, NOW, POLICY, EVEN), kind)
    assert isinstance(plan.resolve(by_claim, RecordInfo(Phase.PENDING), NOW, POLICY, EVEN), kind)


@pytest.mark.parametrize(
    ("asks", "jitter", "seconds"),
    [(0, 0.0, 15), (0, 1.0, 25), (1, EVEN, 40), (4, EVEN, 320), (5, EVEN, 600), (10**6, EVEN, 600), (10**6, 1.0, 750)],
)
def test_asking_slows_down_to_its_slowest(asks: int, jitter: float, seconds: float) -> None:
    expected = NOW + seconds * SECOND
    answer = plan.resolve(claim(asks=asks), RecordInfo(Phase.PENDING), NOW, POLICY, jitter)
    assert isinstance(answer, Later)
    assert answer.at == expected
    assert not answer.fault
    assert plan.not_settled(claim(asks=asks), NOW, POLICY, jitter) == Later(
        expected, "the provider may list more stems"
    )


# ---------------------------------------------------------------------- deadlines


@pytest.mark.parametrize(
    ("created", "completed", "start"),
    [
        (NOW - 3 * DAY, NOW - 2 * DAY, NOW - 3 * DAY),
        (NOW - 2 * DAY, NOW - 3 * DAY, NOW - 3 * DAY),
        (NOW - 2 * DAY, None, NOW - 2 * DAY),
        (None, NOW - 2 * DAY, NOW - 2 * DAY),
        (None, None, NOW - DAY),
    ],
)
def test_deadline_counts_from_the_earliest_time_of_the_record(
    created: datetime | None, completed: datetime | None, start: datetime
) -> None:
    record = RecordInfo(Phase.DONE, created_at=created, completed_at=completed)
    assert plan.deadline_of(record, NOW - DAY, POLICY) == start + 14 * DAY


def test_urgency_of_a_task_without_deadline_is_its_age() -> None:
    assert plan.urgency(NOW + DAY, NOW) == NOW + DAY
    assert plan.urgency(None, NOW) == NOW


@pytest.mark.parametrize(
    ("gone", "after_deadline", "lost"),
    [
        (100, -SECOND, False),
        (2, timedelta(0), False),
        (3, timedelta(0), True),
        (1, 2 * DAY - SECOND, False),
        (1, 2 * DAY, True),
        (0, 2 * DAY, False),
        (0, 1000 * DAY, False),
    ],
)
def test_stem_is_gone_for_good_only_by_the_origins_answers(gone: int, after_deadline: timedelta, lost: bool) -> None:
    assert plan.gone_for_good(gone, NOW, NOW - after_deadline, POLICY) is lost


def test_stem_without_deadline_is_never_gone_for_good() -> None:
    assert not plan.gone_for_good(100, NOW, None, POLICY)
