"""Retry of all tasks that a view shows: some at a time, with what was done so far, until the end or a stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from archiver.core.listing import TaskFilter, TaskPage, TaskPlace
from archiver.core.model import TaskId
from archiver.core.states import TaskState
from archiver.web.page.doings import Doings
from archiver.web.page.operating import FAULTS

AT_ONCE = 200
"""Tasks in one transaction: others wait no longer than that takes."""

Look = Callable[[TaskPlace | None], TaskPage]
Retry = Callable[[Sequence[TaskId]], Sequence[TaskId]]


def may_be_retried(wanted: TaskFilter) -> TaskFilter:
    """Return the same without tasks that are archived."""
    return replace(wanted, states=tuple(state for state in wanted.states if state is not TaskState.ARCHIVED))


@dataclass(slots=True)
class Batch:
    """How far one came."""

    what: str
    looked_at: int = 0
    retried: int = 0
    is_over: bool = False
    is_stopped: bool = False
    fault: str = ""

    @property
    def came_to(self) -> str:
        """Say it in a sentence."""
        end = self.fault or ("stopped" if self.is_stopped else "done" if self.is_over else "at work")
        return f"{self.retried:,} of {self.looked_at:,} tasks tried again; {end}"


class Batches:
    """One batch at a time, in a thread of its own. It ends with the process: what was retried is, the rest is not."""

    def __init__(self, doings: Doings) -> None:
        self._doings = doings
        self._lock = threading.Lock()
        self._last: Batch | None = None

    @property
    def last(self) -> Batch | None:
        """The one at work, or the last one; None before the first."""
        return self._last

    def begin(self, what: str, look: Look, retry: Retry) -> bool:
        """Begin one; return False while another is at work."""
        with self._lock:
            if self._last is not None and not self._last.is_over:
                return False
            self._last = batch = Batch(what)
        threading.Thread(target=self._run, args=(batch, look, retry), name="page-batch", daemon=True).start()
        return True

    def stop(self) -> None:
        """Let the one at work end with the tasks that it is at."""
        if self._last is not None:
            self._last.is_stopped = not self._last.is_over

    def _run(self, batch: Batch, look: Look, retry: Retry) -> None:
        try:
            self._walk(batch, look, retry)
        except FAULTS as error:
            batch.fault = str(error)
        except BaseException:
            batch.fault = "broken off: a bug worth reporting"
            raise
        finally:
            batch.is_over = True
            self._doings.note(batch.what, batch.came_to, is_fault=bool(batch.fault))

    def _walk(self, batch: Batch, look: Look, retry: Retry) -> None:
        start: TaskPlace | None = None
        while not batch.is_stopped:
            page = look(start)
            if ids := [row.task.task_id for row in page.rows]:
                batch.retried += len(retry(ids))
                batch.looked_at += len(ids)
            if (start := page.older) is None:
                return
