"""The end of the process: a signal asks for it, work under way is drained."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from datetime import timedelta
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

from archiver.ports.runtime import EventLog

if TYPE_CHECKING:
    from archiver.pipeline.dispatch import Dispatcher

CANCEL_PATIENCE = timedelta(seconds=5)
"""The time that transfers get to notice that the grace is over and to abort what they had begun."""


class Shutdown:
    """The process's wish to end: set by a first signal, made urgent by a second.

    A signal is handled between any two steps of the main thread, also while that holds the lock of an Event it waits
    for: to set the Event would then wait for ever. So there are no locks here, and a queue that is made for this.
    """

    def __init__(self) -> None:
        self.asked = False
        """True once a signal, or a fault, asked the process to end."""
        self.urgent = False
        """True once a second signal asked it to end at once."""
        self.signal_number: int | None = None
        self._bell: SimpleQueue[None] = SimpleQueue()

    def ask(self, number: int | None = None) -> None:
        """Ask to end; asking with a signal twice makes it urgent."""
        if number is not None:
            self.urgent = self.asked
            self.signal_number = self.signal_number or number
        self.asked = True
        self._bell.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait until asked, at most `seconds`; return whether asked."""
        with suppress(Empty):
            if not self.asked:
                self._bell.get(timeout=seconds)
                self._bell.put(None)  # for whoever else waits
        return self.asked

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT for such a wish while this lasts."""

        def handle(number: int, _frame: FrameType | None) -> None:
            self.ask(number)

        before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def drain(
    dispatcher: Dispatcher, shutdown: Shutdown, *, grace: timedelta, cancel: Callable[[], None], log: EventLog
) -> bool:
    """Let tasks in flight finish within `grace`, then cancel them; return whether none is left running.

    An urgent shutdown ends the wait at once. Leases are the caller's to release afterwards.
    """
    dispatcher.stop()
    if shutdown.signal_number is not None:
        log.info("daemon.draining", tasks_in_flight=dispatcher.working, grace_seconds=grace.total_seconds())
    waited = timedelta()
    pause = timedelta(seconds=0.1)
    while waited < grace and not shutdown.urgent:
        if dispatcher.wait_idle(pause.total_seconds()):
            return True
        waited += pause
    cancel()
    return dispatcher.wait_idle(0.5 if shutdown.urgent else CANCEL_PATIENCE.total_seconds())


def unless_asked(work: Callable[[], None], shutdown: Shutdown) -> None:
    """Do `work`, and raise what it raises; leave it to itself, in a thread, once the process is asked to end."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised to whoever waits
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, name="unless-asked", daemon=True).start()
    while not shutdown.asked:
        if wait([done], 0.1).done:
            done.result()
            return
