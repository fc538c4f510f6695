"""A form as the browser sent it."""

from __future__ import annotations

from collections.abc import Sequence


class Form:
    """The fields of a form, which may come more than once."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self._fields = fields

    def one(self, name: str) -> str:
        """Return the first value of that name; empty where there is none."""
        return next((value for key, value in self._fields if key == name), "")

    def all(self, name: str) -> list[str]:
        """Return every value of that name."""
        return [value for key, value in self._fields if key == name]

    def others(self, *names: str) -> list[tuple[str, str]]:
        """Return the fields of other names."""
        return [(key, value) for key, value in self._fields if key not in names]
