"""The envelope of the provider's answers: its own code and message around the data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, NoReturn

from archiver.core.records.blemished import NotJson, Reading, read_blemished
from archiver.core.records.fields import code_of, text_of
from archiver.core.records.pairs import object_from
from archiver.core.text import MAX_TEXT, scrub

MAX_ANSWER: Final = 1 << 20
"""Bytes; a longer answer is not read, unless its kind allows more. Most have a few thousand."""


class NotAnAnswer(ValueError):
    """The body is no JSON object that could be an answer: HTML, cut short, too long, too deep."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The wrapping of every answer of the provider's API."""

    code: int | None
    """The body's own verdict, 200 for success; None when it has none."""
    msg: str
    """Scrubbed."""
    data: object
    """As it came; None when null or absent."""
    blemish: str = ""
    """The fault of its JSON, and its place; empty for sound JSON. Repeats nothing of it."""


def read_envelope(body: bytes, charset: str = "", most: int = MAX_ANSWER) -> Envelope:
    """Open the envelope of an answer; raise NotAnAnswer, whose message is scrubbed. Judges no code.

    `charset` is the one that the answer says it is in; it counts only where the body is no UTF-8, -16 or -32.
    """
    if len(body) > most:
        raise NotAnAnswer(f"the answer is longer than {most} bytes")
    reading = _read(body, charset)
    answer = reading.value
    if not isinstance(answer, dict):
        raise NotAnAnswer("the answer is JSON, but no object")
    return Envelope(
        code=code_of(answer.get("code")),
        msg=scrub(text_of(answer.get("msg"))),
        data=answer.get("data"),
        blemish=reading.blemish,
    )


def _read(body: bytes, charset: str) -> Reading:
    try:
        return Reading(_DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass")))
    except (ValueError, RecursionError):
        pass
    try:
        return read_blemished(body, charset)
    except NotJson as fault:
        begin = scrub(body[:MAX_TEXT].decode("utf-8", "replace"))[:80]
        where = f" ({fault})" if str(fault) else ""
        raise NotAnAnswer(f"the answer is not JSON, it begins {begin!r}{where}") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=object_from)
