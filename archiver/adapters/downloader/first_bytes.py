"""Tables of what files of a kind begin with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Generic, TypeVar

Kind = TypeVar("Kind")


class FirstBytes(Generic[Kind]):
    """Formats by the beginning of a file: one regular expression for all, as every file is asked about."""

    def __init__(self, kinds: Mapping[bytes, Kind]) -> None:
        """Take a pattern without groups for each kind, in which a point is any byte; the first that fits counts."""
        self._kinds = tuple(kinds.values())
        self._pattern = re.compile(b"|".join(b"(%s)" % each for each in kinds), re.DOTALL)

    def kind_of(self, head: bytes) -> Kind | None:
        """Return the kind that `head` begins, None where it is none of them."""
        found = self._pattern.match(head)
        return None if found is None or found.lastindex is None else self._kinds[found.lastindex - 1]
