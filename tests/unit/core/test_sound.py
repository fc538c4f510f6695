"""Facts of a sound: its marks, its text, its waveform."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from archiver.core.sound import PAIRS, Sound, paired

SOUND = Sound(200.0, 44_100, 2, 0.8, 0, -14.25, bytes(range(200)) * 10)


@pytest.mark.parametrize(
    ("sound", "expected", "marks"),
    [
        (SOUND, None, ()),
        (SOUND, 200.0, ()),
        (SOUND, 201.0, ()),
        (SOUND, 201.1, ("short by 1 s",)),
        (SOUND, 150.0, ()),
        (replace(SOUND, seconds=9.6), 10.0, ("short by 0.4 s",)),
        (replace(SOUND, seconds=9.8), 10.0, ()),
        (replace(SOUND, peak=0.0009), None, ("silent",)),
        (replace(SOUND, peak=0.01, loudness=-60.1), None, ("silent",)),
        (replace(SOUND, peak=0.01, loudness=None), None, ()),
        (replace(SOUND, clips=1, seconds=60.0), 200.0, ("clipped", "short by 140 s")),
    ],
)
def test_marks_say_what_is_wrong_with_it(sound: Sound, expected: float | None, marks: tuple[str, ...]) -> None:
    assert sound.marks(expected) == marks


@pytest.mark.parametrize("sound", [SOUND, replace(SOUND, loudness=None)])
def test_text_gives_the_same_sound_again(sound: Sound) -> None:
    assert Sound.of(sound.text()) == sound


FACTS = json.loads(SOUND.text())
WRONG: list[list[object]] = [
    [-1, float("nan"), "x", None],
    [0, -1, float("inf"), 10**9],
    [0, None],
    [-0.1, float("inf")],
    [-1],
    [float("nan"), []],
    ["", "zz" * 2000, "00" * 1999, 5, "00" * 9999],
]
"""Of each fact values that it cannot have."""


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"[" * 5000,
        SOUND.text()[:-9],
        *(
            json.dumps([*FACTS[:at], value, *FACTS[at + 1 :]]).encode()
            for at, values in enumerate(WRONG)
            for value in values
        ),
    ],
)
def test_any_other_text_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="no sound"):
        Sound.of(text)


@pytest.mark.parametrize("count", [1, 7, PAIRS, 2500, 10_000])
def test_waveform_has_all_its_pairs_and_every_extreme(count: int) -> None:
    parts = [(-0.1, 0.1)] * count
    parts[count // 2] = (-2.0, 1.0)
    found = paired(parts)
    assert len(found) == 2 * PAIRS
    pairs = {(low - 256 * (low > 127), high) for low, high in zip(found[::2], found[1::2], strict=True)}
    assert pairs == ({(-127, 127)} if count == 1 else {(-127, 127), (-13, 13)})


def test_waveform_of_nothing_is_flat() -> None:
    assert paired([]) == bytes(2 * PAIRS)


def test_text_of_8_192_bytes_is_read_and_a_longer_one_is_refused() -> None:
    assert Sound.of(SOUND.text().rjust(8_192)) == SOUND
    with pytest.raises(ValueError, match="no sound"):
        Sound.of(SOUND.text().rjust(8_193))
