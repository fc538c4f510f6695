"""Things that a record names and that are no audio."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An address in a result that is no audio by its name."""

    field: str
    """As of a StemSource."""
    url: str
    """Without its query: fit for logs and manifests."""
    kind: str
    """The thing that it is instead, with its article."""
