"""A race of writers that begin at one moment to one new key: where create-only writes are atomic, one wins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from archiver.adapters.object_store.asking import LABELS, Asking
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Conflict
from archiver.core.errors import ArchiverError
from archiver.core.reports import Finding

RACERS = 8
_START = 30.0
"""Seconds within which all must have begun."""
_ALONE = (
    "let one archiver alone write to this bucket: of two that wrote one key at one moment, both would be told they won"
)
_AGAIN = "check again: answers were lost on the way"


def race(asking: Asking, key: str) -> Finding:
    """Return how many of RACERS won; the object stays under `key`, made unlike any other by the time."""
    key = f"{key}-race-{asking.clock():%Y%m%dT%H%M%S%f}"
    start = Barrier(RACERS)

    def run(number: int) -> ArchiverError | None:
        content = Content.of(
            f"stem-archiver raced itself here, and this is number {number}. It may be deleted.\n".encode()
        )
        start.wait(_START)
        return asking.refusal(lambda: asking.calls.put(key, content, LABELS, IfNoneMatch="*"))

    try:
        with ThreadPoolExecutor(RACERS, thread_name_prefix="race") as racers:
            ends = list(racers.map(run, range(RACERS)))
    except ArchiverError as error:
        return Finding("fail", "race", str(error), error.hint)
    for end in ends:
        if end is not None and not isinstance(end, Conflict):
            return Finding("fail", "race", str(end), end.hint)
    winners = ends.count(None)
    found = f"{winners} of {RACERS} writers to one new key won; what was written stays at {key}"
    hint = {0: _AGAIN, 1: ""}.get(winners, _ALONE)
    return Finding("warn" if hint else "ok", "race", found, hint)
