"""The record as it is kept beside the audio: its own JSON, with no secret left in it."""

from __future__ import annotations

import json
import math
import re
from typing import Final

from archiver.core.records.fields import json_in
from archiver.core.records.others import addresses_in
from archiver.core.text import bare, scrub, shown_url, without_controls, without_urls

_MAX_DEPTH: Final = 64
_LONGEST_INT: Final = 4096
"""Bits."""

_URL_KEY = re.compile(r"(?i)(?:url|uri|link|href)s?$")
_CALLBACK_KEY = re.compile(r"(?i)call_?back|web_?hook")
_MESSAGE_KEY = re.compile(r"(?i)(?:message|msg|reason)$")


def document_of(data: object) -> str:
    """Return `data` as ASCII JSON in its own order, with nothing secret left in it; never raises.

    URLs stand without query, fragment and userinfo, callback URLs and those inside free text as scheme
    and host; messages are scrubbed, and so is JSON inside strings. What no JSON can hold becomes null.
    """
    return json.dumps(_cleaned(data, "", _MAX_DEPTH), ensure_ascii=True)


def text_as_kept(text: str) -> str:
    """Return a text as it stands in the document, fit to be written as UTF-8."""
    kept = _cleaned_text(text, "", _MAX_DEPTH)
    return kept.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _cleaned(value: object, key: str, depth: int) -> object:
    if isinstance(value, str):
        return _cleaned_text(value, key, depth)
    if depth == 0:
        return None
    if isinstance(value, dict):
        return {_hidden(name): _cleaned(item, name, depth - 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, key, depth - 1) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):  # Python refuses to print integers of more than 4300 digits
        return value if value.bit_length() <= _LONGEST_INT else None
    return None


def _cleaned_text(text: str, key: str, depth: int) -> str:
    if _MESSAGE_KEY.search(key):
        return scrub(text)
    inner = json_in(text) if depth else None
    if inner is not None:
        # ASCII only at the outermost level: escapes of escapes double with every level of nesting.
        return json.dumps(_cleaned(inner, key, depth - 1), ensure_ascii=False)
    if _CALLBACK_KEY.search(key):
        return scrub(re.split(r"[?#]", text, maxsplit=1)[0])
    if _URL_KEY.search(key) or re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]*://", text):
        return " ".join(map(shown_url, addresses_in(text)))
    return _hidden(text)


def _hidden(text: str) -> str:
    """Return `text` as it came where it holds no URL, however disguised; else printable and without its URLs."""
    if text.isascii() and text.isidentifier():  # as nearly all keys are
        return text
    shown = bare(text)
    return text if shown == without_controls(text) and without_urls(text) == text else shown
