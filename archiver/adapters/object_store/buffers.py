"""One budget of memory for all transfer buffers, so that memory is bounded whatever runs at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from archiver.core.errors import SettingsFault, StoreBusy
from archiver.ports.transfer import Aside, Suspended

SMALLEST = 64 * 1024
"""Bytes; smaller requests are served from a buffer of this size."""


class BufferBudget:
    """Lends buffers that together never take more than `total_bytes`; satisfies `archiver.ports.transfer.Buffers`.

    Requests are served in order of arrival: a large one is not overtaken for ever by small ones. Freed
    memory is kept for the next borrower and given up when another size needs the room; what was put aside last of all.
    """

    def __init__(
        self, total_bytes: int, *, waiting: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        """Lend at most `total_bytes`; each wait for a share lasts within a `waiting()`."""
        self._waiting = waiting
        self._total = total_bytes
        self._lent = 0
        self._spare: list[bytearray] = []
        self._asides: dict[Aside, None] = {}
        """By age; each has its block."""
        self._queue: deque[object] = deque()
        self._holders: set[int] = set()
        self._changed = threading.Condition()
        self._closed = False

    @property
    def most(self) -> int:
        """See `archiver.ports.transfer.Buffers`."""
        return self._total

    @property
    def lent_bytes(self) -> int:
        """Bytes lent just now."""
        return self._lent

    @property
    def held_bytes(self) -> int:
        """Bytes of memory taken just now, lent or spare; at most the total."""
        with self._changed:
            return self._lent + self._spare_bytes()

    @contextmanager
    def buffer(self, size: int, aside: Aside | None = None) -> Iterator[memoryview]:
        """Wait for `size` bytes' share and lend a buffer of exactly that size; see `archiver.ports.transfer.Buffers`.

        Raises SettingsFault when `size` can never fit, StoreBusy once closed, and RuntimeError when this
        thread already holds a buffer (two such threads could wait for each other for ever).
        """
        if size > self._total:
            raise SettingsFault(
                f"download.buffer_budget is {self._total} bytes, but one transfer needs {size}: raise it, "
                "or lower store.single_put_max and store.part_size"
            )
        with self._waiting():
            block = self._borrow(min(_rounded(size), self._total), aside)
        view = memoryview(block)
        lent = view[:size]
        suspended = None
        try:
            yield lent
        except Suspended:
            suspended = aside
            raise
        finally:
            lent.release()
            view.release()
            self._give_back(block, suspended)

    def give_up(self, aside: Aside) -> None:
        """See `archiver.ports.transfer.Buffers`."""
        with self._changed:
            if aside in self._asides:
                self._spare.append(self._taken_up(aside))

    def _taken_up(self, aside: Aside) -> bytearray:
        del self._asides[aside]
        block, aside.block = aside.block, None
        if block is None:
            raise AssertionError("what is put aside has its block")
        return block

    def close(self) -> None:
        """Let nobody wait any longer: waiting and later requests raise StoreBusy."""
        with self._changed:
            self._closed = True
            self._spare.clear()
            for aside in list(self._asides):
                self._taken_up(aside)
            self._changed.notify_all()

    def _borrow(self, size: int, aside: Aside | None) -> bytearray:
        me, ticket = threading.get_ident(), object()
        with self._changed:
            if me in self._holders:
                raise RuntimeError("this thread already holds a transfer buffer")
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._closed or (self._queue[0] is ticket and self._fits(size)))
                if self._closed:
                    raise StoreBusy("transfers are being stopped")
                block = self._take(size, aside)
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
            self._holders.add(me)
            self._lent += size
            return block

    def _give_back(self, block: bytearray, aside: Aside | None) -> None:
        with self._changed:
            self._holders.discard(threading.get_ident())
            self._lent -= len(block)
            if aside is not None and not self._closed:
                aside.block = block
                self._asides[aside] = None
            elif not self._closed:
                self._spare.append(block)
            self._changed.notify_all()

    def _fits(self, size: int) -> bool:
        return self._lent + size <= self._total

    def _take(self, size: int, aside: Aside | None) -> bytearray:
        """Reuse a block of that size, or make one after giving up as many spares as its room needs."""
        if aside is not None:
            aside.intact = aside in self._asides
            if aside.intact:
                return self._taken_up(aside)
        for index, block in enumerate(self._spare):
            if len(block) == size:
                return self._spare.pop(index)
        while self._spare_bytes() and self._lent + self._spare_bytes() + size > self._total:
            if self._spare:
                self._spare.pop(0)
            else:
                self._taken_up(next(iter(self._asides)))
        return bytearray(size)

    def _spare_bytes(self) -> int:
        aside = sum(len(aside.block or b"") for aside in self._asides)
        return aside + sum(len(block) for block in self._spare)


def _rounded(size: int) -> int:
    """Round up to a size class: four to each doubling, so that at most a quarter is wasted."""
    size = max(size, SMALLEST)
    step = 1 << (size.bit_length() - 3)
    return -(-size // step) * step
