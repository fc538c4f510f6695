"""The envelope of the provider's answers, sound and broken."""

from __future__ import annotations

import json

import pytest

from archiver.core.records.envelope import NotAnAnswer, read_envelope


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"error code: 1010",
        b"<!doctype html><html><body>502 Bad Gateway</body></html>",
        b'{"code":200,"msg":"success","data":{"taskId":"3e63',
        b'{"code":200} {"code":404}',
        b"[1,2]",
        b'"text"',
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"data":"' + b"x" * (1_048_577 - 11) + b'"}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_envelope_when_body_is_no_answer_raises(body: bytes) -> None:
    with pytest.raises(NotAnAnswer):
        read_envelope(body)


@pytest.mark.parametrize("code", [b"NaN", b"-Infinity", b"9" * 5000, b'"\xff\xfe"', b'"\t"'])
def test_envelope_whose_code_is_blemished_has_none(code: bytes) -> None:
    assert read_envelope(b'{"code":' + code + b"}").code is None


def test_envelope_of_exactly_the_cap_is_read() -> None:
    assert read_envelope(b'{"data":"' + b"x" * (1_048_576 - 11) + b'"}').data


def test_not_an_answer_shows_its_beginning_without_secrets() -> None:
    with pytest.raises(NotAnAnswer) as caught:
        read_envelope(b"<html>\x1b[31mgo to https://x.test/login?token=SECRET now</html>")
    assert "https://x.test now" in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (200, 200),
        ("401", 401),
        (" 455 ", 455),
        (500.0, 500),
        (True, None),
        (None, None),
        ("OK", None),
        (2.5, None),
        (10**400, None),
        ([], None),
        ("9999999999", None),
    ],
)
def test_envelope_code(code: object, expected: int | None) -> None:
    assert read_envelope(json.dumps({"code": code}).encode()).code == expected


def test_envelope_message_is_scrubbed() -> None:
    assert read_envelope(b'{"msg":"see https://u:p@h.test/a/b?k=v\\u001b[0m"}').msg == "see https://h.test"
    assert read_envelope(b'{"msg":{"a":1}}').msg == ""


def test_envelope_with_byte_order_mark_is_read() -> None:
    assert read_envelope(b'\xef\xbb\xbf{"code":200}').code == 200
