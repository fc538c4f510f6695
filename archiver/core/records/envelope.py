"""The envelope of the provider's answers: its own code and message around the data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, NoReturn

from archiver.core.records.fields import code_of, text_of
from archiver.core.text import MAX_TEXT, scrub

MAX_ANSWER: Final = 1 << 20
"""Bytes; a longer answer is not read. Real ones have a few thousand."""


class NotAnAnswer(ValueError):
    """The body is no JSON object that could be an answer: HTML, cut short, too long, too deep, NaN."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The wrapping of every answer of the provider's API."""

    code: int | None
    """The body's own verdict, 200 for success; None when it has none."""
    msg: str
    """Scrubbed."""
    data: object
    """As it came; None when null or absent."""


def read_envelope(body: bytes) -> Envelope:
    """Open the envelope of an answer; raise NotAnAnswer, whose message is scrubbed. Judges no code."""
    if len(body) > MAX_ANSWER:
        raise NotAnAnswer(f"the answer is longer than {MAX_ANSWER} bytes")
    try:
        answer = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        begin = scrub(body[:MAX_TEXT].decode("utf-8", "replace"))[:80]
        raise NotAnAnswer(f"the answer is not JSON, it begins {begin!r}") from None
    if not isinstance(answer, dict):
        raise NotAnAnswer("the answer is JSON, but no object")
    return Envelope(code=code_of(answer.get("code")), msg=scrub(text_of(answer.get("msg"))), data=answer.get("data"))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
