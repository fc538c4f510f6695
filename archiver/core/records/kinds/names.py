"""The names of the kinds, and of what their records may bring."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class KindName(StrEnum):
    """A kind of the provider's jobs, as queue lines, the ledger and manifests name it."""

    SEPARATION = "separation"
    JOBS = "jobs"
    MUSIC = "music"
    WAV = "wav"
    MP4 = "mp4"
    MIDI = "midi"
    COVER = "cover"
    LYRICS = "lyrics"
    VEO = "veo"
    RUNWAY = "runway"
    ALEPH = "aleph"
    IMAGE_4O = "4o-image"
    FLUX = "flux"


AUTO: Final = (KindName.SEPARATION, KindName.JOBS, KindName.MUSIC)
"""The kinds that are asked in turn about an id whose kind is not known."""


class Media(StrEnum):
    """A class of files; the first bytes of each decide whether it is one."""

    AUDIO = "audio"
    IMAGE = "image"
    VIDEO = "video"
    TEXT = "text"
    """Written by us out of the record: JSON, MIDI, lyrics."""
