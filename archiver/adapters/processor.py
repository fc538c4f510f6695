"""The processor's cores: threads that hand the interpreter's lock to each other do so on one of them.

Where a lock goes from core to core with each call of the system, waking who waits on the other costs more than what
is done between two calls: 2,000 files of 64 KiB took 3.2 CPU-s on two idle cores, and 2.2 on one of them (Linux 6.18).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

HOME_FOR = 10.0
"""Seconds after which the shared core is chosen anew, so that whoever else keeps to it is left alone with it."""
ONLY_SMALL_FOR = 1.0
"""Seconds since anybody scattered, after which threads gather: where large files are moved, all cores are of use."""
_CORE = 36
"""The place of the core among the fields of `/proc/PID/stat` behind the name (proc_pid_stat(5), field 39)."""


class System:
    """The system's word on the cores of the calling thread."""

    def allowed(self) -> AbstractSet[int]:
        """Return those that it may use; none where the system does not tell."""
        return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else frozenset()

    def go(self, cores: AbstractSet[int]) -> None:
        """Keep the thread on these; raise OSError where the system refuses."""
        os.sched_setaffinity(0, cores)

    def here(self) -> int:
        """Return the one on which it runs; raise OSError, ValueError or IndexError where /proc does not tell."""
        fields = Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()
        return int(fields[_CORE])


class HomeCore:
    """Keeps threads on one core, the one where the system has put one of them; satisfies archiver.ports.runtime.Cores.

    Safe to share among threads. Where the system names no cores, has but one, or lets nobody choose, nothing happens.
    """

    def __init__(self, monotonic: Callable[[], float], system: System | None = None) -> None:
        self._monotonic = monotonic
        self._system = system or System()
        self._all = self._system.allowed()
        self._may = len(self._all) > 1
        self._lock = threading.Lock()
        self._home: int | None = None
        self._chosen = monotonic()
        self._scattered = float("-inf")
        self._own = threading.local()

    def gather(self) -> None:
        """See Cores. One thread in ten seconds goes where it is sent: the others follow it when they gather next."""
        if threading.current_thread() is threading.main_thread():
            return
        try:
            if not self._may or self._monotonic() - self._scattered < ONLY_SMALL_FOR or self._is_scout():
                self._free()
            elif (home := self._home_now()) != getattr(self._own, "core", None):
                self._system.go({home})
                self._own.core = home
        except (OSError, ValueError, IndexError):  # the last two: a /proc that is not Linux's own
            self._may = False

    def scatter(self) -> None:
        """See Cores."""
        self._scattered = self._monotonic()
        with suppress(OSError):
            self._free()

    def _is_scout(self) -> bool:
        now = self._monotonic()
        with self._lock:
            if self._home is None or now - self._chosen < HOME_FOR:
                return False
            self._chosen, self._own.scouts = now, True
            return True

    def _home_now(self) -> int:
        if self._home is None or getattr(self._own, "scouts", False):
            self._own.scouts = False
            self._home = self._system.here()
        return self._home

    def _free(self) -> None:
        if getattr(self._own, "core", None) is not None:
            self._own.core = None
            self._system.go(self._all)
