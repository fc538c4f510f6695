"""Facts of a piece of audio as it sounds: how long, how loud, and what it looks like."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

PAIRS = 1000
"""Parts that a waveform has."""
LONGEST_TEXT = 8192
"""Bytes that a sound has as text, at most."""

_QUIET = 0.001
_FAINT = -60.0
_SHORT = 1.0
_SHORT_SHARE, _SHORT_LEAST = 0.02, 0.25
_RATES = range(1, 1_000_000)


@dataclass(frozen=True, slots=True)
class Sound:
    """A piece of audio, decoded whole."""

    seconds: float
    rate: int
    """Samples a second."""
    channels: int
    peak: float
    """The greatest sample; 1 is full scale, which what was compressed may exceed."""
    clips: int
    """Runs of three samples or more at full scale."""
    loudness: float | None
    """Integrated, in LUFS; None where all is silence, and for more than two channels."""
    pairs: bytes
    """Least and greatest sample of each of PAIRS parts, as int8."""

    def marks(self, expected: float | None) -> tuple[str, ...]:
        """Return what is wrong with it, in words; `expected` are the seconds that its record promised."""
        lacks = (expected or 0.0) - self.seconds
        tolerated = min(_SHORT, max(_SHORT_LEAST, (expected or 0.0) * _SHORT_SHARE))
        return tuple(
            words
            for words, holds in (
                ("silent", self.peak < _QUIET or (self.loudness or 0.0) < _FAINT),
                ("clipped", self.clips > 0),
                (f"short by {lacks:.0f} s" if lacks >= _SHORT else f"short by {lacks:.1f} s", lacks > tolerated),
            )
            if holds
        )

    def text(self) -> bytes:
        """Return it as one line of ASCII."""
        facts = [self.seconds, self.rate, self.channels, self.peak, self.clips, self.loudness, self.pairs.hex()]
        return json.dumps(facts).encode()

    @classmethod
    def of(cls, text: bytes) -> Sound:
        """Read what `text` gives; raise ValueError for anything else, which may come from a hostile decoder."""
        try:
            seconds, rate, channels, peak, clips, loudness, pairs = json.loads(text[:LONGEST_TEXT])
            found = cls(
                float(seconds),
                int(rate),
                int(channels),
                float(peak),
                int(clips),
                None if loudness is None else float(loudness),
                bytes.fromhex(pairs),
            )
        except (ValueError, TypeError, RecursionError, OverflowError) as fault:
            raise ValueError(f"no sound: {fault}") from None
        numbers = (found.seconds, found.peak, found.loudness or 0.0)
        whole = len(found.pairs) == 2 * PAIRS and found.rate in _RATES and found.channels >= 1 and found.clips >= 0
        if not (whole and all(map(math.isfinite, numbers)) and found.seconds >= 0 and found.peak >= 0):
            raise ValueError("no sound")
        return found


def paired(parts: Sequence[tuple[float, float]]) -> bytes:
    """Return PAIRS pairs of the least and the greatest of all parts, which are of equal length."""
    out = bytearray()
    for pair in range(PAIRS):
        begin = pair * len(parts) // PAIRS
        mine = parts[begin : max(begin + 1, (pair + 1) * len(parts) // PAIRS)] or [(0.0, 0.0)]
        out += bytes((_int8(min(low for low, _ in mine)), _int8(max(high for _, high in mine))))
    return bytes(out)


def _int8(value: float) -> int:
    return round(max(-1.0, min(1.0, value)) * 127) & 255
