"""Commands that take long: how they wait, how they are broken off, and what they show meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import typer

from archiver.commands.invocation import Exit, fail

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from archiver.ports.runtime import EventLog
    from archiver.service.shutdown import Shutdown
    from archiver.settings import Settings


T = TypeVar("T")


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
class Break:
    """The fault that ended the work before its end, if any did."""

    stopped: str
    """Said where the operator ended it, with `then`."""
    then: str = ""
    into: Path | None = None
    """The folder that is written to, if any is."""
    message: str = ""
    hint: str = ""

    def guarded(self, results: Iterator[T]) -> Iterator[T]:
        """Yield the results; note what breaks them off, in the place of raising it."""
        from archiver.core.errors import ArchiverError, Interrupted, LedgerFault

        try:
            yield from results
        except (ArchiverError, LedgerFault) as fault:
            self.message, self.hint = str(fault), fault.hint
        except Interrupted:
            self.message, self.hint = self.stopped, self.then
        except OSError as fault:
            if self.into is None:
                raise
            self.message = f"{self.into}: {fault.strerror or fault}"
            self.hint = "what was written whole is kept: mend it, then run the same command again"

    def say(self) -> None:
        """Say it on standard error."""
        from archiver.core.text import visible

        for line in filter(None, (self.message and f"stem-archiver: {self.message}", self.hint and f"  {self.hint}")):
            typer.echo(visible(line), err=True)


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
