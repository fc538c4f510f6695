"""Listings of tasks: any filter in any order, each task met once, against a model that reads them all."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from operator import attrgetter
from typing import Any

import pytest

from archiver.core.intake import Intake
from archiver.core.listing import Span, TaskFilter, TaskOrder, TaskPage, TaskPlace, words_of
from archiver.core.model import (
    AccountName,
    Archived,
    Failed,
    Lost,
    Missing,
    Outcome,
    Refused,
    TaskId,
)
from archiver.core.reports import TaskRow
from archiver.core.said import Said
from archiver.core.states import ENDED_WITH_AUDIO, OPEN_TASK_STATES, StemEvent, TaskState
from archiver.ports.listing import Listings, Moment
from tests.contracts.test_ledger_trimming import trim
from tests.fixtures.ledgers import (
    DAY,
    NOW,
    accept,
    claim,
    finish,
    listed,
    overview,
    receipt,
    record,
    retry,
    shown,
    stem_failed,
    stored,
    take_in,
    tid,
)
from tests.house import Ledger, listings_of

TASKS = 30
SECOND = timedelta(seconds=1)
MOMENT = Moment(NOW, 2 * DAY)
LATE = NOW + timedelta(hours=1)
TITLES = ("Harbour Lights", "Harbour song", "Ünder the sea", "song of songs; DROP TABLE")


def _fill(ledger: Ledger, seed: int = 0) -> None:
    """Take in tasks of all states, accounts, sources and titles; some at one moment, two of them trimmed."""
    chance = random.Random(seed)
    for number in range(1, TASKS + 1):
        came = NOW + (number // 3) * SECOND
        its = tid(number)
        said = {its: Said(title=chance.choice(TITLES))} if chance.random() < 0.6 else {}
        accounts = {its: AccountName("two")} if chance.random() < 0.3 else {}
        source = "backfill" if chance.random() < 0.3 else "queue"
        accept(ledger, Intake(ids=(its,), accounts=accounts, said=said), source=source, now=came)
        _move(ledger, number, came, chance)
    archived = [number for number in range(1, TASKS + 1) if shown(ledger, number).state is TaskState.ARCHIVED]
    trim(ledger, *ledger.rebuilds.whole([tid(number) for number in archived[:2]]))


def _move(ledger: Ledger, number: int, came: datetime, chance: random.Random) -> None:
    ends = came + chance.randrange(9) * SECOND
    fate = chance.choice(["queued", "missing", "failed", "listed", "refused", "archived", "archived", "lost"])
    if fate == "queued":
        return
    if fate in {"missing", "failed"}:
        mine = ledger.claims.claim_task(tid(number), owner="us", now=came, lease=DAY, stages=["list"])  # type: ignore[list-item]  # its word
        assert mine is not None
        finish(ledger, mine, Missing("unknown") if fate == "missing" else Failed("no audio"), now=ends)
        return
    deadline = NOW + chance.choice([1, 1, 3, 9]) * DAY
    mine = listed(ledger, number, chance.choice(["vocal", "bass"]), deadline=deadline, now=came)
    [stem] = mine.stems
    if fate == "archived":
        stored(ledger, mine, stem.name, receipt(stem.name, size=chance.choice([7, 7, 1 << 40])))
        finish(ledger, mine, Archived(), now=ends)
    elif fate == "lost":
        stem_failed(ledger, mine, stem.name, event=StemEvent.GONE, reason="404", gone=True)
        finish(ledger, mine, Lost(stem.name), now=ends)
    elif fate == "refused":
        stem_failed(ledger, mine, stem.name, event=StemEvent.REFUSED, reason="html")
        finish(ledger, mine, Refused("html", None), now=ends)


def _all(ledger: Ledger) -> list[TaskRow]:
    return [shown(ledger, number) for number in range(1, TASKS + 1)]


def _is_in(span: Span, moment: datetime | None) -> bool:
    if not span:
        return True
    return moment is not None and (span.since or moment) <= moment and (span.until is None or moment < span.until)


def _needing(ledger: Ledger) -> set[TaskId]:
    return {each.task_id for each in ledger.reports.needing(now=MOMENT.now, at_risk=MOMENT.at_risk)}


def _naively(rows: Sequence[TaskRow], needing: Collection[TaskId], wanted: TaskFilter, order: TaskOrder) -> list[str]:
    return [
        row.task_id
        for row in rows
        if row.state in wanted.states
        and (wanted.account is None or row.account == wanted.account)
        and wanted.source in {"", row.source}
        and (not wanted.stem or wanted.stem in {stem.name for stem in row.stems})
        and (not wanted.needs_person or row.task_id in needing)
        and row.task_id.startswith(wanted.prefix)
        and all(word.lower() in row.title.lower().replace(";", "").split() for word in wanted.words)
        and _is_in(wanted.accepted, row.accepted_at)
        and _is_in(wanted.deadline, row.deadline)
        and _is_in(wanted.ended, row.ended_at)
        and (wanted.words or _in_order(row, order))
    ]


def _in_order(row: TaskRow, order: TaskOrder) -> bool:
    if order is TaskOrder.DEADLINE:
        return row.state in OPEN_TASK_STATES and row.deadline is not None
    if order is TaskOrder.SIZE:
        return row.state in ENDED_WITH_AUDIO
    return order is TaskOrder.NEWEST or (row.ended_at is not None and row.trimmed is None)


def _size(row: TaskRow) -> int:
    if row.trimmed is not None:
        return row.trimmed.bytes
    return sum(stem.receipt.size for stem in row.stems if stem.receipt and stem.receipt.alias_of is None)


def _pages(
    listings: Listings,
    wanted: TaskFilter,
    order: TaskOrder,
    size: int,
    between: Callable[[], object] = lambda: None,
) -> Iterator[TaskPage]:
    start: TaskPlace | None = None
    while True:
        page = listings.page(wanted, order, MOMENT, start=start, size=size)
        yield page
        if page.older is None:
            return
        assert page.older != start, "it goes on"
        start = TaskPlace.of(str(page.older))
        between()


def _met(pages: Iterator[TaskPage]) -> list[str]:
    return [row.task.task_id for page in pages for row in page.rows]


FILTERS = [
    TaskFilter(),
    TaskFilter(states=(TaskState.LISTED, TaskState.LOST)),
    TaskFilter(account=AccountName("two")),
    TaskFilter(account=AccountName("default"), source="backfill"),
    TaskFilter(stem="bass"),
    TaskFilter(needs_person=True),
    TaskFilter(needs_person=True, states=(TaskState.LISTED,), account=AccountName("two")),
    TaskFilter(prefix="task-00001"),
    TaskFilter(prefix="task", source="queue"),
    TaskFilter(prefix="none"),
    TaskFilter(words=("harbour",)),
    TaskFilter(words=("song", "HARBOUR"), states=(TaskState.ARCHIVED, TaskState.QUEUED)),
    TaskFilter(accepted=Span(NOW + 3 * SECOND, NOW + 8 * SECOND)),
    TaskFilter(deadline=Span(until=NOW + 2 * DAY), source="queue"),
    TaskFilter(ended=Span(NOW + 2 * SECOND)),
    TaskFilter(states=()),
]


def test_any_filter_in_any_order_meets_each_task_once_whatever_the_way_and_the_size_of_a_page(ledger: Ledger) -> None:
    _fill(ledger)
    ways = itertools.cycle([(2500, 2000, 20), (7, 2000, 5), (9, 2, 50), (3, 0, 7)])
    rows, needing = _all(ledger), _needing(ledger)
    for number, (wanted, order) in enumerate(itertools.product(FILTERS, TaskOrder)):
        if number % len(TaskOrder) == number // len(TaskOrder) % len(TaskOrder):
            continue  # all orders but one
        looked_at, narrow, size = next(ways)
        met = _met(_pages(listings_of(ledger, looked_at=looked_at, narrow=narrow), wanted, order, size))
        assert sorted(met) == _naively(rows, needing, wanted, order), (wanted, order, looked_at, narrow)


def test_order_is_kept_within_and_between_pages_and_back_leads_the_same_way(ledger: Ledger) -> None:
    _fill(ledger, 1)
    rows = {row.task_id: row for row in _all(ledger)}
    keys: dict[TaskOrder, Callable[[TaskRow], object]] = {
        TaskOrder.NEWEST: attrgetter("accepted_at"),
        TaskOrder.DEADLINE: attrgetter("deadline"),
        TaskOrder.ENDED: attrgetter("ended_at"),
        TaskOrder.SIZE: _size,
    }
    assert set(keys) == set(TaskOrder)
    for order, key in keys.items():
        pages = list(_pages(ledger.listings, TaskFilter(), order, 4))
        met = _met(iter(pages))
        there: list[Any] = [(key(rows[TaskId(each)]), each) for each in met]
        assert there == sorted(there, reverse=order is not TaskOrder.DEADLINE)
        assert pages[0].newer is None
        for before, after in pairwise(pages):
            back = ledger.listings.page(TaskFilter(), order, MOMENT, start=after.newer, back=True, size=4)
            assert back.rows == before.rows
            assert (back.newer is None) == (before is pages[0])


def test_place_beside_a_span_leads_to_none_of_it_or_to_all(ledger: Ledger) -> None:
    _fill(ledger)
    spans = [
        (TaskOrder.NEWEST, TaskFilter(accepted=Span(NOW + 3 * SECOND, NOW + 8 * SECOND))),
        (TaskOrder.DEADLINE, TaskFilter(deadline=Span(NOW, NOW + 2 * DAY))),
        (TaskOrder.ENDED, TaskFilter(ended=Span(NOW + 2 * SECOND, NOW + 9 * SECOND))),
    ]
    for order, wanted in spans:
        whole = ledger.listings.page(wanted, order, MOMENT).rows
        assert whole
        before, after = TaskPlace(0, "8"), TaskPlace(1 << 60, "8")
        if order is not TaskOrder.DEADLINE:
            before, after = after, before
        for start, back, there in (
            (before, False, whole),
            (before, True, ()),
            (after, False, ()),
            (after, True, whole),
        ):
            found = ledger.listings.page(wanted, order, MOMENT, start=start, back=back)
            assert found.rows == there, (order, start, back)


def test_size_is_that_of_what_is_stored_once_at_the_end_and_none_after_a_retry(ledger: Ledger) -> None:
    def sizes() -> list[tuple[str, int]]:
        page = ledger.listings.page(TaskFilter(), TaskOrder.SIZE, MOMENT)
        return [(row.task.task_id, row.bytes_stored) for row in page.rows]

    ends: list[tuple[tuple[str, ...], Outcome]] = [(("vocal", "bass"), Archived()), (("vocal",), Lost("bass"))]
    for number, (names, end) in enumerate(ends, 1):
        mine = listed(ledger, number, "vocal", "bass")
        for name in names:
            stored(ledger, mine, name, receipt(name, size=500, alias_of=None if name == "vocal" else "vocal"))
        if isinstance(end, Lost):
            stem_failed(ledger, mine, "bass", event=StemEvent.GONE, reason="404", gone=True)
        assert (tid(number), 500) not in sizes(), "open ones are not in it"
        finish(ledger, mine, end)
    assert sizes() == [(tid(2), 500), (tid(1), 500)]
    retry(ledger, [tid(2)])
    assert sizes() == [(tid(1), 500)]


def test_task_that_moves_meanwhile_is_met_once_at_most(ledger: Ledger) -> None:
    take_in(ledger, *range(1, 20))
    chance = random.Random(3)

    def moves() -> None:
        mine = claim(ledger, now=NOW + DAY)
        if chance.random() < 0.5:
            finish(ledger, mine, Failed("no audio"), now=NOW + chance.randrange(99) * SECOND)
        else:
            ledger.progress.listed(mine, record("vocal"), NOW + 3 * DAY, settled=True, now=NOW)
        if chance.random() < 0.4:
            retry(ledger, now=NOW + DAY)

    for wanted in (TaskFilter(), TaskFilter(states=(TaskState.FAILED, TaskState.QUEUED))):
        met = _met(_pages(ledger.listings, wanted, TaskOrder.NEWEST, 3, moves))
        assert len(met) == len(set(met))
        assert wanted.states != tuple(TaskState) or len(met) == 19, "each"


def test_count_is_exact_by_state_and_where_all_was_looked_at(ledger: Ledger) -> None:
    _fill(ledger)
    by_state = overview(ledger).tasks
    for state in TaskState:
        count = ledger.listings.count(TaskFilter(states=(state,)), MOMENT)
        assert (count.tasks, count.is_exact) == (by_state[state], True)
    rows, needing = _all(ledger), _needing(ledger)
    for wanted in FILTERS:
        count = ledger.listings.count(wanted, MOMENT)
        assert count.is_exact
        assert count.tasks == len(_naively(rows, needing, wanted, TaskOrder.NEWEST)), wanted
    few = listings_of(ledger, looked_at=9, narrow=9).count(TaskFilter(source="queue"), MOMENT)
    assert few.tasks <= 9
    assert not few.is_exact


def test_row_has_its_stems_and_a_trimmed_one_what_is_left_of_them(ledger: Ledger) -> None:
    _fill(ledger)
    rows = {row.task_id: row for row in _all(ledger)}
    page = ledger.listings.page(TaskFilter(), TaskOrder.NEWEST, MOMENT)
    assert len(page.rows) == TASKS
    assert sum(each.trimmed is not None for each in page.rows) == 2
    for each in page.rows:
        row = rows[each.task.task_id]
        assert (each.stems, each.trimmed, each.created_at) == (row.stems, row.trimmed, row.created_at)
        assert (each.task.state, each.task.title, each.task.account) == (row.state, row.title, row.account)


def test_title_is_found_by_the_last_one_that_was_given(ledger: Ledger) -> None:
    take_in(ledger, 1, 2)

    def found(text: str) -> list[str]:
        return _met(_pages(ledger.listings, TaskFilter(words=words_of(text)), TaskOrder.NEWEST, 50))

    for title in ("Harbour Lights", "Open Sea"):
        accept(ledger, Intake(said={tid(1): Said(title=title)}))
    assert found("harbour") == []
    assert found("SEA, open!") == [tid(1)]
    assert found("ope") == []
    assert found("ope*") == [tid(1)]
    assert found("'\"(:&|!") == [tid(1), tid(2)][::-1], "no word asks for nothing"
    with ledger.db.write() as db:
        db.exec_driver_sql("UPDATE tasks SET title = NULL")
    assert found("sea") == []


@pytest.mark.parametrize("text", ["", "1", "x.y", "1.a\0", f"{1 << 63}.a", "01.a", " 1.a"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"place|int"):
        TaskPlace.of(text)
