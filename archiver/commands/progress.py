"""The progress of a backfill: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import io
import sys
import threading
import time
from datetime import timedelta
from typing import Self, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from archiver.commands.format import size, span
from archiver.core.errors import ArchiverError
from archiver.core.model import Archived, Outcome
from archiver.service.backfill import Standing

_PLAIN_EVERY = 10.0
"""Seconds."""
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


class Screen:
    """Live progress of a backfill: a bar on a terminal, a plain line now and then elsewhere."""

    def __init__(self, console: Console, tally: Tally, *, quiet: bool) -> None:
        self._console = console
        self._tally = tally
        self._quiet = quiet
        self._said_at = time.monotonic()
        self._rate = _Rate()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("tasks"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[line]}"),
            TimeElapsedColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._bar = self._progress.add_task("tasks", total=None, line="")

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()

    def update(self, standing: Standing, nearest: timedelta | None) -> None:
        """Show how far the work is; cheap, to be called several times a second."""
        done, total = standing.done.archived, standing.done.tasks
        rate = self._rate.of(self._tally.bytes_in)
        line = f"{self._tally.stems} stems  {size(self._tally.bytes_stored)}  {rate / 1e6:.1f} MB/s"
        if nearest is not None:
            line += f"  nearest deadline {span(nearest)}"
        self._progress.update(self._bar, completed=done, total=total, line=line)
        plain = not self._quiet and not self._console.is_terminal
        if plain and time.monotonic() - self._said_at >= _PLAIN_EVERY:
            self._said_at = time.monotonic()
            self._console.print(f"{done}/{total} tasks  {line}", highlight=False)


class _Rate:
    """Bytes a second over the last few seconds."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def of(self, total: int) -> float:
        now = time.monotonic()
        self._points = [point for point in self._points if now - point[0] <= _RATE_OVER] or self._points[-1:]
        (then, before), elapsed = self._points[0], now - self._points[0][0]
        self._points.append((now, total))
        return (total - before) / elapsed if elapsed > 0 and now > then else 0.0
