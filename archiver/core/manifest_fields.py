"""The fields of untrusted JSON, each of the type that a manifest gives it, or the manifest is broken. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from archiver.core.model import AccountName, account_name

LONGEST_PATH: Final = 255
"""Bytes: that of the file systems and of an object's name below its folder."""
_LARGEST_NUMBER: Final = 1 << 53
_HASH = re.compile(r"[0-9a-f]{64}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class ManifestBroken(Exception):
    """These bytes are no manifest that may be believed; the message says why and echoes nothing of them."""


class Fields:
    """An object of the manifest; an absent field is like null. All methods raise ManifestBroken for another type."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self._document = document

    def __contains__(self, name: str) -> bool:
        """Return whether the field is there and not null."""
        return self._document.get(name) is not None

    def text_or_none(self, name: str) -> str | None:
        """Return a text that can be encoded."""
        value = self._document.get(name)
        if isinstance(value, str):
            return value if value.isascii() else _SURROGATE.sub("?", value)
        if value is None:
            return None
        raise ManifestBroken(f"{name} is no text")

    def text(self, name: str) -> str:
        """Return the same, empty for null."""
        value = self._document.get(name)
        if isinstance(value, str) and value.isascii():  # nearly all: a manifest has hundreds
            return value
        return self.text_or_none(name) or ""

    def whole(self, name: str) -> int | None:
        """Return a number that counts something."""
        value = self._document.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST_NUMBER:
            raise ManifestBroken(f"{name} counts nothing")
        return value

    def seconds(self, name: str) -> float | None:
        """Return a span in seconds."""
        value = self._document.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ManifestBroken(f"{name} is no number of seconds")
        if not 0 <= value < _LARGEST_NUMBER:
            raise ManifestBroken(f"{name} is no span")
        return float(value)

    def flag(self, name: str) -> bool | None:
        """Return yes or no."""
        value = self._document.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise ManifestBroken(f"{name} is neither true nor false")

    def moment(self, name: str) -> datetime | None:
        """Return a time; one without its zone is in UTC."""
        value = self.text_or_none(name)
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is UTC:
                return moment
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise ManifestBroken(f"{name} is no time") from None

    def account(self, name: str) -> AccountName | None:
        """Return the name of an account."""
        value = self.text_or_none(name)
        try:
            return None if value is None else account_name(value)
        except ValueError as error:
            raise ManifestBroken(f"{name} is {error}") from None

    def mapping(self, name: str) -> Mapping[str, object] | None:
        """Return an object as it stands there."""
        value = self._document.get(name)
        if value is None or isinstance(value, dict):
            return value
        raise ManifestBroken(f"{name} is no object")

    def objects(self, name: str, most: int) -> Iterator[Fields]:
        """Yield the objects of a list of at most so many; none for null."""
        value = self._document.get(name)
        if value is None:
            return
        if not isinstance(value, list) or len(value) > most:
            raise ManifestBroken(f"{name} is no list of at most {most}")
        for each in value:
            if not isinstance(each, dict):
                raise ManifestBroken(f"{name} holds what is no object")
            yield Fields(each)


def is_hash(text: str) -> bool:
    """Return whether that is a SHA-256 in lower-case hex."""
    return _HASH.fullmatch(text) is not None


def plain_name_fault(name: str) -> str:
    """Return why `name` is not one plain name of a file; empty where it is."""
    if not name:
        return "it has no name"
    if name in {".", ".."} or "/" in name or "\\" in name:
        return "its name is a path"
    if not name.isprintable():
        return "its name holds what cannot be printed"
    if len(name.encode()) > LONGEST_PATH:
        return f"its name is longer than {LONGEST_PATH} bytes"
    return ""
