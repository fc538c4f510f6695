"""Files below one directory: reached by descriptors, so that no link leads out, and each under its name when whole."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, Self

_BLOCK = 256 * 1024
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LOCK = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


class NotOurs(Exception):
    """Something stands where a file or a folder is to be made, and is left alone; the message says what."""


class Step(Protocol):
    """Called with a step's name just before it; lets tests stop the world there."""

    def __call__(self, step: str, /) -> None:
        """See the class."""


def _unobserved(step: str, /) -> None:
    """Do nothing."""


@dataclass(slots=True)
class NewFile:
    """A file that is being written, under a name that nobody takes for a whole one."""

    descriptor: int

    def write(self, data: memoryview) -> None:
        """Append all of `data`; raises OSError."""
        while data:
            data = data[os.write(self.descriptor, data) :]

    def begin_again(self) -> None:
        """Throw away what was written."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        os.ftruncate(self.descriptor, 0)


@dataclass(slots=True)
class Folder:
    """A directory, held open. Close it after use."""

    descriptor: int
    step: Step = _unobserved
    fsync: Callable[[int], object] = os.fsync
    _named: int = field(default=0, init=False)
    _synced: int = field(default=0, init=False)
    """How many of the names that were given are on disk."""
    _counting: threading.Lock = field(default_factory=threading.Lock, init=False)
    _syncing: threading.Lock = field(default_factory=threading.Lock, init=False)

    @classmethod
    def at(cls, path: Path, step: Step = _unobserved, fsync: Callable[[int], object] = os.fsync) -> Folder:
        """Open the directory that the user named, and make it where it is missing; raises OSError."""
        path.mkdir(parents=True, exist_ok=True)
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), step, fsync)

    @contextmanager
    def below(self, name: str) -> Iterator[Folder]:
        """Open the folder `name` in it, made where it is missing, for this process alone.

        Raises NotOurs where something else stands there, or another process is at work in it.
        """
        self.step("folder")
        with suppress(FileExistsError):
            os.mkdir(name, 0o777, dir_fd=self.descriptor)
            self.fsync(self.descriptor)
        try:
            descriptor = os.open(name, _FOLDER, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                raise NotOurs("no folder stands there, but something else") from None
            raise
        with Folder(descriptor, self.step, self.fsync) as folder:
            folder.lock()
            yield folder

    def lock(self) -> None:
        """Be the only one who writes here until it is closed; raise NotOurs."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotOurs("another process writes there") from None
        except OSError as error:
            if error.errno not in _NO_LOCK:
                raise

    def look(self, name: str) -> tuple[int, str] | None:
        """Return size and SHA-256 of the file `name`; None where there is none. Raises NotOurs for what is no file."""
        with self.reading(name) as file:
            if file is None:
                return None
            digest = hashlib.sha256()
            while block := file.read(_BLOCK):
                digest.update(block)
            return file.tell(), digest.hexdigest()

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes] | None]:
        """Read the file `name`; None where there is none. Raises NotOurs for what is no file."""
        try:
            descriptor = os.open(name, _OLD, dir_fd=self.descriptor)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENXIO}:
                raise NotOurs("no file stands there, but a link or the like") from None
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotOurs("no file stands there, but something else")
        with os.fdopen(descriptor, "rb") as file:
            yield file

    @contextmanager
    def writing(self, name: str) -> Iterator[NewFile]:
        """Write the file `name`, which does not exist yet: it gets its name at the end, if nothing was raised.

        Whatever is raised leaves no file; a process that dies leaves one that the next begins anew.
        """
        part = part_of(name)
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=self.descriptor)
        self.step("part")
        descriptor = os.open(part, _NEW, 0o666, dir_fd=self.descriptor)
        try:
            try:
                yield NewFile(descriptor)
                self.step("sync")
                self.fsync(descriptor)
            finally:
                os.close(descriptor)
            self.step("name")
            self._name(part, name)
        except BaseException:
            with suppress(OSError):
                os.unlink(part, dir_fd=self.descriptor)
            raise
        self.step("folder sync")
        self._sync()

    def _sync(self) -> None:
        """Have the names that this thread gave on disk: what others wait for meanwhile, one of them does for all."""
        with self._counting:
            self._named += 1
            mine = self._named
        with self._syncing:
            if self._synced < mine:
                named = self._named
                self.fsync(self.descriptor)
                self._synced = named

    def _name(self, part: str, name: str) -> None:
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
            raise NotOurs("somebody else has made a file there meanwhile")
        os.rename(part, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def __enter__(self) -> Self:
        """Hold it open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        os.close(self.descriptor)


def part_of(name: str) -> str:
    """Return the name of the file `name` while it is not whole: as long whatever `name` is, and the same each time."""
    return f".{hashlib.sha256(name.encode()).hexdigest()[:32]}.part"
