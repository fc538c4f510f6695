"""Integrated loudness, against the recommendation's own figures and against another program's."""

from __future__ import annotations

import math
import random
from array import array

import pytest

from archiver.core.loudness import HOPS, Weighting, integrated


def loudness(planes: list[array[float]], rate: int) -> float | None:
    hop = rate // HOPS
    weightings = [Weighting(rate) for _ in planes]
    powers = [
        sum(weighting.power(plane[at : at + hop]) for weighting, plane in zip(weightings, planes, strict=True))
        for at in range(0, len(planes[0]) - hop + 1, hop)
    ]
    return integrated(powers)


def sine(hertz: float, level: float, seconds: float, rate: int) -> array[float]:
    size = 10 ** (level / 20)
    return array("d", (size * math.sin(2 * math.pi * hertz * at / rate) for at in range(int(seconds * rate))))


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_full_scale_sine_of_1_khz_in_one_channel_has_the_recommendations_loudness(rate: int) -> None:
    assert loudness([sine(997, 0, 3, rate), array("d", bytes(8 * 3 * rate))], rate) == pytest.approx(-3.01, abs=0.02)


def test_what_is_far_below_the_rest_does_not_count() -> None:
    rate = 48_000
    loud, quiet = sine(997, -20, 6, rate), sine(997, -50, 6, rate)
    assert loudness([loud + quiet], rate) == pytest.approx(loudness([loud], rate) or 0, abs=0.15)


@pytest.mark.parametrize("planes", [[array("d", bytes(8 * 8000))], [sine(997, -90, 2, 8000)], [array("d", bytes(800))]])
def test_silence_and_what_is_too_short_has_none(planes: list[array[float]]) -> None:
    assert loudness(planes, 8000) is None


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 1), (22_050, 2)])
def test_it_is_that_of_pyloudnorm_within_a_tenth(rate: int, channels: int) -> None:
    numpy, pyloudnorm = pytest.importorskip("numpy"), pytest.importorskip("pyloudnorm")
    chance = random.Random(rate)
    levels = [chance.choice((0.5, 0.2, 0.02, 0.0005)) for _ in range(40)]
    samples = int(0.2 * rate)
    planes = [
        array("d", (level * chance.uniform(-1, 1) for level in levels for _ in range(samples))) for _ in range(channels)
    ]
    expected = pyloudnorm.Meter(rate).integrated_loudness(numpy.array(planes).T)
    assert loudness(planes, rate) == pytest.approx(expected, abs=0.1)
