"""Text and URLs from outside made fit to be shown, and URLs fit to be requested. Pure; linear in the text."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

MAX_TEXT: Final = 500
"""Characters of a scrubbed text."""

MAX_URL: Final = 16384
"""Characters of a URL, once encoded; a longer one is no URL of the provider's."""

# ---------------------------------------------------------------------- characters

_TERMINAL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x9c|\x1b\\)?"  # OSC, DCS and kin: titles, links
    r"|\x1b[ -/]*[0-~]?"
)
_BLANK = re.compile(r"[\s\u2028\u2029]+")
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)

_SHAPELESS = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_MARKS = {"Mn", "Me", "Mc"}
_FROM_RIGHT = {"R", "AL", "AN"}
MOST_MARKS: Final = 2
"""Marks on one letter that are shown as they are."""


# Codecs are files, read at first use: a process that is out of descriptors could read none.
_escaped = codecs.getencoder("unicode_escape")
_to_ascii = codecs.getencoder("idna")
codecs.lookup("punycode")  # idna's own


def without_controls(text: str) -> str:
    """Return `text` on one line, without terminal escapes, control and formatting characters."""
    return _BLANK.sub(" ", _UNPRINTABLE.sub("", _TERMINAL.sub("", text)))


def printable(text: str, instead: str = " ") -> str:
    """Replace every character that is not printable (controls, direction marks, line ends) by `instead`."""
    return "".join(c if c.isprintable() else instead for c in text)


def visible(text: str) -> str:
    """Write every character that a terminal would not show, or would show elsewhere, as its escape.

    Those are what is not printable; what is blank or has no shape of its own; marks beyond two on one letter, which
    cover the lines around; and letters that are written from right to left, which reorder what stands beside them.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible_letters(text))


def _visible_letters(text: str) -> Iterator[str]:
    marks = 0
    for letter in text:
        marks = marks + 1 if unicodedata.category(letter) in _MARKS else 0
        plain = letter.isprintable() and marks <= MOST_MARKS and not _SHAPELESS.match(letter)
        reorders = unicodedata.bidirectional(letter) in _FROM_RIGHT
        yield letter if plain and not reorders else _escaped(letter)[0].decode("ascii")


# ---------------------------------------------------------------------- URLs inside text

_URL_IN_TEXT = re.compile(r"([A-Za-z0-9+.-]{0,16})(?::(?:\\{0,4}/){2}|%3[Aa]%2[Ff]%2[Ff])(\S*)")
_QUERY_IN_TEXT = re.compile(r"\?[^\s?]*=\S*")
_BOT_TOKEN = re.compile(r"\bbot\d+(?::|%3[Aa])[\w-]+")
_AFTER_SCHEME = re.compile(r"://([^\s\"<>]*)")
_PARAMETER = re.compile(r"[?&][\w.%\[\]-]{1,100}=[^\s\"<>&]*")


def scrub(text: str) -> str:
    """Return `text` fit for logs: one printable line of at most MAX_TEXT characters.

    URLs are reduced to scheme and host, for paths can hold tokens (Telegram's do). Terminal escapes and control
    characters are removed.
    """
    return bare(text).strip()[:MAX_TEXT].rstrip()


def bare(text: str) -> str:
    """Return `text` without controls and with its URLs reduced to scheme and host, however disguised."""
    # Twice: a terminal escape may have hidden a part of a URL.
    return without_urls(without_controls(without_urls(text)))


def without_urls(text: str) -> str:
    """Return `text` with its URLs reduced to scheme and host, and without queries and bot tokens."""
    if not (":" in text or "%" in text or "?" in text):  # as nearly all keys and names
        return text
    text = _URL_IN_TEXT.sub(lambda url: f"{url[1]}://{_host_in(url[2])}", text)
    return _BOT_TOKEN.sub("bot", _QUERY_IN_TEXT.sub("", text))


def without_queries(text: str) -> str:
    """Return `text` with its URLs as far as their path: without user info, query and fragment."""
    return _PARAMETER.sub("", _AFTER_SCHEME.sub(_without_query, text))


def _without_query(url: re.Match[str]) -> str:
    rest = url[1]
    kept = re.split(r"[?#]", rest, maxsplit=1)[0]
    closing = "" if kept == rest else rest[len(rest.rstrip(")]}'.,;")) :]
    authority, slash, path = kept.partition("/")
    return f"://{authority.rpartition('@')[2]}{slash}{path}{closing}"


# ---------------------------------------------------------------------- one URL

_LONGEST_HOST: Final = 255
_AFTER_AUTHORITY = re.compile(r"[/?#\\%]")
_USER_IN_PATH = re.compile(r"://[^/]*@")
_MAY_STAND = re.compile(r"[A-Za-z0-9/:?#@!$&'()*+,;=~._-]*")
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5}(?!\d))?")
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,15})://(?P<authority>[^/?#\\]*)(?P<path>[^?#]*)(?P<query>(?:\?[^#]*)?)(?:#.*)?",
    re.DOTALL,
)


def shown_url(url: str) -> str:
    """Return `url` fit for logs and manifests: without query, fragment and user info, printable ASCII.

    A bot token in the path is removed too. Text that is no URL is cut at its first `?` or `#` and scrubbed.
    """
    parts = _URL.fullmatch(url.strip())
    if parts is None:
        return scrub(re.split(r"[?#]", url, maxsplit=1)[0])
    path = _USER_IN_PATH.sub("://", _BOT_TOKEN.sub("bot", parts["path"]))
    return f"{parts['scheme'].lower()}://{_host_in(parts['authority'])}{_encoded(path)}"[:MAX_URL]


def host_of(url: str) -> str:
    """Return the host, and the port if any, that a URL names, in lower case; empty where it names none."""
    parts = _URL.fullmatch(url.strip())
    return "" if parts is None else _host_in(parts["authority"]).lower()


def usable_url(text: str) -> str | None:
    """Return `text` as it must be requested, percent-encoded once, without fragment; None if it is no http(s) URL."""
    parts = _URL.fullmatch(text.strip())
    if parts is None or parts["scheme"].lower() not in ("http", "https"):
        return None
    userinfo, at, host = parts["authority"].rpartition("@")
    host = _ascii_host(host).removesuffix(":")
    if not _HOST.fullmatch(host) or parts["path"][:1] not in ("", "/"):
        return None
    url = f"{parts['scheme'].lower()}://{_encoded(userinfo)}{at}{host}{_encoded(parts['path'] + parts['query'])}"
    return url if len(url) <= MAX_URL else None


_ESCAPED_AMPERSAND: Final = re.compile(r"(?i)&amp;")


def unescaped_url(url: str) -> str:
    """Return the address that `url` is as HTML writes it, with `&amp;` between its fields; empty where it has none."""
    found = _ESCAPED_AMPERSAND.sub("&", url)
    return "" if found == url else found


INLINE: Final = "sha256:"
"""The beginning of what is shown of a stem that stands in the record: the hash of its file, in the place of a URL."""


def is_address(text: str) -> bool:
    """Return whether the shown URL of a stem is one, not the reason why there is none."""
    return text.startswith(("https://", "http://"))


def _host_in(rest: str) -> str:
    """Return the host and port of a URL's text after its `//`."""
    authority = _AFTER_AUTHORITY.split(rest, maxsplit=1)[0].rpartition("@")[2]
    host = _HOST.match(_ascii_host(authority))
    return host[0] if host else ""


def _ascii_host(host: str) -> str:
    try:
        return host if host.isascii() else _to_ascii(host[:_LONGEST_HOST])[0].decode("ascii")
    except UnicodeError:
        return ""


def header_safe(text: str, most: int = 500) -> str:
    """Return `text` as printable ASCII of at most `most` characters: all else, and `%`, is percent-encoded UTF-8.

    S3 bounds all of an object's metadata by 2 KB together.
    """
    safe = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
    found = ""
    for letter in text:
        encoded = quote(letter, safe=safe, errors="surrogatepass")
        if len(found) + len(encoded) > most:
            break
        found += encoded
    return found.strip()


def _encoded(text: str) -> str:
    """Percent-encode what may not stand in a URL; escapes that stand there already are left."""
    if _MAY_STAND.fullmatch(text):
        return text
    whole = _BARE_PERCENT.sub("%25", text)
    return quote(whole, safe="%/:?#@!$&'()*+,;=~-._", errors="surrogatepass")
