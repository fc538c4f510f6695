"""Hiding of modules that a library loads where they are installed, and does without where they are not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Let imports meanwhile find no module of these names, but for those that are loaded already."""
    absent = [name for name in names if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # as the import system has it for what is not there
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
