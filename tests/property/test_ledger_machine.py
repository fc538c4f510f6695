"""The ledger against a model of it in plain dictionaries, under any sequence of calls.

What is held to: no id ever vanishes, STORED is final, only the token of the current lease writes, the
most urgent due task is claimed, an illegal move changes nothing, and the running totals never drift.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from archiver.core import plan
from archiver.core.errors import LeaseLost
from archiver.core.intake import Intake
from archiver.core.model import (
    Archived,
    Claim,
    Failed,
    Later,
    Lost,
    Missing,
    Outcome,
    Receipt,
    Refused,
    Stage,
    StemName,
    TaskId,
    Yielded,
)
from archiver.core.reports import TaskRow
from archiver.core.states import (
    IllegalMove,
    StemEvent,
    StemState,
    TaskEvent,
    TaskState,
)
from tests.fixtures.ledgers import (
    DAY,
    LEASE,
    NOW,
    accept,
    finish,
    overview,
    ready_ledger,
    receipt,
    record,
    release,
    relisted,
    renew,
    retry,
    stem_failed,
    stored,
    tid,
)
from tests.fixtures.profiles import examples
from tests.fixtures.states import OPEN, STEM_TABLE, TASK_TABLE
from tests.house import Ledger

IDS = [tid(number) for number in range(5)]
NAMES = [StemName(name) for name in ("vocal", "bass", "drums")]
OWNERS = ("us", "them")
TURNS = ("links", "never asked", "links", "newest", "links", "young", "asked", "newest")
"""Whose turn it is to be asked about first: what was never asked about has every second, the newest every fourth."""
NEVER_ASKED = ("never asked", "young", "newest")
MEMORY = Path("/dev/shm")
"""Where there is one: thousands of small ledgers would only be slowed by a disk."""


@dataclass
class ModelStem:
    state: StemState = StemState.WANTED
    cut: bool = False
    receipt: Receipt | None = None


@dataclass
class ModelTask:
    accepted: datetime
    due: datetime | None
    state: TaskState = TaskState.QUEUED
    deadline: datetime | None = None
    settled: bool = False
    token: str | None = None
    owner: str | None = None
    until: datetime | None = None
    stems: dict[StemName, ModelStem] = field(default_factory=dict)
    deaths: int = 0
    asked: datetime | None = None
    """The last ask that found nothing to fetch; None before the first, and once its links are needed."""

    @property
    def stage(self) -> Stage:
        wanted = [stem for stem in self.stems.values() if stem.state is StemState.WANTED]
        if self.state is TaskState.QUEUED or not (wanted or self.settled):
            return Stage.LIST
        return Stage.LIST if wanted and all(stem.cut for stem in wanted) else Stage.STORE

    @property
    def urgency(self) -> datetime:
        return self.deadline or self.accepted

    def part(self, now: datetime) -> str:
        """The part of what is to be asked about that it belongs to."""
        if self.asked is not None:
            return "asked"
        return "links" if self.urgency > now else "never asked"

    def order(self, task_id: TaskId) -> tuple[int, datetime, TaskId]:
        """Those that were asked about before come last, by their last ask."""
        return (0, self.urgency, task_id) if self.asked is None else (1, self.asked, task_id)

    def claimable(self, now: datetime) -> bool:
        free = self.until is None or self.until <= now
        return self.state in OPEN and self.due is not None and self.due <= now and free

    def give_back(self) -> None:
        self.token = self.owner = self.until = None

    def die(self, now: datetime) -> None:
        """Its owner is found dead; from the third death on it waits, here for less than 6 h."""
        self.give_back()
        self.deaths += 1
        if self.deaths > 2:
            wait = min(timedelta(minutes=1 << (self.deaths - 3)), timedelta(hours=6))
            left = None if self.deadline is None or self.deadline <= now else self.deadline - now
            self.due = now + (wait if left is None else min(wait, max(left / 2, timedelta(minutes=1))))

    def states(self) -> Counter[StemState]:
        return Counter(stem.state for stem in self.stems.values())


class LedgerMachine(RuleBasedStateMachine):
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-", dir=MEMORY if MEMORY.is_dir() else None))
        self.ledger: Ledger = ready_ledger(self.folder)
        self.now = NOW
        self.tasks: dict[TaskId, ModelTask] = {}
        self.alive_until: dict[str, datetime] = {}
        self.turns = 0
        """Claims of what is to be asked about, since the ledger was opened."""

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)

    # --- the world

    @initialize(ids=st.lists(st.sampled_from(IDS), min_size=1))
    def begin(self, ids: list[TaskId]) -> None:
        self.take_in(ids)

    @rule(ids=st.lists(st.sampled_from(IDS)))
    def take_in(self, ids: list[TaskId]) -> None:
        new = accept(self.ledger, Intake(ids=tuple(ids)), now=self.now)
        assert list(new) == [task_id for task_id in dict.fromkeys(ids) if task_id not in self.tasks]
        for task_id in new:
            self.tasks[task_id] = ModelTask(accepted=self.now, due=self.now)

    @rule(seconds=st.sampled_from([1, 60, 600, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger, self.turns = ready_ledger(self.folder), 0

    # --- leases

    @rule(target=claims, owner=st.sampled_from(OWNERS), stage=st.sampled_from([None, *Stage]))
    def claim(self, owner: str, stage: Stage | None) -> Claim | object:
        return self._claim(owner, stage, alone=False)

    @rule(target=claims, owner=st.sampled_from(OWNERS), stage=st.sampled_from([None, *Stage]))
    def claim_alone(self, owner: str, stage: Stage | None) -> Claim | object:
        return self._claim(owner, stage, alone=True)

    def _waiting(self, stage: Stage, turn: str, *, alone: bool) -> TaskId | None:
        """The first task of a stage that may be claimed now."""
        found = {
            task_id: task
            for task_id, task in self.tasks.items()
            if task.claimable(self.now) and stage is task.stage and (task.deaths > 1) is alone
        }
        if alone:
            return min(found, key=lambda each: (found[each].deaths, found[each].order(each)), default=None)
        if stage is Stage.LIST:
            return self._to_ask(found, turn)
        return min(found, key=lambda each: (found[each].urgency <= self.now, found[each].order(each)), default=None)

    def _to_ask(self, found: Mapping[TaskId, ModelTask], turn: str) -> TaskId | None:
        """The first of the part whose turn it is, or of the next that has any."""
        instead = ["young", "newest"] if turn in {"links", "young"} else []
        for part in (turn, *instead, "links", "never asked", "asked"):
            its = "never asked" if part in NEVER_ASKED else part
            of = [each for each in found if found[each].part(self.now) == its]
            of = [each for each in of if part != "young" or found[each].urgency > self.now - plan.YOUNG]
            if of:
                newest = max(found[each].urgency for each in of)
                of = [each for each in of if part != "newest" or found[each].urgency == newest]
                return min(of, key=lambda each: found[each].order(each))
        return None

    def _first(self, stage: Stage | None, turn: str, *, alone: bool) -> TaskId | None:
        """The more urgent one of both stages, or the first of the one that is asked for."""

        def rank(task_id: TaskId) -> tuple[int, bool, tuple[int, datetime, TaskId]]:
            task = self.tasks[task_id]
            expired = task.deadline is not None and task.deadline <= self.now
            return (task.deaths if alone else 0, expired and not alone, task.order(task_id))

        stages = [each for each in Stage if stage in (None, each)]
        found = [first for each in stages if (first := self._waiting(each, turn, alone=alone)) is not None]
        return min(found, key=rank, default=None)

    def _claim(self, owner: str, stage: Stage | None, *, alone: bool) -> Claim | object:
        turn, wanted = "none", None
        if stage is Stage.LIST:
            turn = TURNS[self.turns % len(TURNS)]
            self.turns += 1
        while wanted is None and (first := self._first(stage, turn, alone=alone)) is not None:
            task = self.tasks[first]
            was_others = task.owner not in (None, owner)
            if was_others:
                task.die(self.now)
            if not was_others or task.deaths < 2:
                wanted = first
        alone_from = self.now if alone else None
        claim = self.ledger.claims.claim(owner=owner, now=self.now, lease=LEASE, stage=stage, alone_from=alone_from)
        if claim is None:
            assert wanted is None
            return multiple()
        assert claim.task_id == wanted
        task = self.tasks[claim.task_id]
        assert claim.deaths == task.deaths
        assert claim.token != task.token
        task.token, task.owner, task.until = claim.token, owner, self.now + LEASE
        return claim

    @rule(owner=st.sampled_from(OWNERS))
    def renew(self, owner: str) -> None:
        assert renew(self.ledger, owner, now=self.now) == (owner in self.alive_until)
        self.alive_until[owner] = self.now + LEASE
        for task in self.tasks.values():
            if task.owner == owner:
                task.until = self.now + LEASE

    @rule(owner=st.sampled_from(OWNERS))
    def release(self, owner: str) -> None:
        held = [task for task in self.tasks.values() if task.owner == owner]
        assert release(self.ledger, owner, now=self.now) == len(held)
        self._gone(owner)

    @rule(owner=st.sampled_from(OWNERS), lives=st.sampled_from([False, None]))
    def release_dead(self, owner: str, lives: bool | None) -> None:
        known = owner in self.alive_until or any(task.owner == owner for task in self.tasks.values())
        holds = any(task.owner == owner and task.until and task.until > self.now for task in self.tasks.values())
        silent = not holds and not (owner in self.alive_until and self.now < self.alive_until[owner])
        dead = known and (silent or lives is False)
        names = self.ledger.claims.release_dead(lambda name: lives if name == owner else True, now=self.now)
        assert list(names) == ([owner] if dead else [])
        if dead:
            self._gone(owner, died=True)

    def _gone(self, owner: str, *, died: bool = False) -> None:
        self.alive_until.pop(owner, None)
        for task in self.tasks.values():
            if task.owner == owner and died:
                task.die(self.now)
            elif task.owner == owner:
                task.give_back()

    # --- the path

    def write(self, claim: Claim, legal: Callable[[ModelTask], bool], call: Callable[[], object]) -> ModelTask | None:
        """Make the call; return the task when it had to succeed, else see that it was refused rightly."""
        task = self.tasks[claim.task_id]
        before = self.ledger.reports.show(claim.task_id)
        if task.token == claim.token and legal(task):
            call()
            return task
        with pytest.raises(IllegalMove if task.token == claim.token else LeaseLost):
            call()
        assert self.ledger.reports.show(claim.task_id) == before
        return None

    @rule(
        claim=claims,
        names=st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
        query=st.sampled_from(["", "?sig=x"]),
        settled=st.booleans(),
        days=st.integers(1, 14),
    )
    def listed(self, claim: Claim, names: list[StemName], query: str, settled: bool, days: int) -> None:
        deadline, answer = NOW + days * DAY, record(*names, query=query)
        task = self.write(
            claim,
            lambda _: True,
            lambda: relisted(self.ledger, claim, answer, deadline, settled=settled, now=self.now),
        )
        if task is not None:
            task.state, task.deadline, task.settled, task.asked = TaskState.LISTED, deadline, settled, None
            for name in names:
                stem = task.stems.setdefault(name, ModelStem())
                stem.cut = bool(query)

    @rule(claim=claims, name=st.sampled_from(NAMES), size=st.integers(1, 1000))
    def stored(self, claim: Claim, name: StemName, size: int) -> None:
        proof = receipt(name, size=size, now=self.now)
        task = self.write(claim, _can(name, StemEvent.STORED), lambda: stored(self.ledger, claim, name, proof))
        if task is not None:
            task.stems[name].state, task.stems[name].receipt, task.asked = StemState.STORED, proof, None

    @rule(
        claim=claims,
        name=st.sampled_from(NAMES),
        event=st.sampled_from([None, StemEvent.REFUSED, StemEvent.GONE]),
    )
    def stem_failed(self, claim: Claim, name: StemName, event: StemEvent | None) -> None:
        task = self.write(
            claim,
            _can(name, event),
            lambda: stem_failed(self.ledger, claim, name, event=event, reason="why", gone=True, now=self.now),
        )
        if task is not None and event is not None:
            task.stems[name].state, task.asked = StemState(STEM_TABLE[task.stems[name].state][event]), None

    @rule(claim=claims, name=st.sampled_from(NAMES))
    def stem_retried(self, claim: Claim, name: StemName) -> None:
        def refused(task: ModelTask) -> bool:
            return name in task.stems and task.stems[name].state is StemState.REFUSED

        task = self.write(claim, refused, lambda: self.ledger.progress.stem_retried(claim, name, now=self.now))
        if task is not None:
            task.stems[name].state, task.asked = StemState.WANTED, None

    @rule(
        claim=consumes(claims),
        outcome=st.sampled_from([Archived(), Lost("x"), Failed("x"), Missing("x"), Refused("x"), Yielded()]),
    )
    def finish(self, claim: Claim, outcome: Outcome) -> None:
        task = self.write(
            claim,
            lambda task: _may_end(task, outcome),
            lambda: finish(self.ledger, claim, outcome, now=self.now),
        )
        if task is None:
            return
        task.give_back()
        task.deaths = task.deaths if isinstance(outcome, Yielded) else 0
        event = _EVENTS.get(type(outcome))
        if event is not None:
            task.state = TaskState(TASK_TABLE[task.state][event])
        if event is not None or isinstance(outcome, Refused):
            task.due = None

    @rule(claim=consumes(claims), seconds=st.integers(0, 3600), fault=st.booleans())
    def later(self, claim: Claim, seconds: int, fault: bool) -> None:
        at = self.now + timedelta(seconds=seconds)
        task = self.write(
            claim,
            lambda _: True,
            lambda: finish(self.ledger, claim, Later(at, "busy", fault=fault), now=self.now),
        )
        if task is not None:
            if task.stage is Stage.LIST and (task.state is TaskState.QUEUED or not fault):
                task.asked = self.now
            task.give_back()
            task.due, task.deaths = at, 0

    # --- the operator

    @rule(ids=st.none() | st.lists(st.sampled_from(IDS), max_size=3))
    def retry(self, ids: list[TaskId] | None) -> None:
        stuck = {
            task_id
            for task_id, task in self.tasks.items()
            if (ids is None or task_id in ids)
            and (
                task.state in (TaskState.LOST, TaskState.FAILED, TaskState.MISSING)
                or (task.state in OPEN and task.deaths > 1)
                or (task.state is TaskState.LISTED and task.states()[StemState.REFUSED] + task.states()[StemState.LOST])
            )
        }
        retried = retry(self.ledger, ids, now=self.now)
        assert sorted(retried) == sorted(stuck)
        for task_id in stuck:
            task = self.tasks[task_id]
            task.give_back()
            task.due, task.deaths, task.asked = self.now, 0, None
            if task.state is not TaskState.LISTED:
                task.state, task.settled = TaskState.QUEUED, False
            for stem in task.stems.values():
                if stem.state is not StemState.STORED:
                    stem.state = StemState.WANTED

    # --- what must always hold

    @invariant()
    def every_task_stands_as_it_should(self) -> None:
        for task_id in IDS:
            row, task = self.ledger.reports.show(task_id), self.tasks.get(task_id)
            assert (row is None) == (task is None), "an id vanished, or came from nowhere"
            if row is None or task is None:
                continue
            assert (row.state, row.deadline) == (task.state, task.deadline)
            assert (row.not_before, row.leased_until) == (task.due, task.until)
            assert (row.ended_at is None) == (task.state in OPEN)
            assert {stem.name: (stem.state, stem.receipt) for stem in row.stems} == {
                name: (stem.state, stem.receipt) for name, stem in task.stems.items()
            }
            _check_chain(row)

    @invariant()
    def totals_never_drift(self) -> None:
        seen = overview(self.ledger, now=self.now)
        tasks = self.tasks.values()
        states = sum((task.states() for task in tasks), Counter[StemState]())
        assert seen.tasks == {state: sum(task.state is state for task in tasks) for state in TaskState}
        assert seen.stems == {state: states[state] for state in StemState}
        assert seen.bytes_stored == sum(
            stem.receipt.size for task in tasks for stem in task.stems.values() if stem.receipt is not None
        )
        assert seen.due == sum(task.claimable(self.now) for task in tasks)
        assert seen.working == sum(task.until is not None and task.until > self.now for task in tasks)


def _check_chain(row: TaskRow) -> None:
    """Each move must begin where the last one of the same task or stem ended."""
    last: dict[StemName | None, str] = {}
    for move in row.history:
        assert move.before == last.get(move.stem, "queued" if move.stem is None else "wanted")
        last[move.stem] = move.after
    assert last.get(None, "queued") == row.state
    assert all(last.get(stem.name, "wanted") == stem.state for stem in row.stems)


def _can(name: StemName, event: StemEvent | None) -> Callable[[ModelTask], bool]:
    def legal(task: ModelTask) -> bool:
        stem = task.stems.get(name)
        if stem is None:
            return False
        return stem.state is StemState.WANTED if event is None else event in STEM_TABLE[stem.state]

    return legal


_EVENTS = {
    Archived: TaskEvent.ALL_STORED,
    Lost: TaskEvent.STEMS_LOST,
    Failed: TaskEvent.PROVIDER_FAILED,
    Missing: TaskEvent.NEVER_SEEN,
}


def _may_end(task: ModelTask, outcome: Outcome) -> bool:
    states = set(task.states())
    event = _EVENTS.get(type(outcome))
    if isinstance(outcome, Archived) and states != {StemState.STORED}:
        return False
    if isinstance(outcome, Lost) and not {StemState.LOST} <= states <= {StemState.STORED, StemState.LOST}:
        return False
    if isinstance(outcome, Refused):
        return task.state is TaskState.LISTED
    return event is None or event in TASK_TABLE[task.state]


def _run(*, count: int, steps: int) -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=count,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_ledger_agrees_with_its_model_under_any_sequence_of_calls() -> None:
    _run(count=examples(8), steps=50)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_ledger_agrees_with_its_model_for_long() -> None:
    _run(count=1000, steps=100)
