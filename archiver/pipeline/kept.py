"""Transfers that were broken off and can go on, until they have their turn again."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from archiver.core.model import StemName, TaskId
from archiver.ports.transfer import Suspended, Upload

MOST = 64
"""Transfers that are kept; the oldest is given up for a further one."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One of them."""

    url: str
    suspended: Suspended
    upload: Upload


class KeptTransfers:
    """Transfers kept by task and stem, also from one attempt at a task to the next. Safe for many threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: dict[tuple[TaskId, StemName], Kept] = {}

    def keep(self, task: TaskId, stem: StemName, url: str, suspended: Suspended) -> bool:
        """Keep it for `take`; return whether there is anything to keep."""
        if suspended.upload is None:
            return False
        if suspended.resume is None:
            suspended.upload.abandon()
            return False
        with self._lock:
            over = [self._kept.pop((task, stem), None)]
            self._kept[task, stem] = Kept(url, suspended, suspended.upload)
            if len(self._kept) > self._most:
                over.append(self._kept.pop(next(iter(self._kept))))
        for kept in over:
            if kept is not None:
                kept.upload.abandon()
        return True

    def take(self, task: TaskId, stem: StemName, url: str) -> Suspended | None:
        """Return what is kept of the stem, once; give it up where it came from another URL."""
        with self._lock:
            kept = self._kept.pop((task, stem), None)
        if kept is None:
            return None
        if kept.url == url:
            return kept.suspended
        kept.upload.abandon()
        return None

    def give_up(self, task: TaskId, stem: StemName) -> None:
        """Keep nothing of the stem."""
        self.take(task, stem, "")
