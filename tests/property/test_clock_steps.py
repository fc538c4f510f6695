"""Random steps of the wall clock, and sleeps: no honest task ends by them, and each is looked at again in its time."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path as Folder

from hypothesis import example, given, settings
from hypothesis import strategies as st

from archiver.core.clocks import Steps
from archiver.core.errors import LinkSpent, OriginBusy
from archiver.core.model import Phase, Policy, RecordInfo, TaskId
from archiver.core.states import TaskState
from tests.fakes.downloader import Audio
from tests.fakes.time import NOW
from tests.worlds.path import Path, path_in

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
TICK = 20 * SECOND
POLICY = Policy()
ENDED_BADLY = {TaskState.LOST, TaskState.MISSING, TaskState.FAILED}
WRONG = st.sampled_from([-70 * DAY, -HOUR, HOUR, 70 * DAY])
TROUBLE = st.tuples(st.integers(0, 12), WRONG, st.integers(1, 10))
"""The tick at which the clock is set wrong, by how much, and for how many ticks."""
VOCAL = b"vocal" * 900


class Street:
    """A daemon's loop on a path: four honest tasks, each slow or unlucky in its own way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps = Steps()
        self.path.accept("late-at-provider", "unknown-at-first", "spent-link-once", "busy-origin-once")
        pending, absent = RecordInfo(Phase.PENDING, created_at=NOW), RecordInfo(Phase.ABSENT)
        for name, before in (("late-at-provider", [pending] * 3), ("unknown-at-first", [absent] * 3)):
            done = path.lists(path.serves(name, Audio(VOCAL), stem="vocal"), task=name)
            path.api.knows(TaskId(name), *before, done)
        for name, error in (
            ("spent-link-once", LinkSpent("403", status=403)),
            ("busy-origin-once", OriginBusy("503")),
        ):
            path.lists(path.serves(name, error, error, Audio(VOCAL), stem="vocal"), task=name)
        self.names = ["late-at-provider", "unknown-at-first", "spent-link-once", "busy-origin-once"]

    def tick(self) -> None:
        """Do what the daemon does in a while, and let it pass."""
        step = self.steps.look(self.path.clock(), self.path.steady())
        if step < timedelta():
            self.path.ledger.claims.clock_set_back(-step, now=self.path.clock())
        self.path.breakers.reload()
        for _ in range(20):
            if not self.path.dispatcher.step():
                break
        self.path.forward(TICK)
        assert not {self.path.row(name).state for name in self.names} & ENDED_BADLY


@settings(max_examples=10, deadline=None)
@example([(0, HOUR, 2)], True, None)
@example([(0, 70 * DAY, 2), (1, -HOUR, 5)], False, 3)
@example([(1, -70 * DAY, 4)], False, None)
@given(st.lists(TROUBLE, min_size=1, max_size=3), st.booleans(), st.none() | st.integers(0, 12))
def test_honest_task_ends_archived_within_its_waits_whatever_the_clock_did(
    troubles: list[tuple[int, timedelta, int]], dated: bool, sleep_at: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder, path_in(Folder(folder)) as path:
        if not dated:
            path.api.date = None
        street = Street(path)
        right_again = max((at + ticks for at, _, ticks in troubles), default=0) + 1
        for number in range(right_again):
            path.wrong_by = sum((by for at, by, ticks in troubles if at <= number < at + ticks), timedelta())
            if number == sleep_at:
                path.forward(8 * HOUR)
            street.tick()
        path.wrong_by = timedelta()
        within = 4 * POLICY.pending_max
        for _ in range(int(within / TICK)):
            if path.archived(*street.names) == len(street.names):
                return
            street.tick()
        raise AssertionError([(path.row(name).state, path.row(name).not_before, path.now) for name in street.names])
