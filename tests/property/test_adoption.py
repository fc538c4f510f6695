"""Any body under any name, with whatever metadata: adopted only where it is audio, whole, and ours; else named."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.core.adoption import Known
from archiver.core.model import StemName, StemRow, TaskId
from archiver.core.records.kinds.names import KindName, Media
from archiver.core.states import StemState
from tests.fakes.audio import mp3
from tests.fakes.object_store import FakeStore
from tests.fakes.time import NOW
from tests.fixtures.planted import PAGE, PNG, begin_of, sha256_of, with_length
from tests.fixtures.profiles import examples
from tests.house import folders_of

TASK = TaskId("task-0001")
FOLDER = f"p/{TASK}/"
STEMS = ("vocal", "drums", "01-abc - x", "lyrics-01")

WAVE = b"RIFF\0\0\1\0WAVEfmt \x10\0\0\0\1\0\2\0\x44\xac\0\0\x10\xb1\2\0\4\0\x10\0data"

Make = Callable[[int], bytes]
AUDIO: Mapping[str, Make] = {
    "mp3": lambda seed: mp3(3000 + seed, seed),
    "xing": lambda seed: with_length(6000 + seed, 6000),
    "wav": lambda seed: (
        b"RIFF\0\0\1\0WAVEfmt \x10\0\0\0\1\0\2\0\x44\xac\0\0\x10\xb1\2\0\4\0\x10\0data" + noise(3000, seed)
    ),
    "flac": lambda seed: b"fLaC\0\0\0\x22" + noise(3000, seed),
    "ogg": lambda seed: b"OggS\0\2" + noise(3000, seed),
    "midi": lambda seed: b"MThd\0\0\0\6" + noise(90, seed),
}
OTHERS: Mapping[str, Make] = {
    "page": lambda _: PAGE,
    "json": lambda seed: b'{"code": %d, "data": null}' % seed,
    "text": lambda seed: b"never mind the numbers %d\n" % seed * 40,
    "wide text": lambda seed: f"wide {seed}\n".encode("utf-16") * 40,
    "image": lambda seed: PNG + noise(90, seed),
    "zip": lambda seed: b"PK\3\4" + noise(900, seed),
    "gzip": lambda seed: b"\x1f\x8b" + noise(900, seed),
}
UNKNOWN: Mapping[str, Make] = {"zeros": lambda seed: bytes(900 + seed)}
"""Of no known format: kept as it came, where the origin called it audio."""
BODIES = {**AUDIO, **OTHERS, **UNKNOWN}


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass(frozen=True)
class Plant:
    """An object in the task's folder, and whether it may be adopted at all."""

    key: str
    body: bytes
    metadata: Mapping[str, str]
    content_type: str
    may: bool

    @property
    def is_ours(self) -> bool:
        return bool(self.body and self.metadata.get("task-id") == TASK and self.metadata.get("stem"))


@st.composite
def plants(draw: st.DrawFn) -> Plant:
    kind, stem = draw(st.sampled_from(sorted(BODIES))), draw(st.sampled_from(STEMS))
    body = BODIES[kind](draw(st.integers(0, 500)))
    at = draw(st.integers(0, min(len(body), 2000) - 1))
    change = draw(st.sampled_from(["none", "none", "cut", "flipped", "other"]))
    changed = {
        "none": body,
        "cut": body[:at],
        "flipped": body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :],
        "other": mp3(3000, 9999),
    }
    named = {
        "sha256": {"sha256": sha256_of(body)},
        "begin": {"sha256-begin": begin_of(body, min(len(body), 2000))},
        "nothing": {},
    }
    name = draw(st.sampled_from(sorted(named)))
    says = {
        "task-id": draw(st.sampled_from([TASK, TASK, TASK, "task-0002", ""])),
        "stem": draw(st.sampled_from([stem, stem, stem, "bass", "../x", "a/b", ""])),
    }
    sound = change == "none" or name == "nothing"
    return Plant(
        f"{FOLDER}{draw(st.sampled_from(['', 'My Song - ']))}{stem}.mp3",
        changed[change],
        {**named[name], **{each: text for each, text in says.items() if text}},
        draw(st.sampled_from(["audio/mpeg", "application/octet-stream", "text/plain", "application/json", ""])),
        sound and (kind not in OTHERS or change == "other") and (says["task-id"], says["stem"]) == (TASK, stem),
    )


WANTED = {StemName(each): StemRow(StemName(each), StemState.WANTED, "", "", "") for each in STEMS}


@settings(max_examples=examples(100), deadline=None)
@given(
    found=st.lists(plants(), max_size=5, unique_by=lambda each: each.key), known=st.sampled_from(["rows", *KindName])
)
def test_whatever_stands_in_a_folder_is_adopted_whole_or_named_or_foreign(found: list[Plant], known: str) -> None:
    store = FakeStore()
    for each in found:
        store.objects[each.key], store.metadata[each.key] = each.body, each.metadata
        store.content_types[each.key] = each.content_type
    about = Known(None, WANTED) if known == "rows" else Known(known)
    looked = folders_of(store.archive, lambda: NOW).objects(TASK, about, lambda: None)
    adopted = {each.receipt.key: each.stem for each in looked.adopted}
    assert adopted.keys() <= {each.key for each in found if each.may}
    for adoption in looked.adopted:
        body = store.objects[adoption.receipt.key]
        assert (adoption.receipt.sha256, adoption.receipt.size) == (sha256_of(body), len(body))
        assert adoption.media is Media.AUDIO
    assert len({*adopted.values()}) == len(adopted), "two objects of one stem"
    left, ours = {each.key for each in looked.left}, {each.key: each.metadata["stem"] for each in found if each.is_ours}
    doubles = {key for key, stem in ours.items() if key not in left | adopted.keys() and stem in adopted.values()}
    assert left | adopted.keys() | doubles == ours.keys()
    assert looked.foreign == len(found) - len(ours)


def test_whole_audio_of_ours_is_adopted_of_every_kind_that_has_audio() -> None:
    for make in AUDIO.values():
        store, body = FakeStore(), make(1)
        key = f"{FOLDER}vocal.mp3"
        store.objects[key], store.content_types[key] = body, "audio/mpeg"
        store.metadata[key] = {"task-id": TASK, "stem": "vocal", "sha256": sha256_of(body)}
        for kind in (None, KindName.SEPARATION, KindName.MUSIC, KindName.WAV):
            looked = folders_of(store.archive, lambda: NOW).objects(TASK, Known(kind), lambda: None)
            assert [each.receipt.sha256 for each in looked.adopted] == [sha256_of(body)], (kind, looked.left)


def test_files_of_other_media_are_adopted_as_their_kind_says() -> None:
    texts = {
        "lyrics-01.txt": (b"la la la\n", "text/plain; charset=utf-8"),
        "result.json": (b'{"a": 1}', "application/json"),
    }
    files = {**texts, "01-abc-image.png": (PNG, "image/png")}
    store = FakeStore()
    for file, (body, content_type) in files.items():
        key, stem = f"{FOLDER}{file}", file.rpartition(".")[0]
        store.objects[key], store.content_types[key] = body, content_type
        store.metadata[key] = {"task-id": TASK, "stem": stem, "sha256": sha256_of(body)}
    seen = {
        kind: {each.receipt.key.removeprefix(FOLDER): each.media for each in looked.adopted}
        for kind in (None, KindName.MUSIC, KindName.SEPARATION, KindName.LYRICS)
        for looked in [folders_of(store.archive, lambda: NOW).objects(TASK, Known(kind), lambda: None)]
    }
    of_texts = dict.fromkeys(texts, Media.TEXT)
    everything = {**of_texts, "01-abc-image.png": Media.IMAGE}
    assert seen == {None: everything, KindName.MUSIC: everything, KindName.SEPARATION: {}, KindName.LYRICS: of_texts}
