"""Who is alive: each process holds a lock on a file of its own, which the kernel ends when it dies."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_OWNER = re.compile(r"[0-9a-f]{1,64}")
_SUFFIX = ".lock"


def fresh_name() -> str:
    """Return a name that no other process has or had."""
    return secrets.token_hex(8)


class OwnerLock:
    """This process's proof of life: an exclusive flock on `folder/<owner>.lock` until `close`.

    A process that was killed, by whatever, is known to be dead at once. The folder must be local to
    the machine that runs all the processes. Raises OSError when the folder cannot be written to.
    """

    def __init__(self, folder: Path, *, new_name: Callable[[], str] = fresh_name) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.owner, self._descriptor = self._take(new_name)
        self._sweep()

    def _take(self, new_name: Callable[[], str]) -> tuple[str, int]:
        while True:
            owner = new_name()
            path = self._path(owner)
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Another process's sweep may have seen the file before it was locked, and removed it.
            with suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(descriptor)):
                    return owner, descriptor
            os.close(descriptor)

    def alive(self, owner: str) -> bool:
        """Whether the process of that name still runs; a file found without its lock is removed.

        Where that cannot be told (the file is another user's) the answer is True: nothing is taken
        from a process that may be at work.
        """
        if not _OWNER.fullmatch(owner):
            return False
        try:
            descriptor = os.open(self._path(owner), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except PermissionError:
            return True
        try:
            # Shared, so that two processes that ask at once do not take each other for the owner.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            self._path(owner).unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Declare ourselves dead; once is enough."""
        if self._descriptor < 0:
            return
        self._path(self.owner).unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def _sweep(self) -> None:
        for path in self._folder.glob(f"*{_SUFFIX}"):
            self.alive(path.stem)

    def _path(self, owner: str) -> Path:
        return self._folder / f"{owner}{_SUFFIX}"
