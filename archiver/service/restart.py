"""Restarts: what a process learns from the notes of those before it."""

from __future__ import annotations

from archiver.core.clocks import STEP
from archiver.ports.ledger import Claims, Processes
from archiver.ports.runtime import Clock, EventLog


def notice_set_back(processes: Processes, claims: Claims, clock: Clock, log: EventLog) -> None:
    """Let nothing wait for longer because the wall clock was set back while no process looked; raise LedgerFault.

    The last note of one that works no more shows it: it cannot be of a time to come.
    """
    now = clock()
    back = processes.ahead(now=now)
    if back < STEP:
        return
    log.warning("clock.set_back", seconds=back.total_seconds())
    claims.clock_set_back(back, now=now)
    processes.take_back(now=now)
