"""The player's frame index against a reference of its own in Python, and against mutagen."""

from __future__ import annotations

import base64
import io
import random
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.sounds import Sound, frame_at, frames_of, id3, mp3

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

INDEX = """async ([files, cuts]) => {
  const { Mp3, preroll } = await import("/static/mp3.js");
  return files.map((file) => {
    const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
    const frames = new Mp3({ size: bytes.length });
    const begun = performance.now();
    let [feeds, turn] = [0, 0];
    while (!frames.done) {
      const from = frames.at;
      const more = cuts[turn++ % cuts.length];
      const to = Math.min(bytes.length, from + more + 1500 * (feeds++ > 0 && turn % 2));
      frames.feed(bytes.slice(from, to), from, to >= bytes.length);
    }
    const { starts, ends, told, head, variable } = frames;
    return { starts, ends, told, head, variable, preroll: head && preroll(head), took: performance.now() - begun };
  });
}"""


def indexed(page: Page, files: list[bytes], cuts: tuple[int, ...] = (1 << 30,)) -> list[dict[str, Any]]:
    """Return what the index holds of each file, fed in pieces of so many bytes, in turn."""
    found: list[dict[str, Any]] = page.evaluate(INDEX, [[base64.b64encode(each).decode() for each in files], cuts])
    return found


def pairs(found: dict[str, Any]) -> list[tuple[int, int]]:
    return [(start, end - start) for start, end in zip(found["starts"], found["ends"], strict=True)]


CONSTANT = [
    Sound(seconds=0.25, rate=rate, channels=channels, kbits=kbits)
    for rate in (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
    for channels in (1, 2)
    for kbits in ((32, 128, 320) if rate >= 32_000 else (16, 64, 160))
]
VARIABLE = [
    Sound(seconds=0.25, rate=rate, channels=channels, variable=quality)
    for rate, channels in ((22_050, 2), (44_100, 2), (48_000, 1))
    for quality in (0, 9)
]


def test_every_frame_of_every_rate_and_kind_is_found_as_by_the_reference_and_its_length_as_by_mutagen(
    blank: Page,
) -> None:
    from mutagen.mp3 import MP3

    sounds = [*CONSTANT, *VARIABLE]
    files = [mp3(each) for each in sounds]
    for sound, data, found in zip(sounds, files, indexed(blank, files), strict=True):
        assert pairs(found) == frames_of(data), sound
        told: Any = MP3(io.BytesIO(data)).info  # type: ignore[no-untyped-call]  # its types are its own
        assert (found["head"]["rate"], found["head"]["channels"]) == (told.sample_rate, told.channels), sound
        assert len(set(_kbits(data))) == 1 or found["variable"], sound


def _kbits(data: bytes) -> list[int]:
    return [data[at + 2] >> 4 for at, _ in frames_of(data)]


@pytest.mark.parametrize("cuts", [(1, 7, 4096), (11,), (1440, 3), (100_000, 1)])
def test_bytes_that_come_in_pieces_of_any_size_give_the_same_index(blank: Page, cuts: tuple[int, ...]) -> None:
    data = id3(3000) + mp3(Sound(seconds=1, variable=3)) + b"TAG" + bytes(125)
    [whole] = indexed(blank, [data])
    [pieces] = indexed(blank, [data], cuts)
    assert pairs(pieces) == pairs(whole) == frames_of(data)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 16_384, 300_000])
def test_a_tag_of_any_size_is_passed_over(blank: Page, size: int) -> None:
    data = id3(size) + mp3(Sound(seconds=0.5))
    [found] = indexed(blank, [data], (65_536,))
    assert pairs(found) == frames_of(data)


def test_a_tag_that_claims_more_than_the_file_has_hides_no_audio(blank: Page) -> None:
    data = mp3(Sound(seconds=0.5))
    [found] = indexed(blank, [b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + data])
    assert [length for _, length in pairs(found)] == [length for _, length in frames_of(data)]


def test_garbage_between_frames_is_left_out_and_every_whole_frame_is_found(blank: Page) -> None:
    chance = random.Random(7)
    data = mp3(Sound(seconds=1))
    known = frames_of(data)
    pieces, expected, at = [], [], 0
    for number, (start, length) in enumerate(known):
        if number in {9, 10, 25, 31}:
            garbage = bytes(chance.choice([0xFF, 0xFB, 0x00, 0x90, 0x44]) for _ in range(chance.randrange(1, 3000)))
            pieces.append(garbage)
            at += len(garbage)
        expected.append((at, length))
        pieces.append(data[start : start + length])
        at += length
    [found] = indexed(blank, [b"".join(pieces)])
    assert set(expected) <= set(pairs(found)) | {expected[9]}  # one frame alone in garbage cannot be told from it
    assert len(pairs(found)) <= len(expected) + 2


def test_a_file_that_is_cut_anywhere_has_every_whole_frame_before_the_cut(blank: Page) -> None:
    data = mp3(Sound(seconds=1, kbits=96))
    cuts = random.Random(3).sample(range(1000, len(data)), 40)
    for cut, found in zip(cuts, indexed(blank, [data[:cut] for cut in cuts]), strict=True):
        assert pairs(found) == [(at, length) for at, length in frames_of(data) if at + length <= cut]


def tagged(data: bytes, word: bytes, *, frames: int = 77, delay: int = 576, version: bytes = b"LAME3.100") -> bytes:
    """Return the MP3 with a first frame that holds a Xing or Info header and LAME's tag."""
    (start, length), *_ = frames_of(data)
    first = frame_at(data, start)
    assert first is not None
    mono = data[start + 3] >> 6 == 3
    side = (17 if mono else 32) if first[0] == 3 else (9 if mono else 17)
    tag = word + struct.pack(">III", 15, frames, 1234) + bytes(100) + struct.pack(">I", 50)
    tag += version + bytes(12) + struct.pack(">I", delay << 20 | 1200 << 8)[:3]
    head = bytes(side) + tag
    return data[start : start + 4] + head + bytes(length - 4 - len(head)) + data[start:]


@pytest.mark.parametrize("sound", [Sound(seconds=0.5), Sound(seconds=0.5, channels=1, rate=22_050, kbits=128)])
@pytest.mark.parametrize(("word", "variable"), [(b"Xing", True), (b"Info", False)])
def test_a_first_frame_that_holds_a_header_is_left_out_and_tells_of_delay_and_frames(
    blank: Page, sound: Sound, word: bytes, variable: bool
) -> None:
    data = tagged(mp3(sound), word)
    [found] = indexed(blank, [data])
    assert pairs(found) == frames_of(data)[1:]
    assert found["told"] == {"variable": variable, "frames": 77, "delay": 576}


def test_a_header_without_an_encoders_tag_tells_no_delay(blank: Page) -> None:
    [found] = indexed(blank, [tagged(mp3(Sound(seconds=0.5)), b"Info", version=bytes(9))])
    assert found["told"]["delay"] == 0


def test_a_vbri_header_is_left_out_and_tells_of_frames(blank: Page) -> None:
    data = mp3(Sound(seconds=0.5))
    length = frames_of(data)[0][1]
    head = data[:4] + bytes(32) + b"VBRI" + struct.pack(">HHHII", 1, 0, 75, 4321, 88)
    [found] = indexed(blank, [head + bytes(length - len(head)) + data])
    assert (len(pairs(found)), found["told"]) == (
        len(frames_of(data)),
        {"variable": True, "frames": 88, "delay": 0},
    )


def test_hostile_bytes_are_read_in_time_that_grows_with_their_number_alone(blank: Page) -> None:
    chance = random.Random(11)
    size = 100_000
    heads = [
        b"\xff\xfb\x90\x44",
        b"\xff\xf3\x40\xc4",
        b"ID3\x04\x00\x00\x00\x00\x00\x01",
        b"Xing\x00\x00\x00\x0f",
        b"\xff",
    ]
    files = [b"".join(chance.choice(heads) for _ in range(size // 5)) for _ in range(6)]
    files += [chance.randbytes(size), bytes(size), b"\xff" * size, b"", b"\xff", b"ID3", b"\xff\xfb\x90"]
    for found in indexed(blank, files):
        assert found["took"] < 5000  # it takes some 5 ms
        assert all(before <= after for before, after in zip(found["ends"], found["starts"][1:], strict=False))


def test_frames_that_may_borrow_more_are_decoded_from_farther_before(blank: Page) -> None:
    small = Sound(seconds=1, rate=22_050, channels=1, kbits=16)
    [usual, narrow] = indexed(blank, [mp3(Sound(seconds=1)), mp3(replace(small))])
    assert usual["preroll"] == 10
    assert narrow["preroll"] * (narrow["head"]["length"] - 4 - 9) >= 255
