"""Signs of life: each process locks a file of its own, and the kernel ends the lock when the process dies."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from archiver.adapters.ownership import give_to_owner_of_folder, make_folder

_OWNER = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,199}")
_SUFFIX = ".lock"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def place_of(folder: Path) -> str:
    """Return the name that only the owners with locks in `folder` share, on this boot of this machine.

    The machine's name comes first, for people. It does not suffice: machines may share it, and may be copies of each
    other with all their files.
    """
    found = folder.stat()
    # Without a boot's id, two machines may look the same: then each process is a place of its own.
    boot = _BOOT.read_text(encoding="ascii") if _BOOT.exists() else secrets.token_hex(16)
    here = hashlib.sha256(f"{boot} {found.st_dev} {found.st_ino}".encode()).hexdigest()[:12]
    name = re.sub(r"[^0-9A-Za-z.-]", "", platform.node()).strip(".-")[:100] or "machine"
    return f"{name}-{here}"


def is_alive(folder: Path, owner: str, *, shared: bool) -> bool | None:
    """Return the same as `OwnerLock.alive`, for who holds no lock of its own; changes nothing."""
    try:
        if shared and not owner.startswith(f"{place_of(folder)}-"):
            return None
        return _is_locked(folder / f"{owner}{_SUFFIX}")
    except FileNotFoundError:
        return None if shared else False


def _is_locked(file: Path, unlocked: Callable[[], object] = lambda: None) -> bool:
    """Return whether another holds the lock; call `unlocked`, while nobody can take it, where none does.

    Raises FileNotFoundError. A file that another user owns counts as locked.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return True
    try:
        # Shared, so that two processes that ask at once do not mistake each other for the owner.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        unlocked()
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class OwnerLock:
    """This process's proof of life: an exclusive flock on `folder/<owner>.lock` until `close`.

    A process that was killed is known to be dead at once. The folder must be local to the machine. On a `shared`
    ledger other owners have their locks elsewhere: their state is unknown here. Raises OSError when the folder
    cannot be written to.
    """

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self._folder = folder
        make_folder(folder)
        self._place = f"{place_of(folder)}-" if shared else ""
        self.owner, self._descriptor = self._take()
        self._sweep()

    def _take(self) -> tuple[str, int]:
        while True:
            owner = f"{self._place}{secrets.token_hex(8)}"
            path = self._path(owner)
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            give_to_owner_of_folder(descriptor, self._folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Another process's sweep may have seen the file before it was locked, and removed it.
            with suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(descriptor)):
                    return owner, descriptor
            os.close(descriptor)

    def alive(self, owner: str) -> bool | None:
        """Return whether the process of that name still runs; None where its lock would be elsewhere.

        True for a lock that another user owns: nothing is taken from a process that may be at work.
        """
        return self._locked(owner) if owner.startswith(self._place) else None

    def _locked(self, owner: str) -> bool:
        """Return whether its file is locked; a file without its lock is removed."""
        if not _OWNER.fullmatch(owner):
            return False
        path = self._path(owner)
        try:
            return _is_locked(path, lambda: path.unlink(missing_ok=True))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Give up the lock; does nothing the second time."""
        if self._descriptor < 0:
            return
        self._path(self.owner).unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def _sweep(self) -> None:
        for path in self._folder.glob(f"*{_SUFFIX}"):
            self._locked(path.stem)

    def _path(self, owner: str) -> Path:
        return self._folder / f"{owner}{_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Running:
    """The daemon that works on a ledger's file."""

    pid: int
    """Its number where it was started: in a container that is the container's."""
    host: str
    since: datetime


class DaemonRuns(Exception):
    """Another daemon works on the same file of a ledger."""

    def __init__(self, other: Running | None) -> None:
        super().__init__()
        self.other = other
        """None where it did not say who it is."""


@contextmanager
def only_daemon(ledger: Path, since: datetime) -> Iterator[None]:
    """Be the one daemon on the ledger in that file while this lasts; raise DaemonRuns, or OSError."""
    make_folder(ledger.parent)
    descriptor = os.open(_daemon_file(ledger), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        give_to_owner_of_folder(descriptor, ledger.parent)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DaemonRuns(_who(descriptor)) from None
        said = json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since.isoformat()})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, said.encode(), 0)
        yield
    finally:
        # The file stays: whoever removed it could remove another's, who locked it just now.
        os.close(descriptor)


def _daemon_file(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}.daemon")


def _who(descriptor: int) -> Running | None:
    try:
        said = json.loads(os.pread(descriptor, 4096, 0))
        return Running(int(said["pid"]), str(said["host"]), datetime.fromisoformat(said["since"]))
    except (ValueError, KeyError, TypeError):
        return None
