"""Bytes that begin as genuine MP3 frames do, of any length, and never twice the same."""

from __future__ import annotations

import random

_HEADER = bytes.fromhex("fffb9000")
FRAME = 417
"""Bytes of an MPEG-1 layer III frame of 128 kbit/s at 44.1 kHz."""


def mp3(size: int, seed: int = 0) -> bytes:
    """Return `size` bytes that are an MP3 to anyone who looks at the first frames."""
    noise = random.Random(f"{seed}/{size}").randbytes(size)
    frames = b"".join(_HEADER + noise[at + len(_HEADER) : at + FRAME] for at in range(0, min(size, 12 * FRAME), FRAME))
    return (frames + noise[len(frames) :])[:size]
