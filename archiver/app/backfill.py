"""`backfill`: its ids, and its work from them to the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from archiver.adapters.queue_file import read_ids
from archiver.core.errors import QueueUnreadable
from archiver.core.model import Intake


def intakes(file: str | None, queue: Path) -> Iterator[Intake]:
    """Yield the ids in batches; raise QueueUnreadable.

    Opened and closed by whoever reads, for where that is a thread nobody else may touch what it reads from: they
    would wait for it. Python itself would, at its end, for sys.stdin.
    """
    path = queue if file is None else Path(file)
    # Where nothing stands at standard input its number may by now be that of another file.
    if file == "-" and sys.stdin is None:
        raise QueueUnreadable("-", "standard input is closed", "write the ids into it, or name a file")
    try:
        stream = os.fdopen(os.dup(0), "rb") if file == "-" else path.open("rb")
    except OSError as error:
        raise QueueUnreadable(str(path), error.strerror or str(error), "name a file that can be read") from None
    with stream:
        yield from read_ids(stream, str(path))
