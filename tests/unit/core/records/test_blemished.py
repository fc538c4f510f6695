"""JSON as it comes: what nobody needs is broken, the audio is read all the same, and the blemish is told."""

from __future__ import annotations

import json
import re

import pytest

from archiver.core.model import Phase
from archiver.core.records.blemished import charset_in, read_blemished_text
from archiver.core.records.envelope import MAX_ANSWER, Envelope, NotAnAnswer, read_envelope
from archiver.core.records.record import record_of
from tests import FIXTURES
from tests.unit.core.records.readers import urls

VOCAL = {"vocal": "https://cdn.example/vocal.mp3"}


def answer(title: bytes = b'"x"', url: bytes = b"https://cdn.example/vocal.mp3") -> bytes:
    return b'{"code": 200, "data": {"successFlag": "SUCCESS", "response": {"vocalUrl": "%s", "title": %s}}}' % (
        url,
        title,
    )


def title_of(envelope: Envelope) -> object:
    return json.loads(record_of(envelope.data).document)["response"]["title"]


@pytest.mark.parametrize(
    ("file", "blemish"),
    [
        ("raw-tab-and-newline.json", "a raw control character at character 227"),
        ("title-cut-in-utf8.json", "a broken character at byte 228"),
        ("duration-nan.json", "a value that is none at character 209"),
    ],
)
def test_case_of_a_blemish_is_read_whole_and_the_blemish_named(file: str, blemish: str) -> None:
    envelope = read_envelope((FIXTURES / "records" / file).read_bytes())
    record = record_of(envelope.data)
    assert (record.phase, urls(record), envelope.blemish) == (Phase.DONE, VOCAL, blemish)
    json.dumps(json.loads(record.document), allow_nan=False).encode()


@pytest.mark.parametrize(
    ("title", "kept", "blemish"),
    [
        (b"NaN", None, "a value that is none"),
        (b"-Infinity", None, "a value that is none"),
        (b"nan", None, "a value that is none"),
        (b"-1.#IND", None, "a value that is none"),
        (b"undefined", None, "a value that is none"),
        (b"01", None, "a value that is none"),
        (b"+1", None, "a value that is none"),
        (b"9" * 5000, None, "a value that is none"),
        (b"1e999999", None, ""),
        (b"True", True, ""),
        (b"", None, "a missing value"),
        (b'["a", ]', ["a"], "a spare comma"),
        (b'"a\tb\x00c\x1f"', "a\tb\x00c\x1f", "a raw control character"),
        (rb'"AC\DC \u12"', r"AC\DC \u12", "a backslash that escapes nothing"),
        (b'"\xff\xfe"', "\ufffd\ufffd", "a broken character"),
        (b'"\xe6\x97\xa5\xe6\x9c"', "日\ufffd", "a broken character"),
        (b'"caf\xe9"', "caf\ufffd", "a broken character"),
        (rb'"\ud83d"', "\ud83d", ""),
        (b'"\xed\xa0\xbd"', "\ud83d", ""),
        (b'\xc2\xa0"x"', "x", ""),
    ],
)
def test_blemish_of_a_title_costs_no_audio(title: bytes, kept: object, blemish: str) -> None:
    envelope = read_envelope(answer(title))
    assert (urls(record_of(envelope.data)), title_of(envelope)) == (VOCAL, kept)
    assert re.sub(r" at (?:character|byte) \d+$", "", envelope.blemish) == blemish


@pytest.mark.parametrize("around", [b"%s\x00", b"\xef\xbb\xbf\xef\xbb\xbf%s", b"\r\n%s\x1a", b"%s\xef\xbb\xbf"])
def test_padding_around_an_answer_is_left_out(around: bytes) -> None:
    assert urls(record_of(read_envelope(around % answer()).data)) == VOCAL


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_answer_in_a_wider_charset_is_read_blemish_and_all(charset: str) -> None:
    envelope = read_envelope(answer('"日本\t語"'.encode()).decode().encode(charset))
    assert (urls(record_of(envelope.data)), title_of(envelope)) == (VOCAL, "日本\t語")


@pytest.mark.parametrize(
    ("charset", "title"), [("iso-8859-1", "café"), ("windows-1252", "“café”"), ("shift_jis", "表"), ("gbk", "音乐")]
)
def test_answer_in_the_charset_that_it_names_is_read(charset: str, title: str) -> None:
    envelope = read_envelope(answer(f'"{title}"'.encode(charset)), charset)
    assert (urls(record_of(envelope.data)), title_of(envelope)) == (VOCAL, title)
    assert envelope.blemish == f"characters in {charset}"


@pytest.mark.parametrize("charset", ["shift_jis", "gbk", "big5"])
def test_character_with_the_byte_of_a_backslash_costs_no_audio_though_no_charset_is_named(charset: str) -> None:
    wide = next(c for c in map(chr, range(0x4E00, 0x9FFF)) if c.encode(charset, "ignore")[1:] == b"\\")
    assert urls(record_of(read_envelope(answer(f'"{wide}"'.encode(charset))).data)) == VOCAL


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("application/json; charset=ISO-8859-1", "iso-8859-1"),
        ('application/json;charset="gbk"', "gbk"),
        ("application/json", ""),
        ("application/json; charset=utf-8", ""),
        ("application/json; charset=punycode", ""),
        ("application/json; charset=zlib", ""),
        ("", ""),
    ],
)
def test_charset_of_a_content_type_is_one_of_text(content_type: str, charset: str) -> None:
    assert charset_in(content_type) == charset


def test_raw_byte_in_a_url_is_asked_for_as_it_came() -> None:
    envelope = read_envelope(answer(url=b"https://cdn.example/Lead caf\xe9.mp3"))
    assert urls(record_of(envelope.data)) == {"vocal": "https://cdn.example/Lead%20caf%E9.mp3"}


def test_raw_byte_in_a_url_inside_json_text_is_asked_for_as_it_came() -> None:
    body = b'{"code": 200, "data": {"response": "{\\"vocalUrl\\": \\"https:\\/\\/cdn.example\\/caf\xe9.mp3\\"}"}}'
    assert urls(record_of(read_envelope(body).data)) == {"vocal": "https://cdn.example/caf%E9.mp3"}


@pytest.mark.parametrize("inner", ['"a\tb"', "NaN", "undefined", r'"\x"', "9" * 5000])
def test_blemish_inside_json_text_costs_no_audio_and_no_secret_is_kept(inner: str) -> None:
    text = f'{{"vocalUrl": "https://cdn.example/vocal.mp3?sig=SECRET", "title": {inner}}}'
    record = record_of({"response": text})
    assert urls(record) == {"vocal": "https://cdn.example/vocal.mp3?sig=SECRET"}
    assert "SECRET" not in record.document


@pytest.mark.parametrize("inner", ["NaN", '"a\tb"', '"\xff"', "undefined", "1" * 5000, ""])
def test_document_of_a_blemished_answer_holds_no_secret(inner: str) -> None:
    body = answer(inner.encode("latin-1"), url=b"https://u:SECRET@cdn.example/v.mp3?sig=SECRET#SECRET")
    document = record_of(read_envelope(body).data).document
    assert "SECRET" not in document
    assert json.loads(document)["response"]["vocalUrl"] == "https://cdn.example/v.mp3"


@pytest.mark.parametrize(
    "behind",
    [
        b"trailing",
        b"<!-- cached -->",
        b"\n<br />\n<b>Warning</b>: x in /a.php",
        b"}",
        b";",
        b"NaN",
        b"\xe9",
        b"\\x",
    ],
)
def test_text_behind_an_answer_s_end_costs_nothing_and_is_told(behind: bytes) -> None:
    body = answer()
    envelope = read_envelope(body + behind)
    assert (envelope.code, envelope.data) == (200, read_envelope(body).data)
    assert f"text behind its end at character {len(body)}" in envelope.blemish
    assert "a value that is none" not in envelope.blemish


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"code": 200, "data": {"a": "b', "Unterminated string starting at at character 28 of 30"),
        (b'{"code": 200, "data": {"a": [1,', "at character 31 of 31"),
        (b'{"a": NaN, "b": undefined, "c": 1 2}', "Expecting ',' delimiter at character 34 of 36"),
        (b'\xef\xbb\xbf\n{"a": "caf\xe9", "b": NaN, "c"}', "Expecting ':' delimiter at character 28 of 29"),
        (b'{"a": "\\x\\y", b: 1}', "Expecting property name enclosed in double quotes at character 14 of 19"),
        (b'{"code": 200} {"code": 404}', "Extra data at character 13 of 27"),
        (b'{"code": 200}, "data": [1]}', "Extra data at character 13 of 27"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(body: bytes, where: str) -> None:
    with pytest.raises(NotAnAnswer) as caught:
        read_envelope(body)
    assert where in str(caught.value)


@pytest.mark.parametrize(
    "piece",
    [b"[", b'{"a":', b'"', b"\\", b'"\\', b"x,", b"\xe9", b",", b":", b" ", b"\x00", b'"\\\\\xe9', b"https:/\\/"],
)
def test_hostile_answer_is_refused_in_time_that_grows_with_its_length(piece: bytes) -> None:
    body = b'{"a": ' + piece * ((MAX_ANSWER - 10) // len(piece))
    with pytest.raises(NotAnAnswer):
        read_envelope(body)


def test_number_of_4_000_digits_is_read_and_one_of_4_001_is_none() -> None:
    def number(digits: int) -> object:
        return read_blemished_text('{"n": ' + "7" * digits + ",}").value

    assert [number(digits) for digits in (4_000, 4_001)] == [{"n": int("7" * 4_000)}, {"n": None}]
