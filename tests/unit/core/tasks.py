"""Short ways to the tasks and stems that decisions are made about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from archiver.core.model import Claim, Policy, StemName, StemRow, StemSource, TaskId
from archiver.core.states import StemState, TaskState

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
BASS = StemSource(StemName("bass"), "https://a.test/b.mp3", "bassUrl")
MIX = StemSource(StemName("origin"), "https://a.test/o.mp3", "originUrl")


def claim(*, first_asked_at: datetime | None = None, accepted_at: datetime = NOW, asks: int = 0) -> Claim:
    return Claim(
        TaskId("3e63b4cc88d5"), "token", TaskState.QUEUED, accepted_at, first_asked_at=first_asked_at, asks=asks
    )


def row(*, attempts: int = 0, gone: int = 0) -> StemRow:
    return StemRow(
        StemName("vocal"), StemState.WANTED, None, "https://a.test/v.mp3", "vocalUrl", attempts=attempts, gone=gone
    )
