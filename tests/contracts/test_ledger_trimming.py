"""Archived tasks that are trimmed: their rows go, all that is counted and decided by stays as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from archiver.core.attention import Need
from archiver.core.intake import Intake
from archiver.core.model import TaskId
from archiver.core.states import TaskState
from archiver.core.trimming import Trimmed, trimmed_of
from archiver.core.whole_task import WholeTask
from archiver.ports.trimming import Removed
from tests.fixtures.ledgers import DAY, NOW, accept, listed, open_work, overview, retry, shown, stored, take_in, tid
from tests.fixtures.whole_tasks import drawn, fill
from tests.house import Ledger


def kept(whole: WholeTask) -> Trimmed:
    return trimmed_of(whole.stems, (1234, "etag"))


def trim(ledger: Ledger, *wholes: WholeTask) -> Removed:
    return ledger.trimming.remove({whole.task_id: (whole, kept(whole)) for whole in wholes})


def test_due_are_archived_tasks_the_longest_ago_first_page_by_page(ledger: Ledger) -> None:
    wholes = drawn(7)
    fill(ledger, *wholes[::-1], *(replace(each, task_id=tid(2000)) for each in drawn(1, TaskState.LOST)))
    take_in(ledger, 1)
    before = NOW - 2 * DAY
    pages = [ledger.trimming.due(before, None, 2)]
    while last := pages[-1]:
        assert last[-1].ended_at is not None
        pages.append(ledger.trimming.due(before, (last[-1].ended_at, last[-1].task_id), 2))
    assert [whole for page in pages for whole in page] == list(wholes[:5])
    assert [len(page) for page in pages] == [2, 2, 1, 0]


def test_tasks_that_ended_at_one_moment_are_all_due_once(ledger: Ledger) -> None:
    wholes = [replace(each, ended_at=NOW - DAY) for each in drawn(5)]
    fill(ledger, *wholes)
    first = ledger.trimming.due(NOW, None, 2)
    rest = ledger.trimming.due(NOW, (NOW - DAY, first[-1].task_id), 9)
    assert [*first, *rest] == sorted(wholes, key=lambda each: each.task_id)


def test_trimmed_task_keeps_its_row_and_all_that_is_counted_stays(ledger: Ledger) -> None:
    wholes = drawn(6)
    fill(ledger, *wholes)
    before, holdings = overview(ledger), ledger.objects.holdings()
    removed = trim(ledger, *wholes[:4])
    assert removed.tasks == 4
    assert removed.rows == sum(len(each.stems) + len(each.history) for each in wholes[:4])
    for whole in wholes[:4]:
        [found] = ledger.rebuilds.whole([whole.task_id])
        assert found == replace(whole, stems=(), history=(), trimmed=kept(whole))
        assert found.trimmed is not None
        assert found.trimmed.stems == len(whole.stems)
        assert ledger.intakes.known([whole.task_id]) == {whole.task_id: TaskState.ARCHIVED}
    assert list(ledger.rebuilds.whole([each.task_id for each in wholes[4:]])) == list(wholes[4:])
    assert overview(ledger) == before
    assert ledger.objects.holdings() == holdings
    assert list(ledger.trimming.due(NOW, None, 9)) == list(wholes[4:])


def test_ledger_whose_archived_tasks_were_all_trimmed_tells_when_the_last_of_them_ended(ledger: Ledger) -> None:
    wholes = drawn(3)
    fill(ledger, *wholes)
    before = overview(ledger)
    for each in wholes[::-1]:
        trim(ledger, each)
    assert overview(ledger).last_archived_at == before.last_archived_at == NOW - DAY
    assert overview(ledger).tasks[TaskState.ARCHIVED] == 3


@pytest.mark.parametrize("changed", ["title", "stems", "history", "ended_at"])
def test_task_that_is_no_longer_as_it_was_proven_is_left_alone(ledger: Ledger, changed: str) -> None:
    whole = next(each for each in drawn(20) if each.stems and each.history)
    others = {"title": "Another", "ended_at": NOW, "stems": whole.stems[:-1], "history": whole.history[:-1]}
    fill(ledger, whole)
    assert trim(ledger, replace(whole, **{changed: others[changed]})) == Removed()  # type: ignore[arg-type]
    assert list(ledger.rebuilds.whole([whole.task_id])) == [whole]


def test_task_is_trimmed_once(ledger: Ledger) -> None:
    [whole] = drawn(1)
    fill(ledger, whole)
    assert (trim(ledger, whole).tasks, trim(ledger, whole).tasks) == (1, 0)
    assert overview(ledger).tasks[TaskState.ARCHIVED] == 1


def test_trimmed_task_is_taken_up_by_nobody(ledger: Ledger) -> None:
    [whole] = drawn(1)
    fill(ledger, whole)
    trim(ledger, whole)
    ids = [whole.task_id]
    assert not take_in_again(ledger, whole.task_id)
    assert not retry(ledger, ids)
    assert not retry(ledger)
    assert not ledger.intakes.wake(ids, now=NOW)
    assert not ledger.intakes.acknowledge(ids, now=NOW, at_risk=DAY)
    assert set(ledger.intakes.resting(ids)) == set(ids)
    assert open_work(ledger).tasks == 0
    [found] = ledger.rebuilds.whole(ids)
    assert (found.state, found.trimmed) == (TaskState.ARCHIVED, kept(whole))


def take_in_again(ledger: Ledger, task: TaskId) -> list[TaskId]:
    return [*accept(ledger, Intake(ids=(task,)), now=NOW + timedelta(hours=1))]


def test_report_of_a_trimmed_task_says_what_is_kept(ledger: Ledger) -> None:
    whole = replace(next(each for each in drawn(20) if each.stems), task_id=tid(1))
    fill(ledger, whole)
    trim(ledger, whole)
    row = shown(ledger, 1)
    assert (row.trimmed, row.stems, row.history) == (kept(whole), (), ())


def test_open_task_beside_trimmed_ones_goes_on(ledger: Ledger) -> None:
    wholes = drawn(2)
    fill(ledger, *wholes)
    trim(ledger, *wholes)
    stored(ledger, listed(ledger, 1))
    seen = overview(ledger)
    assert (seen.tasks[TaskState.LISTED], seen.tasks[TaskState.ARCHIVED]) == (1, 2)
    assert seen.needs[Need.LOST] == 0
