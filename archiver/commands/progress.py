"""Progress of a backfill, and the stream that its events go to."""

from __future__ import annotations

import io
import sys
import threading
import time
from datetime import timedelta
from typing import TextIO, cast

from archiver.core.errors import ArchiverError
from archiver.core.model import Archived, Outcome

_RATE_OVER = 5
"""Seconds."""


class _CurrentStderr(io.TextIOBase):
    encoding = "utf-8"

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.__stderr__ is not None and sys.__stderr__.isatty()


def current_stderr() -> TextIO:
    """Return a stream to whatever sys.stderr is at the moment, so that log lines go above a live progress bar."""
    return cast("TextIO", _CurrentStderr())


class Tally:
    """Counts what moved; the Observer behind the progress line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.began = time.monotonic()
        self.bytes_in = 0
        self.bytes_stored = 0
        self.stems = 0
        self.archived = 0
        self.outcomes: dict[str, int] = {}

    def received(self, size: int) -> None:
        """Count bytes as they come in."""
        with self._lock:
            self.bytes_in += size

    def stem_stored(self, size: int, seconds: float) -> None:  # noqa: ARG002 - the Observer's signature
        """Count a stem that is complete."""
        with self._lock:
            self.stems += 1
            self.bytes_stored += size

    def unknown_name(self) -> None:
        """The log says it."""

    def try_failed(self, error: ArchiverError) -> None:
        """The log says it."""

    def task_ended(self, outcome: Outcome, age: timedelta | None) -> None:  # noqa: ARG002 - the Observer's signature
        """Count the outcome of a try."""
        with self._lock:
            self.outcomes[outcome.kind] = self.outcomes.get(outcome.kind, 0) + 1
            self.archived += isinstance(outcome, Archived)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.began


class Rate:
    """Bytes a second over the last few seconds."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def of(self, total: int) -> float:
        """Return it, when `total` came by now."""
        now = time.monotonic()
        self._points = [point for point in self._points if now - point[0] <= _RATE_OVER] or self._points[-1:]
        (then, before), elapsed = self._points[0], now - self._points[0][0]
        self._points.append((now, total))
        return (total - before) / elapsed if elapsed > 0 and now > then else 0.0
