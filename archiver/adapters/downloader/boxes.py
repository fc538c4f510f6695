"""ISO base media files (MP4 and kin): which hold sound alone, by their brand, their tracks and what the origin says."""

from __future__ import annotations

import re

from archiver.adapters.downloader.formats import M4A, M4B, MOV, MP4, THREE_G2, THREE_GP, Container
from archiver.core.records.kinds.names import Media

_BRANDS = {
    re.compile(rb"M4B "): M4B,
    re.compile(rb"M4[AP]"): M4A,
    re.compile(rb"3g2|kddi"): THREE_G2,
    re.compile(rb"3g[eghprst]"): THREE_GP,
}
_FIRST = frozenset((b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"sidx", b"moof"))
"""Boxes that may come first where a file has no `ftyp`."""
_LEAST, _FIRST_SIZES = 8, (0, 1)
"""Bytes of a box; the sizes that mean `to the end` and `in 64 bits`."""
_MOST = 1 << 30
_HANDLER = re.compile(rb"hdlr.{8}(soun|vide)", re.DOTALL)


def by_boxes(head: bytes, declared: str, media: Media) -> Container | None:
    """Return the container of a file of boxes; None where `head` begins none. `declared` is the origin's type of it."""
    if head[4:8] == b"ftyp":
        found = next((found for brand, found in _BRANDS.items() if brand.match(head[8:12])), None)
        return found or _by_tracks(head, declared, media)
    size = int.from_bytes(head[:4], "big")
    if head[4:8] in _FIRST and (size in _FIRST_SIZES or _LEAST <= size <= _MOST):
        return _by_tracks(head, declared, media)
    return None


def _by_tracks(head: bytes, declared: str, media: Media) -> Container:
    tracks = set(_HANDLER.findall(head))
    if media is Media.VIDEO:
        return MOV if head[8:12] == b"qt  " or head[4:8] != b"ftyp" else MP4
    if b"vide" in tracks or declared.startswith("video/"):
        return MP4
    if b"soun" in tracks or declared.startswith("audio/"):
        return M4B if declared.endswith("m4b") else M4A
    return MP4
