"""Bodies that were once refused for ever, or kept as what they are not; nr is that of the case.

As of 0.1.0 what is audio here was refused until the origin had deleted it, and what is none was archived as MP3.
"""

from __future__ import annotations

import pytest

from archiver.adapters.downloader.sniff import sniff
from archiver.adapters.downloader.sound import doubt_of, sound_in
from tests import FIXTURES
from tests.fakes.audio import mp3

SONG = mp3(5000)
ADTS = (b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)) * 20
WAVE64 = "726966662e91cf11a5d628db04c100000000000000000000" + "77617665f3acd3118cd100c04f8edb8a"
EMPTY_WAVE = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x44\xac\0\0\x88\x58\1\0\2\0\x10\0data\0\0\0\0"


def box(kind: bytes, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def tag(size: int) -> bytes:
    return b"ID3\x04\0\0" + bytes((0, 0, size >> 7, size & 0x7F)) + bytes(size)


MOOV, MDAT = box(b"moov", box(b"mvhd", bytes(100))), box(b"mdat", bytes(90))
SAVED = [
    ("3.18", bytes(5000) + SONG, "audio/mpeg", "mp3"),
    ("3.19", bytes.fromhex(WAVE64) + bytes(99), "audio/x-w64", "w64"),
    *(("3.20", first + MDAT, "audio/mp4", "m4a") for first in (MOOV, b"", box(b"free", bytes(9)), box(b"wide"))),
    ("3.20", box(b"styp", b"msdh" + bytes(8)) + MDAT, "audio/mp4", "m4a"),
    ("3.21", b"RIFX\0\0\0\1WAVE" + bytes(60), "audio/wav", "wav"),
    ("3.21", b"ADIF" + bytes(60), "audio/aac", "aac"),
    ("3.21", b"\x0b\x77" + bytes(60), "audio/ac3", "bin"),
    ("3.21", b"#!AMR\n" + bytes(60), "audio/amr", "amr"),
    ("3.21", b"#!AMR-WB\n" + bytes(60), "audio/amr-wb", "awb"),
    ("3.21", b"wvpk" + bytes(60), "audio/x-wavpack", "wv"),
    ("3.21", b"MAC " + bytes(60), "audio/ape", "ape"),
    ("3.21", b"TTA1" + bytes(60), "audio/tta", "tta"),
    ("3.21", b"DSD \x1c" + bytes(60), "audio/dsf", "dsf"),
    ("3.21", b".snd" + bytes(60), "audio/basic", "au"),
    ("3.21", (b"\x47" + bytes(187)) * 8, "audio/mp2t", "ts"),
    ("3.25", tag(1000) + b"fLaC\0\0\0\x22" + bytes(60), "audio/flac", "flac"),
    ("3.25", tag(63) + ADTS, "audio/aac", "aac"),
    ("3.28", box(b"ftyp", b"dash" + bytes(8)) + MOOV, "audio/mp4", "m4a"),
    ("3.28", box(b"ftyp", b"isom" + bytes(8)) + MOOV, "audio/mp4", "m4a"),
]
REFUSED = [
    ("3.22", b"PK\3\4" + bytes(26) + SONG + b"PK\3\4" + SONG, "application/zip"),
    ("3.23", (FIXTURES / "answers/body-html-then-mp3-frames.bin").read_bytes(), "text/html"),
    ("3.24", b"--S\r\nContent-Type: audio/mpeg\r\n\r\n" + SONG + b"\r\n--S--\r\n", "multipart/byteranges"),
    ("3.26", tag(0) + b"<!DOCTYPE html><p>quota exceeded", "audio/mpeg"),
    ("3.26", tag(40)[:10] + b"<!DOCTYPE html><p>quota exceeded", "audio/mpeg"),
    ("3.29", b"[00:01.00] la\n[00:02.00] lo\n", "audio/mpeg"),
]


@pytest.mark.parametrize(("nr", "body", "declared", "extension"), SAVED)
def test_audio_is_saved_under_the_best_name_that_its_bytes_allow(
    nr: str, body: bytes, declared: str, extension: str
) -> None:
    found = sniff(body, whole=True, declared=declared)
    assert found is not None, nr
    assert found.extension == extension, nr
    assert bool(doubt_of(found, sound_in(body, found), len(body), None)) == (extension in {"bin", "wav"}), nr


@pytest.mark.parametrize(("nr", "body", "declared"), REFUSED)
def test_what_begins_as_another_thing_is_that_thing(nr: str, body: bytes, declared: str) -> None:
    assert sniff(body, whole=True, declared=declared) is None, nr


@pytest.mark.parametrize(("body", "declared"), [(EMPTY_WAVE, "audio/wav"), (tag(100), "audio/mpeg")])
def test_file_without_sound_is_saved_with_a_doubt(body: bytes, declared: str) -> None:
    """3.27."""
    found = sniff(body, whole=True, declared=declared)
    assert found is not None
    assert doubt_of(found, sound_in(body, found), len(body), None).startswith("no sound in it")
