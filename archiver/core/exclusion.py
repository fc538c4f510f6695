"""Files that the operator does not want, by their names or their class of media. Pure but for `change`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

from archiver.core.model import RecordInfo, StemName, StemSource
from archiver.core.records.left_out import LeftOut
from archiver.core.text import shown_url


class Exclusion:
    """The files that are left out of every task that is listed from now on; safe to share among threads."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self.patterns: tuple[str, ...] = ()
        """As `change` was last told."""
        self.change(patterns)

    def change(self, patterns: Iterable[str]) -> None:
        """Leave out these alone from now on: a class of media, or names with `*` and `?` in them."""
        self.patterns = tuple(patterns)

    def covers(self, source: StemSource) -> bool:
        """Return whether the file is not wanted."""
        return any(source.media == each or fnmatchcase(source.name, each) for each in self.patterns)

    def applied_to(self, record: RecordInfo) -> RecordInfo:
        """Return the record without the files that are not wanted; each is left out by its place, and named."""
        if not self.patterns:
            return record
        wanted = tuple(source for source in record.stems if not self.covers(source))
        return replace(record, stems=wanted, left_out=self.left_out_of(record))

    def left_out_of(self, record: RecordInfo, known: Collection[StemName] = ()) -> tuple[LeftOut, ...]:
        """Return what is left out of a task with this record, that has files of the names `known` nevertheless."""
        unwanted = (source for source in record.stems if source.name not in known and self.covers(source))
        return (*record.left_out, *map(_left_out, unwanted))


def _left_out(source: StemSource) -> LeftOut:
    shown = shown_url(source.url) if source.url else ""
    return LeftOut(source.field, shown, f"excluded: {source.name} ({source.media})")
