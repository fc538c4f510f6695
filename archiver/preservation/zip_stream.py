"""A task as one ZIP archive for whoever cannot seek in it: every byte proven before the archive gets its end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from io import RawIOBase
from typing import IO, cast
from zipfile import ZIP_STORED, ZipFile

from archiver.core.errors import StoreBusy
from archiver.core.keys import MANIFEST_NAME, RECORD_NAME, manifest_key, record_key
from archiver.core.manifest_bounds import LARGEST
from archiver.core.model import Receipt, TaskId
from archiver.core.reading import ObjectAbsent
from archiver.preservation.fetching import Fetching, WrongBytes
from archiver.preservation.zipped import entry_about

SUMS_NAME = "SHA256SUMS"
_LARGE = 1 << 31


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the archive."""

    name: str
    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ZipStream:
    """Parts of one archive."""

    task: TaskId
    prefix: str
    when: datetime
    """The time that its entries bear."""
    entries: tuple[Entry, ...]

    def write(self, fetching: Fetching, put: Callable[[bytes], None]) -> None:
        """Put the archive piece by piece: the files, sums of all, manifest and record. Raises before its end as below.

        WrongBytes, also where an object changes while it is read; and what the store raises.
        """
        with _open(_Pipe(put)) as archive:
            sums = {each.name: self._file(archive, each, fetching) for each in self.entries}
            for name, key in self._sidecars():
                found = fetching.archive.document(key, limit=LARGEST)
                if found is None and name == MANIFEST_NAME:
                    raise ObjectAbsent(f"{key}: nothing stands there")
                if found is not None:
                    archive.writestr(entry_about(self._inside(name), self.when), found.data)
                    sums[name] = hashlib.sha256(found.data).hexdigest()
            text = "".join(f"{sha256}  {name}\n" for name, sha256 in sums.items())
            archive.writestr(entry_about(self._inside(SUMS_NAME), self.when), text)

    def _sidecars(self) -> tuple[tuple[str, str], ...]:
        return (
            (MANIFEST_NAME, manifest_key(self.prefix, self.task)),
            (RECORD_NAME, record_key(self.prefix, self.task)),
        )

    def _inside(self, name: str) -> str:
        return f"{self.task}/{name}"

    def _file(self, archive: ZipFile, entry: Entry, fetching: Fetching) -> str:
        about = entry_about(self._inside(entry.name), self.when)
        with archive.open(about, "w", force_zip64=entry.size > _LARGE) as file:
            read_once(fetching, entry, file.write)
        return entry.sha256


class _open:  # noqa: N801 - reads as the function that it is
    """A ZIP archive that gets its end only where nothing went wrong."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self._archive = ZipFile(cast("IO[bytes]", pipe), "w", ZIP_STORED)

    def __enter__(self) -> ZipFile:
        return self._archive

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._pipe.stop()
        with suppress(ValueError):  # an entry is unfinished, and nothing of it goes out
            self._archive.close()
        self._pipe.close()


class _Pipe(RawIOBase):
    """A file that can only be written to."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        super().__init__()
        self._put = put
        self._is_over = False

    def writable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def stop(self) -> None:
        """Let nothing more out."""
        self._is_over = True

    def write(self, data: object, /) -> int:
        """See io.RawIOBase."""
        block = bytes(cast("bytes", data))
        if block and not self._is_over:
            self._put(block)
        return len(block)


def read_once(fetching: Fetching, of: Entry | Receipt, put: Callable[[memoryview], object]) -> None:
    """Put the object's bytes, each once; raises WrongBytes where they are not those of its SHA-256, else as `read`."""
    found = fetching.read(of.key, of.size, _OnceOnly(put))
    if found != of.sha256:
        raise WrongBytes(f"{of.key}: its bytes have the SHA-256 {found} instead of {of.sha256}")


@dataclass(slots=True)
class _OnceOnly:
    """The sink of a file that is on its way to somebody: it cannot be begun again."""

    put: Callable[[memoryview], object]
    begun: bool = False

    def write(self, data: memoryview) -> None:
        """See `archiver.preservation.fetching.Sink`."""
        self.begun = True
        self.put(data)

    def begin_again(self) -> None:
        """Raise StoreBusy once a byte went out."""
        if self.begun:
            raise StoreBusy("the object changed while it was read")
