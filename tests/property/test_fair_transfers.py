"""Random hosts, accounts, tasks, rates and deadlines: shares hold, nothing idles, nobody starves."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.core.transfer import Transfer, max_min_share
from tests.fakes.time import NOW
from tests.unit.pipeline.test_preemption import Yard

KINDS = ("host", "account", "task")
SIZES = st.sampled_from([(700.0, 2_000_000_000), (20_000.0, 5_000_000), (1e6, 5_000_000), (3e6, 60_000_000)])
NAMES = st.sampled_from("abcd")
WAVES = st.lists(
    st.tuples(st.integers(0, 20), NAMES, NAMES, NAMES, SIZES, st.integers(1, 12), st.integers(-2, 300)),
    min_size=1,
    max_size=6,
)
Wave = tuple[int, str, str, str, tuple[float, int], int, int]


@settings(max_examples=25, deadline=None)
@given(waves=WAVES, threads=st.integers(1, 20))
def test_shares_hold_nothing_idles_and_what_is_quick_does_not_starve(waves: list[Wave], threads: int) -> None:
    yard = Yard(threads=threads)
    for seconds, host, account, task, (rate, length), number, hours in waves:
        for _ in range(number):
            deadline = NOW + timedelta(hours=hours)
            yard.puts(Transfer(deadline, f"h{host}", f"a{account}", f"t{task}"), length, rate)
        yard.passes(seconds)
        assert len(yard.lanes.running) == min(threads, len(yard.lanes.running) + len(yard.lanes.all_waiting()))
    yard.passes(15)
    settled(yard)
    yard.passes(600)
    quick = {transfer for transfer, rate in yard.rates.items() if rate >= 1e6}
    assert quick <= set(yard.done)


def settled(yard: Yard) -> None:
    """No party holds slow transfers beyond its share while one waits that is within its own, for every kind."""
    waiting = [each for each in yard.lanes.all_waiting() if not any(yard.lanes.beyond(each))]
    if not waiting:
        return
    for kind in KINDS:
        held = yard.held(kind)
        demands = Counter(getattr(each, kind) for each in [*yard.lanes.running, *yard.lanes.all_waiting()])
        share = max_min_share(demands.values(), yard.threads)
        for name, count in held.items():
            lasting = sum(
                each.seconds_left(yard.now) > 60 and not each.broken_off
                for each in yard.lanes.running
                if getattr(each, kind) == name
            )
            assert count - 1 < max(1.0, share) or not lasting, (kind, name, count, share)
