"""The keys of objects, which never change."""

from __future__ import annotations

import pytest

from archiver.core.keys import manifest_key, object_key, record_key
from archiver.core.model import StemName, TaskId


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
