"""Threads on one core: real ones, on the cores of the machine that the tests run on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from archiver.adapters.processor import HOME_FOR, ONLY_SMALL_FOR, HomeCore, System

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) == 1,
    reason="needs Linux, and two cores that this process may use",
)


def cores() -> set[int]:
    return set(os.sched_getaffinity(0))


ALL = cores() if hasattr(os, "sched_getaffinity") else set[int]()


class Hour(System):
    """Time in our hands, and the core on which the system is said to have put a thread."""

    def __init__(self) -> None:
        self.now = 0.0
        self.core = min(ALL)

    def here(self) -> int:
        return self.core

    def home(self) -> HomeCore:
        return HomeCore(lambda: self.now, self)


class Strict(Hour):
    """A system that lets nobody choose, or gives one core alone; it notes what is asked of it."""

    def __init__(self, cores: AbstractSet[int] = frozenset(ALL)) -> None:
        super().__init__()
        self.cores = cores
        self.asked = list[AbstractSet[int]]()

    def allowed(self) -> AbstractSet[int]:
        return self.cores

    def go(self, cores: AbstractSet[int]) -> None:
        self.asked.append(cores)
        raise PermissionError


@contextmanager
def thread() -> Iterator[Callable[[Callable[[], object]], set[int]]]:
    """Give a way to have one other thread do something, which returns the cores that it may use then."""
    with ThreadPoolExecutor(1) as pool:

        def do(step: Callable[[], object]) -> set[int]:
            return pool.submit(lambda: (step(), cores())[1]).result()

        yield do


def test_threads_that_gather_share_one_core_and_go_where_they_like_once_they_scatter() -> None:
    hour = Hour()
    home = hour.home()
    with thread() as one, thread() as other:
        assert one(home.gather) == other(home.gather) == {min(ALL)}
        assert one(home.scatter) == ALL
        assert other(str) == {min(ALL)}, "the other was not asked"


def test_threads_stay_free_until_nobody_has_scattered_for_a_second() -> None:
    hour = Hour()
    home = hour.home()
    with thread() as one, thread() as other:
        other(home.gather)
        one(home.gather)
        one(home.scatter)
        hour.now = 0.9 * ONLY_SMALL_FOR
        assert one(home.gather) == other(home.gather) == ALL
        hour.now = ONLY_SMALL_FOR
        assert one(home.gather) == other(home.gather) == {min(ALL)}


def test_core_is_where_the_first_thread_runs() -> None:
    home = HomeCore(lambda: 0.0)
    with thread() as one, thread() as other:
        (core,) = one(home.gather)
        assert core in ALL
        assert other(home.gather) == {core}


def test_core_is_chosen_anew_by_a_thread_that_the_system_may_put_elsewhere() -> None:
    hour = Hour()
    home = hour.home()
    with thread() as one, thread() as other:
        one(home.gather)
        other(home.gather)
        hour.now, hour.core = HOME_FOR, max(ALL)
        assert one(home.gather) == ALL
        assert other(home.gather) == {min(ALL)}, "one goes ahead alone"
        assert one(home.gather) == {max(ALL)}
        assert other(home.gather) == {max(ALL)}


def test_main_thread_stays_free_as_processes_and_threads_inherit_its_cores() -> None:
    assert threading.current_thread() is threading.main_thread()
    hour = Hour()
    home = hour.home()
    home.gather()
    assert cores() == ALL


def test_system_that_lets_nobody_choose_is_asked_once() -> None:
    strict = Strict()
    home = strict.home()
    with thread() as one:
        assert one(home.gather) == one(home.gather) == one(home.scatter) == ALL
    assert strict.asked == [{min(ALL)}]


def test_thread_that_gathered_is_let_go_after_the_system_has_refused_another() -> None:
    hour = Hour()
    home = hour.home()
    with thread() as one, thread() as other:
        one(home.gather)
        hour.core = 10_000
        hour.now = HOME_FOR
        other(home.gather)
        assert other(home.gather) == ALL, "there is no such core"
        assert one(home.gather) == ALL


@pytest.mark.parametrize("fault", [FileNotFoundError("/proc"), IndexError(36), ValueError("core")])
def test_system_that_does_not_say_where_a_thread_runs_is_asked_once(fault: Exception) -> None:
    asked = list[str]()

    class Silent(Hour):
        def here(self) -> int:
            asked.append("here")
            raise fault

    home = Silent().home()
    with thread() as one:
        assert one(home.gather) == one(home.gather) == one(home.scatter) == ALL
    assert asked == ["here"]


def test_process_with_one_core_is_left_alone() -> None:
    strict = Strict({min(ALL)})
    home = strict.home()
    with thread() as one:
        one(home.gather)
        one(home.scatter)
    assert strict.asked == []
