"""A record-info as a whole: how far the task is, and which audio there is.

Every byte comes from outside: reading never raises, and no URL query, fragment, password or path token gets
into a name, a message or the document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from archiver.core.model import Phase, RecordInfo
from archiver.core.records.audio import named
from archiver.core.records.document import document_of
from archiver.core.records.fields import code_of, first_of, json_in, moment_of, text_of
from archiver.core.records.left_out import LeftOut
from archiver.core.records.names import MAX_NAME
from archiver.core.records.separation import FLAT_STEMS, audio_of
from archiver.core.text import scrub


def record_of(data: object) -> RecordInfo:
    """Read an envelope's `data`; never raises. URLs decide; the flag is a hint.

    None is Phase.ABSENT. What cannot be understood is Phase.PENDING: asking again costs little.
    """
    if data is None:
        return RecordInfo(Phase.ABSENT)
    if not isinstance(data, dict):
        return RecordInfo(Phase.PENDING, document=document_of(data))
    flag = _flag(data)
    phase = _phase(flag)
    audio, left_out = audio_of(data)
    return RecordInfo(
        phase=phase,
        stems=named(audio, awaited=FLAT_STEMS if phase is Phase.PENDING else ()),
        flag=flag,
        created_at=moment_of(first_of(data, "createTime", "create_time")),
        completed_at=moment_of(first_of(data, "completeTime", "complete_time")),
        error_code=_error_code(first_of(data, "errorCode", "error_code")),
        error_message=scrub(text_of(first_of(data, "errorMessage", "error_message"))),
        document=document_of(data),
        left_out=tuple(left_out),
    )


def left_out_of(document: str) -> tuple[LeftOut, ...]:
    """Return what is left out of the record that `document` holds; never raises."""
    inner = json_in(document)
    return () if inner is None else record_of(inner).left_out


def _flag(data: Mapping[str, object]) -> str:
    raw = first_of(data, "successFlag", "success_flag", "status")
    if isinstance(raw, str):
        return scrub(raw)[:MAX_NAME]
    number = code_of(int(raw) if isinstance(raw, bool) else raw)
    return "" if number is None else str(number)


_PHASE_OF_NUMBER: Final = {"0": Phase.PENDING, "1": Phase.DONE, "2": Phase.PENDING, "3": Phase.FAILED}
"""The sibling endpoints' integers. They disagree about 2 (still running, or failed): asking again answers it."""


def _phase(flag: str) -> Phase:
    """Read the flag; an unknown one is PENDING."""
    word = flag.upper()
    # CALLBACK_EXCEPTION: the webhook could not be delivered; the audio exists, and was billed.
    if word in ("SUCCESS", "CALLBACK_EXCEPTION"):
        return Phase.DONE
    if word == "FAIL" or "FAILED" in word or "ERROR" in word:
        return Phase.FAILED
    return _PHASE_OF_NUMBER.get(word, Phase.PENDING)


_NO_ERROR: Final = frozenset({0, 200})


def _error_code(value: object) -> int | None:
    code = code_of(value)
    return None if code in _NO_ERROR else code
