"""The extras: packages that are installed on demand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from archiver.core.errors import SettingsFault


@contextmanager
def extra(setting: str, extra: str) -> Iterator[None]:
    """Turn a failing import of an extra into a SettingsFault that says how to install it."""
    try:
        yield
    except ImportError as missing:
        raise SettingsFault(
            f"{setting} needs {missing.name}; install it with: pip install 'stem-archiver[{extra}]'"
        ) from missing
