"""A record that is read again: the same file keeps its name, in whatever order the lists stand by then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from archiver.core.model import StemName, StemRow, StemSource
from archiver.core.text import shown_url


def named_as_before(sources: Sequence[StemSource], rows: Iterable[StemRow]) -> tuple[StemSource, ...]:
    """Give each source the name under which its URL is known, and to those whose name that was, one that is free.

    What has an address alone is known by it: text is not, nor one of two with the same address.
    """
    before = _alone((row.url_shown, row.name) for row in rows)
    now = _alone((shown_url(source.url), source.name) for source in sources if source.url)
    known = {name: before[url] for url, name in now.items() if url in before}
    if all(name == kept for name, kept in known.items()):
        return tuple(sources)
    taken = set(known.values())
    names = {source.name: known.get(source.name, source.name) for source in sources}
    left = [name for name in names if name not in taken and name in known]
    free = sorted(left, key=lambda name: name in before.values())
    for name in names:
        if name not in known and name in taken:
            names[name] = free.pop(0)
    return tuple(replace(source, name=names[source.name]) for source in sources)


def _alone(pairs: Iterable[tuple[str, StemName]]) -> dict[str, StemName]:
    """Return the pairs whose URL stands there once."""
    listed = [(url, name) for url, name in pairs if url]
    count = Counter(url for url, _ in listed)
    return {url: name for url, name in listed if count[url] == 1}
