"""Evidence brings forward what backed off: a few at a time, and none twice while others wait."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

from archiver.core.clocks import LONG_AGO
from archiver.core.model import TaskId
from archiver.pipeline.evidence import Evidence
from archiver.ports.ledger import Pauses

EVERY = timedelta(seconds=15)
"""The time from one look for such tasks to the next."""

FEW = 8
"""Tasks that one look brings forward, of what each subject failed."""

SOON = timedelta(minutes=2)
"""A task that is due by itself within so long waits for no evidence."""

AGAIN = timedelta(minutes=15)
"""A task that was brought forward, and failed all the same, is not for so long: its trouble may be its own."""

REMEMBERED = 1000
"""Tasks of which it is remembered that they were."""


class Forward:
    """Brings forward the tasks that a subject failed, once it works for others; at the start some of each subject's.

    Whoever starts us has probably just mended what failed them. Needs to be called by one thread.
    """

    def __init__(self, pauses: Pauses, evidence: Evidence) -> None:
        self._pauses = pauses
        self._evidence = evidence
        self._begun = False
        self._looked_at = LONG_AGO
        self._brought: OrderedDict[TaskId, datetime] = OrderedDict()

    def __call__(self, now: datetime) -> None:
        """Bring some forward, if it is time to look; raise LedgerFault."""
        if timedelta() <= now - self._looked_at < EVERY:
            return
        self._looked_at = now
        working = self._evidence.working() if self._begun else None
        self._begun = True
        if working is not None and not working:
            return
        for task_id, at in list(self._brought.items()):
            if not timedelta() <= now - at < AGAIN:
                del self._brought[task_id]
        brought = self._pauses.bring_forward(working, now=now, after=now + SOON, each=FEW, but=[*self._brought])
        self._brought |= dict.fromkeys(brought, now)
        while len(self._brought) > REMEMBERED:
            self._brought.popitem(last=False)
