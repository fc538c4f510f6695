"""A static copy of the page, in a directory that stands there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from archiver.adapters.ledger import SqlLedger
from archiver.app.extras import extra
from archiver.core.errors import SettingsFault
from archiver.ports.runtime import EventLog
from archiver.settings import Settings

with extra("the page", "page"):
    from archiver.app.page_views import reading
    from archiver.web.page.shelf import Shelf
    from archiver.web.page.static_copy import FOLDER, MOST, Copied, StaticCopy

_MARK = ".stem-archiver-copy"
"""A file by which a copy that was broken off is known again."""


def copy_page(
    settings: Settings,
    log: EventLog,
    ledger: SqlLedger,
    into: Path,
    *,
    restored: Path | None = None,
    stopped: Callable[[], bool] = lambda: False,
    most: int = MOST,
) -> Copied:
    """Write the copy into the directory `into`, which has to be empty, or not to be there.

    It gets its name once all of it is on disk. Its players look for files in `restored`, by default in `into` itself,
    where `restore` may write them before or after. Raises SettingsFault, LedgerFault, Interrupted, and OSError.
    """
    into = into.absolute()
    part = _begun(into)
    with reading(settings, log, ledger) as parts:
        shelf = Shelf.over(parts.reports, parts.archive, parts.words.prefix, parts.clock)
        audio = os.path.relpath((restored or into).absolute(), into / FOLDER / "task").replace(os.sep, "/")

        def write(path: str, data: bytes) -> None:
            file = part / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)

        copied = StaticCopy(parts, shelf, write, audio, stopped, most).make()
    _named(part, into)
    return copied


def _begun(into: Path) -> Path:
    """Return an empty directory beside `into`, that becomes it; what a copy that was broken off has left is gone."""
    if into.exists() and not (into.is_dir() and not any(into.iterdir())):
        raise SettingsFault(f"{into} is no empty directory: name one, or a new one")
    part = into.with_name(f".{into.name}.part")
    try:
        if part.exists():
            if not (part / _MARK).is_file():
                raise SettingsFault(f"{part} stands in the way, and is not ours: move it away")
            shutil.rmtree(part)
        part.mkdir(parents=True)
        (part / _MARK).touch()
    except OSError as error:
        raise SettingsFault(f"{part} cannot be made: {error.strerror}") from None
    return part


def _named(part: Path, into: Path) -> None:
    (part / _MARK).unlink()
    os.sync()
    part.replace(into)
