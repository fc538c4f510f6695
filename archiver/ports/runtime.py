"""The process that the service runs in, as its parts are handed it: time, chance, log, observer, supervisor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Protocol

from archiver.core.errors import ArchiverError
from archiver.core.model import Outcome, StemName, TaskId
from archiver.core.transfer import Activity

Clock = Callable[[], datetime]
"""Now, as an aware UTC datetime."""

PATIENCE = timedelta(seconds=30)
"""The time that a transaction waits for another process's."""


Jitter = Callable[[], float]
"""A number from 0 up to 1."""


Checkpoint = Callable[[str], None]
"""Called with a step's name just after the step became durable; lets tests stop the world there."""


def unobserved(step: str) -> None:
    """The Checkpoint of production: does nothing."""


class EventLog(Protocol):
    """Structured events: a dotted name and fields."""

    def debug(self, event: str, **fields: object) -> object:
        """Log what only a developer wants to know."""

    def info(self, event: str, **fields: object) -> object:
        """Log a step that went as it should."""

    def warning(self, event: str, **fields: object) -> object:
        """Log what the service copes with, but an operator may want to know."""

    def error(self, event: str, **fields: object) -> object:
        """Log what an operator must look at."""

    def exception(self, event: str, **fields: object) -> object:
        """Log an error together with the traceback of the exception being handled."""


class Observer(Protocol):
    """Sees what moved, for progress and metrics. Its methods return at once and never raise."""

    def received(self, size: int) -> None:
        """Count `size` more bytes of audio that came in."""

    def stem_stored(self, size: int, seconds: float) -> None:
        """Count a stem of `size` bytes that is complete in the store, `seconds` after its transfer began."""

    def unknown_name(self) -> None:
        """Count a record's stem of a name nobody has heard of."""

    def try_failed(self, error: ArchiverError) -> None:
        """Count a try at a stem, or at a whole task, that ended in this error."""

    def task_ended(self, outcome: Outcome, age: timedelta | None) -> None:
        """Count an attempt that came to this outcome, `age` after the provider created the task (None: not known)."""


class Watch(Protocol):
    """Sees whether each task, and each transfer of one, moves; gives up by itself those that do not."""

    def progress(self) -> None:
        """Note that this thread's work has just moved; cheap enough for every block. Raises Stuck once given up."""

    def at_work(self, task_id: TaskId, stem: StemName | None = None) -> AbstractContextManager[Activity | None]:
        """Watch what this thread does for the task, or for a stem of it, while this lasts; hand it out."""

    def waiting(self) -> AbstractContextManager[None]:
        """Count no silence while this lasts: the thread waits for others, which are watched themselves."""

    def writing(self, *, tried: bool) -> AbstractContextManager[None]:
        """Note that this thread writes documents while this lasts; `tried`: a try at the task failed."""

    def interruptible(self, stop: Callable[[], object]) -> AbstractContextManager[None]:
        """Have `stop` called, by another thread, should this thread's work be given up while this lasts."""


class Unwatched:
    """A Watch that sees nothing, for what no service supervises."""

    def progress(self) -> None:
        """Do nothing."""

    def at_work(
        self,
        task_id: TaskId,  # noqa: ARG002 - Watch
        stem: StemName | None = None,  # noqa: ARG002 - Watch
    ) -> AbstractContextManager[Activity | None]:
        """Watch nothing."""
        return nullcontext()

    def waiting(self) -> AbstractContextManager[None]:
        """Count nothing."""
        return nullcontext()

    def writing(self, *, tried: bool) -> AbstractContextManager[None]:  # noqa: ARG002 - Watch
        """Note nothing."""
        return nullcontext()

    def interruptible(self, stop: Callable[[], object]) -> AbstractContextManager[None]:  # noqa: ARG002 - Watch
        """Stop nothing."""
        return nullcontext()


UNWATCHED = Unwatched()


class Cores(Protocol):
    """The processor's cores, among which the calling thread may go. Its methods never fail."""

    def gather(self) -> None:
        """Keep this thread on one core with all that gather: each of them does little between two waits.

        The main thread stays free, for what it starts may go where it may.
        """

    def scatter(self) -> None:
        """Let this thread go to any core, until it gathers again: it moves much at once."""


class AnyCore:
    """Cores of which threads take whichever the system gives them."""

    def gather(self) -> None:
        """Stay free."""

    def scatter(self) -> None:
        """Stay free."""


class ServiceManager(Protocol):
    """The one that started the process and supervises it. Its methods never fail and never wait."""

    def ready(self) -> None:
        """Say that the service is at work, or back at it after `reloading`."""

    def reloading(self) -> None:
        """Say that the settings are being read again; `ready` must follow."""

    def stopping(self) -> None:
        """Say that the service is about to end."""

    def status(self, text: str) -> None:
        """Say in a few words what the service does."""

    def progress(self) -> None:
        """Say that all is going on; without it for too long, the service is ended by force."""
