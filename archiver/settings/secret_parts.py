"""The parts of a URL that nobody may see."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from urllib.parse import unquote, urlsplit

_SHORTEST_PART = 8
"""Characters; what is shorter in a URL is a word such as `ping` or `api`."""


def secret_parts(url: str) -> AbstractSet[str]:
    """Return what may be a token or a password in a URL that is a secret as a whole: all but the name of a host."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    # In some of apprise's URLs a token stands where others have the host.
    token = "" if "." in host or host.startswith("localhost") else host
    words = {
        token,
        *user.split(":"),
        *parts.path.split("/"),
        *(word.partition("=")[2] for word in parts.query.split("&")),
    }
    return {way for word in words if len(word) >= _SHORTEST_PART for way in (word, unquote(word))}


def passwords(url: str) -> AbstractSet[str]:
    """Return the passwords in a URL, as they are written there and as they are meant; none for what is no URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return frozenset()
    query = [word.partition("=") for word in parts.query.split("&")]
    words = {parts.password or "", *(word for name, _, word in query if name.endswith("password"))}
    return {way for word in words - {""} for way in (word, unquote(word))}
