"""Downloads that broke off: a browser only says that one failed, the task's view says why."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from archiver.core.model import TaskId
from archiver.ports.runtime import Clock

_TASKS = 64
_EACH = 3


@dataclass(frozen=True, slots=True)
class Break:
    """A download that broke off, or did not begin."""

    at: datetime
    what: str
    why: str


class Breaks:
    """The last breaks of the last few tasks, kept as long as the process lives. Safe for many threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[TaskId, Sequence[Break]] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, task: TaskId, what: str, why: str) -> None:
        """Keep one."""
        with self._lock:
            self._kept[task] = [Break(self._clock(), what, why), *self._kept.pop(task, ())][:_EACH]
            if len(self._kept) > _TASKS:
                self._kept.popitem(last=False)

    def of(self, task: str) -> Sequence[Break]:
        """Return those of a task, the latest first."""
        with self._lock:
            return self._kept.get(TaskId(task), ())
