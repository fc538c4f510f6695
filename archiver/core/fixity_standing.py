"""How the archive stands by all checks so far. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from archiver.core.fixity import Fixity


@dataclass(frozen=True, slots=True)
class FixityStanding:
    """The open faults, and how far back the oldest check lies."""

    faults: Mapping[Fixity, int] = field(default_factory=dict)
    """Open ones by kind, without those that an operator acknowledged."""
    oldest_check: datetime | None = None
    """When the part that was not read for the longest time was, or was taken in; None where none was to be read."""
    is_late: bool = False
    """True where objects will not be read within the span that is set."""
    acknowledged: Mapping[Fixity, int] = field(default_factory=dict)
    """Open faults that an operator acknowledged, by kind."""

    @property
    def needs_person(self) -> bool:
        """True where something is lost or damaged: an object that nobody knows needs nobody."""
        return any(count for kind, count in self.faults.items() if kind is not Fixity.UNKNOWN)
