"""Threads that the system may not give: `ulimit -u`, TasksMax of a unit, and pids of a container bound them."""

from __future__ import annotations

import threading

from archiver.ports.runtime import EventLog

REFUSED = "the system starts no further thread: see `ulimit -u`, TasksMax of the unit, pids of the container"


def start(thread: threading.Thread, log: EventLog | None) -> bool:
    """Start the thread; where the system gives none, log that and return False."""
    try:
        thread.start()
    except RuntimeError:
        if log is not None:
            log.warning("thread.refused", name=thread.name, error=REFUSED)
        return False
    return True
