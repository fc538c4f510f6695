"""The permits of requests that the processes on one machine share, in a small file beside their ledger.

Only the clock since the machine's start counts, which all its processes have in common. Each use is a lock, a read and
a write of a page that stays in memory: nothing of it is worth waiting for a disk.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
import weakref
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from archiver.adapters.ownership import give_to_owner_of_folder
from archiver.ports.provider import NoPermit

GRACE = 5.0
"""Seconds that may pass between taking a permit and sending."""

FARTHEST_COOL_DOWN = 600.0
"""Seconds; one that ends later was written before the machine was started anew."""

_BUSY = 0.01
"""Seconds after which a look is worth it where another process is just looking."""
_PATIENCE = 1.0
"""Seconds for which giving back waits for others who look."""
_HEAD = struct.Struct("<d")
"""The end of the cool-down; behind it stands of each permit when it is free, the first first."""
_MOST = 1 << 20
"""Bytes of the file that are read."""


class FilePermits:
    """`Permits` of one account, for all processes on this machine that name the same file.

    Each permit is the time at which it is free: a lease while a request is out, which a process that dies leaves to
    run out, and `window` seconds after the answer else. `longest` is how many seconds one request may take. The limit
    is that of whoever said so last, which each does when it begins or is told another. Raises OSError when the file
    cannot be written.
    """

    def __init__(
        self, file: Path, limit: int, *, window: float, longest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._window = window
        self._lease = GRACE + longest + window
        self._lock = threading.Lock()
        self._descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        give_to_owner_of_folder(self._descriptor, file.parent)
        weakref.finalize(self, os.close, self._descriptor)
        self._new_limit: int | None = limit

    def take(self) -> str | NoPermit:
        """Take a permit under a lease, or say when it is worth looking again; waits for nobody."""
        try:
            with self._looking() as looks:
                return self._take() if looks else NoPermit(_BUSY)
        except OSError:
            return NoPermit(_PATIENCE)

    def _take(self) -> str | NoPermit:
        now, cool_until, free_at = self._read()
        if cool_until > now:
            return NoPermit(cool_until - now, cool_until - now)
        if free_at[0] > now:
            # One that is out can be free a window from now at the earliest, long before its lease ends.
            return NoPermit(min(free_at[0] - now, self._window))
        until = now + self._lease
        del free_at[0]
        insort(free_at, until)
        self._write(cool_until, free_at)
        return until.hex()

    def give_back(self, permit: str) -> None:
        """Let it rest. Where that cannot be written down, its lease runs out by itself."""
        with suppress(OSError), self._looking(_PATIENCE) as looks:
            if not looks:
                return
            now, cool_until, free_at = self._read()
            place = bisect_left(free_at, until := float.fromhex(permit))
            if place < len(free_at) and free_at[place] == until:
                del free_at[place]
                insort(free_at, now + self._window)
                self._write(cool_until, free_at)

    def cool_down(self, seconds: float) -> None:
        """Let nobody have a permit for so many seconds."""
        with suppress(OSError), self._looking(_PATIENCE) as looks:
            if looks:
                now, cool_until, free_at = self._read()
                self._write(max(cool_until, now + seconds), free_at)

    def resize(self, limit: int) -> None:
        """Have another number of permits, for all who share them from our next look on; those that are out count."""
        self._new_limit = limit

    def left(self) -> int:
        """Count those that are free."""
        with self._looking(_PATIENCE) as looks:
            if not looks:
                return 0
            now, cool_until, free_at = self._read()
            return 0 if cool_until > now else bisect_right(free_at, now)

    # --- the file

    @contextmanager
    def _looking(self, patience: float = 0.0) -> Iterator[bool]:
        """Keep the others from looking meanwhile; False where they do for longer than `patience` seconds."""
        with self._lock:
            until = time.monotonic() + patience
            while not (mine := self._locked()) and time.monotonic() < until:
                time.sleep(_BUSY)
            try:
                yield mine
            finally:
                if mine:
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _locked(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _read(self) -> tuple[float, float, array[float]]:
        """Return the time, the end of the cool-down, and when each permit is free, the first first."""
        now, found, free_at = self._clock(), os.pread(self._descriptor, _MOST, 0), array("d")
        cool_until = 0.0
        if len(found) > _HEAD.size and (len(found) - _HEAD.size) % free_at.itemsize == 0:
            [cool_until] = _HEAD.unpack_from(found)
            free_at.frombytes(found[_HEAD.size :])
        mended = _mended(free_at, now + self._lease, now + self._window)
        cool_until = cool_until if cool_until <= now + FARTHEST_COOL_DOWN else 0.0
        if self._new_limit is not None or not mended:
            mended = _of_size(mended, self._new_limit or 1)
        if mended is not free_at:
            self._write(cool_until, mended)
            os.ftruncate(self._descriptor, _HEAD.size + len(mended) * mended.itemsize)
            self._new_limit = None
        return now, cool_until, mended

    def _write(self, cool_until: float, free_at: array[float]) -> None:
        os.pwrite(self._descriptor, _HEAD.pack(cool_until) + free_at.tobytes(), 0)


def _mended(free_at: array[float], farthest: float, instead: float) -> array[float]:
    """Let what was written before the machine was started anew rest until `instead`."""
    if not free_at or (free_at[-1] <= farthest and free_at[0] <= free_at[-1]):
        return free_at
    return array("d", sorted(each if each <= farthest else instead for each in free_at))


def _of_size(free_at: array[float], limit: int) -> array[float]:
    """Return so many permits; fewer are those that are out or at rest the longest, so the limit holds at once."""
    missing = limit - len(free_at)
    return array("d", [0.0] * missing) + free_at if missing > 0 else free_at[-missing:]
