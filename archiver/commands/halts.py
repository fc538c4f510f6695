"""Commands that take long: how they wait, how they are broken off, and what they show meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from archiver.commands.invocation import Exit, fail

if TYPE_CHECKING:
    from rich.console import Console

    from archiver.ports.runtime import EventLog
    from archiver.service.shutdown import Shutdown
    from archiver.settings import Settings


def quiet_log(settings: Settings) -> EventLog:
    """Return a log of what goes wrong alone."""
    from archiver.logs import configure

    return configure("warning", settings.log.format, secrets=settings.secrets())


def waiting(shutdown: Shutdown) -> Callable[[float], None]:
    """Return what waits so many seconds, or until the command is to end."""

    def wait(seconds: float) -> None:
        shutdown.wait(seconds)

    return wait


@contextmanager
def breaks(shutdown: Shutdown) -> Iterator[None]:
    """Turn what breaks the work off into a line and an exit code."""
    from archiver.core.errors import ArchiverError, Interrupted

    try:
        yield
    except Interrupted:
        code = Exit.PAUSED if shutdown.signal_number is None else Exit.SIGNAL + shutdown.signal_number
        typer.echo("stem-archiver: stopped; run it again to go on", err=True)
        raise typer.Exit(code) from None
    except ArchiverError as error:
        fail(f"{error.code}: {error}", Exit.PAUSED, error.hint)


@dataclass(slots=True)
class Progress:
    """A line a second on a terminal, and now and then elsewhere."""

    console: Console
    quiet: bool = False
    _at: float = 0.0
    _open: bool = False

    def show(self, line: str) -> None:
        """Show how far it is, if it is time to."""
        from archiver.commands.screen import SAID_EVERY

        now = time.monotonic()
        if self.quiet or now - self._at < (1 if self.console.is_terminal else SAID_EVERY):
            return
        self._at, self._open = now, self.console.is_terminal
        self.console.print(line, end="\r" if self._open else "\n", highlight=False)

    def end(self) -> None:
        """Leave the line."""
        if self._open:
            self.console.print()
