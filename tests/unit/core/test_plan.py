"""The decisions, branch by branch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from archiver.core import plan
from archiver.core.errors import (
    AddressForbidden,
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

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
POLICY = Policy(
    retention=14 * DAY,
    grace_after_deadline=2 * DAY,
    pending_first=20 * SECOND,
    pending_max=600 * SECOND,
    retry_first=4 * SECOND,
    retry_max=3600 * SECOND,
    missing_after=24 * HOUR,
)
EVEN = 0.5
"""The jitter that leaves a wait as it is."""

YOUNG = NOW - 24 * HOUR
OLD = NOW - 24 * HOUR - SECOND
VOCAL = StemSource(StemName("vocal"), "https://a.test/v.mp3", "vocalUrl")
MIX = StemSource(StemName("origin"), "https://a.test/o.mp3", "originUrl")


def claim(*, first_asked_at: datetime | None = None, accepted_at: datetime = NOW, asks: int = 0) -> Claim:
    return Claim(
        TaskId("3e63b4cc88d5"), "token", TaskState.QUEUED, accepted_at, first_asked_at=first_asked_at, asks=asks
    )


def resolve(record: RecordInfo, asked: datetime | None = None) -> plan.Listed | Later | Failed | Missing:
    return plan.resolve(claim(first_asked_at=asked), record, NOW, POLICY, EVEN)


def later(reason: str, seconds: float = 20) -> Later:
    return Later(NOW + seconds * SECOND, reason)


# ---------------------------------------------------------------------- resolve


@pytest.mark.parametrize("asked", [None, NOW, YOUNG, OLD])
@pytest.mark.parametrize("phase", [Phase.DONE, Phase.FAILED])
def test_audio_with_a_final_flag_is_listed_and_settled(phase: Phase, asked: datetime | None) -> None:
    record = RecordInfo(phase, stems=(VOCAL,), created_at=NOW - DAY)
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
    assert resolve(RecordInfo(Phase.DONE, stems=(VOCAL, MIX)), asked) == plan.Listed(NOW + 14 * DAY, settled=True)


def test_failure_that_lists_only_the_source_mix_is_a_failure() -> None:
    assert isinstance(resolve(RecordInfo(Phase.FAILED, stems=(MIX,)), YOUNG), Failed)


def test_deadline_counts_from_the_earliest_time_there_is() -> None:
    late = RecordInfo(Phase.DONE, stems=(VOCAL,), created_at=NOW + 8 * HOUR, completed_at=NOW + 9 * HOUR)
    assert resolve(late, None) == plan.Listed(NOW + 14 * DAY, settled=True), "a time read in the wrong zone"


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
    assert resolve(RecordInfo(Phase.ABSENT), asked) == later("the provider does not know this id yet")


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


# ---------------------------------------------------------------------- next_try


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


# ---------------------------------------------------------------------- judge_stem


def row(*, attempts: int = 0, gone: int = 0) -> StemRow:
    return StemRow(
        StemName("vocal"), StemState.WANTED, None, "https://a.test/v.mp3", "vocalUrl", attempts=attempts, gone=gone
    )


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


# ---------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("prefix", "task", "stem", "extension", "key"),
    [
        ("", "3e63b4cc88d52611159371f6af5571e7", "vocal", "mp3", "3e63b4cc88d52611159371f6af5571e7/vocal.mp3"),
        ("stems/", "e649edb7", "backing_vocals", "wav", "stems/e649edb7/backing_vocals.wav"),
        ("a/b/", "Ab_-0123", "lead_vocal_removed", "m4a", "a/b/Ab_-0123/lead_vocal_removed.m4a"),
        ("a/b/", "Ab_-0123", "synth_56b2d94a", "flac", "a/b/Ab_-0123/synth_56b2d94a.flac"),
    ],
)
def test_object_key_never_changes(prefix: str, task: str, stem: str, extension: str, key: str) -> None:
    assert plan.object_key(prefix, TaskId(task), StemName(stem), extension) == key


def test_sidecar_keys_never_change() -> None:
    assert plan.record_key("stems/", TaskId("e649edb7")) == "stems/e649edb7/record-info.json"
    assert plan.manifest_key("stems/", TaskId("e649edb7")) == "stems/e649edb7/manifest.json"


def test_stems_are_grouped_by_state() -> None:
    stored, wanted = replace(row(), state=StemState.STORED), row()
    assert plan.by_state([stored, wanted]) == {
        StemState.WANTED: [wanted],
        StemState.STORED: [stored],
        StemState.REFUSED: [],
        StemState.LOST: [],
    }


# ---------------------------------------------------------------------- the manifest

RECEIPT = Receipt("stems/e649edb7/vocal.mp3", 1234, "ab" * 32, '"etag"', "audio/mpeg", NOW)
STORED = replace(row(), state=StemState.STORED, receipt=RECEIPT, duration=2.5, url="https://a.test/v.mp3")
LOST = replace(row(), name=StemName("drums"), state=StemState.LOST, reason="cdn.link_spent: 404")


def manifest(*stems: StemRow, now: datetime = NOW, version: str = "1") -> bytes:
    known = replace(claim(), created_at=NOW - DAY, completed_at=NOW, deadline=NOW + 13 * DAY)
    return plan.manifest_of(known, stems, version=version, now=now)


def reopened(sealed: bytes) -> dict[str, object]:
    document = json.loads(sealed)
    assert isinstance(document, dict)
    return document


def test_manifest_says_all_that_is_promised() -> None:
    document = reopened(manifest(STORED, LOST))
    seal = document.pop("seal")
    assert document == {
        "format": 1,
        "task_id": "3e63b4cc88d5",
        "stems": [
            {
                "name": "drums",
                "state": "lost",
                "field": "vocalUrl",
                "source_url": "https://a.test/v.mp3",
                "duration_seconds": None,
                "reason": "cdn.link_spent: 404",
            },
            {
                "name": "vocal",
                "state": "stored",
                "field": "vocalUrl",
                "source_url": "https://a.test/v.mp3",
                "duration_seconds": 2.5,
                "key": "stems/e649edb7/vocal.mp3",
                "bytes": 1234,
                "sha256": "ab" * 32,
                "etag": '"etag"',
                "content_type": "audio/mpeg",
                "stored_at": "2026-03-01T12:00:00+00:00",
                "alias_of": None,
            },
        ],
        "accepted_at": "2026-03-01T12:00:00+00:00",
        "created_at": "2026-02-28T12:00:00+00:00",
        "completed_at": "2026-03-01T12:00:00+00:00",
        "deadline": "2026-03-14T12:00:00+00:00",
        "written_at": "2026-03-01T12:00:00+00:00",
        "archiver": "1",
    }
    assert seal == "sha256:aa36d1003e2117c0988759c8b04360e30f603aa1c183b43153afc266376f0866"


def test_manifest_is_ascii_text_that_ends_with_a_newline() -> None:
    sealed = manifest(replace(LOST, reason="人声"))
    assert sealed.isascii()
    assert sealed.endswith(b"}\n")


def test_seal_does_not_depend_on_order_nor_on_itself() -> None:
    document = reopened(manifest(STORED))
    backwards = dict(reversed(document.items()))
    assert document["seal"] == f"sha256:{plan.seal_of(document)}" == f"sha256:{plan.seal_of(backwards)}"


def test_says_as_much_when_only_the_telling_differs() -> None:
    ours = manifest(STORED, LOST)
    theirs = manifest(LOST, STORED, now=NOW + DAY, version="2")
    reordered = json.dumps(dict(reversed(reopened(theirs).items())), indent=7).encode()
    assert plan.says_as_much(theirs, ours)
    assert plan.says_as_much(reordered, ours)


@pytest.mark.parametrize(
    "other",
    [
        replace(STORED, receipt=replace(RECEIPT, sha256="cd" * 32)),
        replace(STORED, receipt=replace(RECEIPT, size=1235)),
        replace(STORED, receipt=replace(RECEIPT, key="elsewhere")),
        replace(STORED, receipt=replace(RECEIPT, alias_of=StemName("drums"))),
        replace(STORED, state=StemState.LOST, receipt=None),
        replace(STORED, name=StemName("vocals")),
    ],
    ids=["sha256", "size", "key", "alias", "state", "name"],
)
def test_says_as_much_when_a_stored_stem_differs_is_false(other: StemRow) -> None:
    assert not plan.says_as_much(manifest(other), manifest(STORED))


def test_says_as_much_when_a_stem_is_missing_is_false_and_when_there_is_one_more_is_true() -> None:
    assert not plan.says_as_much(manifest(STORED), manifest(STORED, LOST))
    assert plan.says_as_much(manifest(STORED, LOST), manifest(STORED))


def test_says_as_much_when_it_knows_as_stored_what_we_thought_lost() -> None:
    had = replace(STORED, name=LOST.name)
    assert plan.says_as_much(manifest(STORED, had), manifest(STORED, LOST))
    refused = replace(LOST, state=StemState.REFUSED)
    assert not plan.says_as_much(manifest(STORED, refused), manifest(STORED, LOST))


def test_says_as_much_when_theirs_was_tampered_with_is_false() -> None:
    document = reopened(manifest(STORED))
    for field, value in (("seal", "sha256:00"), ("deadline", None), ("extra", 1), ("stems", [])):
        assert not plan.says_as_much(json.dumps(document | {field: value}).encode(), manifest(STORED))


def sealed_anew(change: Callable[[dict[str, object]], object]) -> bytes:
    document = reopened(manifest(STORED))
    change(document)
    document["seal"] = f"sha256:{plan.seal_of(document)}"
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "theirs",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b'{"seal": 1}',
        b"[" * 100_000,
        manifest(STORED)[:-10],
        sealed_anew(lambda document: document.pop("stems")),
        sealed_anew(lambda document: document.update(stems=None)),
        sealed_anew(lambda document: document.update(stems=[7])),
    ],
    ids=lambda theirs: repr(theirs[:12]),
)
def test_says_as_much_when_theirs_is_no_manifest_is_false(theirs: bytes) -> None:
    assert not plan.says_as_much(theirs, manifest(STORED))
    assert not plan.says_as_much(theirs, theirs)


@pytest.mark.parametrize(
    ("wait", "due"),
    [
        (None, True),
        (timedelta(seconds=-1), True),
        (timedelta(), True),
        (timedelta(seconds=1), False),
        (plan.CLOCK_SET_BACK, False),
        (plan.CLOCK_SET_BACK + timedelta(seconds=1), True),
    ],
)
def test_moment_is_due_once_it_has_come_or_lies_farther_ahead_than_any_wait(
    wait: timedelta | None, *, due: bool
) -> None:
    assert plan.is_due(None if wait is None else NOW + wait, NOW) is due
