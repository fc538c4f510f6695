"""The alphabet of names: lower-case words joined by `_`."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from archiver.core.text import scrub

MAX_NAME: Final = 64
"""Characters of a name."""

_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def words_of(text: str) -> str:
    """Return `text` as lower-case ASCII words joined by `_`: `backingVocals` as `backing_vocals`."""
    return _words_of_key(text) if len(text) <= MAX_NAME else _words_of(text)


def _words_of(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", _WORD_STARTS.sub("_", plain).lower()).strip("_")


_words_of_key = lru_cache(1024)(_words_of)
"""Records have the same keys again and again."""


def joined(name: str, *tails: str) -> str:
    """Return `name` and `tails` joined by `_`, at most MAX_NAME characters, never empty nor a sidecar's name."""
    tail = "".join(f"_{part}" for part in tails if part)[: MAX_NAME // 2]
    base = name[: MAX_NAME - len(tail)].strip("_") or "stem"
    whole = f"{base}{tail}"
    return "stem_manifest" if whole == "manifest" else whole


def slug_of(text: str) -> str:
    """Return `text` as `words_of` does, without what it may hold of URLs."""
    return words_of(scrub(text))


def field_name(key: str) -> str:
    """Return a key as one word of a path, never empty."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", scrub(key))[:MAX_NAME] or "_"
