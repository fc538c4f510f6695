"""The file format of a backup: read back as it was written, and refused where one bit is another."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.core.backup import (
    LONGEST_LINE,
    BackupBroken,
    BackupReader,
    BackupSummary,
    BackupWriter,
    Head,
    Row,
    Scope,
    Value,
)

HEAD = Head(
    Scope.OPEN,
    "0009",
    datetime(2026, 11, 28, 3, tzinfo=UTC),
    "0.2.0",
    {"tasks": ("task_id", "awaited", "urgency"), "history": ("id", "detail")},
)
ROWS: Sequence[Row] = (
    ("tasks", ["task-000001", False, 1_764_300_000_000_000]),
    ("tasks", ["täsk\0\n", True, None]),
    ("history", [1, {"size": 1.5, "why": ["a", None]}]),
)


def _written(rows: Iterable[Row] = ROWS, head: Head = HEAD) -> tuple[bytes, BackupSummary]:
    pieces: list[bytes] = []
    writer = BackupWriter(head, pieces.append)
    for table, values in rows:
        writer.add(table, [values])
    summary = writer.close()
    return b"".join(pieces), summary


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def _is_refused(data: bytes) -> bool:
    try:
        BackupReader([data]).check()
    except BackupBroken:
        return True
    return False


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_backup_is_read_as_it_was_written(size: int) -> None:
    data, summary = _written()
    reader = BackupReader(_pieces(data, size))
    assert reader.head == HEAD
    assert list(reader.rows()) == list(ROWS)
    assert BackupReader(_pieces(data, size)).check() == summary
    assert summary.rows == {"tasks": 2, "history": 1}
    assert (summary.size, summary.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_any_gzip_unpacks_it_and_its_last_line_names_the_hash_of_all_before_it() -> None:
    *lines, end = gzip.decompress(_written()[0]).splitlines(keepends=True)
    assert json.loads(end)["sha256"] == hashlib.sha256(b"".join(lines)).hexdigest()
    assert [json.loads(line) for line in lines[1:]] == [[table, *values] for table, values in ROWS]


def test_a_backup_with_one_bit_changed_anywhere_is_refused() -> None:
    data, _ = _written()
    taken = [
        (at, bit)
        for at in range(len(data))
        for bit in range(8)
        if not _is_refused(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
    ]
    assert taken == []


def test_a_backup_cut_anywhere_or_with_something_behind_it_is_refused() -> None:
    data, _ = _written()
    assert [at for at in range(len(data)) if not _is_refused(data[:at])] == []
    assert _is_refused(data + b"\0")
    assert _is_refused(data + data)


_VALUES: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.dictionaries(st.text(max_size=5), st.integers()),
)
_TASKS = st.lists(st.tuples(st.just("tasks"), st.lists(_VALUES, min_size=3, max_size=3)), max_size=6)
_HISTORY = st.lists(st.tuples(st.just("history"), st.lists(_VALUES, min_size=2, max_size=2)), max_size=6)


@settings(max_examples=40)
@given(tasks=_TASKS, history=_HISTORY, size=st.integers(1, 400))
def test_any_rows_come_back_as_they_were(tasks: list[Row], history: list[Row], size: int) -> None:
    data, _ = _written([*tasks, *history])
    assert list(BackupReader(_pieces(data, size)).rows()) == [*tasks, *history]


GZIP = _written()[0][:10]
FIRST = json.dumps(
    {
        "format": "stem-archiver-ledger-backup",
        "version": 1,
        "schema": "0009",
        "scope": "whole",
        "at": "2026-11-28T03:00:00+00:00",
        "archiver": "0.2.0",
        "tables": {"tasks": ["task_id"], "stems": ["name"]},
    }
)
COUNTS = {"tasks": 1, "stems": 1}
TASK, STEM = '["tasks","task-000001"]', '["stems","vocal"]'


def _trailer(text: bytes) -> bytes:
    return struct.pack("<II", zlib.crc32(text), len(text))


def _forged(lines: Iterable[str], rows: object = COUNTS) -> bytes:
    """A file with every hash in order, by somebody who knows the format."""
    text = "".join(f"{line}\n" for line in lines).encode()
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = GZIP + packer.compress(text) + packer.flush() + _trailer(text)
    sums = {"sha256": hashlib.sha256(text).hexdigest(), "packed_sha256": hashlib.sha256(first).hexdigest()}
    end = json.dumps({"rows": rows, **sums}).encode()
    stored = struct.pack("<BHH", 1, len(end), len(end) ^ 0xFFFF) + end
    return first + GZIP + stored + _trailer(end)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused_as_broken(data: bytes) -> None:
    assert _is_refused(data)
    assert _is_refused(GZIP + data)


def test_a_file_by_another_hand_is_read_where_all_is_in_order() -> None:
    assert not _is_refused(_forged([FIRST, TASK, STEM]))


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("",),
        ("[]",),
        (FIRST.replace("0:00+00:00", "0:00"), TASK, STEM),
        (FIRST.replace('"version": 1', '"version": 2'), TASK, STEM),
        (FIRST.replace('"whole"', '"half"'), TASK, STEM),
        (FIRST.replace('["name"]', "7"), TASK, STEM),
        (FIRST.replace('"schema": "0009", ', ""), TASK, STEM),
        (FIRST, STEM, TASK),
        (FIRST, TASK, STEM, STEM),
        (FIRST, TASK),
        (FIRST, TASK, '["others",1]'),
        (FIRST, TASK, '["stems"]'),
        (FIRST, TASK, '["stems",1,2]'),
        (FIRST, TASK, '[{"stems":1},1]'),
        (FIRST, TASK, '{"stems":"vocal"}'),
        (FIRST, TASK, "[" * 100_000),
        (FIRST, TASK, f'["stems",{"9" * 5000}]'),
        (FIRST, TASK, "nothing"),
    ],
    ids=range(19),
)
def test_lines_that_are_no_backup_are_refused_though_every_hash_is_right(lines: Sequence[str]) -> None:
    assert _is_refused(_forged(lines))


@pytest.mark.parametrize("rows", [None, [], {"tasks": 1}, {**COUNTS, "more": 0}, {"tasks": 1, "stems": 2}])
def test_an_end_with_other_counts_is_refused(rows: object) -> None:
    assert _is_refused(_forged([FIRST, TASK, STEM], rows))


def test_a_line_without_an_end_costs_little_memory() -> None:
    data = _forged([FIRST, "1" * (2 * LONGEST_LINE)])
    tracemalloc.start()
    try:
        assert _is_refused(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * LONGEST_LINE
    finally:
        tracemalloc.stop()


def test_a_line_of_16_mib_is_read_and_one_that_is_longer_is_refused() -> None:
    with pytest.raises(BackupBroken) as read:
        BackupReader([_forged([FIRST, "1" * (16 << 20)])]).check()
    assert "16 MiB" not in str(read.value)
    with pytest.raises(BackupBroken, match="a line of more than 16 MiB"):
        BackupReader([_forged([FIRST, "1" * (17 << 20)])]).check()


def test_the_content_is_the_same_where_the_rows_are_the_same_and_else_another() -> None:
    later = replace(HEAD, at=HEAD.at + timedelta(hours=1))
    assert _written(head=later)[1].content == _written()[1].content
    assert _written(head=later)[1].sha256 != _written()[1].sha256
    assert _written(ROWS[1:])[1].content != _written()[1].content


@pytest.mark.parametrize(("length", "why"), [(65_535, "its SHA-256 is another|no JSON"), (65_536, "damaged")])
def test_last_line_is_of_65_535_bytes_at_most(length: int, why: str) -> None:
    data, _ = _written()
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    unpacker.decompress(data)
    first, line = data[: -len(unpacker.unused_data)], b" " * length
    sizes = (length & 0xFFFF).to_bytes(2, "little") + (length & 0xFFFF ^ 0xFFFF).to_bytes(2, "little")
    end = data[:10] + b"\x01" + sizes + line + zlib.crc32(line).to_bytes(4, "little") + length.to_bytes(4, "little")
    with pytest.raises(BackupBroken, match=why):
        BackupReader([first + end]).check()
