"""A backfill on a machine whose clock is set: it waits by the monotonic clock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from archiver.core.reports import EnlistedWork, OpenWork
from archiver.service.backfill import Backfill, BackfillOptions, Verdict
from archiver.service.shutdown import Shutdown
from tests.fakes.time import Clock, Seconds

HOUR = timedelta(hours=1)


class Quiet:
    """Stands for dispatcher, breakers, reports and pauses of a backfill whose last task ends after ten ticks."""

    fault = None
    working = 1

    def __init__(self, clock: Clock, seconds: Seconds, step: timedelta) -> None:
        self.clock, self.seconds, self.step = clock, seconds, step
        self.ticks = self.renewed = 0
        self.set_back: list[timedelta] = []

    def pump(self) -> int:
        return 0

    def wait_idle(self, timeout: float) -> bool:
        """Let time pass; after the third wait the clock is set."""
        self.ticks += 1
        self.seconds.now += 2
        self.clock.forward(seconds=2)
        self.clock.now += self.step if self.ticks == 3 else timedelta()
        self.working = int(self.ticks < 10)
        return bool(timeout and not self.working)

    def renew(self) -> bool:
        self.renewed += 1
        return True

    def reload(self) -> None:
        pass

    def all(self) -> list[object]:
        return []

    def open_work(self, owner: str | None, blocked: object = ()) -> OpenWork:
        del owner, blocked
        return OpenWork(int(self.ticks < 10), None, None, None)

    def enlisted(self, owner: str, *, limit: int) -> EnlistedWork:
        del owner, limit
        return EnlistedWork({})


@pytest.mark.parametrize("step", [-70 * 24 * HOUR, -HOUR, HOUR, 70 * 24 * HOUR])
def test_backfill_whose_clock_is_set_ends_with_its_last_task_and_renews_its_leases_meanwhile(step: timedelta) -> None:
    clock, seconds = Clock(), Seconds()
    quiet = Quiet(clock, seconds, step)
    assert worked(quiet).run(lambda _: None) is Verdict.DONE
    assert quiet.ticks == 10
    assert quiet.renewed >= 3
    assert quiet.set_back == ([-step] if step < timedelta() else [])


class SlowToCount(Quiet):
    """A ledger that takes two seconds to count what is left."""

    def open_work(self, owner: str | None, blocked: object = ()) -> OpenWork:
        self.seconds.now += 2
        return super().open_work(owner, blocked)


def test_backfill_whose_last_task_ended_since_the_last_count_is_done() -> None:
    """Counts that take long are made seldom; the verdict, and so the exit code, is by one of its own moment."""
    quiet = SlowToCount(Clock(), Seconds(), timedelta())
    assert worked(quiet).run(lambda _: None) is Verdict.DONE


class TriesAgain(SlowToCount):
    """The last task fails since the last count, waits for its next try, and ends with it."""

    pumps = 0

    def pump(self) -> int:
        self.pumps += not self.working
        if self.pumps > 1:
            self.seconds.now += 60
            self.clock.forward(seconds=60)
        return 0

    def open_work(self, owner: str | None, blocked: object = ()) -> OpenWork:
        counted = super().open_work(owner, blocked)
        if self.working:
            return counted
        return OpenWork(int(self.pumps < 3), self.clock() + HOUR / 2, None, None)


def test_backfill_whose_last_task_began_to_wait_since_the_last_count_waits_for_it() -> None:
    quiet = TriesAgain(Clock(), Seconds(), timedelta())
    assert worked(quiet).run(lambda _: None) is Verdict.DONE
    assert quiet.pumps >= 3


def worked(quiet: Quiet) -> Backfill:
    return Backfill(
        owner="me",
        reports=quiet,  # type: ignore[arg-type]  # it plays every part, as far as a backfill asks
        pauses=quiet,  # type: ignore[arg-type]  # as above
        dispatcher=quiet,  # type: ignore[arg-type]  # as above
        breakers=quiet,  # type: ignore[arg-type]  # as above
        shutdown=Shutdown(),
        options=BackfillOptions(None, wait=True, max_wait=HOUR),
        clock=quiet.clock,
        monotonic=quiet.seconds,
        set_back=quiet.set_back.append,
    )
