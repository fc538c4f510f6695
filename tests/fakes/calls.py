"""What every fake tells of its calls."""

from __future__ import annotations

from collections.abc import Callable

Calls = Callable[[str, str], None]
"""Called with a method and what it is asked about, before the answer: it may let time pass, and raise."""


def unnoticed(method: str, about: str) -> None:
    pass
