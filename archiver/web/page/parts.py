"""The parts that views are made of: ports, the clock, words of the settings. No view knows more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from starlette.routing import Route

from archiver.ports.archive import BrowsedArchive
from archiver.ports.ledger import Reports
from archiver.ports.listing import Listings
from archiver.ports.runtime import Clock, EventLog
from archiver.preservation.fetching import Fetching
from archiver.web.page.doings import Doings
from archiver.web.page.figures import Source
from archiver.web.page.operating import Operations
from archiver.web.page.rendering import Pages
from archiver.web.page.sounding import Soundings


@dataclass(frozen=True, slots=True)
class Words:
    """Facts of the settings that views need; none is secret."""

    bucket: str
    prefix: str
    at_risk: timedelta
    retention: timedelta
    poll: timedelta
    """From one look at the queue file to the next."""
    within: timedelta = timedelta()
    """The span in which every object is read again; zero where none is."""
    audio: Literal["proxy", "presigned"] = "proxy"
    operates: bool = False
    """True where the page has actions at all."""


@dataclass(frozen=True, slots=True)
class Parts:
    """All that views are made of."""

    clock: Clock
    log: EventLog
    words: Words
    pages: Pages
    reports: Reports
    """The ledger's, read-only."""
    archive: Callable[[], BrowsedArchive]
    """Opens the bucket at its first call."""
    figures: Source
    """The figures of `status` and of the metrics."""
    fetching: Callable[[], Fetching]
    """Gives the reader of whole objects within the bandwidth that the archiver leaves."""
    listings: Listings
    """The ledger's, read-only."""
    doings: Doings
    operations: Operations | None = None
    """None where the page has no actions."""
    soundings: Soundings | None = None
    """None where no audio is decoded."""


@dataclass(frozen=True, slots=True)
class View:
    """One view: a module of this package has it as VIEW, and `application.VIEWS` names the module."""

    path: str
    """The path that the navigation links to."""
    title: str
    """The navigation's word for it; empty for a view without a link."""
    routes: Callable[[Parts], Sequence[Route]]
    key: str = ""
    """The key that opens it after `g`."""
    is_action: bool = False
    """True for a view that is there only where the page has actions."""
