from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from archiver.adapters.object_store.buffers import BufferBudget
from archiver.core.errors import SettingsFault, StoreBusy
from archiver.ports.transfer import Aside, Suspended

MIB = 1024 * 1024
SOON = 5.0
NOT_YET = 0.05


class Borrower:
    """A thread that borrows one buffer and keeps it until told to let go."""

    def __init__(self, budget: BufferBudget, size: int) -> None:
        self.got = threading.Event()
        self.let_go = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(budget, size))
        self._thread.start()

    def _run(self, budget: BufferBudget, size: int) -> None:
        try:
            with budget.buffer(size):
                self.got.set()
                self.let_go.wait(SOON)
        except StoreBusy as error:
            self.error = error

    def end(self) -> None:
        self.let_go.set()
        self._thread.join(SOON)
        assert not self._thread.is_alive()


@contextmanager
def borrowing(budget: BufferBudget, size: int) -> Iterator[Borrower]:
    borrower = Borrower(budget, size)
    try:
        yield borrower
    finally:
        borrower.end()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_537, 5 * MIB + 1, 16 * MIB])
def test_a_buffer_has_exactly_the_size_asked_for_and_is_writable(size: int) -> None:
    budget = BufferBudget(16 * MIB)
    with budget.buffer(size) as buffer:
        assert len(buffer) == size
        buffer[:] = b"x" * size
        assert budget.lent_bytes <= max(64 * 1024, size * 1.25)
    assert budget.lent_bytes == 0


def test_memory_is_reused_for_the_same_size_class() -> None:
    budget = BufferBudget(16 * MIB)
    with budget.buffer(8 * MIB) as buffer:
        buffer[0] = 7
    with budget.buffer(8 * MIB - 5) as buffer:
        assert buffer[0] == 7
    assert budget.held_bytes == 8 * MIB


def test_spare_memory_is_given_up_when_another_size_needs_the_room() -> None:
    budget = BufferBudget(10 * MIB)
    with budget.buffer(8 * MIB):
        pass
    with budget.buffer(4 * MIB):
        assert budget.held_bytes == 4 * MIB


def test_a_request_above_the_total_names_the_setting() -> None:
    with pytest.raises(SettingsFault, match=r"download\.buffer_budget"), BufferBudget(MIB).buffer(MIB + 1):
        pass


def test_the_whole_total_can_be_lent_though_its_size_class_is_larger() -> None:
    with BufferBudget(9 * MIB - 1).buffer(9 * MIB - 1) as buffer:
        assert len(buffer) == 9 * MIB - 1


def test_a_second_borrower_waits_until_its_share_is_free() -> None:
    budget = BufferBudget(8 * MIB)
    with borrowing(budget, 8 * MIB) as first:
        assert first.got.wait(SOON)
        with borrowing(budget, MIB) as second:
            assert not second.got.wait(NOT_YET)
            first.end()
            assert second.got.wait(SOON)


def test_a_large_request_is_not_overtaken_by_small_ones() -> None:
    budget = BufferBudget(8 * MIB)
    with borrowing(budget, 4 * MIB) as first:
        assert first.got.wait(SOON)
        with borrowing(budget, 8 * MIB) as large:
            assert not large.got.wait(NOT_YET)
            with borrowing(budget, MIB) as small:
                assert not small.got.wait(NOT_YET)
                first.end()
                assert large.got.wait(SOON)
                assert not small.got.is_set()
                large.end()
                assert small.got.wait(SOON)


def test_close_wakes_those_who_wait_and_refuses_those_who_come() -> None:
    budget = BufferBudget(MIB)
    with borrowing(budget, MIB) as first:
        assert first.got.wait(SOON)
        with borrowing(budget, MIB) as second:
            assert not second.got.wait(NOT_YET)
            budget.close()
        assert isinstance(second.error, StoreBusy)
    with pytest.raises(StoreBusy), budget.buffer(1):
        pass
    assert budget.held_bytes == 0


def test_a_thread_that_holds_a_buffer_may_not_wait_for_another() -> None:
    budget = BufferBudget(MIB)
    with budget.buffer(1), pytest.raises(RuntimeError), budget.buffer(1):
        pass
    with budget.buffer(MIB):
        pass


def test_a_buffer_comes_back_when_its_borrower_fails() -> None:
    budget = BufferBudget(MIB)
    for _ in range(3):
        with pytest.raises(KeyError), budget.buffer(MIB):
            raise KeyError
    assert budget.lent_bytes == 0


def test_many_threads_never_take_more_than_the_total() -> None:
    budget = BufferBudget(2 * MIB)
    peaks: list[int] = []

    def work(seed: int) -> None:
        sizes = random.Random(seed)
        for _ in range(50):
            with budget.buffer(sizes.randrange(1, 2 * MIB)) as buffer:
                buffer[-1] = seed
                peaks.append(budget.held_bytes)
                assert buffer[-1] == seed

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(peaks) == 8 * 50
    assert max(peaks) <= 2 * MIB
    assert budget.lent_bytes == 0


def put_aside(budget: BufferBudget, size: int, byte: bytes) -> Aside:
    aside = Aside()
    with suppress(Suspended), budget.buffer(size, aside) as buffer:
        buffer[:] = byte * size
        raise Suspended(size)
    return aside


def test_what_is_put_aside_is_given_back_as_it_was_while_there_is_room() -> None:
    budget = BufferBudget(8 * MIB)
    first, second = put_aside(budget, MIB, b"1"), put_aside(budget, MIB, b"2")
    with budget.buffer(MIB) as other:
        other[:] = b"3" * MIB
    assert budget.held_bytes <= 8 * MIB
    for aside, byte in ((second, b"2"), (first, b"1")):
        with budget.buffer(MIB, aside) as buffer:
            assert aside.intact
            assert bytes(buffer) == byte * MIB
        with budget.buffer(MIB, aside):
            assert not aside.intact, "only what was put aside is"


def test_memory_of_what_is_put_aside_goes_to_who_needs_it_the_oldest_first_and_after_all_spares() -> None:
    budget = BufferBudget(8 * MIB)
    with budget.buffer(MIB):
        pass
    asides = [put_aside(budget, 2 * MIB, b"x") for _ in range(3)]
    with budget.buffer(4 * MIB):
        assert [aside.block is None for aside in asides] == [True, False, False]
    with budget.buffer(8 * MIB):
        assert budget.held_bytes == 8 * MIB
    with budget.buffer(2 * MIB, asides[2]):
        assert not asides[2].intact


def test_what_is_given_up_is_spare_and_what_is_closed_keeps_nothing() -> None:
    budget = BufferBudget(8 * MIB)
    aside = put_aside(budget, MIB, b"x")
    budget.give_up(aside)
    budget.give_up(aside)
    assert budget.held_bytes == MIB
    put_aside(budget, MIB, b"y")
    budget.close()
    assert budget.held_bytes == 0
