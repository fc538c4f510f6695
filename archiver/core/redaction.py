"""Values made fit to be shown: no secret, no URL query, no control character, bounded text. Pure."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, timedelta
from urllib.parse import quote, quote_plus

from archiver.core.text import visible, without_queries

LONGEST = 2_000
"""Characters of a text that are shown."""

MASK = "***"

SHORTEST_SECRET = 4
"""Characters; masking a shorter secret would blank ordinary words."""

_DEEPEST = 8
_SHORTEST_FRAGMENT = 8
_BEARER = re.compile(r"\bbearer\s+[^\s\"',]+", re.IGNORECASE)

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
"""A value of JSON."""


class Cleaner:
    """Masks the secrets in every spelling that a log may contain."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._spellings: frozenset[str] = frozenset()
        self._secrets: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these, too, from now on."""
        new = {way for secret in secrets if len(secret) >= SHORTEST_SECRET for way in _spellings(secret)}
        if new <= self._spellings:
            return
        self._spellings |= new
        longest_first = sorted(self._spellings, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """Return `text` on one line of bounded length, without secrets, URL queries, fragments and user infos."""
        text = _BEARER.sub(f"Bearer {MASK}", without_queries(self._masked(text)))
        # Twice: removing and escaping may have joined the halves of a secret.
        text = self._masked(visible(text))
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 40]}... ({len(text)} characters)"

    def value(self, value: object, depth: int = 0) -> Plain:
        """Return `value` as plain JSON with every text in it clean, keys included; never raises."""
        try:
            match value:
                case None | bool():
                    return value
                case int() | float():
                    return self._number(value)
                case Mapping() | list() | tuple() | AbstractSet() if depth >= _DEEPEST:
                    return "..."
                case Mapping():
                    return {self.text(_text_of(key)): self.value(inner, depth + 1) for key, inner in value.items()}
                case list() | tuple() | AbstractSet():
                    return [self.value(inner, depth + 1) for inner in value]
                case _:
                    return self.text(_text_of(value))
        except Exception:  # noqa: BLE001 - an object that cannot show itself must not cost the whole line
            return f"<unprintable {self.text(type(value).__name__)}>"

    def _number(self, number: float) -> Plain:
        text = str(number)
        if self._masked(text) != text:
            return MASK
        return number if math.isfinite(number) else text

    def _masked(self, text: str) -> str:
        return text if self._secrets is None else self._secrets.sub(MASK, text)


def _text_of(value: object) -> str:
    match value:
        case str():
            return str(value)
        case bytes() | bytearray():
            return value.decode("utf-8", "backslashreplace")
        case date():
            return value.isoformat()
        case timedelta():
            return f"{value.total_seconds():g}s"
        case BaseException():
            return f"{type(value).__name__}: {value}"
        case _:
            return str(value)


def _spellings(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    for quoted in (quote(raw), quote(raw, safe=""), quote_plus(raw)):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), quoted)
    yield repr(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    for encoded in (base64.b64encode, base64.urlsafe_b64encode):
        yield encoded(raw).decode("ascii").rstrip("=")
        for before in range(3):
            # Inside longer data the ends depend on the neighbours: only the digits in between are the secret's own.
            first, last = -(-8 * before // 6), 8 * (before + len(raw)) // 6
            fragment = encoded(b"\0" * before + raw).decode("ascii")[first:last]
            if len(fragment) >= _SHORTEST_FRAGMENT:
                yield fragment
