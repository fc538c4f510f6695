"""The record as it is kept."""

from __future__ import annotations

import json

import pytest

from archiver.core.records.document import document_of
from archiver.core.records.record import record_of
from tests.unit.core.records.readers import EXAMPLES


def test_document_is_the_record_as_it_came() -> None:
    data = EXAMPLES["success_separate_vocal"]["body"]["data"]
    expected = data | {"callbackUrl": "https://example.com"}
    assert json.loads(document_of(data)) == expected
    assert list(json.loads(document_of(data))) == list(data)


def test_document_of_an_absent_record_is_empty() -> None:
    assert record_of(None).document == ""


@pytest.mark.parametrize(
    ("data", "document"),
    [
        ({"vocalUrl": "https://a.test/x?sig=SECRET"}, {"vocalUrl": "https://a.test/x"}),
        ({"vocalUrl": "a.test/x?sig=SECRET"}, {"vocalUrl": "a.test/x"}),
        ({"callbackUrl": "https://u:SECRET@a.test/SECRET?x"}, {"callbackUrl": "https://a.test"}),
        ({"callBackUrl": "a.test/cb?SECRET"}, {"callBackUrl": "a.test/cb"}),
        ({"resultUrls": ["https://a.test/a b?SECRET"]}, {"resultUrls": ["https://a.test/a%20b"]}),
        ({"x": ["https://a.test/y?SECRET#SECRET"]}, {"x": ["https://a.test/y"]}),
        ({"x": "see https://a.test/SECRET and go"}, {"x": "see https://a.test and go"}),
        ({"errorMessage": "see https://a.test/SECRET\x1b[0m"}, {"errorMessage": "see https://a.test"}),
        ({"https://a.test/?SECRET": 1}, {"https://a.test": 1}),
        (
            {"param": '{"callBackUrl":"https:\\/\\/a.test\\/SECRET","n":1}'},
            {"param": '{"callBackUrl": "https://a.test", "n": 1}'},
        ),
        ({"param": '{"url":"https://a.test/?SECRET","url":1}'}, {"param": '{"url": "https://a.test/"}'}),
        ({"x": "https://a.test/a b?SECRET"}, {"x": "https://a.test/a%20b"}),
        ({"x": "\x1bX https://a.test/?SECRET"}, {"x": ""}),
        ({"x": "ht\u200btps://a.test/?SECRET"}, {"x": "https://a.test"}),
        ({"text": "[Verse]\nWho? Me\u2028\x00"}, {"text": "[Verse]\nWho? Me\u2028\x00"}),
        ([1, 2.5, True, None, "ä", "\ud800"], [1, 2.5, True, None, "ä", "\ud800"]),
        ([float("nan"), float("inf"), 10**5000], [None, None, None]),
    ],
)
def test_document_holds_no_secret_and_all_else(data: object, document: object) -> None:
    text = document_of(data)
    assert json.loads(text) == document
    assert "SECRET" not in text
    assert text.isascii()


def test_document_of_absurd_nesting_ends() -> None:
    deep: object = "https://a.test/?SECRET"
    for _ in range(100_000):
        deep = [deep]
    assert "SECRET" not in record_of({"response": deep}).document
    text = "é" * 1000
    for _ in range(14):
        text = json.dumps([text], ensure_ascii=False)
    assert len(document_of(text)) < 20 * len(text)
