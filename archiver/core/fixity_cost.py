"""The cost of a check, before anything is asked of the store: requests, bytes, price and time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from archiver.core.levels import Level

KEYS_A_LISTING: Final = 1000
MANIFEST_BYTES: Final = 6_700
"""Of an ordinary manifest; only a price per GB makes it matter."""
_SECONDS_A_REQUEST: Final = 0.03
_GIGABYTE: Final = 10**9
_THOUSAND: Final = 1000


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of a store, in one currency."""

    listing: float = 0.0
    """A thousand requests that list."""
    get: float = 0.0
    """A thousand GET or HEAD."""
    gigabyte: float = 0.0
    """10**9 bytes that leave the store."""
    currency: str = "USD"
    name: str = ""
    """Of the preset; empty for a table of one's own."""

    def of(self, listings: int, gets: int, size: int) -> float:
        """Return what so many requests and bytes cost."""
        return (listings * self.listing + gets * self.get) / _THOUSAND + size * self.gigabyte / _GIGABYTE


PRESETS: Final = {
    "none": Prices(name="none"),
    "aws": Prices(0.005, 0.0004, 0.09, name="aws"),
    "b2": Prices(0.004, 0.0004, 0.01, name="b2"),
    "r2": Prices(0.0045, 0.00036, 0.0, name="r2"),
}
"""List prices of November 2026 where bytes leave the region, not checked: whoever pays others writes a table."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """Contents of the bucket by the ledger."""

    tasks: int = 0
    whole: int = 0
    """Tasks with a record and a manifest."""
    objects: int = 0
    """Stems' objects; what is stored once counts once."""
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The work ahead."""

    level: Level
    holdings: Holdings
    listings: int
    gets: int
    bytes: int
    prices: Prices
    seconds: float
    """At least, at the bandwidth and the concurrency that are set."""

    @property
    def requests(self) -> int:
        """All of them."""
        return self.listings + self.gets

    @property
    def price(self) -> float:
        """In the currency of the prices."""
        return self.prices.of(self.listings, self.gets, self.bytes)


@dataclass(frozen=True, slots=True)
class Speed:
    """The settings' limits."""

    parallel: int = 1
    rate: int | None = None
    """Bytes a second; None for no limit."""


def plan_of(level: Level, holdings: Holdings, prices: Prices, speed: Speed, *, ids: int | None = None) -> Plan:
    """Return the work of a level over the whole archive, or over so many `ids`, each of which is listed alone."""
    keys = holdings.objects + 2 * holdings.whole
    listings = max(1, -(-keys // KEYS_A_LISTING)) if ids is None else ids
    gets = 0 if level is Level.LIST else holdings.objects + holdings.whole
    size = 0 if level is Level.LIST else holdings.whole * MANIFEST_BYTES
    if level is Level.READ:
        size += holdings.bytes
    waits = (listings + gets / speed.parallel) * _SECONDS_A_REQUEST
    return Plan(level, holdings, listings, gets, size, prices, max(waits, size / speed.rate if speed.rate else 0.0))
