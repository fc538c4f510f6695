"""Audio that a record names, and the name of each: unique, and the same whenever the record is read."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from archiver.core.model import StemName, StemSource
from archiver.core.records.names import joined
from archiver.core.text import shown_url

MAX_STEMS: Final = 200
"""Stems that are taken from one record; the provider's largest separation has 12."""


@dataclass(frozen=True, slots=True)
class Audio:
    """A URL that may be audio, before it has its final name."""

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


def named(found: list[Audio], *, awaited: Collection[str]) -> tuple[StemSource, ...]:
    """Give each audio its name: unique, and the same in whatever order the record lists it.

    A field owns its plain name. An item takes it only when nothing else may ever claim it: where two items
    share a name, each gets a suffix, and so does one with the name of a field that is `awaited`. One more stands for
    all that are beyond MAX_STEMS.
    """
    if len(found) > MAX_STEMS:
        beyond = f"{len(found) - MAX_STEMS} more than the {MAX_STEMS} files that are taken of one task"
        found = [*found[:MAX_STEMS], Audio("more", "", "response", known=False, not_taken=beyond)]
    owners = {audio.name: audio for audio in reversed(found) if audio.flat}
    claims = Counter(audio.name for audio in found)
    names: dict[Audio, str] = {}
    crowd = []
    for audio in found:
        if owners.get(audio.name) == audio or (claims[audio.name] == 1 and audio.name not in awaited):
            names[audio] = audio.name
        else:
            crowd.append(audio)
    taken = set(names.values())
    for audio in sorted(crowd, key=lambda audio: (audio.name, _suffixes(audio))):
        names[audio] = _free_name(audio, taken)
        taken.add(names[audio])
    return tuple(_source(names[audio], audio) for audio in found)


def _source(name: str, audio: Audio) -> StemSource:
    return StemSource(StemName(name), audio.url, audio.field, audio.duration, audio.known, not_taken=audio.not_taken)


def _suffixes(audio: Audio) -> tuple[str, str]:
    """Return what sets this audio apart from its namesakes, the better first: its id, the hash of its shown URL."""
    digest = hashlib.sha256((audio.not_taken or shown_url(audio.url)).encode()).hexdigest()[:8]
    return re.sub(r"[^a-z0-9]", "", audio.id.lower())[:8] or digest, digest


def _free_name(audio: Audio, taken: set[str]) -> str:
    for suffix in _suffixes(audio):
        name = joined(audio.name, suffix)
        if name not in taken:
            return name
    return next(name for count in range(2, MAX_STEMS + 2) if (name := joined(audio.name, str(count))) not in taken)
