"""The row of a kind: everything that tells its records from those of other kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from archiver.core.model import Phase
from archiver.core.records.envelope import MAX_ANSWER
from archiver.core.records.kinds.names import KindName, Media


class Extractor(StrEnum):
    """A shape that results come in; `urls` and `array` read whatever address no other one claims."""

    URLS = "urls"
    ORIGIN_DATA = "originData"
    ARRAY = "array"
    TRACKS = "tracks"
    JSON = "json"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class Retention:
    """The spans from a task's creation on."""

    urgency: timedelta
    """Until its files may be gone: what orders tasks, and raises alarms."""
    giving_up: timedelta
    """Until a loss is called likely."""


TWO_WEEKS: Final = Retention(timedelta(days=14), timedelta(days=14))

WORDS: Final[Mapping[str, Phase]] = {"PENDING": Phase.PENDING, "SUCCESS": Phase.DONE, "CALLBACK_EXCEPTION": Phase.DONE}
"""In upper case. CALLBACK_EXCEPTION: the webhook could not be delivered; the result exists, and was billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of the provider's records."""

    name: KindName
    path: str
    """Below the provider's base URL."""
    parameter: str = "taskId"
    phase_fields: tuple[str, ...] = ("successFlag", "status")
    phases: Mapping[str, Phase] = field(default_factory=lambda: WORDS)
    """By word in upper case, or by integer as text; see `phase_of` for all others."""
    absent: frozenset[int | None] = frozenset((None, 404, 422))
    """The codes of an answer that knows no such record; None: its `data` is null."""
    extractors: tuple[Extractor, ...] = (Extractor.URLS, Extractor.ARRAY)
    inputs: tuple[str, ...] = ()
    """Keys, in the alphabet of names, of what the user gave, beside those that every kind may have."""
    error_fields: tuple[str, str] = ("errorCode", "errorMessage")
    no_error: frozenset[int | None] = frozenset((None, 0, 200))
    times: tuple[str, str] = ("createTime", "completeTime")
    retention: Retention = TWO_WEEKS
    media: tuple[Media, ...] = (Media.AUDIO,)
    """The classes that its records may bring; of the first is what tells nothing else of itself."""
    parents: tuple[str, ...] = ("musicId", "audioId")
    """The fields that name what the task was made from, by their path; `…taskId`: a task, else a track."""
    max_answer: int = MAX_ANSWER
    """Bytes; a longer answer is not read."""
    empty_is_answer: bool = False
    """True where a finished record without files is complete."""

    def phase_of(self, flag: str) -> Phase:
        """Read the flag. An unknown word is FAILED where it holds FAIL or ERROR, else PENDING: never DONE."""
        word = flag.upper()
        known = self.phases.get(word) or WORDS.get(word)
        if known is not None:
            return known
        return Phase.FAILED if "FAIL" in word or "ERROR" in word else Phase.PENDING
