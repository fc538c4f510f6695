"""Walks: how far a check that was begun by hand came, so that it is gone on with where it broke off. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from archiver.core.fixity import Fixity
from archiver.core.levels import Level

WITHIN: Final = timedelta(hours=24)
"""The time for which a check that broke off is gone on with."""


@dataclass(frozen=True, slots=True)
class WalkSums:
    """The sum of what was judged up to some place."""

    verdicts: Mapping[Fixity, int] = field(default_factory=dict)
    tasks: int = 0
    listed: int = 0
    """Objects that a listing showed."""
    bytes: int = 0
    """Of objects that were listed."""
    unledgered: int = 0
    """Tasks that the bucket alone knows."""
    unlisted: tuple[str, ...] = ()
    """Ids that neither side knows."""
    acknowledged: int = 0
    """Faults that an operator has acknowledged."""

    def as_json(self) -> str:
        """Return it as JSON."""
        counts = {verdict.value: count for verdict, count in self.verdicts.items() if count}
        numbers = {"tasks": self.tasks, "listed": self.listed, "bytes": self.bytes, "unledgered": self.unledgered}
        numbers["acknowledged"] = self.acknowledged
        return json.dumps({"verdicts": counts, **numbers, "unlisted": self.unlisted})

    @classmethod
    def of_json(cls, text: str) -> WalkSums:
        """Return what `as_json` wrote."""
        said: dict[str, Any] = json.loads(text)
        verdicts = {Fixity(word): count for word, count in said.pop("verdicts").items()}
        return cls(verdicts, unlisted=tuple(said.pop("unlisted")), **said)


@dataclass(frozen=True, slots=True)
class Walk:
    """A check under way: its level, what it leads to, and how far it is."""

    level: Level
    selection: str
    """A mark of the bucket, and of the ids if it is not the whole archive."""
    token: str
    begun_at: datetime
    place: str = ""
    """The folder, or the number of the id, that comes next; all before it was judged. Empty at the start."""
    sums: WalkSums = WalkSums()
    """Up to that place."""
    reported: WalkSums = WalkSums()
    """That part of them which a check in the ledger holds already."""


def is_before(folder: str, place: str) -> bool:
    """Return whether a walk that goes on at `place` has left a folder behind.

    Neither this nor `is_from` holds for a folder whose name begins that of the place: stores differ in whether `a-b/`
    comes before `a/`.
    """
    return folder < place and not place.startswith(folder)


def is_from(folder: str, place: str) -> bool:
    """Return whether a walk that goes on at `place` comes to a folder."""
    return folder >= place
