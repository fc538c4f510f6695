"""Audio files that others made, from the source distribution of a library of tags: none is refused, each has its name.

They are fetched by hash and never kept: `sh tests/run.sh -m slow tests/integration/downloader/test_corpus.py`.
"""

from __future__ import annotations

from pathlib import PurePath

import pytest

from archiver.adapters.downloader.sniff import ENOUGH, enough_of, sniff
from tests.fixtures.corpus import corpus_in

NO_AUDIO = {".apev2", ".id3", ".jpg", ".mid"}
"""Tags cut out of their files, a picture, and notes without sound."""
CUT_TO_NOTHING = {"almostempty.mpc", "emptyfile.mp3"}
SAME = {".aif": "aiff", ".ofs": "ofr", ".oggflac": "ogg", ".oggtheora": "ogg"}
"""Extensions of theirs that mean a format which has another here."""
NAMELESS = {"sv4_header.mpc", "sv5_header.mpc"}
"""Versions of Musepack that begin with no name: kept as unknown."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    found = corpus_in(tmp_path_factory.mktemp("corpus"))
    return {
        name: body
        for name, body in found.items()
        if PurePath(name).suffix not in NO_AUDIO and name not in CUT_TO_NOTHING
    }


def extension_of(body: bytes, declared: str) -> str | None:
    head = body[: max(ENOUGH, enough_of(body[:ENOUGH]))]
    found = sniff(head, whole=len(head) == len(body), declared=declared)
    return None if found is None else found.extension


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_file_has_its_own_name_and_none_is_refused(corpus: dict[str, bytes]) -> None:
    assert len(corpus) > 80
    for name, body in corpus.items():
        suffix = PurePath(name).suffix
        found = extension_of(body, f"audio/x-{suffix[1:]}")
        wanted = {SAME.get(suffix, suffix[1:])} | ({"bin"} if name in NAMELESS else set())
        # What holds sound alone is called so; the name of the file may still say MP4.
        assert found in (wanted | {"m4a"} if suffix == ".mp4" else wanted), name


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_by_the_bytes_alone_only_what_has_no_name_is_refused(corpus: dict[str, bytes]) -> None:
    assert {name for name, body in corpus.items() if extension_of(body, "") is None} <= NAMELESS
