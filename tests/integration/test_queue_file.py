"""The queue file on a real disk: growing, replaced, truncated, unreadable, hostile."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import random
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.adapters.queue_file import QueueFile, SizeLimits, read_ids
from archiver.core.intake import Cursor, Intake, Reject
from archiver.core.model import TaskId
from archiver.ports.work import QueueUnreadable
from tests.fixtures.profiles import examples


def ids_of(first: int, last: int) -> list[TaskId]:
    return [TaskId(f"task-{number:08}") for number in range(first, last)]


def lines(ids: Iterable[str]) -> bytes:
    return "".join(f"{each}\n" for each in ids).encode()


def read_on(
    queue: QueueFile, cursor: Cursor | None, *, final: bool = False
) -> tuple[list[TaskId], list[Reject], Cursor]:
    """Read until the cursor stops moving."""
    ids: list[TaskId] = []
    rejects: list[Reject] = []
    while True:
        intake = queue.read(cursor, final=final)
        if intake.cursor is None:
            raise AssertionError("a file has a cursor")
        ids += intake.ids
        rejects += intake.rejects
        if intake.cursor == cursor:
            return ids, rejects, intake.cursor
        cursor = intake.cursor


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.txt"


@pytest.fixture
def queue(path: Path) -> QueueFile:
    return QueueFile(str(path))


# ---------------------------------------------------------------------- reading


def test_read_when_the_file_is_empty_finds_nothing_and_can_go_on(path: Path, queue: QueueFile) -> None:
    path.touch()
    intake = queue.read(None)
    assert (intake.ids, intake.rejects, intake.restarted) == ((), (), "")
    path.write_bytes(lines(ids_of(0, 1)))
    assert queue.read(intake.cursor).ids == tuple(ids_of(0, 1))


def test_read_names_the_file_by_device_inode_and_head(path: Path, queue: QueueFile) -> None:
    content = lines(ids_of(0, 3)) + b"task-unfinish"
    path.write_bytes(content)
    state = path.stat()
    read = len(lines(ids_of(0, 3)))
    assert queue.read(None).cursor == Cursor(
        path=str(path),
        device=state.st_dev,
        inode=state.st_ino,
        head=hashlib.sha256(content[:read]).hexdigest(),
        head_size=read,
        offset=read,
    )


def test_read_when_the_file_grew_reads_only_what_is_new(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 3)))
    cursor = queue.read(None).cursor
    for first in range(3, 300, 3):
        with path.open("ab") as file:
            file.write(lines(ids_of(first, first + 3)))
        intake = queue.read(cursor)
        assert intake.ids == tuple(ids_of(first, first + 3))
        assert intake.restarted == ""
        cursor = intake.cursor


def test_read_when_nothing_is_new_keeps_the_cursor(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 3)))
    cursor = queue.read(None).cursor
    assert queue.read(cursor) == Intake(cursor=cursor)


def test_read_when_the_last_line_is_unfinished_waits_for_its_newline(path: Path, queue: QueueFile) -> None:
    path.write_bytes(b"task-00000000\ntask-0000")
    ids, _, cursor = read_on(queue, None)
    assert ids == ["task-00000000"]
    with path.open("ab") as file:
        file.write(b"0001\n")
    assert read_on(queue, cursor)[0] == ["task-00000001"]


def _unread(queue: QueueFile, cursor: Cursor | None) -> tuple[int, int, int]:
    standing = queue.standing(cursor)
    return standing.unread_bytes, standing.unread_lines, standing.unterminated_bytes


def test_standing_counts_what_read_has_not_passed_yet(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 2)))
    assert _unread(queue, None) == (path.stat().st_size, 2, 0)
    cursor = queue.read(None).cursor
    assert _unread(queue, cursor) == (0, 0, 0)
    with path.open("ab") as file:
        file.write(b"unfinished")
    assert _unread(queue, cursor) == (10, 1, 10)
    path.rename(f"{path}.1")
    assert _unread(queue, cursor) == (10, 1, 10), "of the file that was rotated away"
    path.write_bytes(b"# another file\n")
    assert _unread(queue, cursor) == (25, 2, 0)
    Path(f"{path}.1").unlink()
    assert _unread(QueueFile(str(path)), cursor) == (15, 1, 0)
    path.unlink()
    with pytest.raises(QueueUnreadable):
        QueueFile(str(path)).standing(cursor)


def test_standing_counts_lines_however_long_they_are(path: Path, queue: QueueFile) -> None:
    path.write_bytes(b"a" * (3 << 20) + b"\n" + b"b" * (2 << 20))
    assert _unread(queue, None) == ((5 << 20) + 1, 2, 2 << 20)


def test_read_when_final_takes_the_unfinished_line_and_leaves_the_cursor_before_it(
    path: Path, queue: QueueFile
) -> None:
    path.write_bytes(b"task-00000000\ntask-00000001")
    ids, _, cursor = read_on(queue, None, final=True)
    assert ids[:2] == ["task-00000000", "task-00000001"]
    assert cursor.offset == len(b"task-00000000\n")
    with path.open("ab") as file:
        file.write(b"\ntask-00000002\n")
    assert read_on(queue, cursor)[0] == ["task-00000001", "task-00000002"]


def test_read_when_a_line_is_no_id_rejects_it_where_it_stands_and_goes_on(path: Path, queue: QueueFile) -> None:
    path.write_bytes(
        b"\xef\xbb\xbftask-00000000\r\n\r\n# note\r\nwhat?\r\n\x00\x01\xff\n" + b'{"taskId":"task-00000001"}\n'
    )
    ids, rejects, _ = read_on(queue, None)
    assert ids == ["task-00000000", "task-00000001"]
    assert [(each.path, each.offset, each.excerpt) for each in rejects] == [
        (str(path), 28, "what?"),
        (str(path), 35, "\ufffd"),
    ]


def test_read_when_a_line_is_10_mb_rejects_it_without_holding_it(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 1)) + b"x" * 10_000_000 + b"\n" + lines(ids_of(1, 2)))
    tracemalloc.start()
    ids, rejects, cursor = read_on(queue, None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ids == ids_of(0, 2)
    assert [(each.offset, each.excerpt) for each in rejects] == [(14, "xxxxxx…")]
    assert rejects[0].line == 2
    assert rejects[0].reason.startswith("longer than 65536 bytes")
    assert cursor.offset == path.stat().st_size
    assert peak < 1_000_000


def test_read_when_a_10_mb_line_is_unfinished_waits_without_holding_it(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 1)) + b"x" * 10_000_000)
    ids, rejects, cursor = read_on(queue, None)
    assert (ids, rejects, cursor.offset) == (ids_of(0, 1), [], 14)
    with path.open("ab") as file:
        file.write(b"\n" + lines(ids_of(1, 2)))
    ids, rejects, _ = read_on(queue, cursor)
    assert (ids, len(rejects)) == (ids_of(1, 2), 1)


@pytest.mark.parametrize(("spare", "rejected"), [(0, 0), (1, 1)])
def test_read_when_a_line_is_just_too_long_rejects_it(path: Path, spare: int, rejected: int) -> None:
    queue = QueueFile(str(path), limits=SizeLimits(line=64))
    path.write_bytes(b"task-00000000".ljust(63 + spare) + b"\n" + lines(ids_of(1, 2)))
    ids, rejects, _ = read_on(queue, None)
    assert (len(ids), len(rejects)) == (2 - rejected, rejected)


def test_read_when_there_is_much_gives_bounded_batches_that_join_up(path: Path) -> None:
    path.write_bytes(lines(ids_of(0, 1000)))
    for limits in (SizeLimits(results=7), SizeLimits(chunk=100), SizeLimits(chunk=1), SizeLimits(results=1)):
        queue = QueueFile(str(path), limits=limits)
        first = queue.read(None)
        assert 1 <= len(first.ids) <= min(limits.results, limits.chunk // 14 + 1)
        assert read_on(queue, None)[0] == ids_of(0, 1000)


@pytest.mark.parametrize(("first", "read"), [(1_024, 1_048_576), (1_023, 1_048_575 + 1_024)])
def test_read_when_a_mebibyte_is_passed_ends_its_batch_at_the_next_end_of_a_line(
    path: Path, queue: QueueFile, first: int, read: int
) -> None:
    path.write_bytes(b"#".ljust(first - 1) + b"\n" + (b"#".ljust(1_023) + b"\n") * 2_000)
    cursor = queue.read(None).cursor
    assert cursor is not None
    assert cursor.offset == read


@pytest.mark.parametrize("rejects", [0, 1])
def test_read_when_5_000_ids_and_rejects_are_found_ends_its_batch(path: Path, queue: QueueFile, rejects: int) -> None:
    path.write_bytes(b"what?\n" * rejects + lines(ids_of(0, 6_000)))
    intake = queue.read(None)
    assert (len(intake.ids), len(intake.rejects)) == (5_000 - rejects, rejects)


def test_read_of_200_000_ids_takes_little_time_and_memory(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 200_000)))
    began = time.process_time()
    cursor, count = None, 0
    while (intake := queue.read(cursor)).cursor != cursor:
        count += len(intake.ids)
        assert len(intake.ids) <= 80_000
        cursor = intake.cursor
    assert count == 200_000
    assert time.process_time() - began < 10


# ---------------------------------------------------------------------- replaced, truncated


def test_read_when_another_file_took_its_place_starts_again(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 3)))
    cursor = queue.read(None).cursor
    fresh = path.with_suffix(".new")
    fresh.write_bytes(lines(ids_of(0, 5)))
    fresh.replace(path)
    intake = queue.read(cursor)
    assert (intake.restarted, intake.ids) == ("replaced", tuple(ids_of(0, 5)))


def test_read_when_rewritten_in_place_starts_again(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 3)))
    cursor = queue.read(None).cursor
    path.write_bytes(lines(ids_of(3, 9)))
    intake = queue.read(cursor)
    assert (intake.restarted, intake.ids) == ("replaced", tuple(ids_of(3, 9)))


def test_read_when_rewritten_behind_the_head_so_that_lines_shift_starts_again(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 200)))
    cursor = queue.read(None).cursor
    path.write_bytes(lines([*ids_of(0, 150), TaskId("a-longer-id-in-the-midst"), *ids_of(150, 210)]))
    intake = queue.read(cursor)
    assert intake.restarted == "replaced"
    assert len(intake.ids) == 211


def test_read_when_truncated_starts_again(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 200)))
    cursor = queue.read(None).cursor
    os.truncate(path, 14 * 100)
    intake = queue.read(cursor)
    assert (intake.restarted, intake.ids) == ("truncated", tuple(ids_of(0, 100)))


def test_read_when_emptied_starts_again_once(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 3)))
    cursor = queue.read(None).cursor
    os.truncate(path, 0)
    intake = queue.read(cursor)
    assert (intake.restarted, intake.ids) == ("truncated", ())
    assert queue.read(intake.cursor).restarted == ""
    path.write_bytes(lines(ids_of(7, 9)))
    assert queue.read(intake.cursor).ids == tuple(ids_of(7, 9))


def test_read_when_an_unfinished_line_was_mended_in_place_does_not_start_again(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 2)) + b"tosk-0")
    cursor = queue.read(None).cursor
    path.write_bytes(lines(ids_of(0, 3)))
    intake = queue.read(cursor)
    assert (intake.restarted, intake.ids) == ("", tuple(ids_of(2, 3)))


@pytest.mark.parametrize("change", ["device", "inode"])
def test_read_when_the_cursor_is_of_another_file_starts_again(path: Path, queue: QueueFile, change: str) -> None:
    path.write_bytes(lines(ids_of(0, 3)))
    cursor = queue.read(None).cursor
    assert cursor is not None
    other = replace(cursor, device=cursor.device + 1) if change == "device" else replace(cursor, inode=cursor.inode + 1)
    assert queue.read(other).restarted == "replaced"


# ---------------------------------------------------------------------- rotated

READ, LATE, FRESH = ids_of(0, 100), ids_of(100, 103), ids_of(200, 202)


def renamed(path: Path) -> None:
    path.rename(f"{path}.1")
    path.write_bytes(b"")


def copied_and_truncated(path: Path) -> None:
    Path(f"{path}-20261128").write_bytes(path.read_bytes())
    os.truncate(path, 0)


def renamed_twice(path: Path) -> None:
    path.rename(f"{path}.2")
    Path(f"{path}.1").write_bytes(lines(ids_of(300, 301)))
    os.utime(f"{path}.1", (time.time() + 1, time.time() + 1))
    path.write_bytes(b"")


def replaced(path: Path) -> None:
    fresh = path.with_name("another")
    fresh.write_bytes(b"")
    fresh.replace(path)


ROTATIONS = [renamed, copied_and_truncated, renamed_twice, replaced]


@pytest.mark.parametrize("read", [READ[:2], READ], ids=["little read", "much read"])
@pytest.mark.parametrize("anew", [False, True], ids=["running", "started anew"])
@pytest.mark.parametrize("rotate", ROTATIONS, ids=lambda each: each.__name__)
def test_ids_appended_just_before_a_rotation_are_read_before_those_of_the_new_file(
    path: Path, queue: QueueFile, rotate: Callable[[Path], None], *, anew: bool, read: list[TaskId]
) -> None:
    path.write_bytes(lines(read))
    cursor = queue.read(None).cursor
    with path.open("ab") as file:
        file.write(lines(LATE))
    rotate(path)
    with path.open("ab") as file:
        file.write(lines(FRESH))
    found: list[TaskId] = []
    restarted: list[str] = []
    old: list[str] = []
    reader = QueueFile(str(path)) if anew else queue
    while (intake := reader.read(cursor)).cursor != cursor:
        cursor = intake.cursor
        found += intake.ids
        restarted += [intake.restarted] if intake.restarted else []
        old += [intake.old] if intake.old else []
    between = ids_of(300, 301) if rotate is renamed_twice else []
    lost = rotate is replaced and anew
    assert found == [*([] if lost else LATE), *between, *FRESH]
    assert restarted == ["replaced"]
    after = len(lines(read))
    assert old == [f"not found: unknown is what stood in it after byte {after}" if lost else "read to its end"]


def test_read_when_the_file_was_rotated_away_and_no_new_one_stands_there_reads_it_to_its_end(
    path: Path, queue: QueueFile
) -> None:
    path.write_bytes(lines(READ))
    cursor = queue.read(None).cursor
    with path.open("ab") as file:
        file.write(lines(LATE))
    path.unlink()
    intake = queue.read(cursor)
    assert list(intake.ids) == LATE
    with pytest.raises(QueueUnreadable):
        queue.read(intake.cursor)


def test_read_when_somebody_goes_on_appending_to_the_old_file_finds_that_too(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(READ))
    _, _, cursor = read_on(queue, None)
    with path.open("ab") as held_open:
        renamed(path)
        path.write_bytes(lines(FRESH))
        ids, _, cursor = read_on(queue, cursor)
        held_open.write(lines(LATE))
        held_open.flush()
        late = queue.read(cursor)
    assert (ids, list(late.ids), late.cursor) == (FRESH, LATE, cursor)
    assert queue.read(cursor).ids == ()


def test_read_when_the_old_file_ends_without_a_newline_takes_the_line_and_whole_again_should_it_grow(
    path: Path, queue: QueueFile
) -> None:
    path.write_bytes(lines(READ))
    _, _, cursor = read_on(queue, None)
    with path.open("ab") as held_open:
        held_open.write(LATE[0].encode())
        held_open.flush()
        renamed(path)
        path.write_bytes(lines(FRESH))
        ids, _, cursor = read_on(queue, cursor)
        held_open.write(b"-more\n")
        held_open.flush()
    assert ids == [*LATE[:1], *FRESH]
    assert queue.read(cursor).ids == (f"{LATE[0]}-more",)
    assert queue.read(cursor).ids == ()


def test_read_when_a_line_was_put_in_place_among_those_read_starts_again(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(READ))
    cursor = queue.read(None).cursor
    with path.open("r+b") as file:
        file.write(lines([*READ[:90], TaskId("task-00inserted")[:13], *READ[90:]]))
    assert "task-00insert" in queue.read(cursor).ids
    assert path.stat().st_size == len(lines(READ)) + 14


def test_cursor_written_before_the_last_bytes_were_part_of_it_is_still_good(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(READ) + lines(LATE))
    content, state = lines(READ), path.stat()
    head = hashlib.sha256(content[:1024]).hexdigest()
    cursor = Cursor(str(path), state.st_dev, state.st_ino, head, 1024, len(content))
    assert queue.read(cursor).ids == tuple(LATE)


@pytest.mark.parametrize(("others", "ids"), [(999, ids_of(1, 3)), (1_000, ids_of(2, 3))])
def test_file_that_was_rotated_away_is_looked_for_among_1_000_names(path: Path, others: int, ids: list[TaskId]) -> None:
    path.write_bytes(lines(ids_of(0, 1)))
    cursor = QueueFile(str(path)).read(None).cursor
    with path.open("ab") as file:
        file.write(lines(ids_of(1, 2)))
    path.rename(f"{path}.rotated")
    path.write_bytes(lines(ids_of(2, 3)))
    for number in range(others):
        path.with_name(f"{path.name}.{number:04}").touch()
    assert read_on(QueueFile(str(path)), cursor)[0] == ids


def test_rotate_leaves_an_empty_file_of_the_same_mode_and_names_the_old_one(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(READ))
    path.chmod(0o640)
    old = queue.rotate(datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC))
    assert old == f"{path}.20261128T010203"
    assert Path(old).read_bytes() == lines(READ)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"", 0o640)
    with pytest.raises(QueueUnreadable, match="exists already"):
        queue.rotate(datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC))
    assert Path(old).read_bytes() == lines(READ)


def test_append_that_waited_while_the_file_was_rotated_away_writes_to_the_new_one(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(READ))
    with path.open("ab") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(queue.append, LATE)
            time.sleep(0.2)
            renamed(path)
            fcntl.flock(holder, fcntl.LOCK_UN)
            waits.result(10)
    assert path.read_bytes() == lines(LATE)
    assert Path(f"{path}.1").read_bytes() == lines(READ)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_append_by_root_in_another_users_folder_makes_a_file_of_that_user(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    QueueFile(str(folder / "queue.txt")).append(ids_of(0, 1))
    made = (folder / "queue.txt").stat()
    assert (made.st_uid, made.st_gid) == (65534, 65534)


# ---------------------------------------------------------------------- what people append


def test_read_when_json_is_printed_over_several_lines_takes_it_once_whole(path: Path, queue: QueueFile) -> None:
    answer = json.dumps({"code": 200, "data": {"taskId": "task-00000001"}}, indent=2).encode() + b"\n"
    path.write_bytes(lines(ids_of(0, 1)) + answer[:-15])
    ids, rejects, cursor = read_on(queue, None)
    assert (ids, rejects, cursor.offset) == (ids_of(0, 1), [], 14)
    with path.open("ab") as file:
        file.write(answer[-15:] + lines(ids_of(2, 3)))
    ids, rejects, cursor = read_on(queue, cursor)
    assert (ids, rejects) == (ids_of(1, 3), [])
    assert cursor.offset == path.stat().st_size


def test_read_when_json_was_never_ended_rejects_it_once_and_takes_what_follows(path: Path, queue: QueueFile) -> None:
    path.write_bytes(b'{\n  "code": 200,\n  "data": null,\n' + lines(ids_of(0, 1)) + b'{"taskId":"task-00000001"}\n')
    ids, rejects, _ = read_on(queue, None)
    assert ids == ids_of(0, 2)
    assert [(each.offset, each.line, each.reason.split(";")[0]) for each in rejects] == [
        (0, 1, "broken JSON at character 33")
    ]


@pytest.mark.parametrize(("size", "ids", "rejects"), [(1_000, ids_of(0, 1), 0), (1_001, [], 2)])
def test_read_when_json_is_of_1_000_lines_takes_it_and_of_more_rejects_it(
    path: Path, queue: QueueFile, size: int, ids: list[TaskId], rejects: int
) -> None:
    path.write_bytes(b"{\n" + b'"n": 1,\n' * (size - 2) + b'"taskId": "task-00000000"}\n')
    found = read_on(queue, None)
    assert (found[0], len(found[1])) == (ids, rejects)


def test_read_when_most_is_binary_rejects_it_once_and_finds_the_ids(path: Path) -> None:
    junk = bytes(range(1, 255)) * 3_000
    path.write_bytes(junk + b"\n" + lines(ids_of(0, 1)) + junk + b"\n" + lines(ids_of(1, 2)))
    queue = QueueFile(str(path), limits=SizeLimits(chunk=10_000))
    ids, rejects, _ = read_on(queue, None)
    assert ids == ids_of(0, 2)
    assert len(rejects) == 1


@pytest.mark.parametrize("chunk", [10_000, 1 << 20])
@pytest.mark.parametrize("seed", range(4))
def test_read_when_all_is_noise_rejects_it_once_though_some_of_its_lines_are_text(
    path: Path, seed: int, chunk: int
) -> None:
    path.write_bytes(random.Random(seed).randbytes(600_000) + b"\xff\n" + b"x" * 70_000 + b"\nno id\n")
    ids, rejects, cursor = read_on(QueueFile(str(path), limits=SizeLimits(chunk=chunk)), None)
    assert (ids, len(rejects), cursor.offset) == ([], 1, path.stat().st_size)


@pytest.mark.parametrize("program", [sys.executable, "/bin/sh", "/bin/ls"])
def test_program_in_place_of_a_queue_file_costs_few_rejects_and_few_of_its_words_are_ids(
    path: Path, program: str
) -> None:
    path.write_bytes(Path(program).resolve().read_bytes()[: 8 << 20])
    ids, rejects, _ = read_on(QueueFile(str(path)), None)
    assert len(ids) <= 5, "a word of a program is an id only where it holds a digit"
    assert len(rejects) <= len(ids) + 1


def test_id_with_a_digit_is_taken_between_lines_of_noise_and_a_word_without_one_is_not(
    path: Path, queue: QueueFile
) -> None:
    path.write_bytes(b"\x00\xfe\x01\nwithout-any\nmy-task-7\nwithout-any\n")
    ids, rejects, _ = read_on(queue, None)
    assert ids == ["my-task-7", "without-any"], "what follows an id is read as ever"
    assert len(rejects) == 1


def test_bad_line_after_noise_is_rejected_once_an_id_came(path: Path, queue: QueueFile) -> None:
    path.write_bytes(b"\x00\xfe\x01\nby chance\n" + lines(ids_of(0, 1)) + b"a mistake\n")
    ids, rejects, _ = read_on(queue, None)
    assert (ids, [each.line for each in rejects]) == (ids_of(0, 1), [1, 4])


def test_id_of_twice_the_usual_length_is_taken_and_told(path: Path, queue: QueueFile) -> None:
    one, other = "a" * 32, "b" * 32
    path.write_text(f"{one}{other}\n{one}\n{'c' * 63}\n{'d' * 65}\n")
    ids, rejects, _ = read_on(queue, None)
    assert ids == [one + other, one, "c" * 63, "d" * 65]
    [reject] = rejects
    assert (reject.line, "64 characters, twice as many as is usual" in reject.reason) == (1, True)


def test_rejects_name_their_line_however_the_file_was_read(path: Path) -> None:
    text = b"".join(b"task-%08d\n" % number if number % 7 else b"short\n" for number in range(1, 71))
    path.write_bytes(text)
    cursor, named = None, []
    while True:
        intake = QueueFile(str(path), limits=SizeLimits(chunk=90)).read(cursor)
        if intake.cursor == cursor:
            break
        cursor = intake.cursor
        named += [each.place for each in intake.rejects]
    assert named == [f"line {number}" for number in range(7, 71, 7)]


CASES = {
    "queue-two-answers-on-one-line.txt": b'{"code":200,"data":{"taskId":"%s"}}{"code":200,"data":{"taskId":"%s"}}\n'
    % (b"a" * 32, b"b" * 32),
    "utf-16": "task-00000000\r\ntask-00000001\r\n".encode("utf-16"),
    "carriage returns": b"task-00000000\rtask-00000001\r\n",
    "a crash": b"\0" * 3000 + lines(ids_of(0, 2)),
}


@pytest.mark.parametrize("content", CASES.values(), ids=CASES.keys())
def test_read_of_what_other_programs_write_finds_both_ids_and_rejects_nothing(
    path: Path, queue: QueueFile, content: bytes
) -> None:
    path.write_bytes(content)
    ids, rejects, _ = read_on(queue, None)
    assert (len(ids), rejects) == (2, [])


# ---------------------------------------------------------------------- any bytes, any growth

PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"\n", b"\r\n", b"task-00000001", b"task-00000002\n", b"#", b'{"taskId":"task-00000003"}\n', b"x" * 90]
    ),
)


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES, max_size=25), reads=st.lists(st.booleans(), min_size=25, max_size=25))
def test_read_of_any_bytes_however_they_come_finds_what_one_read_finds(
    tmp_path: Path, pieces: list[bytes], reads: list[bool]
) -> None:
    path = tmp_path / "grows.txt"
    path.unlink(missing_ok=True)
    path.touch()
    queue = QueueFile(str(path), limits=SizeLimits(line=64, chunk=50, results=3))
    ids: list[TaskId] = []
    rejects: list[Reject] = []
    cursor: Cursor | None = None
    for piece, read in zip(pieces, reads, strict=False):
        with path.open("ab") as file:
            file.write(piece)
        if read:
            intake = queue.read(cursor)
            assert intake.restarted == ""
            ids += intake.ids
            rejects += intake.rejects
            cursor = intake.cursor
    more_ids, more_rejects, cursor = read_on(queue, cursor)
    content = b"".join(pieces)
    finished = content[: content.rfind(b"\n") + 1]
    batches = list(read_ids(io.BytesIO(finished), str(path), limits=SizeLimits(line=64)))
    assert ids + more_ids == [each for batch in batches for each in batch.ids]
    assert rejects + more_rejects == [each for batch in batches for each in batch.rejects]
    assert cursor.offset == len(finished)


def test_read_while_another_process_appends_finds_every_id_once(path: Path, queue: QueueFile) -> None:
    path.touch()
    script = (
        "import os, sys\n"
        "handle = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)\n"
        "for number in range(20000):\n"
        "    os.write(handle, b'task-%08d\\n' % number)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(path)])
    found: list[TaskId] = []
    cursor: Cursor | None = None
    while writer.poll() is None or len(found) < 20_000:
        intake = queue.read(cursor)
        assert (intake.rejects, intake.restarted) == ((), "")
        found += intake.ids
        cursor = intake.cursor
    assert found == ids_of(0, 20_000)


# ---------------------------------------------------------------------- files that cannot be read


def test_read_when_the_file_is_missing_says_so_with_a_hint(path: Path, queue: QueueFile) -> None:
    with pytest.raises(QueueUnreadable, match="No such file") as caught:
        queue.read(None)
    assert str(path) in str(caught.value)
    assert "queue.path" in caught.value.hint


def test_read_when_the_path_is_a_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(QueueUnreadable, match="is no regular file") as caught:
        QueueFile(str(tmp_path)).read(None)
    assert "plain file" in caught.value.hint


def test_read_and_append_when_the_path_is_a_fifo_do_not_hang(path: Path, queue: QueueFile) -> None:
    os.mkfifo(path)
    with pytest.raises(QueueUnreadable, match="no regular file"):
        queue.read(None)
    with pytest.raises(QueueUnreadable, match="no regular file"):
        queue.append(ids_of(0, 1))


def test_read_when_a_folder_of_the_path_is_a_file_says_so(path: Path) -> None:
    path.touch()
    with pytest.raises(QueueUnreadable, match="Not a directory"):
        QueueFile(str(path / "queue.txt")).read(None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_read_when_the_file_is_not_ours_to_read_says_so(path: Path, queue: QueueFile) -> None:
    path.touch(mode=0)
    with pytest.raises(QueueUnreadable, match="Permission denied"):
        queue.read(None)


def descriptors_below(folder: Path) -> list[str]:
    """Name the open files of this process in a folder; what other tests left to be collected is not among them."""
    held = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            held.append(str(link.readlink()))
    return sorted(name for name in held if name.startswith(str(folder)))


def test_read_and_append_leave_no_descriptor_open(path: Path, queue: QueueFile) -> None:
    queue.append(ids_of(0, 3))
    queue.read(None)
    before = descriptors_below(path.parent)
    for _ in range(20):
        queue.append(ids_of(0, 3))
        queue.read(None)
        with pytest.raises(QueueUnreadable):
            QueueFile(str(path.parent)).read(None)
        with pytest.raises(QueueUnreadable):
            QueueFile(str(path.parent)).append(ids_of(0, 1))
    assert descriptors_below(path.parent) == before


# ---------------------------------------------------------------------- appending


def test_append_when_there_is_no_file_makes_one_for_us_alone(path: Path, queue: QueueFile) -> None:
    queue.append(ids_of(0, 2))
    assert path.read_bytes() == lines(ids_of(0, 2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_append_when_the_file_exists_keeps_what_stands_in_it_and_its_mode(path: Path, queue: QueueFile) -> None:
    path.write_bytes(lines(ids_of(0, 2)))
    path.chmod(0o664)
    queue.append(ids_of(2, 4))
    assert path.read_bytes() == lines(ids_of(0, 4))
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_append_when_the_last_line_is_unfinished_ends_it_first(path: Path, queue: QueueFile) -> None:
    path.write_bytes(b"task-00000000\ntask-0")
    queue.append(ids_of(1, 2))
    ids, rejects, _ = read_on(queue, None)
    assert ids == ids_of(0, 2)
    assert [each.excerpt for each in rejects] == ["task-0"]


def test_append_when_the_folder_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(QueueUnreadable, match="cannot append to it: No such file"):
        QueueFile(str(tmp_path / "absent" / "queue.txt")).append(ids_of(0, 1))


def test_append_when_the_path_is_a_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(QueueUnreadable, match="directory"):
        QueueFile(str(tmp_path)).append(ids_of(0, 1))


@pytest.mark.parametrize(("space", "fault"), [(20, "only part of the line"), (14, "File too large")])
def test_append_when_there_is_no_space_says_so_and_spoils_no_other_line(
    path: Path, queue: QueueFile, space: int, fault: str
) -> None:
    script = (
        "import resource, sys\n"
        "from archiver.adapters.queue_file import QueueFile\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "QueueFile(sys.argv[1]).append(['task-00000000', 'task-00000001'])\n"
    )
    command = [sys.executable, "-c", script, str(path), str(space)]
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"QueueUnreadable: {path}: cannot append to it: {fault}" in failed.stderr
    queue.append(ids_of(2, 3))
    ids, rejects, _ = read_on(queue, None)
    assert ids == ["task-00000000", "task-00000002"]
    assert [each.excerpt for each in rejects] == ["task-0"] * (space > 14)


def test_append_when_many_do_it_at_once_keeps_every_line_whole(path: Path) -> None:
    start = threading.Barrier(8)

    def append(number: int) -> None:
        start.wait()
        for each in ids_of(number * 50, number * 50 + 50):
            QueueFile(str(path)).append([each])

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(append, number) for number in range(8)]:
            each.result()
    ids, rejects, _ = read_on(QueueFile(str(path)), None)
    assert sorted(ids) == ids_of(0, 400)
    assert rejects == []


def test_append_when_another_holds_the_lock_waits_for_it(path: Path, queue: QueueFile) -> None:
    with path.open("wb") as other, ThreadPoolExecutor(1) as pool:
        fcntl.flock(other, fcntl.LOCK_EX)
        appending = pool.submit(queue.append, ids_of(0, 1))
        time.sleep(0.1)
        assert path.read_bytes() == b""
        fcntl.flock(other, fcntl.LOCK_UN)
        appending.result(5)
    assert path.read_bytes() == lines(ids_of(0, 1))


@pytest.mark.parametrize("what", ["a folder", "a pipe", "in no folder"])
def test_ids_looked_for_in_what_is_no_file_raise_what_append_says(path: Path, queue: QueueFile, what: str) -> None:
    path.unlink(missing_ok=True)
    match what:
        case "a folder":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case _:
            path.write_bytes(b"")
            queue = QueueFile(str(path / "queue.txt"))
    with pytest.raises(QueueUnreadable) as raised:
        queue.holds([TaskId("task-00000001")])
    with pytest.raises(QueueUnreadable) as appended:
        queue.append(["task-00000001"])
    assert raised.value.hint == appended.value.hint


def test_ids_looked_for_in_a_file_that_is_not_there_yet_are_not_there(path: Path, queue: QueueFile) -> None:
    path.unlink(missing_ok=True)
    assert not queue.holds([TaskId("task-00000001")])
    queue.append(["task-00000001"])
    assert queue.holds([TaskId("task-00000001"), TaskId("task-00000002")]) == ["task-00000001"]


# ---------------------------------------------------------------------- streams


def test_stream_when_read_to_its_end_gives_all_in_batches_with_offsets() -> None:
    content = lines(ids_of(0, 5)) + b"bad\n" + json.dumps({"data": {"taskId": "task-00000005"}}).encode()
    batches = list(read_ids(io.BytesIO(content), "ids.txt", limits=SizeLimits(results=2)))
    assert [len(each.ids) + len(each.rejects) for each in batches] == [2, 2, 2, 1]
    assert [one for each in batches for one in each.ids] == ids_of(0, 6)
    assert [(one.path, one.offset) for each in batches for one in each.rejects] == [("ids.txt", 70)]
    assert all(each.cursor is None for each in batches)


def test_stream_when_empty_gives_nothing() -> None:
    assert list(read_ids(io.BytesIO(b""), "-")) == []


def test_stream_when_a_pipe_that_trickles_gives_all() -> None:
    reading, writing = os.pipe()

    def trickle() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            for byte in lines(ids_of(0, 3))[:-1]:
                pipe.write(bytes([byte]))

    writer = threading.Thread(target=trickle)
    writer.start()
    with os.fdopen(reading, "rb") as pipe:
        assert [one for each in read_ids(pipe, "-") for one in each.ids] == ids_of(0, 3)
    writer.join(5)


def test_stream_when_it_breaks_says_so() -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _: object) -> int:
            raise OSError(5, "Input/output error")

    with pytest.raises(QueueUnreadable, match="cannot read it: Input/output error"):
        list(read_ids(io.BufferedReader(Broken()), "-"))
