"""The format that first bytes begin. It decides the extension; the URL does not, and the origin's word hardly.

What the origin calls audio, and is no page, image, archive or text, has a format even where nobody knows its name.
"""

from __future__ import annotations

import re

from archiver.adapters.downloader.boxes import by_boxes
from archiver.adapters.downloader.formats import (
    AAC,
    FLAC,
    MP3,
    UNKNOWN,
    WEBM,
    WEBM_VIDEO,
    Container,
    by_magic,
    image_in,
)
from archiver.adapters.downloader.frames import by_frames
from archiver.adapters.downloader.others import is_page, is_text
from archiver.core.records.kinds.names import Media

ENOUGH = 4096
"""Bytes that settle the question for nearly every format: two of the longest MP3 frames fit in."""
FURTHEST = 128 * 1024
"""Bytes that are looked at where a tag or empty bytes come before the sound."""

_ID3 = re.compile(rb"ID3[\x02-\x04][^\xff].[\x00-\x7f]{4}", re.DOTALL)
_ID3_HEADER, _HAS_FOOTER = 10, 0x10
_PADDING = re.compile(rb"\x00{16,}")
_LAYERS = 8
"""Tags and empty bytes that are looked behind, one after the other."""
_BY_TYPE = {"audio/flac": FLAC, "audio/x-flac": FLAC, "audio/aac": AAC, "audio/aacp": AAC, "audio/x-aac": AAC}


def enough_of(head: bytes) -> int:
    """Return how many bytes settle the question, by the first ENOUGH of them."""
    end = tag_end(head)
    if not end and not head.strip(b"\0"):
        return FURTHEST
    return end + ENOUGH if end + ENOUGH <= FURTHEST else ENOUGH


def sniff(head: bytes, *, whole: bool = False, declared: str = "", media: Media = Media.AUDIO) -> Container | None:
    """Return the format that `head` begins, None when it is none of that media.

    `head` is as long as `enough_of` says, or `whole` is true and it is all there is. `declared` is the origin's
    Content-Type, without parameters and in lower case.
    """
    if media is Media.IMAGE:
        return image_in(head)
    found = _known(head, whole=whole, declared=declared, media=media)
    if media is Media.VIDEO:
        found = WEBM_VIDEO if found is WEBM else found
        return found if found is not None and found.media is media else None
    if found is not None:
        return found
    end = tag_end(head)
    calls_it_audio = declared.startswith("audio/") or declared == "application/ogg"
    if not head or not calls_it_audio or is_page(head) or is_text(head) or (end and is_page(head[end:])):
        return None
    return None if end and is_page(head[_ID3_HEADER:]) else UNKNOWN


def tag_end(head: bytes) -> int:
    """Return where the ID3v2 tags end that `head` begins; 0 where it begins none."""
    at = 0
    while _ID3.match(head, at):
        size = 0
        for each in head[at + 6 : at + _ID3_HEADER]:
            size = size << 7 | each
        at += size + _ID3_HEADER * (2 if head[at + 5] & _HAS_FOOTER else 1)
    return at


def _known(head: bytes, *, whole: bool, declared: str, media: Media, layers: int = _LAYERS) -> Container | None:
    if not layers:
        return None
    if end := tag_end(head):
        return _behind_a_tag(head, end, whole=whole, declared=declared, media=media, layers=layers)
    if is_page(head):
        return None
    found = by_magic(head) or by_boxes(head, declared, media)
    if found is not None or is_text(head):
        return found
    padding = _PADDING.match(head)
    if padding is not None and padding.end() < len(head):
        return _known(head[padding.end() :], whole=whole, declared=declared, media=media, layers=layers - 1)
    return by_frames(head, whole=whole)


def _behind_a_tag(head: bytes, end: int, *, whole: bool, declared: str, media: Media, layers: int) -> Container | None:
    """Return what the tag stands before; an MP3 where that cannot be seen, for nearly all that have one are."""
    rest = head[end:]
    if is_page(head[_ID3_HEADER:]) or is_page(rest):
        return None
    found = _known(rest, whole=whole, declared=declared, media=media, layers=layers - 1) if rest else None
    return found or (MP3 if rest else _BY_TYPE.get(declared, MP3))
