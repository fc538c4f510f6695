"""Group commit: who waits is written with the next, in order, and nobody pays for another's fault."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from archiver.adapters.ledger.database.group_commit import GroupCommit

GENEROUS = 60.0


class Book:
    """A commit that can be held up, and refuses what is negative together with all that comes with it."""

    def __init__(self, of_all: type[BaseException] | tuple[()] = ()) -> None:
        self.turn = threading.Lock()
        self.commits: list[list[int]] = []
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.group = GroupCommit(self.commit, self.turn, of_all=of_all)

    def commit(self, items: Sequence[int]) -> None:
        assert self.turn.locked()
        self.begun.set()
        assert self.may_end.wait(GENEROUS)
        if any(item < 0 for item in items):
            raise ValueError(f"{min(items)} may not be written")
        self.commits.append(list(items))


def started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def crowd(book: Book, items: Sequence[int]) -> tuple[list[int], list[str]]:
    """Write 0 alone, and all of `items` while that commit is held up; return what was written and what failed."""
    written: list[int] = []
    failed: list[str] = []

    def write(item: int) -> None:
        try:
            book.group.write(item)
        except ValueError as error:
            failed.append(str(error))
        else:
            written.append(item)

    threads = [started(lambda: write(0))]
    assert book.begun.wait(GENEROUS)
    for count, item in enumerate(items, 1):
        threads.append(started(lambda item=item: write(item)))  # type: ignore[misc]  # bound at once
        while len(book.group._waiting) < count:  # the only sign that a thread waits in line
            pass
    book.may_end.set()
    for thread in threads:
        thread.join(GENEROUS)
        assert not thread.is_alive()
    return written, failed


def test_writes_that_come_during_a_commit_are_committed_as_one_in_their_order() -> None:
    book = Book()
    written, failed = crowd(book, [5, 3, 8, 1])
    assert book.commits == [[0], [5, 3, 8, 1]]
    assert (sorted(written), failed) == ([0, 1, 3, 5, 8], [])


def test_a_write_that_fails_among_others_fails_alone() -> None:
    book = Book()
    written, failed = crowd(book, [5, -3, 8])
    assert book.commits == [[0], [5], [8]]
    assert (sorted(written), failed) == ([0, 5, 8], ["-3 may not be written"])


def test_an_error_that_none_can_help_fails_all_at_once_without_trying_each() -> None:
    book = Book(of_all=ValueError)
    written, failed = crowd(book, [5, -3, 8])
    assert book.commits == [[0]]
    assert (written, failed) == ([0], ["-3 may not be written"] * 3)


def test_a_write_after_a_failed_one_is_committed() -> None:
    book = Book()
    book.may_end.set()
    with pytest.raises(ValueError, match="-1 may not"):
        book.group.write(-1)
    book.group.write(1)
    assert book.commits == [[1]]
