"""The time of day, and the time since the machine was started."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Now, as an aware UTC datetime."""
    return datetime.now(UTC)


def boot_seconds() -> float:
    """Seconds that nobody sets; unlike those of time.monotonic they go on while the machine sleeps, where it can."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
