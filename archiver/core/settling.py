"""Settling: how long a record has said the same, when its files are all, and how long they are kept. Pure."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from archiver.core.model import Claim, Phase, Policy, RecordInfo
from archiver.core.records.kinds.names import KindName, Media
from archiver.core.records.kinds.row import Retention
from archiver.core.records.kinds.table import KINDS

SOURCE_MIX = "origin"
"""The name of the audio that was separated, where a record lists it; it is no stem."""

SAME_ERROR_FOR = timedelta(minutes=5)
"""How long a record that is still running must tell of the same error before that counts."""

EMPTY_FOR = timedelta(minutes=30)
"""How long a record may be finished and list nothing."""

FIRST_DAY = timedelta(days=1)
"""Of a task that was finished longer ago, no further files are waited for."""

_EXPECTED = {KindName.SEPARATION: 2, KindName.MUSIC: 2}
"""The least number of audio files that a record of these kinds lists in the end, but for rare ones; of others, one."""
_OF_A_PAIR = frozenset(("vocal", "vocals", "instrumental"))
"""Names that a separation's two files have, whichever API made them."""


def saying(record: RecordInfo) -> str:
    """Return in short what the record says of the task: two that say the same are equal.

    Links are no part of it: each answer may sign them anew. What is left out counts as what is listed.
    """
    words = (record.kind, record.phase, record.flag, record.error_code, record.error_message)
    fields = sorted({stem.field for stem in record.stems} | {left.field for left in record.left_out})
    return hashlib.sha256("\n".join(map(str, (*words, *fields))).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def said_for(claim: Claim, record: RecordInfo, sure: datetime) -> timedelta:
    """Return how long, as of `sure`, the record has said what it says now; nothing where it never did before."""
    if claim.said_since is None or saying(record) != claim.saying:
        return timedelta(0)
    return max(sure - claim.said_since, timedelta(0))


def is_bare(record: RecordInfo) -> bool:
    """Return whether the record lists at most the source mix."""
    return all(stem.name == SOURCE_MIX for stem in record.stems)


def is_settled(claim: Claim, record: RecordInfo, sure: datetime, policy: Policy) -> bool:
    """Return whether no further files will be listed by a record that lists some.

    A final word with as many as its kind makes says so at once. With fewer it says so once it has said the same for a
    while, or of a task of days ago: success may be seen before all files are filled in, the source mix the first.
    """
    if record.phase is Phase.FAILED:
        return not is_bare(record)
    if record.phase is not Phase.DONE:
        return False
    finished = record.completed_at or record.created_at
    is_old = finished is not None and sure - finished > FIRST_DAY
    return _is_plausible(record) or is_old or said_for(claim, record, sure) >= policy.settled_after


def _is_plausible(record: RecordInfo) -> bool:
    files = [stem for stem in record.stems if stem.name != SOURCE_MIX]
    audio = {stem.name for stem in files if stem.media is Media.AUDIO}
    if record.kind is KindName.JOBS and len(audio) == 1 and audio <= _OF_A_PAIR:
        return False
    return len(audio if record.kind in _EXPECTED else files) >= _EXPECTED.get(record.kind, 1)


def retention_of(kind: KindName | None, policy: Policy) -> Retention:
    """Return how long the provider keeps the files of that kind, as it is set; a shorter urgency of a kind stays."""
    row = KINDS[kind or KindName.SEPARATION].retention
    shorter = row.urgency < row.giving_up
    return Retention(min(row.urgency, policy.retention) if shorter else policy.retention, policy.retention)


def last_chance(claim: Claim, policy: Policy) -> datetime | None:
    """Return from when on a loss is likely; None while no deadline is known. Urgency may end long before."""
    if claim.deadline is None:
        return None
    retention = retention_of(claim.kind, policy)
    return claim.deadline + (retention.giving_up - retention.urgency)
