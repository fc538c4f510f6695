"""Audio out of the archive, composed: no ledger is opened, and nothing is written into the bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from archiver.adapters.object_store.buffers import BufferBudget
from archiver.app.machine import THIS_MACHINE, Machine
from archiver.app.store import open_store, throttle_of
from archiver.core.errors import SettingsFault
from archiver.core.model import TaskId
from archiver.ports.runtime import EventLog
from archiver.ports.transfer import Received, uncounted
from archiver.preservation.fetching import BLOCK, Fetching
from archiver.preservation.folder import Folder
from archiver.preservation.linking import links_of
from archiver.preservation.results import Totals
from archiver.preservation.retrieval import Filter, Retrieval
from archiver.preservation.wanted import Selection
from archiver.settings import Settings


@contextmanager
def opened(
    settings: Settings,
    log: EventLog,
    *,
    wait: Callable[[float], None],
    stopped: Callable[[], bool],
    received: Received = uncounted,
    machine: Machine = THIS_MACHINE,
) -> Iterator[Fetching]:
    """Open the archive for reading, within `download.bandwidth` and `download.buffer_budget`.

    `wait` waits so many seconds, or until the command is to end, which `stopped` tells.
    """
    machine = replace(machine, sleep=wait)
    throttle = throttle_of(settings, machine)
    buffers = BufferBudget(max(settings.download.buffer_budget, BLOCK))
    with closing(open_store(settings, log, machine)) as store, closing(buffers):
        try:
            yield Fetching(store.archive, buffers, throttle, wait, stopped, received)
        finally:
            throttle.stop()


@contextmanager
def retrieval(
    settings: Settings, fetching: Fetching, into: Path, selection: Selection, *, filter_: Filter | None = None
) -> Iterator[Retrieval]:
    """Open the directory `into`, to be written to; raises SettingsFault. With a filter the whole archive is meant.

    At most `download.concurrency` files come at a time.
    """
    try:
        opened_root = Folder.at(into)
    except OSError as error:
        raise SettingsFault(f"{into} cannot be used as a directory: {error.strerror}") from None
    with opened_root as root:
        yield Retrieval(
            fetching,
            settings.store.prefix,
            root,
            selection,
            settings.download.most_transfers,
            Totals(),
            filter_ or Filter(),
            whole=filter_ is not None,
        )


def links(
    settings: Settings, log: EventLog, task: TaskId, stem: str | None, seconds: int, machine: Machine = THIS_MACHINE
) -> Iterator[tuple[str, str]]:
    """Yield name and URL of each stored stem of the task, or of the one; see `links_of`."""
    with closing(open_store(settings, log, machine)) as store:
        yield from links_of(store.archive, settings.store.prefix, task, stem, seconds)
