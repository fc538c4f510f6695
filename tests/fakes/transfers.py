"""A `ports.TransferPool` without threads."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from datetime import timedelta

from archiver.core.transfer import Transfer


class Inline:
    """Runs what it is given at once."""

    def moved(self, host: str, size: int) -> None:
        pass

    def announced(self, transfer: Transfer, length: int | None) -> None:
        pass

    def received(self, transfer: Transfer, size: int) -> timedelta:
        return timedelta()

    def put_off(self, hosts: Collection[str], *, dropped: bool = False) -> timedelta | None:
        return None

    def held_up(self) -> bool:
        return False

    def submit(self, transfer: Transfer, work: Callable[[], None]) -> Future[None]:
        work()
        future: Future[None] = Future()
        future.set_result(None)
        return future
