"""The manifest of a task: what is archived of it, sealed with its own hash. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice

from archiver.core.capabilities import CreateOnly
from archiver.core.chronicle import FEWEST_EVENTS, Chronicle, End, events_of, shortened
from archiver.core.keys import path_in
from archiver.core.manifest_bounds import LARGEST, MOST_EVENTS, MOST_OTHERS, MOST_STEMS, RESERVE
from archiver.core.model import Claim, StemRow, TaskId
from archiver.core.records.facts import NO_FACTS, Facts
from archiver.core.records.kinds.names import Media
from archiver.core.records.left_out import LeftOut
from archiver.core.refusals import ManifestTooLong
from archiver.core.states import StemState

FORMAT = 2
"""The format that is written; 1 is read for ever."""

NO_CHRONICLE = Chronicle()

UNKNOWN_FORMAT = "application/octet-stream"
"""The content type of a file whose format has no name here."""


def manifest_of(
    claim: Claim,
    stems: Iterable[StemRow],
    end: End,
    *,
    version: str,
    now: datetime,
    chronicle: Chronicle = NO_CHRONICLE,
    best_effort: bool = False,
    left_out: Iterable[LeftOut] = (),
    facts: Facts = NO_FACTS,
) -> bytes:
    """Return the manifest as UTF-8 JSON, sealed with the SHA-256 of itself without the seal.

    It is the first of its task; see `following`. `best_effort` says that the store may have overwritten an object of
    another writer. Where it would be too long to be read, events are left out of its middle; raises ManifestTooLong
    where that does not help.
    """
    rows = sorted(stems, key=lambda row: row.name)
    if len(rows) > MOST_STEMS:
        raise ManifestTooLong(f"it has {len(rows)} files, and a manifest tells {MOST_STEMS} at most")
    return _fitting(
        {
            "format": FORMAT,
            "task_id": claim.task_id,
            **_about(claim, facts),
            "state": end.state.value,
            "reason": end.reason,
            "stems": [_manifest_stem(row, claim.task_id, chronicle) for row in rows],
            **_course(claim, chronicle),
            "ended_at": _iso(end.at),
            "written_at": _iso(now),
            "archiver": version,
            "previous": None,
            **_reserves(best_effort=best_effort, left_out=left_out),
        },
        events_of([*chronicle.events, *end.moved(claim.state)]),
    )


def _course(claim: Claim, chronicle: Chronicle) -> dict[str, object]:
    return {
        "account": claim.account,
        "source": chronicle.source,
        "flag": chronicle.flag,
        "accepted_at": _iso(claim.accepted_at),
        "first_asked_at": _iso(chronicle.first_asked_at),
        "created_at": _iso(claim.created_at),
        "completed_at": _iso(claim.completed_at),
        "deadline": _iso(claim.deadline),
    }


def following(manifest: bytes, previous: str) -> bytes:
    """Return our manifest as the successor of the one with that seal."""
    return _sealed({**json.loads(manifest), "previous": previous})


def _fitting(document: Mapping[str, object], events: Sequence[Mapping[str, object]]) -> bytes:
    """Return the document with as many events as it has room for, sealed."""
    most = MOST_EVENTS
    while len(sealed := _sealed({**document, "events": shortened(events, most)})) > LARGEST - RESERVE:
        most = min(most, len(events)) // 2
        if most < FEWEST_EVENTS:
            raise ManifestTooLong(f"it would have {len(sealed)} bytes, and {LARGEST} are read")
    return sealed


def _sealed(document: Mapping[str, object]) -> bytes:
    bare = {name: value for name, value in document.items() if name != "seal"}
    sealed = {**bare, "seal": f"sha256:{seal_of(bare)}"}
    text = json.dumps(sealed, indent=1, ensure_ascii=True)
    if len(text) >= LARGEST - RESERVE:
        text = json.dumps(sealed, separators=(",", ":"), ensure_ascii=True)
    return f"{text}\n".encode()


def _about(claim: Claim, facts: Facts) -> dict[str, object]:
    """Return what the task is called and was made from, as far as line or record tell."""
    known = {
        "kind": claim.kind,
        "title": claim.title,
        "tags": facts.tags,
        "model": facts.model,
        "duration_seconds": facts.duration,
        "parent": claim.parent,
        "made_from": [{"id": each.id, "field": each.field} for each in facts.parents[:MOST_OTHERS]],
        "tracks": [
            {"id": each.id, "title": each.title, "duration_seconds": each.duration}
            for each in facts.tracks[:MOST_OTHERS]
        ],
    }
    return {name: value for name, value in known.items() if value}


def _reserves(*, best_effort: bool, left_out: Iterable[LeftOut]) -> dict[str, object]:
    """Return what is not as it is for most tasks."""
    found: dict[str, object] = {"create_only": CreateOnly.BEST_EFFORT.value} if best_effort else {}
    most = islice(left_out, MOST_OTHERS)
    if not_taken := [{"field": each.field, "source_url": each.url, "reason": each.kind} for each in most]:
        found["not_taken"] = not_taken
    return found


def seal_of(document: Mapping[str, object]) -> str:
    """Return the lower-case hex SHA-256 of the canonical JSON of `document` without its `seal`."""
    bare = {key: value for key, value in document.items() if key != "seal"}
    canonical = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _manifest_stem(row: StemRow, task: TaskId, chronicle: Chronicle) -> dict[str, object]:
    stem: dict[str, object] = {
        "name": row.name,
        "state": row.state.value,
        "field": row.field,
        "source_url": row.url_shown,
        "duration_seconds": row.duration,
    }
    if row.receipt is not None:
        stem |= {
            "path": path_in(row.receipt.key, task),
            "key": row.receipt.key,
            "bytes": row.receipt.size,
            "sha256": row.receipt.sha256,
            "etag": row.receipt.etag,
            "content_type": row.receipt.content_type,
            "stored_at": _iso(row.receipt.stored_at),
            "alias_of": row.receipt.alias_of,
        }
        if row.receipt.content_type == UNKNOWN_FORMAT:
            stem["format"] = "unknown"
        if crc32 := chronicle.crc32.get(row.name):
            stem["crc32"] = crc32
        if row.receipt.doubt:
            stem["doubt"] = row.receipt.doubt
    if row.state is not StemState.STORED:
        stem["reason"] = row.reason
    if row.media is not Media.AUDIO:
        stem["media"] = row.media.value
    tries = {"attempts": row.attempts, "gone": row.gone, "not_before": _iso(row.not_before)}
    return {**stem, "url_cut": row.name in chronicle.url_cut, **tries}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
