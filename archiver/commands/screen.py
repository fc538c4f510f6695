"""The view of a backfill at work: kept up to date on a terminal, else a line or an event now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from archiver.commands.format import counted, size, span
from archiver.commands.progress import Rate, Tally
from archiver.core.intake import Intake
from archiver.core.model import Pause
from archiver.core.states import ENDED_BADLY, TaskState
from archiver.core.text import visible
from archiver.core.transfer import Moving
from archiver.ports.runtime import Clock, EventLog

if TYPE_CHECKING:
    from archiver.service.backfill import Standing

SAID_EVERY = 10.0
"""Seconds between lines, or events, where nothing can be kept up to date."""
WIDE = 100
"""Columns from which on each transfer has a line."""
TRANSFERS = 8
"""The most transfers that have one."""
ENOUGH = 3
"""Tasks that must have ended before the time that the rest takes is told by them."""
_BAR = 24


@dataclass(frozen=True, slots=True)
class View:
    """The picture of one moment."""

    now: datetime
    seconds: float
    """Since the start."""
    read: int
    """Ids that were read so far."""
    standing: Standing | None
    """None while ids are read."""
    stems: int
    came: int
    """Bytes."""
    rate: float
    """Bytes a second."""
    seconds_left: float | None
    """None while that cannot be told."""
    moving: Sequence[Moving]
    working: int
    """Tasks in flight here."""
    next_in: float | None
    """Seconds until the provider may be asked by whoever waits for that; None where nobody does."""
    stopping: bool

    @property
    def failed(self) -> int:
        """Tasks that ended without their audio."""
        return 0 if self.standing is None else sum(self.standing.done.states.get(state, 0) for state in ENDED_BADLY)

    @property
    def head(self) -> str:
        """How many tasks are done, and how many ended without their audio."""
        if self.standing is None:
            return f"reading ids: {self.read} so far"
        done = self.standing.done
        badly = [f", {done.states[state]} {state}" for state in ENDED_BADLY if done.states.get(state)]
        return f"{done.archived} of {counted(done.tasks, 'task')} archived{''.join(badly)}"

    @property
    def flow(self) -> str:
        """Bytes that came, how fast, and until when the rest takes."""
        said = [f"{counted(self.stems, 'stem')} stored", f"{size(self.came)} in", f"{size(self.rate)}/s"]
        if self.seconds_left is not None:
            said.append(f"about {_rough(self.seconds_left)} left")
        nearest = None if self.standing is None else self.standing.left.nearest_deadline
        if nearest is not None:
            said.append(f"deadline in {span(nearest - self.now)}" if nearest > self.now else "a deadline has passed")
        return ", ".join(said)

    def waits(self) -> Iterator[str]:
        """Yield the reason of each wait."""
        if self.next_in is not None and self.next_in > 0:
            yield f"provider's pace: next in {ceil(self.next_in)} s"
        if self.standing is None or self.stopping:
            return
        left = self.standing.left
        if left.pending and left.next_ask is not None:
            yield f"{left.pending} pending at the provider, asked again {self._at(left.next_ask)}"
        if left.next_retry is not None and left.next_retry > self.now:
            yield f"what failed is tried again {self._at(left.next_retry)}"
        yield from map(self._paused, self.standing.pauses)
        yield from self._others()

    def _others(self) -> Iterator[str]:
        """Yield that others work on what is due, where nobody does here."""
        if self.standing is None or self.working or self.moving or self.standing.pauses:
            return
        left = self.standing.left
        if left.tasks > left.pending and (left.next_retry is None or left.next_retry <= self.now):
            yield f"another process works on what is left ({left.tasks - left.pending})"

    def _at(self, moment: datetime) -> str:
        return "now" if moment <= self.now else f"at {moment:%H:%M} UTC (in {span(moment - self.now)})"

    def _paused(self, pause: Pause) -> str:
        if pause.held:
            return f"{pause.subject} held by the operator: stem-archiver resume"
        by_task = "by the next task that needs it"
        again = self._at(pause.next_probe) if pause.next_probe > self.now else by_task
        return f"{pause.subject} paused: {pause.reason}; tried again {again}"

    @property
    def end(self) -> str | None:
        """Work that a process still does once it was asked to end."""
        if not self.stopping:
            return None
        busy = counted(len(self.moving), "transfer") if self.moving else counted(self.working, "task")
        return f"finishing {busy}, press Ctrl-C again to stop" if self.moving or self.working else "stopping"

    def lines(self, width: int) -> Iterator[str]:
        """Yield the lines for a terminal so wide."""
        clock = f"{int(self.seconds // 60)}:{int(self.seconds % 60):02}"
        done = None if self.standing is None else self.standing.done
        bar = "" if done is None else f"{_bar(done.archived, self.failed, done.tasks)}  "
        yield f"{bar}{self.head}  {clock}"
        yield f"  {self.flow}"
        if width >= WIDE:
            yield from map(_transfer, self.moving[:TRANSFERS])
            if len(self.moving) > TRANSFERS:
                yield f"    and {len(self.moving) - TRANSFERS} more"
        yield from (f"  waiting: {wait}" for wait in self.waits())
        if self.end is not None:
            yield f"  {self.end}"


def _bar(archived: int, failed: int, tasks: int) -> str:
    cells = [round(_BAR * part / tasks) if tasks else 0 for part in (archived, archived + failed)]
    return f"[{'#' * cells[0]}{'x' * (cells[1] - cells[0])}{'.' * (_BAR - cells[1])}]"


def _transfer(moving: Moving) -> str:
    of = "" if moving.length is None else f" of {size(moving.length)}"
    rate = f"{size(moving.size / moving.seconds)}/s" if moving.seconds >= 1 else ""
    what = "storing" if moving.size == moving.length else rate
    task = moving.task if len(moving.task) <= _ID else f"{moving.task[: _ID - 2]}.."
    return f"    {task:<{_ID}}  {moving.stem:<16.16}  {size(moving.size) + of:>22}  {what}"


_ID = 33
_HOURS_FROM = 120
"""Minutes."""


def _rough(seconds: float) -> str:
    """Return a span no finer than anybody can know."""
    minutes = ceil(seconds / 60)
    if minutes <= 1:
        return f"{5 * ceil(seconds / 5)} s"
    if minutes < _HOURS_FROM:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


@dataclass(slots=True)
class Source:
    """Where a screen looks."""

    tally: Tally
    clock: Clock
    moving: Callable[[], Sequence[Moving]]
    working: Callable[[], int]
    next_in: Callable[[], float | None]
    stopping: Callable[[], bool]
    read: int = 0
    standing: Standing | None = None
    _rate: Rate = field(default_factory=Rate)
    _before: tuple[float, int] | None = None
    """When the work began, and how many tasks had ended by then."""

    def reading(self, batches: Iterable[Intake]) -> Iterator[Intake]:
        """Pass the batches on, and count their ids."""
        for batch in batches:
            yield batch
            self.read += len(batch.ids)

    def note(self, standing: Standing) -> None:
        """Note where the backfill stands."""
        self.standing = standing
        if self._before is None:
            self._before = time.monotonic(), _ended(standing)

    def view(self) -> View:
        """Return what there is to see now."""
        moving, rate = self.moving(), self._rate.of(self.tally.bytes_in)
        return View(
            now=self.clock(),
            seconds=self.tally.seconds,
            read=self.read,
            standing=self.standing,
            stems=self.tally.stems,
            came=self.tally.bytes_in,
            rate=rate,
            seconds_left=self._seconds_left(moving, rate),
            moving=moving,
            working=self.working(),
            next_in=self.next_in(),
            stopping=self.stopping(),
        )

    def _seconds_left(self, moving: Sequence[Moving], rate: float) -> float | None:
        """Tell by the tasks that ended; by the bytes under way where these are all that is left."""
        if self.standing is None or self._before is None:
            return None
        left = self.standing.left.tasks - self.standing.left.pending
        since, before = self._before
        if (ended := _ended(self.standing) - before) >= ENOUGH and left > 0:
            return left * (time.monotonic() - since) / ended
        lengths = [each.length for each in moving if each.length is not None]
        if len({each.task for each in moving}) < left or len(lengths) < len(moving) or not rate or not lengths:
            return None
        return (sum(lengths) - sum(each.size for each in moving)) / rate


def _ended(standing: Standing) -> int:
    return sum(standing.done.states.get(state, 0) for state in (TaskState.ARCHIVED, *ENDED_BADLY))


class Screen:
    """Shows the progress of a backfill, as whoever looks can take it: see the module.

    `log` is given where the stream is for events alone: it gets all that is said.
    """

    def __init__(
        self, console: Console, source: Source, *, quiet: bool, log: EventLog | None, said_every: float = SAID_EVERY
    ) -> None:
        self._console = console
        self._source = source
        self._quiet = quiet
        self._log = log
        self._said_every = said_every
        self._said_at = time.monotonic()
        self._live = Live(console=console, get_renderable=self._drawn, refresh_per_second=4, transient=True)
        self._draws = not quiet and log is None and console.is_terminal

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._draws:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        if self._draws:
            self._live.stop()

    def update(self, standing: Standing) -> None:
        """Show where the backfill stands; cheap, to be called several times a second."""
        self._source.note(standing)
        if not self._draws and time.monotonic() - self._said_at >= self._said_every:
            self._said_at = time.monotonic()
            self._say(self._source.view())

    def stopping(self) -> None:
        """Say at once that the process was asked to end, and what it waits for."""
        end = self._source.view().end
        if end is not None and not (self._draws or self._quiet or self._log):
            self._console.print(Text(end))

    def _say(self, view: View) -> None:
        if self._log is not None:
            done = None if view.standing is None else view.standing.done
            self._log.info(
                "backfill.progress",
                tasks=view.read if done is None else done.tasks,
                archived=0 if done is None else done.archived,
                failed=view.failed,
                stems=view.stems,
                bytes=view.came,
                bytes_a_second=round(view.rate),
                seconds_left=None if view.seconds_left is None else round(view.seconds_left),
                waits=list(view.waits()),
            )
        elif not self._quiet:
            said = "; ".join([view.head, view.flow, *(f"waiting: {wait}" for wait in view.waits())])
            self._console.print(Text(visible(said)))

    def _drawn(self) -> Group:
        lines = self._source.view().lines(self._console.width)
        return Group(*(Text(visible(line), no_wrap=True, overflow="crop") for line in lines))


@contextmanager
def beside_line(line: Callable[[], str], shown: Console, err: Console, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """Keep a line of how far it is up to date on `shown`; elsewhere what this gives says it on `err` now and then."""
    if shown.is_terminal and not quiet:
        with Live(
            console=shown,
            get_renderable=lambda: Text(line(), no_wrap=True, overflow="crop"),
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield lambda: None
        return
    said_at = time.monotonic()

    def now_and_then() -> None:
        nonlocal said_at
        if not quiet and time.monotonic() - said_at >= SAID_EVERY:
            said_at = time.monotonic()
            err.print(Text(visible(line())))

    yield now_and_then
