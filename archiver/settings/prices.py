"""Prices of a store, as operators write them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from archiver.core.fixity_cost import PRESETS, Prices
from archiver.settings.units import parse_pairs

_NAMES = ("list", "get", "gb")
_EXPECTED = "must be aws, b2, r2, none, or a table of list, get (a thousand requests each), gb, and currency"


def parse_prices(value: object) -> Prices:
    """Read a preset's name, or a table; raise ValueError for anything else."""
    if isinstance(value, Prices):
        return value
    if isinstance(value, str) and value.strip().lower() in PRESETS:
        return PRESETS[value.strip().lower()]
    try:
        table = parse_pairs(value)
    except ValueError:
        table = None
    if not isinstance(table, Mapping) or not table or not table.keys() <= {*_NAMES, "currency"}:
        raise ValueError(_EXPECTED)
    currency = table.get("currency", "USD")
    if not isinstance(currency, str) or not (currency.isascii() and currency.isalpha() and currency.isupper()):
        raise ValueError("names no currency, such as USD or EUR")
    listing, get, gigabyte = (_amount(table.get(name, 0)) for name in _NAMES)
    return Prices(listing, get, gigabyte, currency)


def _amount(value: object) -> float:
    try:
        amount = math.nan if isinstance(value, bool) or not isinstance(value, str | int | float) else float(value)
    except (ValueError, OverflowError):
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise ValueError("holds a price that is no amount")
    return amount


def show_prices(prices: Prices) -> str:
    """Write prices as `parse_prices` reads them."""
    if prices.name:
        return prices.name
    amounts = f"list={prices.listing:g},get={prices.get:g},gb={prices.gigabyte:g}"
    return f"{amounts},currency={prices.currency}"
