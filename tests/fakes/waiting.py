"""Waits for what comes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], object], seconds: float = 60, *, what: str = "") -> None:
    """Return as soon as `condition` holds; raise AssertionError when it does not in time."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"waited {seconds} s in vain {what and f'until {what}'}"
        time.sleep(0.02)
