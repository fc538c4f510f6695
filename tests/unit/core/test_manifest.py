"""The manifest: what it says, its seal, and which of two may stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from archiver.core.chronicle import Chronicle, End, events_of
from archiver.core.manifest import following, manifest_of, seal_of
from archiver.core.manifest_read import read_manifest
from archiver.core.model import Archived, Failed, Lost, Missing, Outcome, Receipt, Refused, StemName, StemRow, TaskId
from archiver.core.reports import Moved
from archiver.core.states import StemState, TaskState
from archiver.core.succession import Succession
from tests.unit.core.tasks import DAY, NOW, claim, row

RECEIPT = Receipt("stems/3e63b4cc88d5/vocal.mp3", 1234, "ab" * 32, '"etag"', "audio/mpeg", NOW)
STORED = replace(row(), state=StemState.STORED, receipt=RECEIPT, duration=2.5, url="https://a.test/v.mp3")
LOST = replace(row(), name=StemName("drums"), state=StemState.LOST, reason="cdn.link_spent: 404")


LISTED = Moved(NOW, None, "listed", "queued", "listed", {"stems": 2})
TASK = claim().task_id


def manifest(
    *stems: StemRow,
    now: datetime = NOW,
    version: str = "1",
    outcome: Outcome = Archived(),  # noqa: B008 - it is frozen
    events: tuple[Moved, ...] = (LISTED,),
) -> bytes:
    end, known = End.of(outcome, now), claim()
    assert end is not None
    if stems or isinstance(outcome, Archived):
        known = replace(
            claim(), created_at=NOW - DAY, completed_at=NOW, deadline=NOW + 13 * DAY, state=TaskState.LISTED
        )
    chronicle = Chronicle("queue", "SUCCESS", NOW, frozenset({LOST.name}), events, {STORED.name: "0123abcd"})
    return manifest_of(known, stems, end, version=version, now=now, chronicle=chronicle)


def covers(theirs: bytes, ours: bytes) -> bool:
    return Succession(ours, TASK).keeps(theirs)


def reopened(sealed: bytes) -> dict[str, object]:
    document = json.loads(sealed)
    assert isinstance(document, dict)
    return document


def test_manifest_says_all_that_is_promised() -> None:
    lost = Lost("drums (cdn.link_spent: 404)")
    stored = Moved(NOW, STORED.name, "stored", "wanted", "stored", {"key": RECEIPT.key, "bytes": 1234})
    document = reopened(manifest(STORED, LOST, outcome=lost, events=(LISTED, stored)))
    seal = document.pop("seal")
    noon, line = "2026-03-01T12:00:00+00:00", {"type": None, "at": "2026-03-01T12:00:00+00:00", "stem": None}
    tries = {"attempts": 0, "gone": 0, "not_before": None}
    assert document == {
        "format": 2,
        "task_id": "3e63b4cc88d5",
        "state": "lost",
        "account": "default",
        "source": "queue",
        "flag": "SUCCESS",
        "reason": lost.reason,
        "stems": [
            {
                "name": "drums",
                "state": "lost",
                "field": "vocalUrl",
                "source_url": "https://a.test/v.mp3",
                "duration_seconds": None,
                "reason": "cdn.link_spent: 404",
                "url_cut": True,
                **tries,
            },
            {
                "name": "vocal",
                "state": "stored",
                "field": "vocalUrl",
                "source_url": "https://a.test/v.mp3",
                "duration_seconds": 2.5,
                "path": "vocal.mp3",
                "key": "stems/3e63b4cc88d5/vocal.mp3",
                "bytes": 1234,
                "sha256": "ab" * 32,
                "crc32": "0123abcd",
                "etag": '"etag"',
                "content_type": "audio/mpeg",
                "stored_at": noon,
                "alias_of": None,
                "url_cut": False,
                **tries,
            },
        ],
        "accepted_at": noon,
        "first_asked_at": noon,
        "created_at": "2026-02-28T12:00:00+00:00",
        "completed_at": noon,
        "deadline": "2026-03-14T12:00:00+00:00",
        "ended_at": noon,
        "written_at": noon,
        "archiver": "1",
        "previous": None,
        "events": [
            line | {"event": "listed", "before": "queued", "after": "listed", "detail": {"stems": 2}},
            line
            | {"type": "ingestion, message digest calculation", "stem": "vocal"}
            | {"event": "stored", "before": "wanted", "after": "stored", "detail": {}},
            line | {"event": "stems_lost", "before": "listed", "after": "lost", "detail": {"reason": lost.reason}},
        ],
    }
    assert seal == f"sha256:{seal_of(document)}"


def test_manifest_of_a_task_without_audio_tells_state_reason_and_end() -> None:
    for outcome, state, event in (
        (Failed("no audio"), "failed", "provider_failed"),
        (Missing("unknown"), "missing", "never_seen"),
    ):
        told = read_manifest(manifest(outcome=outcome, events=()))
        assert (told.state, told.reason, told.ended_at, told.stems) == (state, outcome.reason, NOW, ())
        assert [(each.event, each.before, each.after) for each in told.events] == [(event, "queued", state)]


def test_manifest_of_a_task_that_waits_for_an_operator_tells_no_end() -> None:
    told = read_manifest(manifest(STORED, replace(LOST, state=StemState.REFUSED), outcome=Refused("why", NOW)))
    assert (told.state, told.reason, told.ended_at, len(told.events)) == ("listed", "why", None, 1)


def test_object_that_a_rebuild_adopted_is_told_as_such_and_what_stands_in_its_stem_is_not_repeated() -> None:
    detail = {"key": "k", "bytes": 1, "sha256": "ab" * 32, "by": "recovery"}
    [told] = events_of([Moved(NOW, StemName("vocal"), "stored", "wanted", "stored", detail)])
    assert (told["type"], told["event"], told["detail"]) == ("recovery", "stored", {"by": "recovery"})


def test_manifest_that_tells_of_fewer_deaths_in_a_row_is_replaced() -> None:
    """The ledger folds them into one line: a process died between manifest and ledger."""
    once = Moved(NOW, None, "quarantined", "listed", "listed", {"deaths": 4})
    again = replace(once, detail={"deaths": 5, "times": 2, "since": NOW.isoformat()})
    before, after = (manifest(STORED, outcome=Archived(), events=(LISTED, each)) for each in (once, again))
    assert not Succession(after, TASK).keeps(before)
    assert Succession(before, TASK).keeps(after)


def test_events_beyond_a_hundred_are_folded_where_the_provider_was_not_ready() -> None:
    waits = [Moved(NOW + at * DAY, None, "not_ready", "queued", "queued", {"reason": str(at)}) for at in range(100)]
    assert len(events_of(waits)) == 100
    folded = events_of([LISTED, *waits, LISTED, *waits[:1]])
    assert [(each["event"], each.get("times", 1)) for each in folded] == [
        ("listed", 1),
        ("not_ready", 100),
        ("listed", 1),
        ("not_ready", 1),
    ]
    assert (folded[1]["at"], folded[1]["until"]) == (NOW.isoformat(), (NOW + 99 * DAY).isoformat())
    assert folded[1]["detail"] == {"reason": "99"}


def test_manifest_is_ascii_text_that_ends_with_a_newline() -> None:
    sealed = manifest(replace(LOST, reason="人声"))
    assert sealed.isascii()
    assert sealed.endswith(b"}\n")


def test_seal_does_not_depend_on_order_nor_on_itself() -> None:
    document = reopened(manifest(STORED))
    backwards = dict(reversed(document.items()))
    assert document["seal"] == f"sha256:{seal_of(document)}" == f"sha256:{seal_of(backwards)}"


def test_manifest_covers_one_that_says_the_same_of_each_stem() -> None:
    ours = manifest(STORED, LOST)
    theirs = manifest(LOST, STORED, now=NOW + DAY, version="2")
    reordered = json.dumps(dict(reversed(reopened(theirs).items())), indent=7).encode()
    assert covers(theirs, ours)
    assert covers(reordered, ours)


@pytest.mark.parametrize(
    "other",
    [
        replace(STORED, receipt=replace(RECEIPT, sha256="cd" * 32)),
        replace(STORED, receipt=replace(RECEIPT, size=1235)),
        replace(STORED, receipt=replace(RECEIPT, key="elsewhere/3e63b4cc88d5/vocal.wav")),
        replace(STORED, receipt=replace(RECEIPT, alias_of=StemName("drums"))),
        replace(STORED, state=StemState.LOST, receipt=None),
        replace(STORED, name=StemName("vocals")),
    ],
    ids=["sha256", "size", "key", "alias", "state", "name"],
)
def test_manifest_covers_none_with_another_stored_stem(other: StemRow) -> None:
    assert not covers(manifest(other), manifest(STORED))


def test_manifest_covers_one_with_fewer_stems_and_none_with_more() -> None:
    assert not covers(manifest(STORED), manifest(STORED, LOST))
    assert covers(manifest(STORED, LOST), manifest(STORED))


def test_manifest_covers_one_that_calls_lost_what_it_has_stored() -> None:
    had = replace(STORED, name=LOST.name)
    assert covers(manifest(STORED, had), manifest(STORED, LOST))
    refused = replace(LOST, state=StemState.REFUSED)
    assert not covers(manifest(STORED, refused), manifest(STORED, LOST))


def test_manifest_that_was_tampered_with_covers_none() -> None:
    document = reopened(manifest(STORED))
    for field, value in (("seal", "sha256:00"), ("deadline", None), ("extra", 1), ("stems", [])):
        assert not covers(json.dumps(document | {field: value}).encode(), manifest(STORED))


def sealed_anew(change: Callable[[dict[str, object]], object]) -> bytes:
    document = reopened(manifest(STORED))
    change(document)
    document["seal"] = f"sha256:{seal_of(document)}"
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
def test_bytes_that_are_no_manifest_cover_none(theirs: bytes) -> None:
    assert not covers(theirs, manifest(STORED))


def test_manifest_that_follows_another_names_its_seal_and_says_the_same() -> None:
    first, ours = manifest(STORED, LOST), manifest(STORED, replace(STORED, name=LOST.name))
    successor = Succession(ours, TASK).successor(first)
    assert successor == following(ours, read_manifest(first).seal)
    assert read_manifest(successor).previous == read_manifest(first).seal
    assert read_manifest(successor).stems == read_manifest(ours).stems
    assert Succession(ours, TASK).successor(b"broken") == ours


def test_task_that_ended_again_is_told_anew() -> None:
    retried = Moved(NOW, None, "retried", "missing", "queued", {"by": "operator"})
    once = manifest(outcome=Missing("unknown"), events=())
    again = manifest(outcome=Missing("unknown"), events=(LISTED, retried))
    assert covers(once, once)
    assert covers(once, manifest(outcome=Missing("unknown"), events=(), now=NOW + DAY)), "a crash before the ledger"
    assert not covers(once, again)
    assert not covers(once, manifest(outcome=Failed("no audio"), events=()))
    assert covers(again, once)


def test_manifest_with_stems_is_never_replaced_by_one_without() -> None:
    theirs, ours = manifest(STORED), manifest(outcome=Missing("unknown"), events=(LISTED,) * 9)
    assert Succession(ours, TASK).fault(theirs), "it is no end of the ledger's either: the next look takes what stands"
    assert not covers(ours, theirs)
    assert not Succession(theirs, TASK).fault(ours)


def test_manifest_that_ends_a_task_otherwise_stays_only_while_the_task_goes_on() -> None:
    theirs = manifest(LOST, outcome=Lost("gone"))
    assert not covers(theirs, manifest(outcome=Missing("unknown"), events=()))
    assert covers(
        manifest(STORED), manifest(replace(STORED, state=StemState.REFUSED, receipt=None), outcome=Refused("why", NOW))
    )


@pytest.mark.parametrize(
    "other",
    [
        replace(STORED, receipt=replace(RECEIPT, sha256="cd" * 32)),
        replace(STORED, state=StemState.LOST, receipt=None),
        replace(STORED, name=StemName("vocals")),
    ],
    ids=["another", "lost", "left out"],
)
def test_stored_stem_never_changes_from_a_manifest_to_its_successor(other: StemRow) -> None:
    more = replace(LOST, name=StemName("bass"))
    assert Succession(manifest(other, more), TASK).fault(manifest(STORED))
    assert not Succession(manifest(STORED, more), TASK).fault(manifest(STORED))


def test_manifest_of_a_later_version_is_never_replaced() -> None:
    for change in ({"format": 3}, {"state": "forgotten"}):
        later = sealed_anew(lambda document, change=change: document.update(change))  # type: ignore[misc]
        assert Succession(manifest(STORED, LOST), TASK).fault(later)


def test_manifest_of_another_task_is_broken_and_replaced() -> None:
    theirs, ours = manifest(STORED), Succession(manifest(STORED), TaskId("another-task"))
    assert not ours.keeps(theirs)
    assert not ours.fault(theirs)


def test_format_1_that_says_the_same_is_followed() -> None:
    theirs = sealed_anew(lambda document: [document.update(format=1), *map(document.pop, ("state", "events"))])
    assert not covers(theirs, manifest(STORED))
    assert not Succession(manifest(STORED), TASK).fault(theirs)
    assert covers(sealed_anew(lambda document: document.update(format=1)), manifest())
