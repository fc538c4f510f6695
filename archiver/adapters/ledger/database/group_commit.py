"""Group commit: writes that threads ask for at the same time go into one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class _Write(Generic[T]):
    """One thread's write, and how it ended."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.ended = False
        self.error: BaseException | None = None
        # Held until another thread wakes this one: an Event is a lock, too, and three objects around it.
        self.sleep = threading.Lock()
        self.sleep.acquire()


class GroupCommit(Generic[T]):
    """Hands the writes of many threads to `commit`, in the order in which they came.

    The first to come leads: it commits all that have come until its turn, and the next leads after it.
    `commit` writes all it is given in one transaction, or raises and writes nothing. Where it raises for
    several, each of them is committed alone, so that an illegal one spoils no other. An error `of_all` is
    the exception: it is raised for each at once.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[T]], object],
        turn: threading.Lock,
        *,
        of_all: type[BaseException] | tuple[type[BaseException], ...] = (),
    ) -> None:
        self._commit = commit
        self._turn = turn
        self._of_all = of_all
        self._lock = threading.Lock()
        self._waiting: list[_Write[T]] = []
        self._led = False

    def write(self, item: T) -> None:
        """Return once `item` is committed; raise what its commit raised."""
        write = _Write(item)
        with self._lock:
            self._waiting.append(write)
            follows, self._led = self._led, True
        if follows:
            write.sleep.acquire()
        if not write.ended:
            self._lead(write)
        if write.error is not None:
            raise write.error

    def _lead(self, mine: _Write[T]) -> None:
        writes: list[_Write[T]] = []
        try:
            with self._turn:
                with self._lock:
                    writes, self._waiting = self._waiting, []
                self._try(writes)
        finally:
            self._pass_on(writes, mine)

    def _try(self, writes: Sequence[_Write[T]]) -> None:
        try:
            self._commit([write.item for write in writes])
        except BaseException as error:  # noqa: BLE001 - raised in the thread whose write it was
            if len(writes) > 1 and not isinstance(error, self._of_all):
                for write in writes:
                    self._try([write])
            else:
                for write in writes:
                    write.error = error

    def _pass_on(self, writes: Sequence[_Write[T]], mine: _Write[T]) -> None:
        with self._lock:
            heir = self._waiting[0] if self._waiting else None
            self._led = heir is not None
        for write in writes:
            write.ended = True
            if write is not mine:
                write.sleep.release()
        if heir is not None:
            heir.sleep.release()
