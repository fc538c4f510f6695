"""Wake-ups: the provider's callbacks bring forward the tasks that they name."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from archiver.core.intake import Intake
from archiver.core.model import TaskId
from archiver.core.records.kinds.names import KindName
from archiver.ports.ledger import Intakes
from archiver.ports.runtime import Clock, EventLog
from archiver.service.intake import accept

_AGAIN = (timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=1))
"""After how long a task that was woken is woken again: the record may come a little later than the callback."""

_CALLS_MAX = 10_000


@dataclass(slots=True)
class _Call:
    due: datetime
    kind: KindName | None = None
    tries: int = 0
    again: bool = False
    """True once the provider called another time since the last try."""


@dataclass(slots=True)
class Wakeups:
    """Wakes the tasks that the provider called about: each at most once in ten seconds, whoever calls."""

    intakes: Intakes
    clock: Clock
    log: EventLog
    add_unknown: bool
    """True to take in a task that the ledger does not know; False to name it in the log alone."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _calls: dict[TaskId, _Call] = field(default_factory=dict, init=False)

    def request(self, task_id: TaskId, kind: KindName | None = None) -> None:
        """Note that the provider called about the task, and what kind of one it looked like; return at once.

        Drops calls beyond the limit: their tasks are polled all the same.
        """
        with self._lock:
            call = self._calls.get(task_id)
            if call is not None:
                call.again, call.kind = True, kind or call.kind
            elif len(self._calls) < _CALLS_MAX:
                self._calls[task_id] = _Call(self.clock(), kind)

    def __call__(self) -> None:
        """Wake the tasks whose call is due; raise LedgerFault."""
        now = self.clock()
        with self._lock:
            # A time far ahead was noted before the clock was set back.
            due = [name for name, call in self._calls.items() if call.due <= now or call.due > now + 2 * _AGAIN[-1]]
            fresh = [name for name in due if self._goes_on(name)]
            hints = {name: kind for name in fresh if (kind := self._calls[name].kind) is not None}
        if not fresh:
            return
        known = self.intakes.known(fresh)
        self._meet_unknown([name for name in fresh if name not in known], now)
        woken = set(self.intakes.wake(fresh, now=now, hints=hints))
        with self._lock:
            for name in fresh:
                self._after(name, now, woken=name in woken)

    def _goes_on(self, task_id: TaskId) -> bool:
        """Return whether the task is to be woken now; forget a call that was served, and by no later one repeated."""
        call = self._calls[task_id]
        if call.tries == len(_AGAIN):
            if not call.again:
                del self._calls[task_id]
                return False
            call.tries = 0
        call.again = False
        return True

    def _meet_unknown(self, unknown: Sequence[TaskId], now: datetime) -> None:
        if self.add_unknown and unknown:
            accept(Intake(ids=tuple(unknown)), source="callback", intakes=self.intakes, now=now, log=self.log)
            return
        for task_id in unknown:
            self.log.info("callback.unknown", task_id=task_id)

    def _after(self, task_id: TaskId, now: datetime, *, woken: bool) -> None:
        call = self._calls[task_id]
        if call.tries == 0:
            self.log.info("callback.heard", task_id=task_id, kind=call.kind and call.kind.value, woken=woken)
        call.due, call.tries = now + _AGAIN[call.tries], call.tries + 1
        if not woken:
            # Nothing is left to wake; what was noted goes on keeping the next call at its distance.
            call.tries = len(_AGAIN)
