"""Answers to supervisors while the daemon starts: a ledger may have to be migrated first, however large it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus

from archiver.adapters.systemd import Systemd
from archiver.app.listeners import json_page
from archiver.ports.runtime import EventLog
from archiver.settings.model import Http
from archiver.web.health import HEALTHZ, READYZ
from archiver.web.server import Page, PageServer

_AFTER = 3.0
"""Seconds; a start that is quicker needs no answers."""
_AGAIN = 20.0
_LONGEST = 3600.0
"""Seconds; a start that takes longer hangs, and whoever supervises it may end it."""


@contextmanager
def answering(
    http: Http, manager: Systemd, log: EventLog, *, after: float = _AFTER, longest: float = _LONGEST
) -> Iterator[Callable[[], None]]:
    """Answer `/healthz` (200), `/readyz` (503) and the service manager while a start lasts.

    It begins after so many seconds, and ends when what is yielded is called, so that the address is free again.
    """
    ended = threading.Event()

    def answer() -> None:
        if not ended.wait(after):
            with suppress(OSError), _served(http, log):
                _wait(manager, ended, longest)

    thread = threading.Thread(target=answer, name="starting", daemon=True)
    thread.start()

    def end() -> None:
        ended.set()
        thread.join()

    try:
        yield end
    finally:
        end()


def _wait(manager: Systemd, ended: threading.Event, longest: float) -> None:
    manager.status("starting: the ledger is opened, and brought up to date where that is needed")
    for _ in range(max(1, int(longest / _AGAIN))):
        manager.extend(3 * _AGAIN)
        if ended.wait(min(_AGAIN, longest)):
            return


@contextmanager
def _served(http: Http, log: EventLog) -> Iterator[None]:
    address = http.address()
    if address is None or not address[1]:
        yield
        return
    with closing(PageServer(*address, _pages(), log, at_once={HEALTHZ})):
        yield


def _pages() -> Mapping[str, Callable[[], Page]]:
    return {
        HEALTHZ: lambda: json_page(HTTPStatus.OK, {"status": "starting"}),
        READYZ: lambda: json_page(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "starting"}),
    }
