"""A manifest that is read: both formats, and what no manifest may do to its reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import ValidationError

from archiver.core.manifest import seal_of
from archiver.core.manifest_bounds import LARGEST, MOST_STEMS
from archiver.core.manifest_fields import Fields, ManifestBroken
from archiver.core.manifest_read import Manifest, ManifestEvent, read_manifest
from archiver.core.model import TaskId
from tests.fixtures.manifest_schemas import check_schema

SAMPLES = Path(__file__).resolve().parents[2] / "fixtures" / "manifests"
TASK = TaskId("3e63b4cc88d5")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def sealed(document: Mapping[str, object]) -> bytes:
    return json.dumps({**document, "seal": f"sha256:{seal_of(document)}"}).encode()


def sample(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_bytes())
    return document


def of_format_2(**changes: object) -> dict[str, Any]:
    stem = sample("format-1-archived")["stems"][1] | {"path": "vocal.mp3", "crc32": "0123abcd"}
    return sample("format-1-archived") | {"format": 2, "state": "archived", "stems": [stem]} | changes


@pytest.mark.parametrize(
    ("name", "state", "stems"),
    [("archived", "archived", 2), ("lost", "lost", 2), ("listed", "listed", 3), ("no-prefix", "archived", 1)],
)
def test_format_1_has_its_state_and_paths_computed(name: str, state: str, stems: int) -> None:
    manifest = read_manifest((SAMPLES / f"format-1-{name}.json").read_bytes(), TASK)
    vocal = manifest.stem("vocal")
    assert vocal is not None
    assert (manifest.format, manifest.state, len(manifest.stems)) == (1, state, stems)
    assert (vocal.path, vocal.size, vocal.sha256, vocal.stored_at) == ("vocal.mp3", 1234, "ab" * 32, NOON)
    assert manifest.ended_at == (None if state == "listed" else NOON)
    assert (manifest.account, manifest.source, manifest.previous, manifest.events) == (None, None, None, ())


def test_format_1_alias_has_the_path_of_its_original() -> None:
    alias = read_manifest((SAMPLES / "format-1-archived.json").read_bytes()).stem("instrumental")
    assert alias is not None
    assert (alias.alias_of, alias.path) == ("vocal", "vocal.mp3")


def test_what_0_2_adds_to_format_1_is_read() -> None:
    manifest = read_manifest((SAMPLES / "format-1-music.json").read_bytes())
    assert (manifest.kind, manifest.title, manifest.parent) == ("music", "Song", "0123456789ab")
    assert (manifest.made_from[0].id, manifest.tracks[0].id) == ("track-1", "track-2")
    assert (manifest.create_only, manifest.not_taken[0].kind) == ("best-effort", "a web page")
    assert manifest.stems[0].doubt == "shorter than told"


def test_format_2_tells_all() -> None:
    event: dict[str, Any] = {
        "type": None,
        "at": "2026-03-01T12:00:00+00:00",
        "stem": None,
        "event": "not_ready",
        "before": "queued",
        "after": "queued",
        "detail": {"reason": "the provider is not ready"},
        "times": 7,
        "until": "2026-03-01T13:00:00+00:00",
    }
    lost = {"name": "bass", "state": "lost", "url_cut": True, "attempts": 4, "gone": 3, "not_before": None}
    document = of_format_2(account="b", source="queue", first_asked_at="2026-03-01T12:00:00Z", flag="SUCCESS")
    document |= {"state": "lost", "ended_at": "2026-03-01T13:00:00+01:00", "previous": "sha256:00", "events": [event]}
    document["stems"].append(lost)
    manifest = read_manifest(sealed(document), TASK)
    assert (manifest.state, manifest.account, manifest.source, manifest.flag) == ("lost", "b", "queue", "SUCCESS")
    assert (manifest.first_asked_at, manifest.ended_at, manifest.previous) == (NOON, NOON, "sha256:00")
    assert manifest.events == (
        ManifestEvent(
            "not_ready",
            NOON,
            None,
            "queued",
            "queued",
            event["detail"],
            None,
            7,
            NOON + timedelta(hours=1),
        ),
    )
    vocal, bass = manifest.stems
    assert (vocal.path, vocal.crc32) == ("vocal.mp3", "0123abcd")
    assert (bass.url_cut, bass.attempts, bass.gone, bass.size) == (True, 4, 3, None)


def test_words_and_formats_to_come_are_shown_as_they_are() -> None:
    document = of_format_2(format=3, state="forgotten", tomb={"law": 1})
    document["stems"].append({"name": "bass", "state": "forgotten"})
    manifest = read_manifest(sealed(document))
    assert (manifest.format, manifest.state, manifest.stems[1].state) == (3, "forgotten", "forgotten")


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "a/b", "..", ".", "", "a\x00b", "a\nb", "a\\b", "é" * 128, "\u202egpm.3", None]
)
def test_path_that_is_no_plain_name_names_nothing(path: str | None) -> None:
    document = of_format_2()
    document["stems"][0]["path"] = path
    stem = read_manifest(sealed(document)).stems[0]
    assert stem.path == ""
    assert stem.path_fault


@pytest.mark.parametrize("key", ["elsewhere/vocal.mp3", "stems/3e63b4cc88d5/../x", "stems/3e63b4cc88d5/", ""])
def test_key_of_format_1_outside_the_folder_names_nothing(key: str) -> None:
    document = sample("format-1-no-prefix")
    document["stems"][0]["key"] = key
    assert read_manifest(sealed(document)).stems[0].path == ""


def stem_with(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["stems"][0].update(changes)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(task_id="another-task"),
        lambda document: document.update(task_id="../x"),
        lambda document: document.update(format=None),
        lambda document: document.update(format=0),
        lambda document: document.update(format=True),
        lambda document: document.update(state=None),
        lambda document: document.update(stems=None),
        lambda document: document.update(stems=[7]),
        lambda document: document.update(stems={}),
        lambda document: document["stems"].append(document["stems"][0]),
        lambda document: document.update(written_at=None),
        lambda document: document.update(written_at="0001-01-01T00:00:00+23:00"),
        lambda document: document.update(deadline=7),
        lambda document: document.update(account="a b"),
        lambda document: document.update(events=[{"event": "listed"}]),
        lambda document: document.update(parent="x"),
        lambda document: document.update(duration_seconds=float("inf")),
        stem_with(bytes=-1),
        stem_with(bytes=0),
        stem_with(bytes="12"),
        stem_with(sha256="AB" * 32),
        stem_with(name=None),
        stem_with(state=None),
        stem_with(url_cut="no"),
        stem_with(attempts=1 << 60),
        stem_with(duration_seconds=10**400),
    ],
)
def test_sealed_nonsense_is_broken_and_says_why(change: Callable[[dict[str, Any]], object]) -> None:
    document = of_format_2()
    change(document)
    with pytest.raises(ManifestBroken, match=r"."):
        read_manifest(sealed(document), TASK)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"7", b"null", b"\xff\xfe", b"[" * 100_000, b'{"seal":1}', b'{"a":' * 50_000, b"1" * 5000],
    ids=lambda data: repr(data[:8]),
)
def test_bytes_that_are_no_manifest_are_broken(data: bytes) -> None:
    with pytest.raises(ManifestBroken):
        read_manifest(data)


@pytest.mark.parametrize("at", range(0, 1000, 97))
def test_manifest_with_a_byte_changed_is_broken(at: int) -> None:
    data = bytearray(sealed(of_format_2()))
    data[at % len(data)] ^= 1
    with pytest.raises(ManifestBroken):
        read_manifest(bytes(data))


def test_manifest_beyond_its_bounds_is_broken() -> None:
    with pytest.raises(ManifestBroken, match="bytes, more than"):
        read_manifest(sealed(of_format_2()) + b" " * LARGEST)
    with pytest.raises(ManifestBroken, match="at most"):
        read_manifest(sealed({**of_format_2(), "stems": [{"name": "vocal"}] * (MOST_STEMS + 1)}))


@pytest.mark.parametrize("name", ["events", "made_from", "tracks", "not_taken"])
def test_list_of_a_manifest_may_have_100_000_rows_and_not_one_more(name: str) -> None:
    with pytest.raises(ManifestBroken, match="what is no object"):
        read_manifest(sealed({**of_format_2(), name: [0] * 100_000}))
    with pytest.raises(ManifestBroken, match="at most 100000"):
        read_manifest(sealed({**of_format_2(), name: [0] * 100_001}))


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["stored", "..", "2026-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.binary())
def test_any_bytes_are_a_manifest_or_broken(data: bytes) -> None:
    with pytest.raises(ManifestBroken):
        read_manifest(data)


@given(st.data())
def test_any_field_of_any_type_is_read_or_broken(data: st.DataObject) -> None:
    document = of_format_2(format=data.draw(st.sampled_from([1, 2, 3])))
    document["events"] = [{"at": "2026-03-01", "event": "listed", "detail": {}}]
    document["tracks"], document["made_from"], document["not_taken"] = [{"id": "a"}], [{}], [{}]
    below = data.draw(st.sampled_from([document, document["stems"][0], document["events"][0], document["tracks"][0]]))
    below[data.draw(st.sampled_from(sorted(below)) | st.text(max_size=3))] = data.draw(ANY_JSON)
    try:
        manifest = read_manifest(sealed(document))
    except ManifestBroken:
        return
    assert isinstance(manifest, Manifest)
    assert all("/" not in stem.path and stem.path not in {".", ".."} for stem in manifest.stems)
    repr(manifest).encode()


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_frozen_samples_are_as_their_schema_has_them(path: Path) -> None:
    check_schema(json.loads(path.read_bytes()))


@pytest.mark.parametrize("change", [{"state": "forgotten"}, {"events": None}, {"previous": "x"}, {"stems": [{}]}])
def test_schema_of_format_2_refuses_what_none_of_ours_is(change: dict[str, object]) -> None:
    sound = json.loads((SAMPLES / "format-2-lost.json").read_bytes())
    with pytest.raises(ValidationError):
        check_schema(sound | change)


def test_number_that_other_languages_hold_exactly_is_read_and_a_larger_one_is_broken() -> None:
    fields = Fields({"last": 9_007_199_254_740_991, "next": 9_007_199_254_740_992})
    assert (fields.whole("last"), fields.seconds("last")) == (9_007_199_254_740_991, 9_007_199_254_740_991)
    for read in (fields.whole, fields.seconds):
        with pytest.raises(ManifestBroken):
            read("next")
