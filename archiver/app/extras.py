"""The extras: packages that are installed on demand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

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


def need(setting: str, extra_: str, *modules: str) -> None:
    """Raise the SettingsFault of `extra` where one of these is not installed; loads none of them."""
    with extra(setting, extra_):
        for name in modules:
            if find_spec(name) is None:
                raise ImportError(name=name)
