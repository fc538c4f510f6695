"""The names that files get here, whatever the manifest calls them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.keys import SIDECARS
from archiver.core.manifest_read import read_manifest
from archiver.preservation.wanted import Selection, Wanted, fits, safe_title, wanted
from tests.fixtures.archived import TASK, manifest, stem_of


def asked(*stems: dict[str, object], titles: bool = False, stem: str | None = None, title: str = "") -> Wanted:
    return wanted(read_manifest(manifest(stems, title=title)), Selection(stem, titles))


def test_each_stored_stem_is_a_file_of_its_path() -> None:
    found = asked(stem_of("vocal", b"a"), stem_of("drums", b"b", path="drums.wav"))
    assert (found.folder, [file.name for file in found.files]) == (TASK, ["drums.wav", "vocal.mp3"])


def test_an_alias_is_a_file_of_its_own_name_with_the_same_bytes() -> None:
    found = asked(stem_of("vocal", b"a"), stem_of("all", b"a", path="vocal.mp3", alias_of="vocal"))
    assert [(file.name, file.path) for file in found.files] == [("vocal.mp3", "vocal.mp3"), ("all.mp3", "vocal.mp3")]


def test_stems_whose_paths_are_one_or_differ_by_case_alone_get_names_of_their_own() -> None:
    found = asked(
        stem_of("a", b"1", path="Vocal.mp3"), stem_of("b", b"2", path="vocal.MP3"), stem_of("c", b"3", path="Vocal.mp3")
    )
    names = [file.name for file in found.files]
    assert names == ["Vocal.mp3", "vocal (2).MP3", "c.mp3"]


def test_a_stem_called_like_a_sidecar_gives_way_to_it() -> None:
    found = asked(stem_of("a", b"1", path="manifest.json"), stem_of("b", b"2", path="RECORD-info.json"))
    assert [file.name for file in found.files] == ["manifest (2).json", "RECORD-info (2).json"]


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/b", "..", ".", "a\\b", "x\n.mp3", "x\x1b[2J.mp3", "\u202ex.mp3", "n" * 256, "x.part"],
)
def test_a_path_that_is_not_one_plain_name_is_unusable(path: str) -> None:
    found = asked(stem_of("vocal", b"a"), stem_of("x", b"b", path=path))
    assert [file.name for file in found.files] == ["vocal.mp3"]
    assert [(each.stem, each.gone) for each in found.unusable] == [("x", False)]


def test_an_alias_with_a_name_that_is_a_path_is_unusable() -> None:
    found = asked(stem_of("vocal", b"a"), stem_of("../../x", b"a", path="vocal.mp3", alias_of="vocal"))
    assert [each.stem for each in found.unusable] == ["../../x"]


def test_what_is_not_stored_is_told_with_its_state_and_reason() -> None:
    found = asked({"name": "vocal", "state": "lost", "reason": "410"}, {"name": "x", "state": "thawing"})
    assert [(each.why, each.gone) for each in found.unusable] == [("lost: 410", True), ("thawing", True)]


def test_one_stem_is_asked_for_alone() -> None:
    found = asked(stem_of("vocal", b"a"), stem_of("drums", b"b"), stem="drums")
    assert [file.name for file in found.files] == ["drums.mp3"]


def test_a_title_names_folder_and_files_safely() -> None:
    found = asked(stem_of("vocal", b"a"), titles=True, title="../AC/DC: \x1b[31m Live?\u202e. ")
    assert found.folder == f"_AC_DC_ [31m Live_ ({TASK})"
    assert [file.name for file in found.files] == ["_AC_DC_ [31m Live_ - vocal.mp3"]
    assert asked(stem_of("vocal", b"a"), titles=True, title=" ... ").folder == TASK
    assert asked(stem_of("vocal", b"a"), title="Song").folder == TASK


def test_an_object_that_is_named_by_its_title_already_gets_it_once() -> None:
    found = asked(stem_of("vocal", b"a", path="My Song - vocal.mp3"), titles=True, title="My / Song")
    assert [file.name for file in found.files] == ["My Song - vocal.mp3"]


@given(st.text(max_size=300))
def test_every_title_makes_one_plain_name_or_none(title: str) -> None:
    safe = safe_title(title)
    assert not safe or fits(f"{safe} ({'x' * 128})")


_PATHS = st.one_of(st.sampled_from(["a.mp3", "A.mp3", "ä.mp3", "a\u0308.mp3", *SIDECARS]), st.text(max_size=12))


@given(st.lists(_PATHS, max_size=12), st.booleans())
def test_whatever_the_paths_each_name_is_plain_and_unlike_every_other(paths: list[str], titles: bool) -> None:
    found = asked(*(stem_of(f"s{at}", b"1", path=path) for at, path in enumerate(paths)), titles=titles, title="T/")
    names = [file.name for file in found.files]
    assert all(fits(name) for name in [found.folder, *names])
    assert len({name.casefold() for name in [*names, *SIDECARS]}) == len(names) + len(SIDECARS)
    assert len(found.files) + len(found.unusable) == len(paths)
