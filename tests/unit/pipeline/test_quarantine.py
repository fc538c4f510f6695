"""A task that takes its process down with it, beside honest ones: what each start comes to."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.core.intake import Intake
from archiver.core.model import Claim, Failed, Later, Outcome, TaskId
from archiver.core.states import TaskState
from tests.fakes.events import Events
from tests.fakes.time import NOW, Clock
from tests.fakes.waiting import until
from tests.fixtures.ledgers import accept, finish, overview
from tests.fixtures.profiles import examples
from tests.house import Ledger, LocalDispatcher, breakers_on, context_on, dispatcher_on, ready_ledger_at

pytestmark = pytest.mark.long

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


class Died(BaseException):
    """The end of the process: nothing of it runs on, and nothing is given back."""


class Neighbourhood:
    """Honest tasks, each ended at once, and such as kill; one process after the other works on them."""

    def __init__(self, ledger: Ledger, *, honest: int, poisons: Collection[int], workers: int) -> None:
        self.ledger = ledger
        self.clock = Clock()
        self.workers = workers
        names = [f"task-{number:05}" for number in range(honest + len(poisons))]
        self.poisons = {names[at] for at in poisons}
        self.honest = [name for name in names if name not in self.poisons]
        self.starts = 0
        self.touched: Counter[str] = Counter()
        """How often each honest task was in hand as its process died."""
        self._in_hand: list[str] = []
        accept(ledger, Intake(ids=tuple(map(TaskId, names))), now=NOW)

    def start(self, span: timedelta = timedelta()) -> bool:
        """Let a process work for as long as there is something to do, and then so long; return whether it lived."""
        self.starts += 1
        owner = f"process-{self.starts}"
        breakers = breakers_on(self.ledger, self.clock, Events())
        context = context_on(self.ledger, breakers, self.clock, Events(), owner=owner, workers=self.workers)

        def archive(claim: Claim) -> Outcome:
            return self._archive(process, claim)

        process = dispatcher_on(context, archive)
        self.ledger.claims.release_dead(lambda name: name == owner, now=self.clock())
        end = self.clock() + span
        try:
            while (worked := process.step()) or self.clock() < end:
                self.clock.now += SECOND if worked else MINUTE
        except Died:
            return False
        self.ledger.claims.release(owner)
        return True

    def _archive(self, dispatcher: LocalDispatcher, claim: Claim) -> Outcome:
        """End the task once as many are in hand as there are workers, and one that kills kills all of them."""
        self._in_hand.append(claim.task_id)
        try:
            if len(self._in_hand) < self.workers:
                dispatcher.step()
            if self.poisons.intersection(self._in_hand):
                self.touched.update(name for name in self._in_hand if name not in self.poisons)
                self._in_hand.clear()
                raise Died
            outcome = Failed("this is how it ends")
            finish(self.ledger, claim, outcome, now=self.clock())
            return outcome
        finally:
            if claim.task_id in self._in_hand:
                self._in_hand.remove(claim.task_id)

    @property
    def left(self) -> list[str]:
        states = self.ledger.intakes.known([TaskId(name) for name in self.honest])
        return [name for name, state in states.items() if state is not TaskState.FAILED]


@contextmanager
def neighbourhood(*, honest: int, poisons: Collection[int] = (0,), workers: int = 8) -> Iterator[Neighbourhood]:
    with TemporaryDirectory() as folder, closing(ready_ledger_at(f"sqlite:///{folder}/ledger.db")) as ledger:
        yield Neighbourhood(ledger, honest=honest, poisons=poisons, workers=workers)


def test_four_honest_tasks_beside_one_that_kills_are_done_within_five_starts() -> None:
    with neighbourhood(honest=4) as street:
        for _ in range(5):
            street.start()
        assert street.left == []


@pytest.mark.parametrize("at", [3, 500])
def test_999_honest_tasks_beside_one_that_kills_are_done_within_four_starts(at: int) -> None:
    with neighbourhood(honest=999, poisons=[at]) as street:
        while street.left:
            street.start()
        assert street.starts <= 4
        assert len(street.touched) <= 14
        assert overview(street.ledger, now=street.clock()).quarantined_count == 1


def test_process_that_lives_on_tries_the_one_that_kills_ever_later() -> None:
    with neighbourhood(honest=5) as street:
        deaths = [street.clock() for _ in range(14) if not street.start(timedelta(hours=7))]
        waits = [later - sooner for sooner, later in itertools.pairwise(deaths)][2:]
        assert waits == sorted(waits)
        assert timedelta(hours=6) <= waits[-1] <= timedelta(hours=6, minutes=2)
        assert street.left == []


@settings(max_examples=examples(20), deadline=None)
@given(
    honest=st.integers(1, 30),
    poisons=st.sets(st.integers(0, 30), min_size=1, max_size=4),
    workers=st.integers(1, 10),
)
def test_honest_tasks_are_done_however_many_kill_and_wherever(honest: int, poisons: set[int], workers: int) -> None:
    """Each poison kills twice in company, and once alone before the others that were suspected with it."""
    poisons = {at for at in poisons if at < honest + 1} or {0}
    with neighbourhood(honest=honest + len(poisons), poisons=poisons, workers=workers) as street:
        while street.left:
            assert street.starts <= 3 * len(poisons)
            street.start()


# ---------------------------------------------------------------- alone


class Held:
    """Tasks that last until they are let go."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.begun: list[str] = []
        self.gates: dict[str, threading.Event] = {}

    def __call__(self, claim: Claim) -> Outcome:
        gate = self.gates.setdefault(claim.task_id, threading.Event())
        self.begun.append(claim.task_id)
        assert gate.wait(30)
        outcome = Later(self.clock() + timedelta(days=1), "done")
        finish(self.ledger, claim, outcome, now=self.clock())
        return outcome

    def let_go(self, name: str) -> None:
        self.gates[name].set()


@pytest.fixture
def held(ledger: Ledger, clock: Clock) -> Iterator[Held]:
    held = Held(ledger, clock)
    yield held
    for gate in held.gates.values():
        gate.set()


@pytest.fixture
def dispatcher(ledger: Ledger, clock: Clock, held: Held) -> Iterator[LocalDispatcher]:
    events = Events()
    context = context_on(ledger, breakers_on(ledger, clock, events), clock, events, workers=4)
    dispatcher = dispatcher_on(context, held)
    yield dispatcher
    dispatcher.stop()


def _queued(ledger: Ledger, *names: str) -> None:
    accept(ledger, Intake(ids=tuple(map(TaskId, names))), now=NOW)


def _quarantined(ledger: Ledger, *names: str) -> None:
    _queued(ledger, *names)
    for owner in ("first", "second"):
        for _ in names:
            assert ledger.claims.claim(owner=owner, now=NOW, lease=timedelta(minutes=1)) is not None
        ledger.claims.release_dead(lambda _: False, now=NOW)


def _begun(dispatcher: LocalDispatcher, held: Held, *names: str) -> Callable[[], bool]:
    def check() -> bool:
        dispatcher.pump()
        return set(held.begun) == set(names) and dispatcher.working == len(names)

    return check


def test_quarantined_task_waits_until_nothing_else_is_in_flight(
    ledger: Ledger, dispatcher: LocalDispatcher, held: Held
) -> None:
    _quarantined(ledger, "bad-00001")
    _queued(ledger, "good-0001")
    until(_begun(dispatcher, held, "good-0001"))
    assert dispatcher.pump() == 0
    held.let_go("good-0001")
    until(lambda: dispatcher.pump() >= 0 and held.begun == ["good-0001", "bad-00001"])


def test_nothing_is_begun_beside_a_quarantined_task_for_a_minute(
    ledger: Ledger, dispatcher: LocalDispatcher, held: Held, clock: Clock
) -> None:
    _quarantined(ledger, "bad-00001", "bad-00002")
    until(_begun(dispatcher, held, "bad-00001"))
    _queued(ledger, "good-0001")
    clock.now += MINUTE - SECOND
    assert dispatcher.pump() == 0
    clock.now += SECOND
    assert dispatcher.pump() == 1
    until(lambda: set(held.begun) == {"bad-00001", "good-0001"})


def test_others_are_begun_as_soon_as_a_quarantined_task_has_ended(
    ledger: Ledger, dispatcher: LocalDispatcher, held: Held
) -> None:
    _quarantined(ledger, "bad-00001")
    until(_begun(dispatcher, held, "bad-00001"))
    _queued(ledger, "good-0001", "good-0002")
    held.let_go("bad-00001")
    until(lambda: dispatcher.pump() >= 0 and len(held.begun) == 3)
    assert dispatcher.working == 2


def test_quarantined_task_that_waited_for_an_hour_is_begun_beside_what_there_is(
    ledger: Ledger, dispatcher: LocalDispatcher, held: Held, clock: Clock
) -> None:
    _quarantined(ledger, "bad-00001")
    _queued(ledger, "good-0001")
    until(_begun(dispatcher, held, "good-0001"))
    clock.now += 60 * MINUTE - SECOND
    dispatcher.renew()
    assert dispatcher.pump() == 0
    clock.now += MINUTE
    assert dispatcher.pump() == 1
    until(lambda: set(held.begun) == {"good-0001", "bad-00001"})
