"""Files that root makes belong to whoever owns the folder: the service itself must be able to use them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def give_to_owner_of_folder(handle: int, folder: Path) -> None:
    """Give the open file to the owner of `folder`, where that is another than root, who made it."""
    if os.geteuid() == 0:
        state = folder.stat()
        os.fchown(handle, state.st_uid, state.st_gid)


def make_folder(folder: Path) -> None:
    """Make the folder, 0700, and those above it that are missing; each belongs to its parent's owner.

    Raises OSError.
    """
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        with suppress(FileExistsError):
            each.mkdir(mode=0o700)
            handle = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                give_to_owner_of_folder(handle, each.parent)
            finally:
                os.close(handle)
