"""The contract of `Permits`: of a process alone, of the processes on a machine, of all that share a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from archiver.ports.provider import Permits
from tests.fakes.time import Seconds
from tests.fixtures.ledgers import rows
from tests.fixtures.permits import taken, wait_of
from tests.house import file_permits, ledger_at, local_permits, server_permits

WINDOW = 10.0
LONGEST = 30.0
GRACE = 5.0
NEARLY = 0.5
"""Seconds that a busy machine may take between two looks; more by much than a server spreads those who look."""


@dataclass(frozen=True, slots=True)
class Rig:
    make: Callable[..., Permits]
    """Make the permits of an account with a limit, as one more of those who share them has them."""
    passed: Callable[[float], None]
    """Let so many seconds pass."""


def _local(_: pytest.FixtureRequest, stack: ExitStack) -> Rig:
    seconds, known = Seconds(), dict[str, Permits]()
    stack.callback(known.clear)

    def make(limit: int, account: str = "default") -> Permits:
        return known.setdefault(account, local_permits(limit, WINDOW, clock=seconds))

    return Rig(make, seconds.sleep)


def _file(request: pytest.FixtureRequest, _: ExitStack) -> Rig:
    seconds, folder = Seconds(), Path(request.getfixturevalue("tmp_path"))

    def make(limit: int, account: str = "default") -> Permits:
        return file_permits(folder / account, limit, window=WINDOW, longest=LONGEST, clock=seconds)

    return Rig(make, seconds.sleep)


def _server(request: pytest.FixtureRequest, stack: ExitStack) -> Rig:
    url = request.getfixturevalue("postgres").url(request.getfixturevalue("postgres_ledger"))

    def make(limit: int, account: str = "default") -> Permits:
        ledger = stack.enter_context(closing(ledger_at(url)))
        return server_permits(ledger, account, limit, window=WINDOW, longest=LONGEST)

    def passed(seconds: float) -> None:
        gone = round(seconds * 1e6)
        rows(url, f"UPDATE pace_slots SET free_at = greatest(0, free_at - {gone}) RETURNING 1")
        rows(url, f"UPDATE paces SET cool_until = greatest(0, cool_until - {gone}) RETURNING 1")

    return Rig(make, passed)


SHARED = [_file, pytest.param(_server, marks=pytest.mark.long)]


@pytest.fixture(params=[_local, *SHARED])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield request.param(request, stack)


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield request.param(request, stack)


def about(seconds: float) -> object:
    return pytest.approx(seconds, abs=NEARLY)


def test_permits_are_shared_by_those_of_an_account_and_by_no_others(rig: Rig) -> None:
    one, other, another_account = rig.make(2), rig.make(2), rig.make(2, "second")
    assert (one.left(), other.left()) == (2, 2)
    taken(one)
    taken(other)
    assert (one.left(), other.left(), another_account.left()) == (0, 0, 2)
    wait_of(one)
    wait_of(other)
    taken(another_account)


def test_permit_that_is_given_back_rests_for_a_window(rig: Rig) -> None:
    one, other = rig.make(1), rig.make(1)
    one.give_back(taken(one))
    rig.passed(4)
    assert wait_of(other).seconds == about(6)
    rig.passed(6)
    taken(other)


def test_each_permit_rests_for_itself(rig: Rig) -> None:
    one = rig.make(2)
    first, second = taken(one), taken(one)
    one.give_back(first)
    rig.passed(5)
    one.give_back(second)
    assert wait_of(one).seconds == about(5)
    rig.passed(5)
    taken(one)
    assert wait_of(one).seconds == about(5)


def test_limit_that_is_raised_is_there_for_all(rig: Rig) -> None:
    one, other = rig.make(1), rig.make(1)
    taken(one)
    other.resize(3)
    assert (other.left(), one.left()) == (2, 2)
    taken(one)
    taken(other)
    wait_of(one)


def test_limit_that_is_lowered_counts_what_is_out_and_at_rest(rig: Rig) -> None:
    one, other = rig.make(3), rig.make(3)
    out = [taken(one) for _ in range(3)]
    one.give_back(out.pop())
    other.resize(2)
    assert (other.left(), one.left()) == (0, 0)
    wait_of(one)
    rig.passed(WINDOW)
    assert (other.left(), one.left()) == (0, 0), "two are out still"
    one.give_back(out.pop())
    rig.passed(WINDOW)
    assert (other.left(), one.left()) == (1, 1)


def test_permit_that_is_out_is_looked_at_again_a_window_later_at_the_latest(shared: Rig) -> None:
    one, other = shared.make(1), shared.make(1)
    taken(one)
    assert wait_of(other).seconds == about(WINDOW)


def test_permit_of_one_that_died_is_free_when_its_lease_is_over_and_then_no_longer_its(shared: Rig) -> None:
    one, other = shared.make(1), shared.make(1)
    late = taken(one)
    shared.passed(GRACE + LONGEST + WINDOW - NEARLY)
    wait_of(other)
    shared.passed(NEARLY)
    taken(other)
    one.give_back(late)
    assert wait_of(other).seconds == about(WINDOW), "what another took is not given back by the first"
    shared.passed(WINDOW)
    wait_of(one)


def test_cool_down_holds_for_all_who_share_the_account_and_a_shorter_one_does_not_end_it(shared: Rig) -> None:
    one, other, another_account = shared.make(2), shared.make(2), shared.make(2, "second")
    one.cool_down(20)
    other.cool_down(5)
    found = wait_of(other)
    assert (found.seconds, found.cooling) == (about(20), about(20))
    assert (one.left(), other.left()) == (0, 0)
    taken(another_account)
    shared.passed(20)
    taken(other)


def test_limit_is_that_of_whoever_said_so_last(shared: Rig) -> None:
    one = shared.make(1)
    assert one.left() == 1
    other = shared.make(3)
    assert [each.left() for each in (other, one)] == [3, 3]
