"""Rules for one value each. Every rule returns the value or raises ValueError.

No message repeats a value that may hold a secret.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic import AfterValidator, SecretStr

from archiver.core.model import DEFAULT_ACCOUNT, account_name
from archiver.settings.units import parse_interval

SQLITE = "sqlite:///"
LONGEST_SPAN = timedelta(days=3650)

_TAG_NAME = re.compile(r"[A-Za-z0-9 +=._:/@-]{1,128}")
_TAG_VALUE = re.compile(r"[A-Za-z0-9 +=._:/@-]{0,256}")
_FILE_PATTERN = re.compile(r"[a-z0-9_*?-]{1,80}")
_HOST_PORT = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9-]{1,63}\.)*+[A-Za-z0-9-]{1,63}):([0-9]{1,5})",
)


def span_of_time(span: timedelta) -> timedelta:
    """Let no span through that is zero, negative, or so long that the dates it leads to cannot be told."""
    if span <= timedelta():
        raise ValueError("must be longer than 0s")
    if span > LONGEST_SPAN:
        raise ValueError(f"must be {LONGEST_SPAN.days}d at most")
    return span


def interval(value: object) -> timedelta:
    """Read `off`, which is a span of zero, or a span of a minute or more."""
    span = parse_interval(value)
    if span and span < timedelta(minutes=1):
        raise ValueError("must be 1m or more, or off")
    return span_of_time(span) if span else span


def days(span: timedelta) -> timedelta:
    """Let no span through that is shorter than a day, but for `off`."""
    if span and span < timedelta(days=1):
        raise ValueError("must be 1d or more, or off")
    return span


def at_least_one(number: int) -> int:
    """Let no number through that is zero or negative."""
    if number < 1:
        raise ValueError("must be 1 or more")
    return number


def none_or_more(number: int) -> int:
    """Let no number through that is negative."""
    if number < 0:
        raise ValueError("must be 0 or more")
    return number


def not_negative(amount: float) -> float:
    """Let no amount through that is below zero, or none."""
    if not 0 <= amount < math.inf:
        raise ValueError("must be an amount, 0 or more")
    return amount


def file_patterns(patterns: Sequence[str]) -> Sequence[str]:
    """Let nothing through that can be no file's name or class of media; write them in lower case."""
    lowered = tuple(pattern.lower() for pattern in patterns)
    if not all(_FILE_PATTERN.fullmatch(pattern) for pattern in lowered):
        raise ValueError("must be audio, image, video, text, or names of files such as lyrics-*")
    return lowered


def matching(pattern: str, meaning: str) -> Callable[[str], str]:
    """Return a rule for texts that match `pattern` as a whole; `meaning` says so in words."""
    rule = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not rule.fullmatch(text):
            raise ValueError(f"must be {meaning}")
        return text

    return check


host = matching(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|[0-9a-f:]+", "host names such as cdn.example.com")


def lower(value: object) -> object:
    """Make capitals not matter."""
    return value.lower() if isinstance(value, str) else value


def key(text: str) -> str:
    """Return `text` as an API key; raise ValueError, without echoing it, when it cannot be one."""
    if not text:
        raise ValueError("is empty")
    if "\n" in text or "\r" in text:
        raise ValueError("holds a line break: expected one line with the key and nothing else")
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("holds a space, a control character or a character outside ASCII")
    return text


def secret_key(secret: SecretStr) -> SecretStr:
    """Judge an API key as `key` does."""
    return SecretStr(key(secret.get_secret_value()))


def further_account(name: str) -> str:
    """Judge the name of an account beside the default one, which `provider.api_key` is."""
    if account_name(name) == DEFAULT_ACCOUNT:
        raise ValueError(f"must not be {DEFAULT_ACCOUNT}: that is the account of provider.api_key")
    return name


class HasName(Protocol):
    """A setting with a name."""

    @property
    def name(self) -> str:
        """The name."""


T = TypeVar("T", bound=HasName)


def all_named(items: tuple[T, ...]) -> tuple[T, ...]:
    """Let no two have the same name."""
    names = [item.name for item in items]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"has more than one of the name {', '.join(twice)}")
    return items


def _split(url: str, *schemes: str) -> SplitResult:
    """Split a URL whose every part can be used; the messages never repeat it, for it may hold a password."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0 and re.fullmatch(r"[!-~]+", url)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("is no URL" if "://" in url else f"must begin with {_either(schemes)}, then the host")
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {_either(schemes)}")
    if parts.query or parts.fragment:
        raise ValueError("must have no query and no fragment")
    return parts


def _either(schemes: Sequence[str]) -> str:
    return " or ".join(f"{scheme}://" for scheme in schemes)


def _without_password(parts: SplitResult) -> SplitResult:
    if "@" in parts.netloc:
        raise ValueError("must have no user or password in it")
    return parts


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def base_url(url: str) -> str:
    """Return the provider's origin: scheme, host and port; http for loopback only."""
    parts = _without_password(_split(url, "https", "http"))
    if parts.path not in {"", "/"}:
        raise ValueError("must have no path")
    if parts.scheme == "http" and not _loopback(parts.hostname or ""):
        raise ValueError("must begin with https:// (http:// is for loopback only: the key would travel in the clear)")
    return f"{parts.scheme}://{parts.netloc}"


def endpoint(url: str) -> str:
    """Return an S3 endpoint; some gateways have a path, none has a user or a query."""
    return urlunsplit(_without_password(_split(url, "https", "http"))).rstrip("/")


def proxy(secret: SecretStr) -> SecretStr:
    """Judge a proxy that is spoken to by http, as a tunnel for https; it may hold a user and a password."""
    url = secret.get_secret_value()
    if _split(url, "http").path not in {"", "/"}:
        raise ValueError("must have no path")
    return secret


def bucket(name: str) -> str:
    """Judge a bucket's name by Amazon S3's rules; empty means not set."""
    if "/" in name or name.startswith("arn:"):
        raise ValueError("must be the bucket's name alone: no s3://, no prefix (store.prefix), no host, no ARN")
    if name and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name):
        raise ValueError("must be 3 to 63 of a-z 0-9 . - and begin and end with a letter or digit")
    if re.search(r"\.\.|\.-|-\.", name) or re.fullmatch(r"[0-9.]+", name):
        raise ValueError("must not look like an address, nor hold two dots, or a dot and a dash, side by side")
    return name


def prefix(text: str) -> str:
    """Return what object keys begin with: empty, or ending in one slash and beginning with none."""
    text = text.strip("/")
    if not text:
        return ""
    if not re.fullmatch(r"[A-Za-z0-9!_.*'()=/-]{1,512}", text):
        raise ValueError("must be at most 512 of A-Z a-z 0-9 ! _ . * ' ( ) = / -")
    if {"", ".", ".."} & set(text.split("/")):
        raise ValueError("must have no empty, `.` or `..` part")
    return f"{text}/"


def tags(pairs: Mapping[str, str]) -> Mapping[str, str]:
    """Judge object tags by Amazon S3's rules."""
    if len(pairs) > 10:  # noqa: PLR2004 - Amazon S3 takes ten tags on an object
        raise ValueError("must be at most 10 tags")
    for name, text in pairs.items():
        if not _TAG_NAME.fullmatch(name) or not _TAG_VALUE.fullmatch(text):
            raise ValueError("must be names (1 to 128) and values (up to 256) of A-Z a-z 0-9 space + - = . _ : / @")
    return pairs


def listen(text: str) -> str:
    """Judge host:port, an IPv6 address in brackets; empty means off, port 0 any free one."""
    found = _HOST_PORT.fullmatch(text)
    if text and not (found and int(found[1]) <= 65535):  # noqa: PLR2004 - the highest port
        raise ValueError("must be host:port such as 127.0.0.1:9464 or [::1]:9464, or empty for off")
    return text


def web_address(secret: SecretStr) -> SecretStr:
    """Judge an http or https URL, also one with a query, whose every part may be a secret."""
    _split(secret.get_secret_value().partition("?")[0], "https", "http")
    return secret


def ledger_url(url: str) -> str:
    """Judge the ledger's URL: SQLite in a file, since a ledger in memory forgets, or a PostgreSQL database."""
    if url.startswith("postgresql"):
        return _server_url(url)
    path = url.removeprefix(SQLITE)
    _require_letters(path)
    if path in {url, "", ":memory:"} or "?" in path or "#" in path or not path.isprintable():
        raise ValueError("must be sqlite:/// and the path of a file, or postgresql+psycopg://USER@HOST/DATABASE")
    return url


def queue_path(path: Path) -> Path:
    """Judge the queue file's path, which the ledger keeps as text."""
    text = str(path)
    _require_letters(text)
    if "\0" in text:
        raise ValueError("holds a NUL")
    return path


QueuePath = Annotated[Path, AfterValidator(queue_path)]


def _require_letters(path: str) -> None:
    """Raise ValueError for bytes that are no text here: no database takes them, and no other locale reads them."""
    if any("\ud800" <= letter <= "\udfff" for letter in path):
        raise ValueError("has letters that this locale cannot read; set LC_ALL=C.UTF-8, or PYTHONUTF8=1")


def _server_url(url: str) -> str:
    """Judge what libpq is to connect to; no host is this machine's, a query holds more of libpq's parameters."""
    try:
        parts = urlsplit(url)
        usable = parts.port != 0 and re.fullmatch(r"[!-~]+", url) and not parts.fragment
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("is no URL: write what is special in a user or password as %XX")
    if parts.scheme not in {"postgresql", "postgresql+psycopg"}:
        raise ValueError("must begin with postgresql+psycopg://")
    if not re.fullmatch(r"/[^/]+", parts.path):
        raise ValueError("must name the database after the host: postgresql+psycopg://USER@HOST/DATABASE")
    return url
