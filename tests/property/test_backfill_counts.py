"""A backfill counts what its ledger counts: in its text, its JSON, its log and its exit code, however it ends."""

from __future__ import annotations

import io
import re
import shutil
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from archiver.app.assembly import Parts, Role
from archiver.app.backfill import backfill
from archiver.app.machine import Machine
from archiver.commands.backfill import exit_code
from archiver.commands.format import jsonable
from archiver.commands.printing import print_result, result_summary
from archiver.commands.progress import Tally
from archiver.core.intake import Intake, Reject
from archiver.core.model import (
    Archived,
    Claim,
    Dependency,
    Failed,
    Later,
    Lost,
    Outcome,
    Paused,
    Refused,
    Stage,
    StemName,
    TaskId,
)
from archiver.core.states import StemEvent, TaskState
from archiver.pipeline.dispatch import DispatchOptions
from archiver.service.backfill import BackfillOptions, BackfillResult, Verdict
from archiver.service.shutdown import Shutdown
from tests.fakes.events import Events
from tests.fixtures.ledgers import receipt, record, tid
from tests.fixtures.profiles import examples
from tests.house import Ledger, breakers_on, context_on, dispatcher_on, ready_ledger_at

VOCAL = StemName("vocal")
ENDS = ("archived", "archived", "failed", "lost", "refused", "later", "paused")
"""What comes of a try at a task."""
BEFORE = (None, None, "queued", "archived", "failed", "lost", "refused")
"""Where a task stands before the backfill; None: nobody has heard of it."""


def now() -> datetime:
    return datetime.now(UTC)


def end(ledger: Ledger, claim: Claim, how: str) -> Outcome:
    """Write down what came of the claim, as the path does."""
    outcome: Outcome
    if how in {"archived", "lost", "refused"} and claim.state is TaskState.QUEUED:
        claim = ledger.progress.listed(claim, record(VOCAL), now() + timedelta(days=9), settled=True, now=now())
    match how:
        case "archived":
            ledger.progress.stored(claim, {VOCAL: receipt(now=now())})
            outcome = Archived()
        case "lost" | "refused":
            event = StemEvent.GONE if how == "lost" else StemEvent.REFUSED
            ledger.progress.stem_failed(
                claim, VOCAL, event=event, reason="why", gone=how == "lost", not_before=None, now=now()
            )
            outcome = Lost("why") if how == "lost" else Refused("why")
        case "failed":
            outcome = Failed("no audio")
        case "later":
            outcome = Later(now() + timedelta(days=1), "not ready")
        case _:
            outcome = Paused(Dependency.PROVIDER, "bad key", "mend it", lasting=True)
    ledger.progress.finish(claim, outcome, record=None, now=now())
    return outcome


@dataclass(slots=True)
class Interrupt:
    """The operator's Ctrl-C, at the nth step that became durable; 0: never."""

    nth: int = 0
    shutdown: Shutdown = field(default_factory=Shutdown)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: int = 0

    def __call__(self, _step: str) -> None:
        with self._lock:
            self._seen += 1
            hit = self._seen == self.nth
        if hit:
            self.shutdown.ask(signal.SIGINT)


@dataclass(slots=True)
class Site:
    """A real ledger, and a backfill on it whose tasks end as they are told to."""

    ledger: Ledger
    interrupt: Interrupt
    ends: Mapping[TaskId, str]
    events: Events = field(default_factory=Events)

    def prepare(self, before: Mapping[TaskId, str | None]) -> None:
        known = tuple(task_id for task_id, state in before.items() if state is not None)
        self.ledger.intakes.take_in(Intake(ids=known), source="queue", now=now())
        for task_id in known:
            if (how := before[task_id]) not in {None, "queued"}:
                claim = self.ledger.claims.claim_task(
                    task_id, owner="before", now=now(), lease=timedelta(minutes=9), stages=[Stage.LIST]
                )
                assert claim is not None
                end(self.ledger, claim, str(how))

    def backfill(self, batches: Sequence[Intake], limit: int | None) -> BackfillResult:
        breakers = breakers_on(self.ledger, now, self.events)
        context = context_on(self.ledger, breakers, now, self.events, workers=3)
        context = context.__class__(
            context.claims, breakers, DispatchOptions("me", 3, enlisted_only=True), now, self.events
        )
        dispatcher = dispatcher_on(context, lambda claim: end(self.ledger, claim, self.ends[claim.task_id]))
        store = SimpleNamespace(uploads=lambda _: ())
        lock = SimpleNamespace(alive=lambda _: True)
        adapters = SimpleNamespace(owner="me", ledger=self.ledger, store=store, lock=lock, cancel=lambda: None)
        parts = Parts(
            role=Role.BACKFILL,
            settings=cast(
                "Any", SimpleNamespace(shutdown_grace=timedelta(seconds=20), store=SimpleNamespace(prefix="p/"))
            ),
            machine=Machine(checkpoint=self.interrupt),
            log=self.events,
            adapters=cast("Any", adapters),
            breakers=breakers,
            dispatcher=dispatcher,
            watch=cast("Any", SimpleNamespace(give_up=lambda: None)),
            presence=cast("Any", None),
            proof=cast("Any", None),
            look=cast("Any", None),
            terms=cast("Any", None),
        )
        dispatcher.renew()
        options = BackfillOptions(limit, wait=False, max_wait=timedelta())
        return backfill(parts, batches, options, self.interrupt.shutdown)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A ledger that was made once, to be copied; ids are written down by sevens, so that ends fall between."""
    file = tmp_path_factory.mktemp("ledger") / "ledger.db"
    ready_ledger_at(f"sqlite:///{file}").close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("archiver.service.backfill.PIECE", 7)
        yield file


def hold_to_the_ledger(site: Site, given_ids: Sequence[TaskId], result: BackfillResult, rejected: int) -> None:
    """Assert that everything a backfill says of its numbers is what the ledger says of its ids."""
    distinct = list(dict.fromkeys(given_ids))
    taken = distinct[: result.work.tasks]
    states = Counter(site.ledger.intakes.known(taken).values())
    assert {state: count for state, count in result.work.states.items() if count} == states
    assert sum(states.values()) == len(taken), "an id was counted that is not in the ledger"
    code = exit_code(result, site.interrupt.shutdown.signal_number)
    summary: Any = jsonable(result_summary(result, Tally(), code))
    not_archived = len(taken) - states[TaskState.ARCHIVED]
    assert (summary["tasks"], summary["archived"]) == (len(taken), states[TaskState.ARCHIVED])
    assert summary["not_archived"] == not_archived
    assert len(summary["unfinished"]) == min(not_archived, 1000)
    [finished] = site.events.of("backfill.finished")
    assert [finished[name] for name in ("tasks", "archived", "unfinished")] == [
        len(taken),
        states[TaskState.ARCHIVED],
        not_archived,
    ]
    out = io.StringIO()
    print_result(Console(file=out, soft_wrap=True), result, Tally())
    said = re.match(r"(\d+) tasks?: (\d+) archived \((\d+) of them before\), (\d+) not", out.getvalue())
    assert said is not None
    assert [int(number) for number in said.groups()] == [
        len(taken),
        states[TaskState.ARCHIVED],
        result.counts.already_archived,
        not_archived,
    ]
    stopped = result.verdict is Verdict.STOPPED
    assert (code == 0) == (not stopped and not not_archived and not rejected)
    assert code in ({130} if stopped else {0, 1, 3})
    assert result.counts.complete or stopped
    assert site.interrupt.shutdown.asked or not stopped
    assert result.counts.already_archived <= states[TaskState.ARCHIVED]


numbers = st.lists(st.integers(1, 30), max_size=40)


@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(given_numbers=list(range(1, 31)), ends=["archived"] * 30, before=[None] * 30, cut=7, nth=2, limit=None, bad=0)
@given(
    given_numbers=numbers,
    ends=st.lists(st.sampled_from(ENDS), min_size=30, max_size=30),
    before=st.lists(st.sampled_from(BEFORE), min_size=30, max_size=30),
    cut=st.integers(1, 20),
    nth=st.integers(0, 60),
    limit=st.none() | st.integers(1, 20),
    bad=st.integers(0, 2),
)
def test_backfill_says_what_its_ledger_says_however_it_ends(
    empty: Path,
    given_numbers: list[int],
    ends: list[str],
    before: list[str | None],
    cut: int,
    nth: int,
    limit: int | None,
    bad: int,
) -> None:
    ids = [tid(number) for number in given_numbers]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(empty, f"{folder}/ledger.db")
        interrupt = Interrupt()
        ledger = ready_ledger_at(f"sqlite:///{folder}/ledger.db", checkpoint=interrupt)
        site = Site(ledger, interrupt, {tid(number): ends[number - 1] for number in range(1, 31)})
        try:
            site.prepare({tid(number): before[number - 1] for number in range(1, 31)})
            archived = {each for each, state in ledger.intakes.known(ids).items() if state is TaskState.ARCHIVED}
            resting = set(ledger.intakes.resting(ids))
            interrupt.nth = nth and interrupt._seen + nth
            rejects = tuple(Reject("-", number, "?", "no id") for number in range(bad))
            batches = [Intake(ids=tuple(ids[at : at + cut])) for at in range(0, len(ids), cut)]
            result = site.backfill([Intake(rejects=rejects), *batches], limit)
            hold_to_the_ledger(site, ids, result, result.counts.rejected)
            taken = list(dict.fromkeys(ids))[: result.work.tasks]
            assert result.counts.already_archived == len(archived.intersection(taken))
            assert limit is None or len(set(taken) - resting) <= limit
            if not interrupt.shutdown.asked:
                room = len(ids) if limit is None else limit
                assert len(set(taken) - resting) == min(room, len(set(ids) - resting))
                assert result.counts.rejected == bad
        finally:
            ledger.close()


def test_backfill_of_1500_ids_none_of_which_is_archived_counts_1500_not(empty: Path, tmp_path: Path) -> None:
    shutil.copy(empty, tmp_path / "ledger.db")
    ids = [tid(number) for number in range(1500)]
    interrupt = Interrupt()
    site = Site(ready_ledger_at(f"sqlite:///{tmp_path}/ledger.db"), interrupt, dict.fromkeys(ids, "paused"))
    result = site.backfill([Intake(ids=tuple(ids))], None)
    hold_to_the_ledger(site, ids, result, 0)
    assert (result.work.tasks, result.work.archived, len(result.work.unfinished)) == (1500, 0, 1000)
    site.ledger.close()
