"""The manifest: what it says, its seal, and which of two may stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from archiver.core.manifest import covers, manifest_of, seal_of
from archiver.core.model import Receipt, StemName, StemRow
from archiver.core.states import StemState
from tests.unit.core.tasks import DAY, NOW, claim, row

RECEIPT = Receipt("stems/e649edb7/vocal.mp3", 1234, "ab" * 32, '"etag"', "audio/mpeg", NOW)
STORED = replace(row(), state=StemState.STORED, receipt=RECEIPT, duration=2.5, url="https://a.test/v.mp3")
LOST = replace(row(), name=StemName("drums"), state=StemState.LOST, reason="cdn.link_spent: 404")


def manifest(*stems: StemRow, now: datetime = NOW, version: str = "1") -> bytes:
    known = replace(claim(), created_at=NOW - DAY, completed_at=NOW, deadline=NOW + 13 * DAY)
    return manifest_of(known, stems, version=version, now=now)


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
        replace(STORED, receipt=replace(RECEIPT, key="elsewhere")),
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
    assert not covers(theirs, theirs)
