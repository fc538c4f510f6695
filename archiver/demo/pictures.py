"""A picture, and a film of that one picture: tiny, made in code, and whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Final

SIDE: Final = 16
"""Pixels."""
_MATRIX: Final = struct.pack(">9L", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_MILLISECONDS: Final = 1000


def picture(*, shade: int = 0) -> bytes:
    """Return a PNG of SIDE by SIDE pixels, whose colours run from one corner to the other."""
    rows = (b"\0" + bytes(each for x in range(SIDE) for each in (x * 16, y * 16, shade)) for y in range(SIDE))
    head = struct.pack(">2L5B", SIDE, SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def film(frame: bytes) -> bytes:
    """Return an MP4 that shows this picture for a second."""
    kind = _box("ftyp", b"isom", struct.pack(">L", 512), b"isommp41")
    moov = _film(frame, 0)
    return kind + _film(frame, len(kind) + len(moov) + 8) + _box("mdat", frame)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def _box(kind: str, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">L", 8 + len(content)) + kind.encode() + content


def _full(kind: str, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">L", flags), *parts)


def _film(frame: bytes, place: int) -> bytes:
    """Return the description of a film whose one frame stands at `place`."""
    times = struct.pack(">4L", 0, 0, _MILLISECONDS, _MILLISECONDS)
    head = _full("mvhd", times, struct.pack(">LH10x", 0x10000, 0x100), _MATRIX, bytes(24), struct.pack(">L", 2))
    shown = struct.pack(">5L8x4H", 0, 0, 1, 0, _MILLISECONDS, 0, 0, 0, 0) + _MATRIX
    track = _full("tkhd", shown, struct.pack(">2L", SIDE << 16, SIDE << 16), flags=3)
    handler = _full("hdlr", bytes(4), b"vide", bytes(12), b"frames\0")
    where = _box("dinf", _full("dref", struct.pack(">L", 1), _full("url ", flags=1)))
    inner = _box("minf", _full("vmhd", bytes(8), flags=1), where, _box("stbl", *_samples(frame, place)))
    media = _box("mdia", _full("mdhd", times, struct.pack(">2H", 0x55C4, 0)), handler, inner)
    return _box("moov", head, _box("trak", track, media))


def _samples(frame: bytes, place: int) -> Sequence[bytes]:
    size = struct.pack(">2H2L4xH", SIDE, SIDE, 72 << 16, 72 << 16, 1)
    entry = _box("png ", bytes(6), struct.pack(">H", 1), bytes(16), size, bytes(32), struct.pack(">Hh", 24, -1))
    return (
        _full("stsd", struct.pack(">L", 1), entry),
        _full("stts", struct.pack(">3L", 1, 1, _MILLISECONDS)),
        _full("stsc", struct.pack(">4L", 1, 1, 1, 1)),
        _full("stsz", struct.pack(">3L", 0, 1, len(frame))),
        _full("stco", struct.pack(">2L", 1, place)),
    )
