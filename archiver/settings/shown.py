"""Settings as people may see them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from archiver.settings.model import FIELDS, KEYS, Settings, Written, value_of

_PASSWORD = re.compile(r"(?<=[?&])(\w*password=)[^&]*")


class Row(NamedTuple):
    """One setting as `config show` prints it."""

    key: str
    value: str
    """As it would be written in the file, without what is secret; empty when not set."""
    source: str


def masked(settings: Settings, sources: Mapping[str, str]) -> Sequence[Row]:
    """Return every setting with its source, secrets masked; `sources` as in Loaded."""
    return [Row(key, _masked(settings, key), sources[key]) for key in KEYS]


def _masked(settings: Settings, key: str) -> str:
    value = value_of(settings, key)
    written = next((mark for mark in FIELDS[key].metadata if isinstance(mark, Written)), None)
    if value is None:
        return ""
    if written is not None:
        return written.show(value)
    if key == "download.proxy":
        return masked_url(settings.download.proxy_url() or "")
    if key == "ledger.url":
        return masked_url(settings.ledger.url)
    if isinstance(value, Mapping):
        return ",".join(f"{name}={text}" for name, text in value.items())
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def masked_url(url: str) -> str:
    """Return `url` without its passwords, also those in its query."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    netloc = f"{name}:***@{host}" if at and ":" in user else parts.netloc
    # Not put together anew: that would lose slashes of a file's path, or of no host.
    before, _, after = url.partition(parts.netloc) if parts.netloc else (url, "", "")
    return _PASSWORD.sub(r"\1***", f"{before}{netloc}{after}")
