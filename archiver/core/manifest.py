"""The manifest of a task: what is archived of it, sealed with its own hash. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from archiver.core.capabilities import CreateOnly
from archiver.core.model import Claim, StemRow
from archiver.core.records.facts import NO_FACTS, Facts
from archiver.core.records.left_out import LeftOut
from archiver.core.states import StemState

UNKNOWN_FORMAT = "application/octet-stream"
"""The content type of a file whose format has no name here."""


def manifest_of(
    claim: Claim,
    stems: Iterable[StemRow],
    *,
    version: str,
    now: datetime,
    best_effort: bool = False,
    left_out: Iterable[LeftOut] = (),
    facts: Facts = NO_FACTS,
) -> bytes:
    """Return the manifest as UTF-8 JSON, sealed with the SHA-256 of itself without the seal.

    `best_effort` says that the store may have overwritten an object of another writer.
    """
    document: dict[str, object] = {
        "format": 1,
        "task_id": claim.task_id,
        **_about(claim, facts),
        "stems": [_manifest_stem(row) for row in sorted(stems, key=lambda row: row.name)],
        "accepted_at": _iso(claim.accepted_at),
        "created_at": _iso(claim.created_at),
        "completed_at": _iso(claim.completed_at),
        "deadline": _iso(claim.deadline),
        "written_at": _iso(now),
        "archiver": version,
        **_reserves(best_effort=best_effort, left_out=left_out),
    }
    document["seal"] = f"sha256:{seal_of(document)}"
    return (json.dumps(document, indent=1, ensure_ascii=True) + "\n").encode()


def _about(claim: Claim, facts: Facts) -> dict[str, object]:
    """Return what the task is called and was made from, as far as line or record tell."""
    known = {
        "kind": claim.kind,
        "title": claim.title,
        "tags": facts.tags,
        "model": facts.model,
        "duration_seconds": facts.duration,
        "parent": claim.parent,
        "made_from": [{"id": each.id, "field": each.field} for each in facts.parents],
        "tracks": [{"id": each.id, "title": each.title, "duration_seconds": each.duration} for each in facts.tracks],
    }
    return {name: value for name, value in known.items() if value}


def _reserves(*, best_effort: bool, left_out: Iterable[LeftOut]) -> dict[str, object]:
    """Return what is not as it is for most tasks."""
    found: dict[str, object] = {"create_only": CreateOnly.BEST_EFFORT.value} if best_effort else {}
    if not_taken := [{"field": each.field, "source_url": each.url, "reason": each.kind} for each in left_out]:
        found["not_taken"] = not_taken
    return found


def seal_of(document: Mapping[str, object]) -> str:
    """Return the lower-case hex SHA-256 of the canonical JSON of `document` without its `seal`."""
    bare = {key: value for key, value in document.items() if key != "seal"}
    canonical = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _manifest_stem(row: StemRow) -> dict[str, object]:
    stem: dict[str, object] = {
        "name": row.name,
        "state": row.state.value,
        "field": row.field,
        "source_url": row.url_shown,
        "duration_seconds": row.duration,
    }
    if row.receipt is not None:
        stem |= {
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
        if row.receipt.doubt:
            stem["doubt"] = row.receipt.doubt
    if row.state is not StemState.STORED:
        stem["reason"] = row.reason
    return stem


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


_COMPARED = ("name", "state", "key", "bytes", "sha256", "alias_of")


def covers(theirs: bytes, ours: bytes) -> bool:
    """Return whether `theirs` is whole and says of each stem what `ours` says, or that it is stored after all.

    Such a manifest was written by a process that took the task over from us, or from a ledger that is lost.
    Ours must not replace it.
    """
    known, said = _stems_in(theirs), _stems_in(ours)
    if known is None or said is None:
        return False
    return all(name in known and (known[name] == stem or _is_saved(stem, known[name])) for name, stem in said.items())


def _is_saved(ours: Mapping[str, object], theirs: Mapping[str, object]) -> bool:
    return theirs["state"] == StemState.STORED != ours["state"]


def _stems_in(manifest: bytes) -> Mapping[str, Mapping[str, object]] | None:
    """Return what is compared of each stem, by its name; None where the manifest is broken or its seal is."""
    try:
        document = json.loads(manifest)
        if document["seal"] != f"sha256:{seal_of(document)}":
            return None
        return {stem["name"]: {name: stem.get(name) for name in _COMPARED} for stem in document["stems"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
