"""A record that is read again: the same file keeps its name, and another one never takes it.

A file is known by its address without the query, and one that stands in the record by its hash.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Final

from archiver.core.model import RecordInfo, StemName, StemRow, StemSource
from archiver.core.records.names import joined
from archiver.core.reports import Moved
from archiver.core.states import StemEvent, StemState
from archiver.core.text import INLINE, is_address, shown_url
from archiver.core.written import written

_NUMBERED: Final = re.compile(r"(.*)-[0-9]{2,3}")
_BY_PLACE: Final = re.compile(r"\[[0-9]+\]")
_BY_ID: Final = re.compile(r"(?i)origin_?data\[")
_TRACK: Final = re.compile(r"[0-9]{2,}-")
MOVED_FROM: Final = "from"
"""In the detail of StemEvent.MOVED: what told the file until then, as `identity_of` has it."""


def identity_of(source: StemSource) -> str:
    """Return what tells the file from others, fit for logs and manifests: its address, its hash, or why it has none."""
    if source.content is not None:
        return INLINE + hashlib.sha256(written(source.content, source.written_as).data).hexdigest()
    return source.not_taken or shown_url(source.url)


def is_identity(text: str) -> bool:
    """Return whether such a text tells a file from others: neither nothing, nor the reason why it has no address."""
    return is_address(text) or text.startswith(INLINE)


def named_as_before(
    record: RecordInfo,
    rows: Collection[StemRow],
    *,
    links_spent: bool = False,
    history: Callable[[], Iterable[Moved]] = tuple,
) -> RecordInfo:
    """Return the record with each file under the name that it is known by, and all others under names of their own.

    While the provider is at work a file may still be replaced by a better one of its name, and what is not stored yet
    may have moved, where its place tells which it is: a field of its own, or a link that is known to be `spent`.
    An address that a file moved away from is still its own: an answer of before may come once more. The task's
    `history` tells those, and is asked for only where an address is not known.
    """
    if not rows:
        return record
    sources = record.stems
    known = dict(_known(sources, rows))
    if len(known) < len(sources):
        known |= _formerly(sources, known, history())
    owners = {row.name: row for row in rows}
    taken = set(known.values())
    names: dict[int, StemName] = dict(known)
    crowd = []
    for at, source in enumerate(sources):
        if at in known:
            continue
        owner = owners.get(source.name)
        free = owner is None or not record.phase.is_final or not _is_another(owner, source, links_spent=links_spent)
        if free and source.name not in taken:
            names[at] = source.name
            taken.add(source.name)
        else:
            crowd.append(at)
    taken |= owners.keys()
    for at in crowd:
        names[at] = _free_name(sources[at], taken)
        taken.add(names[at])
    stems = tuple(each if each.name == names[at] else replace(each, name=names[at]) for at, each in enumerate(sources))
    return replace(record, stems=stems)


def beside(
    record: RecordInfo,
    rows: Iterable[StemRow],
    complete: Mapping[StemName, StemRow],
    *,
    history: Callable[[], Iterable[Moved]],
) -> RecordInfo:
    """Return the record with these files as they came, and under other names what it has put in their places since."""
    named = named_as_before(record, [complete.get(row.name, row) for row in rows], history=history)
    others = (each for each in named.stems if each.name not in complete)
    came = (StemSource(row.name, row.url or "", row.field, row.duration, media=row.media) for row in complete.values())
    return replace(named, stems=(*others, *came))


def _known(sources: Sequence[StemSource], rows: Iterable[StemRow]) -> Iterator[tuple[int, StemName]]:
    """Yield the place of each source that is known, and its name.

    Of several that only their queries tell apart each keeps its own; where there are more than before, those that are
    known by their place in a list count as new.
    """
    listed, before = defaultdict[str, list[int]](list), defaultdict[str, list[StemName]](list)
    for row in rows:
        before[_identity_of_row(row)].append(row.name)
    for at, source in enumerate(sources):
        listed[identity_of(source)].append(at)
    for identity, places in listed.items():
        if identity in before:
            yield from _paired(sources, places, before[identity])


def _formerly(
    sources: Sequence[StemSource], known: Mapping[int, StemName], history: Iterable[Moved]
) -> Mapping[int, StemName]:
    """Return the place of each source that is known by a former address, and its name, unless the record has that."""
    names = defaultdict[object, set[StemName]](set)
    for line in history:
        if line.event == StemEvent.MOVED and line.stem is not None:
            names[line.detail.get(MOVED_FROM)].add(line.stem)
    found: dict[int, StemName] = {}
    for at, source in enumerate(sources):
        before = names.get(identity_of(source), set()) - {*known.values(), *found.values()}
        if at not in known and before:
            found[at] = source.name if source.name in before else min(before)
    return found


def _paired(
    sources: Sequence[StemSource], places: Sequence[int], before: Sequence[StemName]
) -> Iterator[tuple[int, StemName]]:
    grown = len(places) > len(before)
    same = {at: sources[at].name for at in places if sources[at].name in before}
    if grown:
        same = {at: name for at, name in same.items() if not _is_by_place(sources[at])}
    yield from same.items()
    if not grown:
        left = [name for name in before if name not in same.values()]
        yield from zip((at for at in places if at not in same), left, strict=False)


def _identity_of_row(row: StemRow) -> str:
    if row.url_shown or row.url != "" or row.receipt is None:
        return row.url_shown
    return INLINE + row.receipt.sha256


def _is_another(row: StemRow, source: StemSource, *, links_spent: bool) -> bool:
    """Return whether a source that has not the row's address is another file than its."""
    if row.state is StemState.STORED or (row.url == "" and not row.not_taken):
        return True
    return _is_by_place(source) and not links_spent and row.gone == 0


def _is_by_place(source: StemSource) -> bool:
    by_id = _BY_ID.search(source.field) or _TRACK.match(source.name)
    return not by_id and _BY_PLACE.search(source.field) is not None


def _free_name(source: StemSource, taken: Collection[StemName]) -> StemName:
    """Return a name that nobody has: the next number in a list, else one with the hash of what the file is."""
    numbered = _NUMBERED.fullmatch(source.name)
    names: Iterator[str]
    if numbered is not None:
        names = (f"{numbered[1][:58]}-{place:02}" for place in count(1))
    else:
        digest = hashlib.sha256(identity_of(source).encode("utf-8", "surrogatepass")).hexdigest()[:8]
        names = (joined(source.name, digest, str(more or "")) for more in count())
    return next(name for each in names if (name := StemName(each)) not in taken)


def source_of(claimed: StemRow, sources: Iterable[StemSource], rows: Iterable[StemRow]) -> StemSource | None:
    """Return the source that holds the file of an inline stem; None where the record holds it no more."""
    sources = [each for each in sources if each.content is not None]
    identity = _identity_of_row(claimed)
    found = next((each for each in sources if identity and identity_of(each) == identity), None)
    if found is not None:
        return found
    others = {_identity_of_row(row) for row in rows}
    by_name = (each for each in sources if each.name == claimed.name)
    return next((each for each in by_name if not identity or identity_of(each) not in others), None)
