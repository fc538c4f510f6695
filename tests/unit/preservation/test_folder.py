"""Names on disk: what several threads wait for at once, one does for all, and none returns before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archiver.preservation.folder import Folder, NotOurs, part_of

PATIENCE = 30.0
FILES = 6


def _write(folder: Folder, name: str) -> None:
    with folder.writing(name) as file:
        file.write(memoryview(name.encode()))


def _folder(path: Path, of_folder: Callable[[], object]) -> Folder:
    folder = Folder.at(path, fsync=lambda descriptor: of_folder() if descriptor == folder.descriptor else None)
    return folder


def test_names_given_while_the_folder_is_synced_are_synced_together_by_the_next(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    begun, go_on = threading.Event(), threading.Event()

    def sync() -> None:
        seen.append(sorted(each.name for each in tmp_path.iterdir()))
        begun.set()
        assert go_on.wait(PATIENCE)

    named = threading.Semaphore(0)

    def step(step: str, /) -> None:
        if step == "folder sync":
            named.release()

    with _folder(tmp_path, sync) as folder, ThreadPoolExecutor(FILES) as pool:
        folder.step = step
        writes = [pool.submit(_write, folder, "first")]
        assert begun.wait(PATIENCE)
        writes += [pool.submit(_write, folder, f"later-{number}") for number in range(FILES - 1)]
        for _ in range(FILES):
            assert named.acquire(timeout=PATIENCE)
        assert not any(write.done() for write in writes)
        go_on.set()
        for write in writes:
            write.result(PATIENCE)
    assert seen[0] == ["first"]
    assert seen[-1] == sorted(["first", *(f"later-{number}" for number in range(FILES - 1))])
    assert len(seen) < FILES  # two, unless a thread comes a moment late


def test_a_sync_that_fails_is_raised_to_whoever_made_it_and_made_anew_for_the_next(tmp_path: Path) -> None:
    calls: list[None] = []

    def sync() -> None:
        calls.append(None)
        if len(calls) == 1:
            raise OSError(5, "bad disk")

    with _folder(tmp_path, sync) as folder:
        with pytest.raises(OSError, match="bad disk"):
            _write(folder, "one")
        _write(folder, "two")
    assert len(calls) == 2


def test_link_that_comes_in_the_place_of_the_unfinished_file_is_not_written_through(tmp_path: Path) -> None:
    outside, into = tmp_path / "outside", tmp_path / "into"
    outside.write_bytes(b"theirs")

    def step(step: str, /) -> None:
        if step == "part":
            (into / part_of("a")).symlink_to(outside)

    with Folder.at(into, step) as folder, pytest.raises(FileExistsError):
        _write(folder, "a")
    assert outside.read_bytes() == b"theirs"


def test_link_to_a_file_outside_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"theirs")
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "a").symlink_to(tmp_path / "outside")
    with Folder.at(tmp_path / "into") as folder, pytest.raises(NotOurs, match="a link"):
        folder.look("a")
