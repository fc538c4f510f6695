# ruff: noqa: PLR2004 - bit fields and reserved values, as the formats lay them out
"""Frames of sound, one behind the other without a container: MPEG audio, ADTS, LATM, AC-3, transport streams."""

from __future__ import annotations

from collections.abc import Callable

from archiver.adapters.downloader.formats import AAC, AC3, EAC3, LATM, MP3, TS, Container

# MPEG audio, ISO 11172-3 and 13818-3: kbit/s by (version 1, layer), else (version 2 or 2.5, layer).
_KBITS = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MPEG_HEADER = 4
_ADTS_HEADER = 7
_AC3_HEADER = 6
_AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_HERTZ = (48000, 44100, 32000)

Frame = tuple[int, tuple[int, ...]]
"""A frame's length in bytes, and what all frames of one stream have in common."""


def by_frames(head: bytes, *, whole: bool) -> Container | None:
    """Look for two frames in a row that agree; some encoders put padding or a tag before the first."""
    at = head.find(b"\xff")
    while at >= 0:
        for container, frame in ((MP3, mpeg_frame), (AAC, _adts_frame)):
            if _is_stream(head, at, frame, whole=whole):
                return container
        at = head.find(b"\xff", at + 1)
    return _by_first_frame(head, whole=whole)


def _by_first_frame(head: bytes, *, whole: bool) -> Container | None:
    """Return the container whose frames begin with the first byte: their marks are too common to look for them."""
    if head[:1] == b"G" and len(head) > 4 * 188 and all(head[at] == 0x47 for at in range(0, 5 * 188 - 187, 188)):
        return TS
    if head[4:5] == b"G" and len(head) > 4 + 4 * 192 and all(head[at] == 0x47 for at in range(4, 4 + 4 * 192 + 1, 192)):
        return TS
    if _is_stream(head, 0, _latm_frame, whole=whole):
        return LATM
    if _is_stream(head, 0, _ac3_frame, whole=whole):
        return EAC3 if head[5] >> 3 > 10 else AC3
    return None


def _is_stream(head: bytes, at: int, frame: Callable[[bytes, int], Frame | None], *, whole: bool) -> bool:
    first = frame(head, at)
    if first is None:
        return False
    second = frame(head, at + first[0])
    alone = whole and at == 0 and first[0] == len(head)
    return alone or (second is not None and second[1] == first[1])


def mpeg_frame(head: bytes, at: int) -> Frame | None:
    """Return the frame of MPEG audio that begins there."""
    if len(head) < at + _MPEG_HEADER or head[at] != 0xFF or head[at + 1] & 0xE0 != 0xE0:
        return None
    version, layer = head[at + 1] >> 3 & 3, 4 - (head[at + 1] >> 1 & 3)
    kbits, hertz, padding = head[at + 2] >> 4, head[at + 2] >> 2 & 3, head[at + 2] >> 1 & 1
    if version not in _HERTZ or layer > 3 or kbits in {0, 15} or hertz == 3:
        return None
    rate = _KBITS[version == 3, layer][kbits - 1] * 1000
    if layer == 1:
        size = (12 * rate // _HERTZ[version][hertz] + padding) * 4
    else:
        size = samples_of(version, layer) // 8 * rate // _HERTZ[version][hertz] + padding
    return size, (version, layer, hertz)


def samples_of(version: int, layer: int) -> int:
    """Return the samples of a frame."""
    if layer == 1:
        return 384
    return 576 if layer == 3 and version != 3 else 1152


def hertz_of(version: int, hertz: int) -> int:
    """Return the sampling rate that a frame's two fields name."""
    return _HERTZ[version][hertz]


def _adts_frame(head: bytes, at: int) -> Frame | None:
    if len(head) < at + _ADTS_HEADER or head[at] != 0xFF or head[at + 1] & 0xF6 != 0xF0:
        return None
    hertz = head[at + 2] >> 2 & 15
    size = (head[at + 3] & 3) << 11 | head[at + 4] << 3 | head[at + 5] >> 5
    if hertz > 12 or size <= _ADTS_HEADER:
        return None
    return size, (head[at + 1], head[at + 2])


def _latm_frame(head: bytes, at: int) -> Frame | None:
    if len(head) < at + 3 or head[at] != 0x56 or head[at + 1] & 0xE0 != 0xE0:
        return None
    size = (head[at + 1] & 0x1F) << 8 | head[at + 2]
    return (size + 3, ()) if size else None


def _ac3_frame(head: bytes, at: int) -> Frame | None:
    if len(head) < at + _AC3_HEADER or head[at : at + 2] != b"\x0b\x77":
        return None
    version, code = head[at + 5] >> 3, head[at + 4]
    if version > 16:
        return None
    if version > 10:
        return 2 * (1 + ((head[at + 2] & 7) << 8 | head[at + 3])), ()
    if code >> 6 == 3 or (code & 0x3F) >> 1 >= len(_AC3_KBITS):
        return None
    hertz, kbits = _AC3_HERTZ[code >> 6], _AC3_KBITS[(code & 0x3F) >> 1]
    words = kbits * 96_000 // hertz
    return 2 * (words + (code & 1 if hertz == 44100 else 0)), (code >> 6,)
