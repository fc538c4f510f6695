# ruff: noqa: PLR2004 - bit fields and reserved values, as the formats lay them out
"""The audio container that first bytes begin. It decides the extension; the URL and headers do not."""

from __future__ import annotations

import re
from dataclasses import dataclass

from archiver.core.text import printable

ENOUGH = 4096
"""Bytes that settle the question for every container below: two of the longest MP3 frames fit in."""


@dataclass(frozen=True, slots=True)
class Container:
    """A file format, as object keys and headers name it."""

    extension: str
    content_type: str


MP3 = Container("mp3", "audio/mpeg")
AAC = Container("aac", "audio/aac")
WAV = Container("wav", "audio/wav")
FLAC = Container("flac", "audio/flac")
OGG = Container("ogg", "audio/ogg")
OPUS = Container("opus", "audio/ogg")
M4A = Container("m4a", "audio/mp4")
MP4 = Container("mp4", "video/mp4")
AIFF = Container("aiff", "audio/aiff")
AIFC = Container("aifc", "audio/aiff")
WEBM = Container("webm", "audio/webm")
MKV = Container("mkv", "video/x-matroska")
CAF = Container("caf", "audio/x-caf")
WMA = Container("wma", "audio/x-ms-wma")

_ID3 = re.compile(rb"ID3[\x02-\x04][^\xff].[\x00-\x7f]{4}", re.DOTALL)
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_EBML = b"\x1a\x45\xdf\xa3"
_STILL_IMAGES = {b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"crx "}

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


def sniff(head: bytes, *, whole: bool = False) -> Container | None:
    """Return the container that `head` begins, None when it is no audio that we know.

    `head` is ENOUGH bytes, or `whole` is true and it is all there is.
    """
    if _ID3.match(head):
        return MP3
    return _by_magic(head) or _by_frames(head, whole=whole)


def _by_magic(head: bytes) -> Container | None:
    if head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return WAV
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return AIFF if head[8:12] == b"AIFF" else AIFC
    if head[:4] == b"OggS" and len(head) > len("OggS"):
        return OPUS if b"OpusHead" in head[:128] else OGG
    if head[4:8] == b"ftyp" and head[8:12] not in _STILL_IMAGES:
        return M4A if head[8:11] in {b"M4A", b"M4B", b"M4P"} else MP4
    if head.startswith(_EBML):
        return WEBM if b"webm" in head[:64] else MKV if b"matroska" in head[:64] else None
    exact = {b"fLaC": FLAC, b"caff\x00\x01": CAF, _ASF: WMA}
    return next((container for magic, container in exact.items() if head.startswith(magic)), None)


def _by_frames(head: bytes, *, whole: bool) -> Container | None:
    """Look for two frames in a row that agree; some encoders put padding or a tag before the first."""
    at = head.find(b"\xff")
    while at >= 0:
        for container, frame in ((MP3, _mpeg_frame), (AAC, _adts_frame)):
            first = frame(head, at)
            if first is not None:
                second = frame(head, at + first[0])
                alone = whole and at == 0 and first[0] == len(head)
                if alone or (second is not None and second[1] == first[1]):
                    return container
        at = head.find(b"\xff", at + 1)
    return None


Frame = tuple[int, tuple[int, ...]]
"""A frame's length in bytes, and what all frames of one stream have in common."""


def _mpeg_frame(head: bytes, at: int) -> Frame | None:
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
        samples = 576 if layer == 3 and version != 3 else 1152
        size = samples // 8 * rate // _HERTZ[version][hertz] + padding
    return size, (version, layer, hertz)


def _adts_frame(head: bytes, at: int) -> Frame | None:
    if len(head) < at + _ADTS_HEADER or head[at] != 0xFF or head[at + 1] & 0xF6 != 0xF0:
        return None
    hertz = head[at + 2] >> 2 & 15
    size = (head[at + 3] & 3) << 11 | head[at + 4] << 3 | head[at + 5] >> 5
    if hertz > 12 or size <= _ADTS_HEADER:
        return None
    return size, (head[at + 1], head[at + 2])


_OTHERS = {
    b"\x1f\x8b": "a gzip stream",
    b"PK\x03\x04": "a ZIP archive",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
}
_TAG = re.compile(r"<(script|style)\b(?:(?!</\1>).)*+(?:</\1>)?|<[^>]*>?", re.DOTALL | re.IGNORECASE)
_URL_SIGNS = ("://", "=", "?", "&", "@")
_LONG_WORD = 25
_TEXT = 1024
_EXCERPT = 80


def looks_like(head: bytes) -> str:
    """Say in a few words what bytes that are no audio seem to be; printable, without links or long tokens."""
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            return name
    try:
        text = head[:_TEXT].decode("utf-8-sig", errors="strict" if len(head) <= _TEXT else "ignore").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text:
        return f"unknown bytes {head[:8].hex(' ')}"
    start = text[:512].lower()
    if "<html" in start or start.startswith("<!doctype html"):
        kind = "an HTML page"
    elif start.startswith("<"):
        kind = "XML"
    else:
        kind = "JSON" if start[0] in "{[" else "text"
    return f"{kind}: {_scrubbed(text)!r}"


def _scrubbed(text: str) -> str:
    words = _TAG.sub(" ", text).split()
    shown = ["…" if len(word) >= _LONG_WORD or any(sign in word for sign in _URL_SIGNS) else word for word in words]
    return " ".join(printable(" ".join(shown)).split())[:_EXCERPT]
