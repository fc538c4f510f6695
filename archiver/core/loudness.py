"""Integrated loudness by ITU-R BS.1770: weighted power of tenths of a second, and the mean of those that count."""

from __future__ import annotations

import math
from collections.abc import Sequence

HOPS = 10
"""Hops a second; a block is four of them, and begins with each."""

_BLOCK = 4
_OFFSET = -0.691
_SILENCE = -70.0
_BELOW_MEAN = 10.0


class Weighting:
    """The two filters of one channel, which follow the ear: a shelf for the head, and what leaves out the lowest."""

    def __init__(self, rate: int) -> None:
        self._shelf = _shelf(rate)
        self._pass = _high_pass(rate)
        self._memory = (0.0, 0.0, 0.0, 0.0)

    def power(self, samples: Sequence[float]) -> float:
        """Return the mean square of the next samples, as they are weighted; raise ZeroDivisionError for none."""
        b0, b1, b2, a1, a2 = self._shelf
        c1, c2 = self._pass
        first, second, third, fourth = self._memory
        total = 0.0
        for sample in samples:
            shelved = b0 * sample + first
            first = b1 * sample - a1 * shelved + second
            second = b2 * sample - a2 * shelved
            passed = shelved + third
            third = fourth - 2.0 * shelved - c1 * passed
            fourth = shelved - c2 * passed
            total += passed * passed
        self._memory = (first, second, third, fourth)
        return total / len(samples)


def integrated(powers: Sequence[float]) -> float | None:
    """Return the loudness in LUFS of hops of such power, summed over the channels; None where all is silence."""
    blocks = [sum(powers[at : at + _BLOCK]) / _BLOCK for at in range(len(powers) - _BLOCK + 1)]
    audible = _above(blocks, _SILENCE)
    if not audible:
        return None
    counted = _above(audible, _loudness(_mean(audible)) - _BELOW_MEAN)
    return _loudness(_mean(counted))


def _above(blocks: Sequence[float], gate: float) -> list[float]:
    least = 10 ** ((gate - _OFFSET) / 10)
    return [power for power in blocks if power > least]


def _mean(blocks: Sequence[float]) -> float:
    return sum(blocks) / len(blocks)


def _loudness(power: float) -> float:
    return _OFFSET + 10 * math.log10(power)


def _shelf(rate: int) -> tuple[float, float, float, float, float]:
    """Return b0, b1, b2, a1 and a2: at 48,000 Hz those of the recommendation's first table."""
    slope = math.tan(math.pi * 1681.974450955533 / rate)
    quality = slope / 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416 * quality
    square = slope * slope
    whole = 1 + quality + square
    numerator = (high + middle + square, 2 * (square - high), high - middle + square)
    b0, b1, b2 = (each / whole for each in numerator)
    return b0, b1, b2, 2 * (square - 1) / whole, (1 - quality + square) / whole


def _high_pass(rate: int) -> tuple[float, float]:
    """Return a1 and a2: at 48,000 Hz those of the second table; b is 1, -2, 1."""
    slope = math.tan(math.pi * 38.13547087602444 / rate)
    quality = slope / 0.5003270373238773
    square = slope * slope
    whole = 1 + quality + square
    return 2 * (square - 1) / whole, (1 - quality + square) / whole
