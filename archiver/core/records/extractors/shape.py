"""A value within a result, and the files that a shape reads out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from archiver.core.records.facts import Track
from archiver.core.records.items import Item
from archiver.core.records.left_out import LeftOut


@dataclass(frozen=True, slots=True)
class Value:
    """A value, with JSON out of a string already read, and its place."""

    value: object
    key: str
    """In the alphabet of names; empty for the item of a list."""
    field: str

    @property
    def listed(self) -> list[object]:
        """The value as a list: itself, or its items."""
        return self.value if isinstance(self.value, list) else [self.value]

    def field_of(self, at: int) -> str:
        """Return the place of an item of `listed`."""
        return f"{self.field}[{at}]" if isinstance(self.value, list) else self.field


@dataclass(frozen=True, slots=True)
class Finds:
    """The files of a shape."""

    items: tuple[Item, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    tracks: tuple[Track, ...] = ()
    taken: frozenset[str] = field(default_factory=frozenset)
    """Addresses that need no other look, beside those of `items`."""
    title: str = ""
    """Scrubbed."""


Shape = Callable[[Value], Finds | None]
"""Returns None where the value has another shape."""


def objects_in(value: Value) -> list[tuple[int, Mapping[str, object]]]:
    """Return the objects among `listed`, each with its place."""
    return [(at, each) for at, each in enumerate(value.listed) if isinstance(each, dict)]
