"""The files that a record names, and the name of each: unique, and the same whenever the record is read."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from archiver.core.model import StemName, StemSource
from archiver.core.records.kinds.names import Media
from archiver.core.records.names import joined
from archiver.core.text import shown_url, unescaped_url

MAX_STEMS: Final = 200
"""Stems that are taken from one record; the provider's largest separation has 12."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file that a record names, before it has its final name."""

    name: str
    url: str
    field: str
    flat: bool = False
    """True for a field of its own, which owns its plain name."""
    known: bool = True
    """False for a key that is not documented."""
    id: str = ""
    duration: float | None = None
    not_taken: str = ""
    """The reason why it cannot be asked for; `url` is then empty."""
    media: Media = Media.AUDIO
    content: str | None = None
    """The file itself; `url` is then empty."""
    written_as: str = ""
    """As of a StemSource."""
    fallback: str = ""
    """As of a StemSource."""

    @property
    def identity(self) -> object:
        """That which tells whether two are the same file."""
        return self.url or self.not_taken or (self.name, self.content)


def named(found: list[Item], *, awaited: Collection[str]) -> tuple[StemSource, ...]:
    """Give each file its name: unique, and the same in whatever order the record lists it.

    A field owns its plain name. An item takes it only when nothing else may ever claim it: where two items
    share a name, each gets a suffix, and so does one with the name of a field that is `awaited`. One more stands for
    all that are beyond MAX_STEMS.
    """
    if len(found) > MAX_STEMS:
        beyond = f"{len(found) - MAX_STEMS} more than the {MAX_STEMS} files that are taken of one task"
        found = [*found[:MAX_STEMS], Item("more", "", "response", known=False, not_taken=beyond)]
    owners = {item.name: item for item in reversed(found) if item.flat}
    claims = Counter(item.name for item in found)
    names: dict[Item, str] = {}
    crowd = []
    for item in found:
        if owners.get(item.name) == item or (claims[item.name] == 1 and item.name not in awaited):
            names[item] = item.name
        else:
            crowd.append(item)
    taken = set(names.values())
    for item in sorted(crowd, key=lambda item: (item.name, _suffixes(item))):
        names[item] = _free_name(item, taken)
        taken.add(names[item])
    return tuple(_source(names[item], item) for item in found)


def _source(name: str, item: Item) -> StemSource:
    return StemSource(
        StemName(name),
        item.url,
        item.field,
        item.duration,
        item.known,
        item.media,
        item.content,
        item.written_as,
        item.not_taken,
        item.fallback or unescaped_url(item.url),
    )


def _suffixes(item: Item) -> tuple[str, str]:
    """Return what sets this one apart from its namesakes, the better first: its id, the hash of what it is."""
    text = item.not_taken or item.content or shown_url(item.url)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return re.sub(r"[^a-z0-9]", "", item.id.lower())[:8] or digest, digest


def _free_name(item: Item, taken: set[str]) -> str:
    for suffix in _suffixes(item):
        name = joined(item.name, suffix)
        if name not in taken:
            return name
    return next(name for count in range(2, MAX_STEMS + 2) if (name := joined(item.name, str(count))) not in taken)
