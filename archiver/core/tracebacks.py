"""Exceptions as a log tells them."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

_FRAMES = 30


def lines_of(error: traceback.TracebackException) -> Iterator[str]:
    """Yield what was raised and where, without local variables and source lines, and then what it came of."""
    yield "".join(error.format_exception_only()).strip()
    yield from (f"at {frame.filename}:{frame.lineno} in {frame.name}" for frame in error.stack[-_FRAMES:])
    for inner in error.exceptions or ():
        yield from lines_of(inner)
    for why, other in (("caused by", error.__cause__), ("while handling", error.__context__)):
        if other is not None:
            yield why
            yield from lines_of(other)
