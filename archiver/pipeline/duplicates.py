"""Equal bytes in one task: stored once, and an alias each further time."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from archiver.core.model import StemName, StemRow


class Duplicate(Exception):
    """The body that just ended equals `original`, a stem of the task that is stored already."""

    def __init__(self, original: StemRow) -> None:
        super().__init__(original.name)
        self.original = original


class Duplicates:
    """A task's stems by their bytes. Safe for many threads."""

    def __init__(self, rows: Iterable[StemRow]) -> None:
        self._changed = threading.Condition()
        self._stored = {row.receipt.sha256: row for row in rows if row.receipt and row.receipt.alias_of is None}
        self._underway: dict[str, StemName] = {}

    @contextmanager
    def storing(self, row: StemRow) -> Iterator[None]:
        """Let others with the bytes of `row` wait for it, while this lasts."""
        try:
            yield
        finally:
            with self._changed:
                self._underway = {sha: name for sha, name in self._underway.items() if name != row.name}
                self._changed.notify_all()

    def original(self, row: StemRow, sha256: str) -> StemRow | None:
        """Return the stored stem with these bytes, waiting for one that is being stored; None: it is `row` itself."""
        with self._changed:
            while self._underway.get(sha256, row.name) != row.name:
                self._changed.wait()
            found = self._stored.get(sha256)
            if found is None or found.name == row.name:
                self._underway[sha256] = row.name
                return None
            return found

    def stored(self, row: StemRow) -> None:
        """Make `row` the one that stems with its bytes are aliases of."""
        if row.receipt is not None:
            with self._changed:
                self._stored[row.receipt.sha256] = row
