"""The file that a backup of the ledger is: gzip of JSON lines, the last of which vouches for all before it. Pure.

    {"format": "stem-archiver-ledger-backup", "version": 1, "schema": "0009", "scope": "open", "at": ..., "tables": ...}
    ["tasks", "task-000001", "queued", ...]      a row: its table, and a value for each column that the head names
    {"rows": {"tasks": 1}, "sha256": ..., "packed_sha256": ...}

Values are those that both databases keep: times are microseconds since 1970. The last line is a gzip member of its
own, of which just one form is taken; it holds the SHA-256 of all lines before it, and of the bytes that they are
packed as: so there is no byte of a file that may be another.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

FORMAT = "stem-archiver-ledger-backup"
VERSION = 1

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes; a record as it came is the longest value of a row."""
LONGEST_END = 65_535
"""Bytes of the last line: what one stored block of deflate holds."""

_PIECE = 256 * 1024
"""Bytes that are unpacked at a time, whatever was packed into them."""
_GZIP = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_TRAILER = 8

Value: TypeAlias = "str | int | float | bool | list[object] | dict[str, object] | None"
Row: TypeAlias = tuple[str, Sequence[Value]]
"""The name of its table, and its values in the order of the columns."""


class BackupBroken(Exception):
    """A file is no backup, or not the one that was written; the message says why."""


class BackupRefused(Exception):
    """A backup cannot be written there, or not be taken in, for the reason that the message gives; carries a hint."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Scope(StrEnum):
    """The part of a ledger that a backup holds."""

    OPEN = "open"
    """Rows that no manifest holds: open tasks, rejected lines, the operator's holds."""
    WHOLE = "whole"
    """All but what belongs to processes."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line."""

    scope: Scope
    schema: str
    """The revision of the ledger's schema."""
    at: datetime
    archiver: str
    """The version that wrote it."""
    tables: Mapping[str, Sequence[str]]
    """The columns by table, in the order of the rows."""


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """A backup that is whole."""

    head: Head
    rows: Mapping[str, int]
    """By table."""
    size: int
    """Bytes."""
    sha256: str
    """Of the whole file."""
    content: str
    """The SHA-256 of the lines of rows alone: equal where nothing has changed."""


class BackupWriter:
    """Writes a backup: the rows table by table, in the order of `head.tables`, then the end."""

    def __init__(self, head: Head, out: Callable[[bytes], object]) -> None:
        self._head = head
        self._out = out
        self._packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._rows: Counter[str] = Counter(dict.fromkeys(head.tables, 0))
        self._text, self._content = hashlib.sha256(), hashlib.sha256()
        self._packed, self._file = hashlib.sha256(), hashlib.sha256()
        self._crc = self._length = self._size = 0
        self._put(_GZIP)
        self._pack(_line(_as_json(head)))

    def add(self, table: str, rows: Iterable[Sequence[Value]]) -> None:
        """Write rows of one table."""
        lines = [_line([table, *row]) for row in rows]
        self._rows[table] += len(lines)
        text = b"".join(lines)
        self._content.update(text)
        self._pack(text)

    def close(self) -> BackupSummary:
        """Write the end: what is written now is whole."""
        self._put(self._packer.flush() + _trailer(self._crc, self._length))
        sums = {"sha256": self._text.hexdigest(), "packed_sha256": self._packed.hexdigest()}
        self._put(_member(_line({"rows": self._rows, **sums})))
        return BackupSummary(self._head, self._rows, self._size, self._file.hexdigest(), self._content.hexdigest())

    def _pack(self, text: bytes) -> None:
        self._text.update(text)
        self._crc = zlib.crc32(text, self._crc)
        self._length += len(text)
        self._put(self._packer.compress(text))

    def _put(self, data: bytes) -> None:
        if data:
            self._packed.update(data)
            self._file.update(data)
            self._size += len(data)
            self._out(data)


class BackupReader:
    """Reads a backup from the pieces that it comes in. Its rows may be believed once `rows` has ended by itself."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        """Read the head; raise BackupBroken."""
        self._unpacker = _Unpacker(pieces)
        self._lines = iter(self._unpacker)
        first = next(self._lines, None)
        if first is None:
            raise BackupBroken("it has no first line")
        self.head = _head(first)
        self._content = hashlib.sha256()
        self._counts: Counter[str] = Counter(dict.fromkeys(self.head.tables, 0))

    def rows(self) -> Iterator[Row]:
        """Yield the rows as they come; raise BackupBroken, at the latest at the end."""
        order = {table: number for number, table in enumerate(self.head.tables)}
        widths = {table: len(columns) for table, columns in self.head.tables.items()}
        last = 0
        for line in self._lines:
            self._content.update(line + b"\n")
            table, values = _row(line)
            if len(values) != widths.get(table) or order[table] < last:
                raise BackupBroken(f"a row of {table[:40]!r} is not as the first line says")
            last = order[table]
            self._counts[table] += 1
            yield table, values
        if self._unpacker.rows != dict(self._counts):
            raise BackupBroken("it has not as many rows as its end says")

    def check(self) -> BackupSummary:
        """Read all that is left; raise BackupBroken unless it is whole."""
        for _ in self.rows():
            pass
        size, sha256 = self._unpacker.size, self._unpacker.file.hexdigest()
        return BackupSummary(self.head, self._counts, size, sha256, self._content.hexdigest())


class _Unpacker:
    """The lines of a backup but for the last, which is held against all before it once they have been read."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._text, self._packed = hashlib.sha256(), hashlib.sha256()
        self.file = hashlib.sha256()
        self.size = 0
        self.rows: Mapping[str, int] = {}
        """By table, as the end says."""

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for text in self._unpacked():
            self._text.update(text)
            *lines, rest = (rest + text).split(b"\n")
            if len(rest) > LONGEST_LINE:
                raise BackupBroken("it has a line of more than 16 MiB")
            yield from lines
        if rest:
            raise BackupBroken("its last row is cut short")

    def _unpacked(self) -> Iterator[bytes]:
        data = self._at_least(b"", len(_GZIP))
        if data[: len(_GZIP)] != _GZIP:
            raise BackupBroken("it does not begin as a backup does")
        self._packed.update(_GZIP)
        unpacker, data = zlib.decompressobj(-zlib.MAX_WBITS), data[len(_GZIP) :]
        while not unpacker.eof:
            data = data or self._next()
            try:
                text = unpacker.decompress(data, _PIECE)
            except zlib.error as error:
                raise BackupBroken(f"it cannot be unpacked ({error})") from error
            rest = unpacker.unconsumed_tail or unpacker.unused_data
            self._packed.update(data[: len(data) - len(rest)])
            data = rest
            yield text
        self._end(data)

    def _end(self, data: bytes) -> None:
        """Take what follows the first member: its trailer, and the last line."""
        most = _TRAILER + len(_member(b"")) + LONGEST_END
        data = self._at_least(data, most + 1, may_end=True)
        self._packed.update(data[:_TRAILER])
        member = data[_TRAILER:]
        line = member[len(_GZIP) + 5 : -_TRAILER]
        if len(data) > most or _member(line) != member:
            raise BackupBroken("its end is missing or damaged")
        end = _json(line)
        sums = {"sha256": self._text.hexdigest(), "packed_sha256": self._packed.hexdigest()}
        if not isinstance(end, dict) or {name: end.get(name) for name in sums} != sums:
            raise BackupBroken("it is not what was written: its SHA-256 is another")
        rows = end.get("rows")
        self.rows = rows if isinstance(rows, dict) else {}

    def _at_least(self, data: bytes, size: int, *, may_end: bool = False) -> bytes:
        while len(data) < size:
            if not (more := self._next(may_end=may_end)):
                break
            data += more
        return data

    def _next(self, *, may_end: bool = False) -> bytes:
        piece = next(self._pieces, b"")
        if not piece and not may_end:
            raise BackupBroken("it is cut short")
        self.size += len(piece)
        self.file.update(piece)
        return piece


_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


def _line(value: object) -> bytes:
    return _ENCODER.encode(value).encode() + b"\n"


def _trailer(crc: int, length: int) -> bytes:
    return crc.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little")


def _member(line: bytes) -> bytes:
    """Return a gzip member that holds `line`, LONGEST_END bytes at most, as it is: of this there is one form."""
    length = len(line)
    if length > LONGEST_END:
        return b""
    sizes = length.to_bytes(2, "little") + (length ^ 0xFFFF).to_bytes(2, "little")
    return _GZIP + b"\x01" + sizes + line + _trailer(zlib.crc32(line), length)


def _as_json(head: Head) -> dict[str, object]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "schema": head.schema,
        "scope": head.scope.value,
        "at": head.at.isoformat(),
        "archiver": head.archiver,
        "tables": {table: list(columns) for table, columns in head.tables.items()},
    }


def _json(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BackupBroken("a line of it is no JSON") from error


def _head(line: bytes) -> Head:
    found = _json(line)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BackupBroken("it is no backup of a ledger")
    if found.get("version") != VERSION:
        raise BackupBroken(f"it has version {ascii(found.get('version'))[:40]}, this program reads {VERSION}")
    try:
        at = datetime.fromisoformat(found["at"])
        tables = {table: tuple(str(column) for column in columns) for table, columns in found["tables"].items()}
        head = Head(Scope(found["scope"]), str(found["schema"]), at, str(found["archiver"]), tables)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackupBroken("its first line is not understood") from error
    if at.tzinfo is None:
        raise BackupBroken("its first line is not understood")
    return head


def _row(line: bytes) -> Row:
    found = _json(line)
    if not isinstance(found, list) or not found or not isinstance(found[0], str):
        raise BackupBroken("a line of it is no row")
    return found[0], found[1:]
