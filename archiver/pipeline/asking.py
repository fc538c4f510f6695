"""Asking on: which kinds are asked about a task, and whose answer counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from archiver.core.misses import RouteMoved
from archiver.core.model import Phase, RecordInfo
from archiver.core.records.kinds.names import AUTO, KindName


def kinds_to_ask(kind: KindName | None, hint: KindName | None = None) -> tuple[KindName, ...]:
    """Return the kinds to ask about a task of that kind; where it is not known, the hint and then all of AUTO."""
    if kind is not None:
        return (kind,)
    return AUTO if hint is None else (hint, *(each for each in AUTO if each is not hint))


def ask_on(kinds: Iterable[KindName], fetch: Callable[[KindName], RecordInfo]) -> RecordInfo:
    """Return the first answer that knows the id, else the last one: then none of `kinds` knows it.

    Whatever `fetch` raises ends the round, as the kinds that were not asked may know it. A path that is gone is raised
    at its end, where no other kind knows the id: it says nothing of it.
    """
    record = moved = None
    for kind in kinds:
        try:
            record = fetch(kind)
        except RouteMoved as error:
            moved = error
            continue
        if record.phase is not Phase.ABSENT:
            return record
    if moved is not None:
        raise moved
    if record is None:
        raise ValueError("no kind to ask about")
    return record
