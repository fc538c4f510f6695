"""A record-info as a whole: how far the task is, and which audio there is.

Every byte comes from outside: reading never raises, and no URL query, fragment, password or path token gets
into a name, a message or the document.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from archiver.core.model import Phase, RecordInfo, StemSource
from archiver.core.records.document import document_of
from archiver.core.records.extractors.results import results_of
from archiver.core.records.facts import Facts
from archiver.core.records.facts_of import facts_of
from archiver.core.records.fields import code_of, first_of, json_in, moment_of, text_of, unwrapped
from archiver.core.records.items import named
from archiver.core.records.kinds.names import KindName
from archiver.core.records.kinds.row import Kind
from archiver.core.records.kinds.table import KINDS
from archiver.core.records.left_out import LeftOut
from archiver.core.records.names import MAX_NAME, words_of
from archiver.core.records.separation import FLAT_STEMS, audio_of
from archiver.core.text import scrub

_Read = tuple[tuple[StemSource, ...], tuple[LeftOut, ...], Facts]


def record_of(data: object, kind: KindName = KindName.SEPARATION) -> RecordInfo:
    """Read an envelope's `data` as a record of this kind; never raises. URLs decide; the flag is a hint.

    None is Phase.ABSENT. What cannot be understood is Phase.PENDING: asking again costs little.
    """
    if data is None:
        return RecordInfo(Phase.ABSENT, kind=kind)
    data = _lone(unwrapped(data))
    if not isinstance(data, dict):
        return RecordInfo(Phase.PENDING, document=document_of(data), kind=kind)
    row = KINDS[kind]
    flag = _flag(data, row)
    phase = row.phase_of(flag)
    stems, left_out, facts = (_separation if kind is KindName.SEPARATION else _results)(data, row, phase)
    return RecordInfo(
        phase=phase,
        stems=stems,
        flag=flag,
        created_at=moment_of(_first(data, row.times[0])) or facts.began,
        completed_at=moment_of(_first(data, row.times[1])),
        error_code=_error_code(_first(data, row.error_fields[0]), row),
        error_message=scrub(text_of(_first(data, row.error_fields[1]))),
        document=document_of(data),
        left_out=left_out,
        kind=kind,
        facts=facts,
    )


def _lone(data: object) -> object:
    """Return the object that a list holds alone; all else as it is."""
    return data[0] if isinstance(data, list) and len(data) == 1 else data


def record_in(document: str, kind: KindName = KindName.SEPARATION) -> RecordInfo:
    """Read the record that was kept as `document`; never raises. Its links have lost their queries."""
    return record_of(json_in(document), kind)


def _separation(data: Mapping[str, object], row: Kind, phase: Phase) -> _Read:
    audio, left_out = audio_of(data, beside=phase is Phase.DONE)
    return named(audio, awaited=_awaited(phase)), tuple(left_out), facts_of(data, row)


def _results(data: Mapping[str, object], row: Kind, phase: Phase) -> _Read:
    results = results_of(data, row)
    stems = named([*results.items.values()], awaited=_awaited(phase))
    return stems, tuple(results.left_out.values()), facts_of(data, row, tuple(results.tracks.values()), results.title)


def _awaited(phase: Phase) -> Collection[str]:
    """Return the names that fields may yet come to own."""
    return FLAT_STEMS if phase is Phase.PENDING else ()


def _first(data: Mapping[str, object], *keys: str) -> object:
    """Return the first value that is neither null nor blank, each key also in snake case."""
    value = first_of(data, *keys)
    return first_of(data, *map(words_of, keys)) if value is None else value


def _flag(data: Mapping[str, object], row: Kind) -> str:
    raw = _first(data, *row.phase_fields)
    if isinstance(raw, str):
        return scrub(raw)[:MAX_NAME]
    number = code_of(int(raw) if isinstance(raw, bool) else raw)
    return "" if number is None else str(number)


def _error_code(value: object, row: Kind) -> int | None:
    code = code_of(value)
    return None if code in row.no_error else code
