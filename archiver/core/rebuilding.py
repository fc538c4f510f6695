"""A rebuild of the ledger: how far it came, and what it found. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final

from archiver.core.errors import LedgerFault

MOST_NAMED: Final = 1000
"""Folders that are named with what is wrong with them; the others are counted."""


class LedgerFull(LedgerFault):
    """The ledger has tasks: it is no place to rebuild one."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A folder that was not understood."""

    folder: str
    """Its name in the bucket: untrusted."""
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """Findings in the bucket."""

    folders: int = 0
    tasks: int = 0
    adopted: int = 0
    """Objects that no manifest names, and that were read."""
    format_1: int = 0
    """Manifests of format 1."""
    broken: int = 0
    """Folders of tasks that were not understood."""
    foreign: int = 0
    """Folders that are no task's."""
    named: tuple[Trouble, ...] = ()
    backup: str | None = None
    """The key of the backup that was taken; empty where there is none, None before it was looked for."""
    requests: int = 0
    """Of all kinds but of listings."""
    pages: int = 0
    """Listings."""
    seconds: float = 0.0

    @property
    def understood(self) -> bool:
        """True where there is nothing that was not understood."""
        return not self.broken and not self.foreign

    def with_trouble(self, folder: str, reason: str, *, foreign: bool) -> Found:
        """Return this and one more folder that was not understood."""
        named = (*self.named, Trouble(folder, reason)) if len(self.named) < MOST_NAMED else self.named
        if foreign:
            return replace(self, foreign=self.foreign + 1, named=named)
        return replace(self, broken=self.broken + 1, named=named)

    def as_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Found:
        """Read what `as_json` wrote; what a later version counts is left out."""
        fields = {name: value for name, value in json.loads(text).items() if name in cls.__slots__}
        return cls(**{**fields, "named": tuple(Trouble(**each) for each in fields.get("named", []))})


@dataclass(frozen=True, slots=True)
class RebuildMark:
    """The mark in a ledger whose rebuild is not finished."""

    begun_at: datetime
    after: str = ""
    """The last folder that is done; empty before the first."""
    found: Found = Found()

    def fault(self) -> LedgerFault:
        """Return the reason why nobody may work on the ledger."""
        return LedgerFault(
            f"this ledger is being rebuilt from the bucket since {self.begun_at:%Y-%m-%d %H:%M:%S} UTC, "
            f"and {self.found.folders} folders are done",
            "let `stem-archiver rebuild` come to its end; if it was killed, run it again: it goes on where it was",
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """Contents of a ledger."""

    tasks: dict[str, int]
    """By state."""
    stems: dict[str, int]
    """By state."""
    stored_bytes: int
    """Of stems that are stored; an alias has none."""
