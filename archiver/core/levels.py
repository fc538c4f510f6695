"""The levels of `verify`; apart, since every start of the command line reads them."""

from __future__ import annotations

from enum import StrEnum


class Level(StrEnum):
    """How closely each object is looked at."""

    LIST = "list"
    """Size and ETag, as a listing has them."""
    HEAD = "head"
    """The store's word on its checksum."""
    READ = "read"
    """Its bytes."""
