"""A system that starts no further thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

NO_ROOM = 1 << 47
"""Bytes of a stack for which no address space is left."""


@contextmanager
def no_threads() -> Iterator[None]:
    """Let every start of a thread in this process fail, as where its limit is reached."""
    before = threading.stack_size(NO_ROOM)
    try:
        yield
    finally:
        threading.stack_size(before)
