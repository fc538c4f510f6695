"""Looks up the stored stems of tasks: by the ledger, or by the manifest where the ledger was trimmed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from archiver.core.errors import ArchiverError
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.model import Receipt, StemName, TaskId, task_id
from archiver.core.reports import TaskRow
from archiver.ports.archive import BrowsedArchive
from archiver.ports.ledger import Reports
from archiver.ports.runtime import Clock
from archiver.preservation.trimmed_task import by_manifest
from archiver.web.page.streaming import plain, refusal

UNREAD = "its manifest is missing or broken"

_KEPT = 64
_FOR = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Looks tasks up; the last few are kept for half a minute, for a player asks for many pieces of one task."""

    reports: Reports
    archive: Callable[[], BrowsedArchive]
    prefix: str
    clock: Clock
    kept: OrderedDict[TaskId, tuple[datetime, TaskRow]]
    lock: threading.Lock

    @classmethod
    def over(cls, reports: Reports, archive: Callable[[], BrowsedArchive], prefix: str, clock: Clock) -> Shelf:
        """Return one with nothing on it."""
        return cls(reports, archive, prefix, clock, OrderedDict(), threading.Lock())

    def task(self, text: str, *, anew: bool = False) -> TaskRow | None:
        """Return the task as `show` has it; None where the ledger does not know it, or it is no id.

        Raises ManifestBroken for a trimmed one whose manifest is missing or broken, and what the store raises.
        """
        try:
            task = task_id(text)
        except ValueError:
            return None
        now = self.clock()
        with self.lock:
            at, row = self.kept.get(task, (now - _FOR, None))
        if row is None or anew or not now - _FOR < at <= now:
            row = self._looked_up(task)
            self._keep(task, now, row)
        return row

    def _looked_up(self, task: TaskId) -> TaskRow | None:
        row = self.reports.show(task)
        return row if row is None or row.trimmed is None else by_manifest(self.archive(), self.prefix, row)

    def _keep(self, task: TaskId, now: datetime, row: TaskRow | None) -> None:
        with self.lock:
            if row is None:
                self.kept.pop(task, None)
                return
            self.kept[task] = now, row
            self.kept.move_to_end(task)
            while len(self.kept) > _KEPT:
                self.kept.popitem(last=False)

    def found(self, request: Request) -> TaskRow | Response:
        """Return the task of the address, or the answer that says why there is none."""
        try:
            row = self.task(request.path_params["task"])
        except ManifestBroken:
            return plain(409, UNREAD)
        except ArchiverError as fault:
            return plain(*refusal(fault))
        return row or plain(404, "there is no such task")


def receipt_of(row: TaskRow, stem: str) -> Receipt | None:
    """Return the receipt of that stem of the task."""
    return next((each.receipt for each in row.stems if each.name == StemName(stem)), None)
