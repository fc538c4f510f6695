"""When a record's list of files is final, and what a record that says the same again means."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from archiver.core import plan
from archiver.core.model import Claim, Failed, Later, Phase, RecordInfo, StemName, StemSource
from archiver.core.records.kinds.names import KindName, Media
from archiver.core.settling import last_chance, saying
from tests.unit.core.tasks import BASS, DAY, EVEN, HOUR, MIX, NOW, POLICY, SECOND, VOCAL, claim

MINUTE = 60 * SECOND
INSTRUMENTAL = StemSource(StemName("instrumental"), "https://a.test/i.mp3", "instrumentalUrl")
COVER = StemSource(StemName("01_image"), "https://a.test/c.png", "images[0]", media=Media.IMAGE)
WAV = StemSource(StemName("audio_wav"), "https://a.test/w.wav", "audioWavUrl")
WAIT = POLICY.settled_after


def answer(*stems: StemSource, kind: KindName = KindName.SEPARATION, phase: Phase = Phase.DONE) -> RecordInfo:
    return RecordInfo(phase, stems, flag="F", kind=kind)


def having_said(record: RecordInfo, ago: timedelta) -> Claim:
    return replace(claim(first_asked_at=NOW - HOUR), saying=saying(record), said_since=NOW - ago)


def is_settled(record: RecordInfo, claimed: Claim | None = None) -> bool:
    listed = plan.resolve(claimed or claim(first_asked_at=NOW), record, NOW, POLICY, EVEN)
    assert isinstance(listed, plan.Listed)
    return listed.settled


@pytest.mark.parametrize(
    "record",
    [
        answer(VOCAL, INSTRUMENTAL),
        answer(VOCAL, BASS, MIX),
        answer(VOCAL, BASS, INSTRUMENTAL, WAV),
        answer(VOCAL, BASS, COVER, kind=KindName.MUSIC),
        answer(WAV, kind=KindName.WAV),
        answer(WAV, kind=KindName.JOBS),
        answer(COVER, kind=KindName.COVER),
        answer(VOCAL, INSTRUMENTAL, kind=KindName.JOBS),
        answer(VOCAL, phase=Phase.FAILED),
    ],
)
def test_final_word_with_a_plausible_set_settles_at_once(record: RecordInfo) -> None:
    assert is_settled(record)


SMALLER = [
    answer(VOCAL),
    answer(MIX),
    answer(VOCAL, MIX),
    answer(VOCAL, COVER, kind=KindName.MUSIC),
    answer(VOCAL, kind=KindName.JOBS),
    answer(INSTRUMENTAL, MIX, kind=KindName.JOBS),
    answer(MIX, kind=KindName.JOBS),
]


@pytest.mark.parametrize("record", SMALLER)
def test_smaller_set_settles_once_it_was_said_twice_some_minutes_apart(record: RecordInfo) -> None:
    assert not is_settled(record)
    assert not is_settled(record, having_said(record, WAIT - SECOND))
    assert is_settled(record, having_said(record, WAIT))
    assert not is_settled(record, having_said(answer(*record.stems, BASS), 2 * WAIT)), "it said something else before"


@pytest.mark.parametrize("record", SMALLER)
def test_smaller_set_of_days_ago_settles_at_once(record: RecordInfo) -> None:
    assert is_settled(replace(record, created_at=NOW - DAY - SECOND))
    assert is_settled(replace(record, completed_at=NOW - DAY - SECOND, created_at=NOW - HOUR))
    assert not is_settled(replace(record, created_at=NOW - DAY))


@pytest.mark.parametrize("stems", [(VOCAL,), (VOCAL, BASS)])
def test_running_record_never_settles_by_saying_the_same(stems: tuple[StemSource, ...]) -> None:
    record = answer(*stems, phase=Phase.PENDING)
    assert not is_settled(record, having_said(record, 2 * WAIT))


def test_what_a_record_says_does_not_depend_on_its_links_or_their_order() -> None:
    signed = replace(VOCAL, url=f"{VOCAL.url}?sig=1")
    assert saying(answer(VOCAL, BASS)) == saying(answer(BASS, signed))
    others = (answer(VOCAL), answer(VOCAL, phase=Phase.PENDING), answer(VOCAL, kind=KindName.JOBS))
    assert len({saying(each) for each in others}) == 3


def test_finished_record_without_files_fails_once_it_has_been_so_for_half_an_hour() -> None:
    record = answer(kind=KindName.JOBS)
    for ago, end in ((30 * MINUTE - SECOND, Later), (30 * MINUTE, Failed)):
        assert isinstance(plan.resolve(having_said(record, ago), record, NOW, POLICY, EVEN), end)
    pending = having_said(answer(kind=KindName.JOBS, phase=Phase.PENDING), HOUR)
    assert isinstance(plan.resolve(pending, record, NOW, POLICY, EVEN), Later), "it was running until now"


def test_finished_record_without_files_where_that_is_an_answer_ends_at_once_and_says_so() -> None:
    ended = plan.resolve(claim(), answer(kind=KindName.MIDI), NOW, POLICY, EVEN)
    assert isinstance(ended, Failed)
    assert "no notes were found" in ended.reason


def test_running_record_with_an_error_fails_at_a_second_look_some_minutes_later() -> None:
    record = replace(answer(phase=Phase.PENDING), error_code=413, error_message="copyrighted")
    for ago, end in ((5 * MINUTE - SECOND, Later), (5 * MINUTE, Failed)):
        assert isinstance(plan.resolve(having_said(record, ago), record, NOW, POLICY, EVEN), end)
    other = replace(record, error_message="busy")
    assert isinstance(plan.resolve(having_said(other, HOUR), record, NOW, POLICY, EVEN), Later)


@pytest.mark.parametrize(
    ("kind", "urgent", "likely"), [(KindName.SEPARATION, 14, 14), (KindName.MUSIC, 14, 14), (KindName.JOBS, 1, 14)]
)
def test_deadline_is_by_the_kinds_urgency_and_a_loss_likely_by_its_retention(
    kind: KindName, urgent: int, likely: int
) -> None:
    listed = plan.resolve(claim(), answer(VOCAL, BASS, kind=kind), NOW, POLICY, EVEN)
    assert isinstance(listed, plan.Listed)
    assert listed.deadline == NOW + urgent * DAY
    known = replace(claim(), kind=kind, deadline=listed.deadline)
    assert last_chance(known, POLICY) == NOW + likely * DAY
    assert last_chance(claim(), POLICY) is None


def test_shorter_retention_that_is_set_holds_for_every_kind() -> None:
    policy = replace(POLICY, retention=12 * HOUR)
    for kind in KindName:
        listed = plan.resolve(claim(), answer(VOCAL, BASS, COVER, kind=kind), NOW, policy, EVEN)
        assert isinstance(listed, plan.Listed)
        assert listed.deadline == NOW + 12 * HOUR
        assert last_chance(replace(claim(), kind=kind, deadline=listed.deadline), policy) == NOW + 12 * HOUR
