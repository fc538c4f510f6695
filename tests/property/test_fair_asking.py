"""Random ids, links and answers on the real ledger: half of the asks go to what was never asked about, none starves."""

from __future__ import annotations

import tempfile
from contextlib import closing
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.core.model import Later, Stage
from archiver.core.states import TaskState
from tests.fixtures.ledgers import LEASE, NOW, SECOND, finish, listed, take_in, tid
from tests.house import ready_ledger_at

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("takes in"), st.integers(1, 6)),
        st.tuples(st.just("lists"), st.integers(1, 200)),
        st.tuples(st.just("asks"), st.integers(1, 12)),
    ),
    max_size=14,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, again=st.integers(0, 90))
def test_order_of_asking(steps: list[tuple[str, int]], again: int) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(ready_ledger_at(f"sqlite:///{folder}/ledger.db")) as ledger:
        now, number = NOW, 0
        fresh: set[str] = set()
        known: set[str] = set()
        last: dict[str, int] = {}
        turns: list[tuple[bool, bool]] = []
        for what, count in [*steps, ("asks", 60)]:
            now += SECOND
            if what == "takes in":
                take_in(ledger, *range(number, number + count), now=now)
                fresh |= {tid(n) for n in range(number, number + count)}
                number += count
            elif what == "lists":
                mine = listed(ledger, number, deadline=now + timedelta(hours=count), now=now, query="?sig=1")
                finish(ledger, mine, Later(now, "busy", fault=True), now=now)
                known.add(tid(number))
                number += 1
            for _ in range(count if what == "asks" else 0):
                now += SECOND
                claim = ledger.claims.claim(owner="us", now=now, lease=LEASE, stage=Stage.LIST)
                assert claim is not None or again or not (fresh or known or last)
                if claim is None:
                    continue
                turns.append((bool(fresh), claim.task_id in fresh))
                if claim.state is TaskState.QUEUED and claim.task_id not in fresh:
                    assert claim.task_id == min(last, key=lambda each: last[each]) or again
                fresh.discard(claim.task_id)
                last[claim.task_id] = len(turns)
                later = Later(now + again * SECOND, "not ready", fault=claim.task_id in known)
                finish(ledger, claim, later, now=now)
        for begun in range(len(turns) - 8):
            some = turns[begun : begun + 8]
            if all(waits for waits, _ in some):
                assert sum(taken for _, taken in some) >= 4
