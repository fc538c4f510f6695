"""The keys of objects, which never change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.keys import LONGEST_LABEL, Names, label_of, manifest_key, object_key, record_key
from archiver.core.manifest_fields import plain_name_fault
from archiver.core.model import Receipt, StemName, StemRow, TaskId
from archiver.core.states import StemState
from tests.fakes.time import NOW


@pytest.mark.parametrize(
    ("prefix", "task", "stem", "extension", "key"),
    [
        ("", "3e63b4cc88d52611159371f6af5571e7", "vocal", "mp3", "3e63b4cc88d52611159371f6af5571e7/vocal.mp3"),
        ("stems/", "e649edb7", "backing_vocals", "wav", "stems/e649edb7/backing_vocals.wav"),
        ("a/b/", "Ab_-0123", "lead_vocal_removed", "m4a", "a/b/Ab_-0123/lead_vocal_removed.m4a"),
        ("a/b/", "Ab_-0123", "synth_56b2d94a", "flac", "a/b/Ab_-0123/synth_56b2d94a.flac"),
    ],
)
def test_object_key_never_changes(prefix: str, task: str, stem: str, extension: str, key: str) -> None:
    assert object_key(prefix, TaskId(task), StemName(stem), extension) == key


def test_sidecar_keys_never_change() -> None:
    assert record_key("stems/", TaskId("e649edb7")) == "stems/e649edb7/record-info.json"
    assert manifest_key("stems/", TaskId("e649edb7")) == "stems/e649edb7/manifest.json"


def stored(name: str, key: str, alias_of: str | None = None) -> StemRow:
    receipt = Receipt(key, 1, "0" * 64, "e", "audio/mpeg", NOW, StemName(alias_of) if alias_of else None)
    return StemRow(StemName(name), StemState.STORED, "", "", "f", receipt=receipt)


@pytest.mark.parametrize(
    ("title", "label"),
    [
        ("My Song", "My Song"),
        ("  Don't stop (live)!  ", "Don't stop (live)!"),
        ('a/b\\c:d*e?f"g<h>i|j', "a b c d e f g h i j"),
        ("Hafenlichter \u266a", "Hafenlichter"),
        ("\u6e2f\u306e\u5149", "\u6e2f\u306e\u5149"),
        ("u\u0308ber", "\u00fcber"),
        ("../../etc/passwd", "etc passwd"),
        ("\u202egnp.exe\0\n", "gnp.exe"),
        ("\ud800", ""),
        ("...", ""),
        ("", ""),
    ],
)
def test_title_in_a_key_is_of_safe_characters(title: str, label: str) -> None:
    assert label_of(title, (), Names.TITLE) == label
    assert label_of(title, (), Names.ID) == ""


@given(title=st.text())
def test_any_title_is_a_plain_and_bounded_part_of_a_key(title: str) -> None:
    label = label_of(title, (), Names.TITLE)
    key = object_key("p/", TaskId("3e63b4cc88d5"), StemName("x" * 64), "webm", label)
    folder, _, name = key.rpartition("/")
    assert folder == "p/3e63b4cc88d5"
    assert len(label.encode()) <= LONGEST_LABEL
    assert plain_name_fault(name) == ""
    assert label_of("another", [stored("x" * 64, key)], Names.ID) == label


def test_task_with_objects_keeps_to_its_label() -> None:
    named = [stored("bass", "t/A - vocal.mp3", alias_of="vocal"), stored("vocal", "t/A - vocal.mp3")]
    assert label_of("B", named, Names.ID) == label_of("B", named, Names.TITLE) == "A"
    assert label_of("B", [stored("vocal", "t/vocal.mp3")], Names.TITLE) == ""
