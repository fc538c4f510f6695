"""Which first bytes are audio, of which container, and what the rest is called."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.adapters.downloader.others import looks_like
from archiver.adapters.downloader.sniff import enough_of, sniff
from archiver.demo.song import INSTRUMENTS
from tests.fakes.audio import FRAME, mp3

MPEG1_L3 = bytes.fromhex("fffb9000")


def frame(header: str, size: int) -> bytes:
    return bytes.fromhex(header) + bytes(size - len(header) // 2)


def adts(size: int) -> bytes:
    return bytes([0xFF, 0xF1, 0x50, 0x80 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC]) + bytes(
        size - 7
    )


KNOWN = {
    "mp3 with a tag": (b"ID3\x04\x00\x00\x00\x00\x0f\x76" + bytes(100), "mp3", "audio/mpeg"),
    "mp3": (mp3(5000), "mp3", "audio/mpeg"),
    "mp3 behind padding": (bytes(500) + mp3(3000), "mp3", "audio/mpeg"),
    "mp3 of MPEG-2": (frame("fff38000", 208) * 3, "mp3", "audio/mpeg"),
    "mp3 of MPEG-2.5": (frame("ffe38000", 417) * 3, "mp3", "audio/mpeg"),
    "mp3 with padded frames": (frame("fffb9200", 418) + frame("fffb9000", 417) * 2, "mp3", "audio/mpeg"),
    "mp2": (frame("fffd8000", 417) * 3, "mp3", "audio/mpeg"),
    "mp1": (frame("ffff4000", 136) * 3, "mp3", "audio/mpeg"),
    "mp3 of the highest rate": (frame("fffbe800", 1440) * 3, "mp3", "audio/mpeg"),
    "wav": (b"RIFF\x24\x00\x00\x00WAVEfmt ", "wav", "audio/wav"),
    "wav of 64 bits": (b"RF64\xff\xff\xff\xffWAVEds64", "wav", "audio/wav"),
    "flac": (b"fLaC\x00\x00\x00\x22", "flac", "audio/flac"),
    "ogg": (b"OggS\x00\x02" + bytes(20) + b"\x01\x1e\x01vorbis", "ogg", "audio/ogg"),
    "opus": (b"OggS\x00\x02" + bytes(20) + b"\x01\x13OpusHead", "opus", "audio/ogg"),
    "m4a": (b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00", "m4a", "audio/mp4"),
    "mp4": (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00", "mp4", "video/mp4"),
    "aiff": (b"FORM\x00\x00\x00\x20AIFFCOMM", "aiff", "audio/aiff"),
    "aifc": (b"FORM\x00\x00\x00\x20AIFCFVER", "aifc", "audio/aiff"),
    "aac": (adts(200) * 3, "aac", "audio/aac"),
    "webm": (b"\x1a\x45\xdf\xa3\x9fB\x82\x84webmB\x87", "webm", "audio/webm"),
    "mkv": (b"\x1a\x45\xdf\xa3\xa3B\x82\x88matroskaB\x87", "mkv", "video/x-matroska"),
    "caf": (b"caff\x00\x01\x00\x00desc", "caf", "audio/x-caf"),
    "wma": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(20), "wma", "audio/x-ms-wma"),
}

OTHERS = {
    "an HTML page": b"\xef\xbb\xbf \n<!doctype HTML><p>Not here",
    "an HTML page: 'Gone'": b"<head/><html>Gone</html>",
    "XML: 'AccessDenied Access Denied'": b"<?xml?><Error><Code>AccessDenied</Code> <Message>Access Denied",
    "JSON: ": b'{"code":404,"msg":"gone"}',
    "text: '[playlist] ": b"[playlist]\nFile1=vocal.mp3\n",
    "text: 'error code: 1010'": b"error code: 1010\n",
    "a gzip stream": b"\x1f\x8b\x08\x00",
    "a ZIP archive": b"PK\x03\x04....",
    "a PNG image": b"\x89PNG\r\n\x1a\n",
    "a JPEG image": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "a PDF document": b"%PDF-1.7",
    "unknown bytes 00 00": bytes(5000),
    "a WebP image": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "unknown bytes 52 49 46 46": b"RIFF\x00\x00\x00\x00ACONanih",
    "unknown bytes 1a 45 df a3": b"\x1a\x45\xdf\xa3\x00\x00nothing known",
    "text: 'OggS'": b"OggS",
    "unknown bytes ff fb": MPEG1_L3 + bytes(1000),
    "an AVIF or HEIF image": b"\x00\x00\x00\x20ftypavif\x00\x00",
}


@pytest.mark.parametrize(("head", "extension", "content_type"), KNOWN.values(), ids=KNOWN)
def test_sniff_audio_names_its_container(head: bytes, extension: str, content_type: str) -> None:
    found = sniff(head[:4096])
    assert found is not None
    assert (found.extension, found.content_type) == (extension, content_type)


@pytest.mark.parametrize(("name", "head"), OTHERS.items(), ids=OTHERS)
def test_sniff_anything_else_is_no_audio_and_is_named(name: str, head: bytes) -> None:
    assert sniff(head[:4096]) is None
    assert looks_like(head[:4096]).startswith(name)


@pytest.mark.parametrize(
    "header",
    ["494433010000", "494433050000", "49443304ff00", "4944330400000000ff00", "49443304"],
    ids=["too old", "too new", "revision", "size", "cut"],
)
def test_sniff_tag_with_an_impossible_header_is_no_audio(header: str) -> None:
    assert sniff(bytes.fromhex(header).ljust(10, b"\xff") + bytes(100)) is None


@pytest.mark.parametrize("wrong", [b"\0\0\0\0", b"zzzz"])
@pytest.mark.parametrize("kind", [b"WAVE", b"AIFF", b"AIFC"])
def test_sniff_kind_without_its_form_before_it_is_no_audio(wrong: bytes, kind: bytes) -> None:
    assert sniff(wrong + b"\0\0\0\x20" + kind + b"fmt COMM") is None


@pytest.mark.parametrize(
    "second",
    ["fffb0000", "fffbf000", "fffb9c00", "ffeb9000", "fff99000", "fff39000", "fffd9000", "fffb9400", "7ffb9000"],
    ids=["free", "no rate", "no hertz", "no version", "no layer", "version 2", "layer 2", "48 kHz", "no sync"],
)
def test_sniff_two_frames_that_disagree_are_no_audio(second: str) -> None:
    assert sniff(frame("fffb9000", FRAME) + frame(second, FRAME)) is None


def test_sniff_single_frame_is_audio_only_when_it_is_all_there_is() -> None:
    one = frame("fffb9000", FRAME)
    assert sniff(one, whole=True) is not None
    assert sniff(one) is None
    assert sniff(one[:-1], whole=True) is None
    assert sniff(one + b"x", whole=True) is None
    assert sniff(b"x" + one, whole=True) is None


@pytest.mark.parametrize("declared", ["", "audio/mpeg"])
@pytest.mark.parametrize("first", [bytes(4096), b"ID3\x03" + bytes(6)])
def test_sniff_thousands_of_tags_with_empty_bytes_between_them_end_somewhere(first: bytes, declared: str) -> None:
    head = first + (b"ID3\x03" + bytes(6) + bytes(16)) * 4700
    sniff(head[: enough_of(head[:4096])], declared=declared)
    sniff(head, whole=True, declared=declared)


@pytest.mark.parametrize("size", [6, 7])
def test_sniff_adts_frame_without_content_is_no_audio(size: int) -> None:
    header = bytes([0xFF, 0xF1, 0x50, 0x80, 0, size << 5, 0xFC])
    assert sniff(header * 20) is None


@pytest.mark.parametrize("instrument", INSTRUMENTS[:1])
def test_sniff_knows_what_a_real_encoder_writes(instrument: str) -> None:
    import lameenc

    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_channels(1)
    tone = struct.pack("<44100h", *(i * 7919 % 20_000 - 10_000 for i in range(44_100)))
    found = sniff(bytes(encoder.encode(tone) + encoder.flush())[:4096])
    assert found is not None
    assert found.extension == "mp3"


@given(st.binary(max_size=4096))
def test_sniff_and_looks_like_cope_with_anything(head: bytes) -> None:
    sniff(head, whole=True)
    assert looks_like(head).isprintable()


@given(st.text(max_size=2000))
def test_sniff_text_is_never_audio_but_by_magic(text: str) -> None:
    head = text.encode()
    found = sniff(head)
    assert found is None or head[:4] in {b"ID3\x02", b"ID3\x03", b"ID3\x04", b"fLaC", b"OggS"} or head[4:8] == b"ftyp"


@pytest.mark.parametrize(
    "secret",
    [
        "https://cdn.example/a?Signature=sesame",
        "//cdn.example/a?t=sesame",
        "Signature=sesame&x",
        "user@sesame",
        "sesame" * 5,
    ],
)
def test_looks_like_shows_no_link_and_no_token(secret: str) -> None:
    page = f"<html><a href='{secret}'>click</a> {secret} <script>sesame()</script> here \x1b]0;sesame\x07"
    shown = looks_like(page.replace("\x1b]0;sesame\x07", "\x1b").encode())
    assert "sesame" not in shown
    assert "click" in shown
    assert len(shown) < 150
