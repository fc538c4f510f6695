"""What commands print: tables, progress, and their JSON twins. Reads, never decides."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Self, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from archiver.core.errors import ArchiverError
from archiver.core.model import DEFAULT_ACCOUNT, Archived, Outcome, Pause
from archiver.core.redaction import visible
from archiver.core.reports import Finding, JobCounts, Overview, TaskRow
from archiver.core.states import StemState, TaskState

if TYPE_CHECKING:  # `status` and `show` need neither, and these load the whole service
    from archiver.app.preview import Preview
    from archiver.service.backfill import Ending

_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_PLAIN_EVERY = 10.0


def jsonable(value: object) -> object:
    """Return `value` as plain JSON types: datetimes as ISO 8601, spans as seconds, dataclasses as objects."""
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {str(jsonable(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [jsonable(item) for item in value]
    return value


def print_json(value: object, out: TextIO) -> None:
    """Print one JSON object on one line, in ASCII: no character of it can steer a terminal."""
    out.write(json.dumps(jsonable(value)) + "\n")


def _say(console: Console, text: str, *, mark: str = "", style: str = "bold red") -> None:
    """Print a line that may hold words from outside: as text, not markup, and with nothing unprintable in it."""
    console.print(Text.assemble((mark, style), visible(text)))


def span(delta: timedelta | None) -> str:
    """Return a span as people say it: `3d 4h`, `12m 5s`; a past one as `2h ago`."""
    if delta is None:
        return "-"
    seconds = int(abs(delta.total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    units = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds % 60, "s")]
    first = next((index for index, (count, _) in enumerate(units) if count), 3)
    text = " ".join(f"{count}{unit}" for count, unit in units[first : first + 2] if count) or "0s"
    return f"{text} ago" if delta < timedelta() else text


def size(count: float) -> str:
    """Return bytes with a decimal unit: `5.2 MB`."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


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

    def update(self, done: int, total: int, nearest: timedelta | None) -> None:
        """Show how far the work is; cheap, to be called several times a second."""
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
        self._points = [point for point in self._points if now - point[0] <= 5] or self._points[-1:]  # noqa: PLR2004 - s
        (then, before), elapsed = self._points[0], now - self._points[0][0]
        self._points.append((now, total))
        return (total - before) / elapsed if elapsed > 0 and now > then else 0.0


def print_ending(console: Console, ending: Ending, tally: Tally) -> None:
    """Print what a backfill did and what it leaves open."""
    console.print(
        f"{ending.taken} tasks: {ending.taken - len(ending.unfinished)} archived "
        f"({ending.already_archived} of them before), {len(ending.unfinished)} not; "
        f"{tally.stems} stems, {size(tally.bytes_stored)} in {tally.seconds:.1f} s",
        highlight=False,
    )
    for row in ending.unfinished:
        again = f"; next try {row.not_before:%Y-%m-%d %H:%M:%S} UTC" if row.not_before else ""
        _say(console, f"  {row.task_id}  {row.state.value}: {row.reason or 'not reached'}{again}")
    if ending.rejected:
        _say(console, f"  {ending.rejected} lines are no task ids: see `stem-archiver status`")
    for pause in ending.pauses:
        _say(console, f"  {pause.subject} is paused: {pause.reason}; {pause.hint}")


def ending_summary(ending: Ending, tally: Tally, exit_code: int) -> dict[str, object]:
    """Return the JSON object of `backfill --json`."""
    return {
        "verdict": ending.verdict,
        "exit_code": exit_code,
        "tasks": ending.taken,
        "archived": ending.taken - len(ending.unfinished),
        "already_archived": ending.already_archived,
        "rejected_lines": ending.rejected,
        "unfinished": [
            {
                "task_id": row.task_id,
                "state": row.state,
                "reason": row.reason,
                "not_before": row.not_before,
                "deadline": row.deadline,
            }
            for row in ending.unfinished
        ],
        "paused": [
            {"dependency": pause.dependency, "account": pause.account, "reason": pause.reason, "hint": pause.hint}
            for pause in ending.pauses
        ],
        "stems": tally.stems,
        "bytes": tally.bytes_stored,
        "seconds": round(tally.seconds, 3),
    }


def print_overview(console: Console, overview: Overview, now: datetime) -> None:
    """Print what `status` says."""
    console.print(_counts(overview))
    console.print(f"{size(overview.bytes_stored)} stored; {overview.working} being worked on, {overview.due} due")
    moments = {
        "nearest deadline": overview.nearest_deadline,
        "next try": None if overview.due else overview.next_due,
        "last archived": overview.last_archived_at,
    }
    for name, moment in moments.items():
        if moment is not None:
            console.print(f"{name}: {span(moment - now)}")
    if overview.forecast_late:
        console.print(f"[bold red]forecast[/] {_forecast(overview)}")
    for pause in overview.pauses:
        _say(console, f" {pause.subject}: {pause.reason}", mark="paused")
        _say(console, f"       {pause.hint}{_when(pause, now)}")
    _print_at_risk(console, overview, now)
    if overview.rejected_lines:
        console.print(f"[yellow]rejected[/] {overview.rejected_lines} lines of the queue:")
        for reject in overview.rejects:
            _say(console, f"  {reject.path} at byte {reject.offset}: {reject.excerpt!r}: {reject.reason}")


def print_jobs(console: Console, jobs: JobCounts) -> None:
    """Print what `status` says of workers and their jobs."""
    workers = "1 worker" if jobs.workers == 1 else f"{jobs.workers} workers"
    console.print(
        f"{workers} at work; {jobs.waiting} jobs waiting, {jobs.scheduled} scheduled, {jobs.doing} being done"
    )
    if jobs.waiting and not jobs.workers:
        _say(console, " jobs wait, and no worker is at work: start `stem-archiver worker`", mark="workers")
    if jobs.silent_workers or jobs.stalled:
        _say(
            console,
            f" workers that went without a goodbye in the last day: {jobs.silent_workers}; their jobs, taken up by "
            f"others within seconds: {jobs.stalled}",
            mark="silent",
            style="yellow",
        )


def _when(pause: Pause, now: datetime) -> str:
    if pause.held:
        return "" if pause.lasting else f" (ends by itself: {span(pause.next_probe - now)})"
    return f" (next probe {span(pause.next_probe - now)})"


def _forecast(overview: Overview) -> str:
    pace = f"{overview.stems_an_hour or 0:.0f} stems an hour"
    return f"at this rate ({pace}) {overview.forecast_late} stems will expire before they are reached"


def _counts(overview: Overview) -> Table:
    table = Table(box=None, show_header=True, header_style="bold")
    for title in ("tasks", "", "stems", ""):
        table.add_column(title, justify="left" if title else "right")
    stems = [(state.value, str(overview.stems.get(state, 0))) for state in StemState]
    stems += [("", "")] * (len(TaskState) - len(stems))
    for state, (name, count) in zip(TaskState, stems, strict=True):
        table.add_row(state.value, str(overview.tasks.get(state, 0)), name, count)
    return table


def _print_at_risk(console: Console, overview: Overview, now: datetime) -> None:
    if not overview.at_risk_count:
        return
    console.print(f"[bold red]at risk[/] {overview.at_risk_count} tasks:")
    for risk in overview.at_risk:
        left = span(risk.deadline - now)
        _say(console, f"  {risk.task_id}  {left}  {risk.missing_stems} stems missing  {risk.reason}")


def print_preview(console: Console, previews: Iterable[Preview]) -> None:
    """Print what `backfill --dry-run` says, as each task is looked at."""
    for task in previews:
        _say(console, f"{task.task_id}  {task.says}")
        for stem in task.stems:
            _say(console, f"  {stem.url} -> {stem.key}")


def print_task(console: Console, row: TaskRow, now: datetime) -> None:
    """Print what `show` says of one task."""
    _say(console, f"  {row.state.value}", mark=row.task_id, style="bold")
    facts = {
        "reason": row.reason or None,
        "account": None if row.account == DEFAULT_ACCOUNT else row.account,
        "accepted": f"{row.accepted_at:%Y-%m-%d %H:%M:%S} UTC from {row.source}",
        "created": row.created_at and f"{row.created_at:%Y-%m-%d %H:%M:%S} UTC",
        "deadline": row.deadline and f"{row.deadline:%Y-%m-%d %H:%M:%S} UTC ({span(row.deadline - now)})",
        "asked": f"{row.asks} times not ready, {row.attempts} tries in a row failed",
        "next try": row.not_before and f"{row.not_before:%Y-%m-%d %H:%M:%S} UTC ({span(row.not_before - now)})",
        "being worked on": row.leased_until and f"lease until {row.leased_until:%H:%M:%S} UTC",
    }
    for name, fact in facts.items():
        if fact is not None:
            _say(console, f"  {name}: {fact}")
    for stem in row.stems:
        receipt = stem.receipt
        what = f"{size(receipt.size)}  sha256 {receipt.sha256}  {receipt.key}" if receipt else stem.reason
        alias = f" (same bytes as {receipt.alias_of})" if receipt and receipt.alias_of else ""
        _say(console, f"  {stem.name:<18} {stem.state.value:<8} {what}{alias}")
        if receipt is None:
            _say(console, f"  {'':<18} {'':<8} {stem.url_shown}")
    for move in row.history:
        where = move.stem or "task"
        detail = " ".join(f"{key}={value}" for key, value in move.detail.items())
        line = f"  {move.at:%Y-%m-%d %H:%M:%S}  {where:<18} {move.before} -{move.event}-> {move.after}  {detail}"
        _say(console, line.rstrip())


def print_findings(console: Console, findings: Iterable[Finding]) -> bool:
    """Print one line a finding, its hint below; return whether none failed."""
    passed = True
    for finding in findings:
        _say(console, f" {finding.subject}: {finding.detail}", mark=f"{finding.level:<4}", style=_STYLE[finding.level])
        if finding.hint and finding.level != "ok":
            _say(console, f"     {finding.hint}")
        passed = passed and finding.level != "fail"
    return passed
