"""Group commit: writes that threads ask for at the same time go into one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class _Wish(Generic[T]):
    """One thread's write, and how it ended."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.ended = False
        self.error: BaseException | None = None
        self.woken = threading.Event()


class Together(Generic[T]):
    """Hands what many threads wish written to `commit`, in the order in which they came.

    The first to come leads: it commits all that have come until its turn, and the next leads after it.
    `commit` writes all it is given in one transaction, or raises and writes nothing. Where it raises for
    several, each of them is committed alone, so that one that may not be written spoils no other; but not
    after an error `of_all`, which none of them can help.
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
        self._wishes: list[_Wish[T]] = []
        self._led = False

    def write(self, item: T) -> None:
        """Return once `item` is committed; raise what its commit raised."""
        wish = _Wish(item)
        with self._lock:
            self._wishes.append(wish)
            follows, self._led = self._led, True
        if follows:
            wish.woken.wait()
        if not wish.ended:
            self._lead()
        if wish.error is not None:
            raise wish.error

    def _lead(self) -> None:
        wishes: list[_Wish[T]] = []
        try:
            with self._turn:
                with self._lock:
                    wishes, self._wishes = self._wishes, []
                self._try(wishes)
        finally:
            self._pass_on(wishes)

    def _try(self, wishes: Sequence[_Wish[T]]) -> None:
        try:
            self._commit([wish.item for wish in wishes])
        except BaseException as error:  # noqa: BLE001 - raised in the thread whose wish it was
            if len(wishes) > 1 and not isinstance(error, self._of_all):
                for wish in wishes:
                    self._try([wish])
            else:
                for wish in wishes:
                    wish.error = error

    def _pass_on(self, wishes: Sequence[_Wish[T]]) -> None:
        with self._lock:
            heir = self._wishes[0] if self._wishes else None
            self._led = heir is not None
        for wish in wishes:
            wish.ended = True
            wish.woken.set()
        if heir is not None:
            heir.woken.set()
