"""Faults of the queue file, with what the operator can do."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from archiver.ports.work import QueueUnreadable

_HINTS: Mapping[type[OSError], str] = {
    FileNotFoundError: "create it, or set queue.path; `stem-archiver enqueue ID` creates it in an existing folder",
    PermissionError: "let the user that runs stem-archiver read it, and write it for `enqueue`",
    IsADirectoryError: "set queue.path to a plain file",
    FileExistsError: "try again in a second",
    NotADirectoryError: "set queue.path to a plain file in an existing folder",
}


@contextmanager
def naming_faults(path: str, verb: str) -> Iterator[None]:
    """Raise QueueUnreadable for an OSError: `path` cannot be read, or whatever the verb says."""
    try:
        yield
    except OSError as fault:
        hint = _HINTS.get(type(fault), "look at the disk it is on, and at the system's log")
        raise QueueUnreadable(path, f"cannot {verb} it: {fault.strerror or fault}", hint) from fault


def require_regular(handle: int, path: str) -> None:
    """Raise QueueUnreadable unless it is a plain file."""
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise QueueUnreadable(path, "is no regular file", _HINTS[IsADirectoryError])
