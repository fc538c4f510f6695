"""Connecting to the first address that answers, with real threads and sockets, and attempts as scripted."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.adapters.http1.race import ADDRESSES_MAX, Racer, in_turn

pytestmark = pytest.mark.long

Address = tuple[str, int] | tuple[str, int, int, int]


def v6(number: int) -> Address:
    return f"2606:4700::{number:x}", 443, 0, 0


def v4(number: int) -> Address:
    return f"8.8.8.{number}", 443


class Net:
    """Attempts as they came; each address answers after its seconds, or is silent."""

    def __init__(self, answers: dict[Address, float | OSError]) -> None:
        self.answers = answers
        self.begun: list[tuple[Address, float]] = []
        self.sockets: list[socket.socket] = []
        self._at = time.monotonic()
        self.over = threading.Event()

    def connect(self, address: Address, timeout: float) -> socket.socket:
        self.begun.append((address, time.monotonic() - self._at))
        answer = self.answers.get(address)
        if isinstance(answer, OSError):
            raise answer
        if answer is None or answer > timeout:
            self.over.wait(timeout)
            raise TimeoutError("timed out")
        time.sleep(answer)
        sock = socket.socket()
        self.sockets.append(sock)
        return sock

    def open(self) -> int:
        return sum(sock.fileno() >= 0 for sock in self.sockets)


def racer(net: Net) -> Racer[Address]:
    return Racer(net.connect, time.monotonic)


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


@given(st.permutations([v6(n) for n in range(4)] + [v4(n) for n in range(3)]))
def test_families_take_turns_and_keep_the_resolvers_order(found: list[Address]) -> None:
    order = in_turn([*found, *found])
    assert sorted(map(str, order)) == sorted(map(str, found))
    assert [len(address) for address in order[:6]] == [len(found[0]), 6 - len(found[0])] * 3
    for family in (2, 4):
        assert [a for a in order if len(a) == family] == [a for a in found if len(a) == family]


@pytest.mark.parametrize("dead", [4, 8])
def test_dead_ipv6_addresses_delay_a_connection_by_less_than_a_second_and_the_next_by_nothing(dead: int) -> None:
    net = Net({v4(1): 0.0})
    racing, found = racer(net), [*(v6(n) for n in range(dead)), v4(1)]
    began = time.monotonic()
    with racing.first(found, 10.0):
        first = time.monotonic() - began
    with racing.first(found, 10.0):
        second = time.monotonic() - began - first
    net.over.set()
    print(f"\n{dead} dead IPv6 addresses: {first:.3f} s, then {second:.3f} s")
    assert first < 1.0
    assert second < 0.2
    assert [address for address, _ in net.begun] == [v6(0), v4(1), v4(1)]


def test_every_address_is_tried_within_the_time_of_one() -> None:
    net = Net({v4(3): 0.0})
    began = time.monotonic()
    with racer(net).first([*(v6(n) for n in range(8)), *(v4(n) for n in range(4))], 2.0):
        pass
    net.over.set()
    assert time.monotonic() - began < 2.0
    assert {address for address, _ in net.begun} >= {*(v6(n) for n in range(4)), *(v4(n) for n in range(4))}
    silent = Net({})
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        racer(silent).first([*(v6(n) for n in range(8)), *(v4(n) for n in range(4))], 1.0)
    assert time.monotonic() - began < 2.0
    assert len(silent.begun) == 12


def test_address_beyond_the_most_that_are_tried_has_its_turn_once_those_before_it_have_failed() -> None:
    dead = [v4(n) for n in range(ADDRESSES_MAX + 3)]
    net = Net({address: OSError(111, "Connection refused") for address in dead})
    alive, race = ("8.8.9.9", 443), racer(net)
    net.answers[alive] = 0.0
    with pytest.raises(OSError, match="refused"):
        race.first([*dead, alive], 10.0)
    race.first([*dead, alive], 10.0).close()


def test_address_whose_connection_came_to_nothing_goes_after_the_others_the_next_times() -> None:
    now, net = [0.0], Net({v6(1): 0.0, v4(1): 0.0})
    race = Racer(net.connect, lambda: now[0])
    for _ in range(3):
        with race.first([v6(1), v4(1)], 10.0) as sock:
            if net.begun[-1][0] == v6(1):
                race.lost(sock)
        now[0] += 100
    assert [address for address, _ in net.begun] == [v6(1), v4(1), v4(1)]


def test_attempt_that_fails_is_followed_by_the_next_at_once() -> None:
    net = Net({v6(n): OSError(101, "Network is unreachable") for n in range(8)} | {v4(1): 0.0})
    began = time.monotonic()
    with racer(net).first([*(v6(n) for n in range(8)), v4(1)], 10.0):
        assert time.monotonic() - began < 0.2


def test_attempts_begin_a_quarter_of_a_second_apart() -> None:
    net = Net({v4(1): 0.0})
    with racer(net).first([v6(1), v4(2), v6(2), v4(1)], 10.0):
        net.over.set()
    gaps = [later - sooner for (_, sooner), (_, later) in zip(net.begun, net.begun[1:], strict=False)]
    assert all(0.24 < gap < 1.0 for gap in gaps)


def test_sockets_of_those_that_come_later_are_closed() -> None:
    net = Net({v6(1): 0.6, v4(1): 0.0, v6(2): 0.5})
    with racer(net).first([v6(1), v4(1), v6(2)], 10.0) as won:
        until(lambda: len(net.sockets) == 2)
        until(lambda: net.open() == 1)
        assert won.fileno() >= 0


@pytest.mark.long
@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.01, 0.05, None, OSError(111, "refused")]), min_size=1, max_size=8))
def test_race_of_any_answers_is_won_by_one_that_answers_and_leaks_nothing(
    answers: list[float | OSError | None],
) -> None:
    found = [v6(n) if n % 2 else v4(n) for n in range(len(answers))]
    net = Net({address: answer for address, answer in zip(found, answers, strict=True) if answer is not None})
    alive = any(isinstance(answer, float) for answer in answers)
    try:
        won: socket.socket | None = racer(net).first(found, 0.4)
    except OSError:
        won = None
    net.over.set()
    assert (won is not None) == alive
    until(lambda: not any(thread.name == "dial" for thread in threading.enumerate()))
    assert net.open() == (won is not None)
    if won is not None:
        won.close()
    gc.collect(1)  # what is older is not of this race: to look at all of it costs seconds in a long run


def test_failure_that_is_no_oserror_is_raised_where_the_race_is_run() -> None:
    def connect(address: Address, timeout: float) -> socket.socket:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Racer(connect, time.monotonic).first([v4(1), v6(1)], 1.0)


@pytest.mark.parametrize(("failed", "is_forgotten"), [(1000, False), (1001, True)])
def test_addresses_that_failed_are_all_forgotten_once_they_are_more_than_1_000(
    failed: int, *, is_forgotten: bool
) -> None:
    good, other, *dead = [v4(1), v4(2), *(v6(number) for number in range(failed))]
    net = Net({address: OSError(111, "Connection refused") for address in [other, *dead]} | {good: 0.0})
    race = racer(net)
    for at in range(0, failed, 25):
        with pytest.raises(OSError, match="refused"):
            race.first([dead[0], *dead[at : at + 25]], 10.0)
    race.first([other, good], 10.0).close()
    net.begun.clear()
    race.first([dead[0], good], 10.0).close()
    assert net.begun[0][0] == (dead[0] if is_forgotten else good)
