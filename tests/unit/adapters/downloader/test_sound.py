"""What makes a whole file doubtful: its format, its silence, its length beside the record's."""

from __future__ import annotations

import struct

import pytest

from archiver.adapters.downloader.formats import AIFF, FLAC, MP3, OGG, UNKNOWN, WAV
from archiver.adapters.downloader.sound import doubt_of, sound_in
from tests.fakes.audio import FRAME, mp3

FRAME_SECONDS = 1152 / 44100


def wav(size: int, rate: int = 176_400) -> bytes:
    form = struct.pack("<HHIIHH", 1, 2, rate // 4, rate, 4, 16)
    return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", size)


def aiff(size: int) -> bytes:
    return b"FORM" + struct.pack(">I", size) + b"AIFFCOMM"


def flac(samples: int) -> bytes:
    return b"fLaC\x00\x00\x00\x22" + bytes(10) + (44100 << 44 | 1 << 41 | 15 << 36 | samples).to_bytes(8, "big")


def xing(frames: int, size: int) -> bytes:
    header = b"\xff\xfb\x90\x00" + bytes(32) + b"Xing" + struct.pack(">III", 3, frames, size)
    return header + bytes(FRAME - len(header)) + mp3(3 * FRAME)


@pytest.mark.parametrize(
    ("head", "container", "size", "seconds"),
    [
        (mp3(4096), MP3, 1000 * FRAME, 1000 * FRAME_SECONDS),
        (b"ID3\x04\0\0\0\0\x07\x68" + bytes(1000) + mp3(3000), MP3, 1010 + 1000 * FRAME, 1000 * FRAME_SECONDS),
        (xing(500, 100_000), MP3, 100_000, 500 * FRAME_SECONDS),
        (xing(500, 100_000), MP3, 25_000, 125 * FRAME_SECONDS),
        (wav(176_400), WAV, 44 + 176_400, 1.0),
        (flac(441_000), FLAC, 50_000, 10.0),
    ],
    ids=["frames of one size", "behind a tag", "Xing", "Xing, cut", "wav", "flac"],
)
def test_sound_has_the_length_that_header_and_size_say(
    head: bytes, container: object, size: int, seconds: float
) -> None:
    found = sound_in(head[:4096], container).seconds(size)  # type: ignore[arg-type]  # one of the containers
    assert found == pytest.approx(seconds, rel=0.01)


@pytest.mark.parametrize("head", [b"", b"\xff\xfb", b"ID3\x04\0\0\0\0\0\0", b"RIFF", wav(0)[:30], b"fLaC", xing(0, 0)])
@pytest.mark.parametrize("container", [MP3, WAV, AIFF, FLAC, OGG, UNKNOWN])
def test_sound_of_half_a_header_is_judged(head: bytes, container: object) -> None:
    sound_in(head, container).seconds(len(head))  # type: ignore[arg-type]  # one of the containers


@pytest.mark.parametrize(
    ("head", "container", "size", "duration", "said"),
    [
        (wav(0), WAV, 44, None, "no sound in it: 44 bytes of header"),
        (b"ID3\x04\0\0\0\0\0\x35" + bytes(53), MP3, 63, None, "no sound in it: 63 bytes of header"),
        (mp3(4096), MP3, 160_000, 180.0, "far shorter than its record says: 10.0 of 180.0 s"),
        (wav(176_400), WAV, 44 + 176_400, 60.0, "far shorter than its record says: 1.0 of 60.0 s"),
        (b"OggS\0\2", OGG, 3000, 180.0, "hardly any sound: 3000 bytes for 180.0 s"),
        (b"", UNKNOWN, 9_000_000, 180.0, "a format that is not known; kept as it came"),
        (wav(176_400), WAV, 100_000, None, "cut short: 100000 of the 176444 bytes that its header names"),
        (xing(500, 100_000), MP3, 25_000, None, "cut short: 25000 of the 100000 bytes that its header names"),
        (aiff(90_000), AIFF, 60_000, None, "cut short: 60000 of the 90008 bytes that its header names"),
        (wav(176_400), WAV, 176_444, None, ""),
        (wav(176_400), WAV, 176_444 + 5000, None, ""),
        (wav(0xFFFFFFFF - 36), WAV, 100_000, None, ""),
        (wav(0x7FFFF000 - 36), WAV, 100_000, None, ""),
        (xing(500, 100_000), MP3, 99_583, None, ""),
        (aiff(90_000), AIFF, 90_008, None, ""),
        (mp3(4096), MP3, 2_880_000, 180.0, ""),
        (mp3(4096), MP3, 160_000, None, ""),
        (mp3(4096), MP3, 2000, 3.0, ""),
        (b"OggS\0\2", OGG, 300_000, 180.0, ""),
    ],
)
def test_file_is_doubtful_where_it_lacks_what_it_should_have(
    head: bytes, container: object, size: int, duration: float | None, said: str
) -> None:
    assert doubt_of(container, sound_in(head, container), size, duration) == said  # type: ignore[arg-type]
