"""The names of stems."""

from __future__ import annotations

import pytest

from archiver.core.records.names import field_name
from archiver.core.records.record import record_of
from tests.unit.core.records.readers import ID, item, response, urls


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("Lead Vocal", "lead_vocal"),
        ("LeadVocal", "lead_vocal"),
        ("808", "808"),
        ("FX", "fx"),
        ("  Drum -- Kit!! ", "drum_kit"),
        ("Éclat", "eclat"),
        ("人声", "stem"),
        ("", "stem"),
        ("../../etc/passwd", "etc_passwd"),
        ("manifest", "stem_manifest"),
        ("Manifest", "stem_manifest"),
        ("a\x00\x1b[31mb\r\n", "ab"),
        ("x" * 100, "x" * 64),
    ],
)
def test_name_of_a_group(group: str, name: str) -> None:
    (stem,) = record_of(response(originData=[item("https://b.test/1", group)])).stems
    assert stem.name == name


def test_role_survives_in_the_longest_name() -> None:
    roles = {"extract": item("https://b.test/1", "x" * 100), "remove": item("https://b.test/2", "x" * 100)}
    names = [stem.name for stem in record_of(response(originData=[roles])).stems]
    assert names == ["x" * 64, "x" * (56) + "_removed"]


def test_item_named_like_a_field_leaves_it_the_plain_name() -> None:
    record = record_of(response(synthUrl="https://a.test/1", originData=[item("https://b.test/1", "Synth", id=ID)]))
    assert urls(record) == {"synth": "https://a.test/1", "synth_3d7021c9": "https://b.test/1"}


def test_items_of_one_name_are_told_apart_by_id_else_by_the_hash_of_the_shown_url() -> None:
    both = [item("https://b.test/1?sig=A", "Choir", id=ID), item("https://b.test/2?sig=A", "Choir")]
    again = [item("https://b.test/2?sig=B", "Choir"), item("https://b.test/1?sig=B", "Choir", id=ID)]
    first, second = record_of(response(originData=both)), record_of(response(originData=again))
    assert urls(first).keys() == urls(second).keys() == {"choir_3d7021c9", "choir_f0c2bc15"}
    assert urls(second)["choir_3d7021c9"] == "https://b.test/1?sig=B"


def test_items_of_one_name_and_one_id_are_still_told_apart_in_any_order() -> None:
    both = [item("https://b.test/1", "Choir", id=ID), item("https://b.test/2", "Choir", id=ID)]
    first, second = record_of(response(originData=both)), record_of(response(originData=both[::-1]))
    assert urls(first) == urls(second)
    assert len(urls(first)) == 2


def test_item_named_like_a_field_waits_with_its_plain_name_until_the_record_is_settled() -> None:
    data = response(originData=[item("https://b.test/1", "Synth", id=ID)])
    assert urls(record_of(data | {"successFlag": "PENDING"})).keys() == {"synth_3d7021c9"}
    assert urls(record_of(data)).keys() == {"synth"}


def test_names_do_not_depend_on_the_order_of_fields() -> None:
    fields = {"vocalUrl": "https://a.test/1", "vocal_url": "https://a.test/2", "drumsUrl": "https://a.test/3"}
    backwards = dict(reversed(fields.items()))
    assert record_of(response(**fields)).stems == record_of(response(**backwards)).stems
    assert len(urls(record_of(response(**fields)))) == 3


def test_field_is_fit_for_logs() -> None:
    key = "\x1b]0;gotcha\x07a b\u202e/../\nhttps://x.test/?t=SECRETUrl"
    (stem,) = record_of(response(**{key: "https://a.test/1"})).stems
    assert "SECRET" not in stem.field + stem.name
    assert stem.field.isascii()
    assert stem.field.isprintable()


@pytest.mark.parametrize(("key", "name"), [("../a/b.c", "___a_b_c"), ("vocal_url-2", "vocal_url-2"), ("", "_")])
def test_name_of_a_field_is_one_word_of_a_path(key: str, name: str) -> None:
    assert field_name(key) == name
