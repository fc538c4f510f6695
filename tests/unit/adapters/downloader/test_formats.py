"""Formats seen in the wild: known by name, kept without one, or told from audio whatever frames they hold inside."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.adapters.downloader.formats import UNKNOWN
from archiver.adapters.downloader.others import looks_like
from archiver.adapters.downloader.sniff import ENOUGH, FURTHEST, enough_of, sniff
from archiver.core.records.kinds.names import Media
from tests.fakes.audio import mp3
from tests.unit.adapters.downloader.test_sniff import adts

ANSWERS = Path(__file__).parents[3] / "fixtures" / "answers"
NOISE = bytes.fromhex("a1c3e5b7d9f1032547698badcfe1f305") * 300


def named(body: bytes, declared: str = "", media: Media = Media.AUDIO) -> str | None:
    """Return the extension that a body gets, by as much of it as is looked at."""
    head = body[: max(ENOUGH, enough_of(body[:ENOUGH]))]
    found = sniff(head, whole=len(head) == len(body), declared=declared, media=media)
    return None if found is None else found.extension


def tag(content: bytes = bytes(53), footer: bool = False) -> bytes:
    size = bytes(len(content) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00" + (b"\x10" if footer else b"\x00") + size + content + bytes(10 if footer else 0)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def handler(kind: bytes) -> bytes:
    return box(b"hdlr", bytes(8) + kind + bytes(12))


def latm(size: int) -> bytes:
    return bytes([0x56, 0xE0 | size >> 8, size & 0xFF]) + bytes(size)


def packet(size: int, at: int) -> bytes:
    return bytes(at) + b"G" + bytes(size - 1 - at)


BEHIND = tag(b"APIC" + bytes(1000))
W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000") + bytes(8) + bytes.fromhex("77617665f3acd3118cd100c04f8edb8a")
KNOWN = {
    "5,000 zero bytes, then an MP3": (bytes(5000) + mp3(9000), "mp3"),
    "100,000 zero bytes, then an MP3": (bytes(100_000) + mp3(9000), "mp3"),
    "Wave64": (W64 + bytes(500), "w64"),
    "M4A without ftyp": (box(b"moov", box(b"mvhd", bytes(100)) + handler(b"soun")), "m4a"),
    "RIFX": (b"RIFX\x00\x00\x01\x00WAVEfmt ", "wav"),
    "ADIF": (b"ADIF\x00\x3e\x80\x00" + NOISE, "aac"),
    "AC-3": ((bytes.fromhex("0b77aaaa0840") + bytes(250)) * 3, "ac3"),
    "E-AC-3": ((bytes.fromhex("0b77007f3f80") + bytes(250)) * 3, "eac3"),
    "AMR": (b"#!AMR\n\x3c" + NOISE, "amr"),
    "AMR-WB": (b"#!AMR-WB\n\x3c" + NOISE, "awb"),
    "WavPack": (b"wvpk" + NOISE, "wv"),
    "Monkey's Audio": (b"MAC \x96\x0f" + NOISE, "ape"),
    "TTA": (b"TTA1\x01\x00" + NOISE, "tta"),
    "DSF": (b"DSD \x1c\x00" + NOISE, "dsf"),
    "DSDIFF": (b"FRM8" + bytes(8) + b"DSD FVER", "dff"),
    "AU": (b".snd\x00\x00\x00\x18" + NOISE, "au"),
    "Musepack": (b"MPCKSH\x0e" + NOISE, "mpc"),
    "TAK": (b"tBaK\x01" + NOISE, "tak"),
    "MPEG-TS": (packet(188, 0) * 20, "ts"),
    "MPEG-TS with times": (packet(192, 4) * 20, "ts"),
    "LATM": (latm(300) * 5, "latm"),
    "Speex": (b"OggS\x00\x02" + bytes(22) + b"Speex   1.1", "spx"),
    "FLAC behind a tag": (BEHIND + b"fLaC\x00\x00\x00\x22" + NOISE, "flac"),
    "FLAC behind a cover": (tag(NOISE * 20) + b"fLaC\x00\x00\x00\x22" + NOISE, "flac"),
    "FLAC behind two tags": (BEHIND + BEHIND + b"fLaC\x00\x00\x00\x22" + NOISE, "flac"),
    "AAC behind a tag": (tag() + adts(200) * 30, "aac"),
    "AAC behind a tag with a footer": (tag(footer=True) + adts(200) * 30, "aac"),
    "MP3 behind a tag and padding": (tag() + bytes(700) + mp3(9000), "mp3"),
    "a tag alone": (tag(), "mp3"),
    "sound alone in an MP4": (box(b"ftyp", b"mp42" + bytes(8)) + box(b"moov", handler(b"soun")), "m4a"),
    "sound and pictures in an MP4": (
        box(b"ftyp", b"isom" + bytes(8)) + box(b"moov", handler(b"soun") + handler(b"vide")),
        "mp4",
    ),
    "an audio book": (box(b"ftyp", b"M4B " + bytes(8)), "m4b"),
}


@pytest.mark.parametrize(("body", "extension"), KNOWN.values(), ids=KNOWN)
def test_format_is_named_whatever_the_origin_says(body: bytes, extension: str) -> None:
    assert named(body) == named(body, "audio/mpeg") == extension


@pytest.mark.parametrize("first", [b"mdat", b"free", b"wide", b"styp"])
def test_boxes_without_their_brand_are_sound_where_the_origin_says_so(first: bytes) -> None:
    body = box(first, bytes(5000)) + box(b"moov", handler(b"soun"))
    assert (named(body, "audio/mp4"), named(body, "audio/x-m4b"), named(body, "video/mp4")) == ("m4a", "m4b", "mp4")


@pytest.mark.parametrize(("declared", "extension"), [("audio/flac", "flac"), ("audio/aac", "aac"), ("", "mp3")])
def test_behind_a_tag_that_is_longer_than_we_look_the_origins_word_counts(declared: str, extension: str) -> None:
    assert named(tag(NOISE * 40) + NOISE, declared) == extension


def test_no_more_is_looked_at_than_a_tag_needs() -> None:
    assert enough_of(NOISE[:ENOUGH]) == enough_of(tag(NOISE * 40)[:ENOUGH]) == ENOUGH
    assert enough_of(bytes(ENOUGH)) == FURTHEST
    assert enough_of(tag(bytes(10_000))[:ENOUGH]) == 10_010 + ENOUGH


@pytest.mark.parametrize("declared", ["audio/mpeg", "audio/x-what", "application/ogg"])
@pytest.mark.parametrize("body", [NOISE, bytes(5000) + NOISE, bytes(9000), b"XYZW\x00\x01" + NOISE], ids=len)
def test_what_the_origin_calls_audio_is_kept_without_a_name(declared: str, body: bytes) -> None:
    assert named(body, declared) == UNKNOWN.extension
    assert named(body, "application/octet-stream") is None
    assert named(body, "text/html") is None


def zipped(content: bytes) -> bytes:
    with zipfile.ZipFile(data := io.BytesIO(), "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.mp3", content)
    return data.getvalue()


def tarred(content: bytes) -> bytes:
    with tarfile.open(fileobj=(data := io.BytesIO()), mode="w") as archive:
        info = tarfile.TarInfo("a.mp3")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


SONG = mp3(2000)
MULTIPART = b"--S\r\nContent-Type: audio/mpeg\r\nContent-Range: bytes 0-1/2\r\n\r\n" + SONG + b"\r\n--S--\r\n"
OTHERS = {
    "a ZIP archive": zipped(SONG),
    "a tar archive": tarred(SONG),
    "an HTML page: 'Fatal error: disk full'": (ANSWERS / "body-html-then-mp3-frames.bin").read_bytes(),
    "a multipart answer": MULTIPART,
    "JSON": b'{"a": "' + SONG + b'"}',
    "JSON: '[ {": b"[ {" + SONG,
    "text: 'Warning: no space": b"Warning: no space left on device\n" + SONG,
    "a signed upload": b"7d0;chunk-signature=00aa11\r\n" + SONG,
    "a PDF document": b"%PDF-1.7\n" + SONG,
    "a JPEG image": b"\xff\xd8\xff\xe0" + SONG,
    "a gzip stream": b"\x1f\x8b\x08\x00" + SONG,
    "a 7z archive": b"7z\xbc\xaf\x27\x1c" + SONG,
    "XML: 'AccessDenied'": "\ufeff<Error>AccessDenied</Error>".encode("utf-16-le"),
    "text: '[00:01.00] la": b"[00:01.00] la\n[00:02.00] la\n",
    "unknown bytes 49 44 33": tag(b"<!DOCTYPE html><p>quota exceeded" + bytes(100)) + SONG,
    "unknown bytes 49 44 33 04": tag() + b"<html>quota exceeded</html>",
}


@pytest.mark.parametrize("declared", ["", "audio/mpeg"])
@pytest.mark.parametrize(("said", "body"), OTHERS.items(), ids=OTHERS)
def test_what_begins_as_another_thing_is_that_thing(said: str, body: bytes, declared: str) -> None:
    assert named(body, declared) is None
    assert looks_like(body[:ENOUGH]).startswith(said)


IMAGES = {
    "png": b"\x89PNG\r\n\x1a\n\x00",
    "jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "gif": b"GIF89a\x00",
    "webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "avif": b"\x00\x00\x00\x20ftypavif\x00\x00",
}
VIDEOS = {
    "mp4": box(b"ftyp", b"isom" + bytes(8)),
    "mov": box(b"ftyp", b"qt  " + bytes(8)),
    "webm": b"\x1a\x45\xdf\xa3\x9fB\x82\x84webmB\x87",
    "mkv": b"\x1a\x45\xdf\xa3\xa3B\x82\x88matroskaB\x87",
}


@pytest.mark.parametrize(("extension", "head"), IMAGES.items(), ids=IMAGES)
def test_image_is_one_where_one_is_wanted(extension: str, head: bytes) -> None:
    assert named(head, media=Media.IMAGE) == extension
    assert named(head, "audio/mpeg") is None
    assert named(head, media=Media.VIDEO) is None


@pytest.mark.parametrize(("extension", "head"), VIDEOS.items(), ids=VIDEOS)
def test_video_is_one_where_one_is_wanted(extension: str, head: bytes) -> None:
    found = sniff(head, whole=True, media=Media.VIDEO)
    assert found is not None
    assert (found.extension, found.media) == (extension, Media.VIDEO)
    assert named(head, media=Media.IMAGE) is None


@pytest.mark.parametrize("body", [SONG, NOISE, b"<html>", b"fLaC\x00"], ids=["mp3", "noise", "page", "flac"])
@pytest.mark.parametrize("media", [Media.IMAGE, Media.VIDEO])
def test_nothing_else_is_an_image_or_a_video(body: bytes, media: Media) -> None:
    assert named(body, f"{media}/x", media) is None


@given(st.binary(max_size=ENOUGH), st.sampled_from(["", "audio/x", "text/html"]), st.sampled_from(Media))
def test_anything_is_judged(head: bytes, declared: str, media: Media) -> None:
    sniff(head, whole=True, declared=declared, media=media)
    enough_of(head)
    assert looks_like(head).isprintable()


@given(st.sampled_from([body for name, body in OTHERS.items() if "49 44 33" not in name]), st.integers(0, 9))
def test_frames_inside_make_no_audio_of_another_thing(body: bytes, seed: int) -> None:
    assert named(body + mp3(20_000, seed), "audio/mpeg") is None
