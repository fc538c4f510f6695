"""The table of kinds. A new kind is a row here, and its examples in the tests.

Source: the provider's docs, and answers recorded by public clients. veo, runway, aleph, 4o-image and flux are read by
the documentation alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from archiver.core.model import Phase
from archiver.core.records.kinds.names import KindName, Media
from archiver.core.records.kinds.row import WORDS, Extractor, Kind, Retention

_LARGE: Final = 4 << 20
"""Bytes of an answer that holds whole results, MIDI say."""

_INTEGERS: Final = {"0": Phase.PENDING, "1": Phase.DONE, "2": Phase.FAILED, "3": Phase.FAILED}
_SEPARATION: Final = (Extractor.URLS, Extractor.ORIGIN_DATA)
_ALL: Final = (*_SEPARATION, Extractor.ARRAY, Extractor.TRACKS, Extractor.JSON, Extractor.TEXTS)
_MUSIC: Final = (Media.AUDIO, Media.IMAGE, Media.VIDEO, Media.TEXT)
_VIDEO: Final = (Media.VIDEO, Media.IMAGE)
_IMAGE: Final = (Media.IMAGE,)

_ROWS: Final = (
    Kind(
        name=KindName.SEPARATION,
        path="/api/v1/vocal-removal/record-info",
        # No integers are documented here, and the siblings' disagree about 2: asking again answers it.
        phases={**WORDS, **_INTEGERS, "2": Phase.PENDING},
        extractors=_SEPARATION,
    ),
    Kind(
        name=KindName.JOBS,
        path="/api/v1/jobs/recordInfo",
        phase_fields=("state", "successFlag", "status"),
        extractors=_ALL,
        error_fields=("failCode", "failMsg"),
        retention=Retention(urgency=timedelta(hours=24), giving_up=timedelta(days=14)),
        media=_MUSIC,
        parents=("param.input.task_id", "param.input.taskId", "param.input.audio_id", "param.input.audioId"),
        max_answer=_LARGE,
    ),
    Kind(
        name=KindName.MUSIC,
        path="/api/v1/generate/record-info",
        phase_fields=("status", "successFlag"),
        extractors=(Extractor.TRACKS, Extractor.URLS, Extractor.ARRAY),
        media=_MUSIC,
        parents=("parentMusicId",),
    ),
    Kind(name=KindName.WAV, path="/api/v1/wav/record-info"),
    Kind(name=KindName.MP4, path="/api/v1/mp4/record-info", media=_VIDEO),
    Kind(
        name=KindName.MIDI,
        path="/api/v1/midi/record-info",
        phases=_INTEGERS,
        extractors=(Extractor.JSON, Extractor.URLS, Extractor.ARRAY),
        media=(Media.AUDIO, Media.TEXT),
        parents=("audioId",),
        max_answer=_LARGE,
        empty_is_answer=True,
    ),
    Kind(
        name=KindName.COVER,
        path="/api/v1/suno/cover/record-info",
        phases={**_INTEGERS, "2": Phase.PENDING},
        media=_IMAGE,
        parents=("parentTaskId",),
    ),
    Kind(
        name=KindName.LYRICS,
        path="/api/v1/lyrics/record-info",
        phase_fields=("status", "successFlag"),
        extractors=(Extractor.TEXTS, Extractor.URLS, Extractor.ARRAY),
        media=(Media.AUDIO, Media.TEXT),
        parents=(),
    ),
    Kind(name=KindName.VEO, path="/api/v1/veo/record-info", phases=_INTEGERS, media=_VIDEO, parents=()),
    Kind(
        name=KindName.RUNWAY,
        path="/api/v1/runway/record-detail",
        phase_fields=("state", "successFlag", "status"),
        phases=_INTEGERS,
        inputs=("generate_param",),
        error_fields=("failCode", "failMsg"),
        media=_VIDEO,
        parents=(),
    ),
    Kind(name=KindName.ALEPH, path="/api/v1/aleph/record-info", phases=_INTEGERS, media=_VIDEO, parents=()),
    Kind(name=KindName.IMAGE_4O, path="/api/v1/gpt4o-image/record-info", phases=_INTEGERS, media=_IMAGE, parents=()),
    Kind(
        name=KindName.FLUX,
        path="/api/v1/flux/kontext/record-info",
        phases=_INTEGERS,
        inputs=("origin_image_url", "input_image"),
        media=_IMAGE,
        parents=(),
    ),
)

KINDS: Final[Mapping[KindName, Kind]] = {row.name: row for row in _ROWS}
"""Every kind by its name."""
