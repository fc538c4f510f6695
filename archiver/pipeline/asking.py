"""Asking on: which kinds are asked about a task, and whose answer counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from archiver.core.model import Phase, RecordInfo
from archiver.core.records.kinds.names import AUTO, KindName


def kinds_to_ask(kind: KindName | None, hint: KindName | None = None) -> tuple[KindName, ...]:
    """Return the kinds to ask about a task of that kind; where it is not known, the hint and then all of AUTO."""
    if kind is not None:
        return (kind,)
    return AUTO if hint is None else (hint, *(each for each in AUTO if each is not hint))


def ask_on(kinds: Iterable[KindName], fetch: Callable[[KindName], RecordInfo]) -> RecordInfo:
    """Return the first answer that knows the id, else the last one: then none of `kinds` knows it.

    Whatever `fetch` raises ends the round, as the kinds that were not asked may know it.
    """
    record = None
    for kind in kinds:
        record = fetch(kind)
        if record.phase is not Phase.ABSENT:
            return record
    if record is None:
        raise ValueError("no kind to ask about")
    return record
