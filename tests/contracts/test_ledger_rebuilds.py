"""A ledger that is filled from the bucket: all that a manifest tells stands in it, and nobody works on it meanwhile."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from archiver.core.backup import BackupBroken, BackupReader, Scope
from archiver.core.errors import LedgerFault
from archiver.core.listing import TaskFilter, TaskOrder
from archiver.core.rebuilding import Found, LedgerFull, RebuildMark, Trouble
from archiver.core.states import ENDED_WITH_AUDIO, TaskState
from archiver.core.whole_task import WholeTask, differences
from archiver.ports.listing import Moment
from tests.fixtures.ledgers import DAY, NOW, listed, overview, ready_ledger, stored, take_in, tid
from tests.fixtures.whole_tasks import whole_tasks
from tests.house import Ledger


def drawn(count: int) -> list[WholeTask]:
    """So many tasks of any kind."""
    found: list[WholeTask] = []

    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        found.append(data.draw(whole_tasks(tid(len(found) + 1000))))

    draw()
    return found


def after(mark: RebuildMark, folder: str) -> RebuildMark:
    return replace(mark, after=folder, found=replace(mark.found, folders=mark.found.folders + 1))


def other(folder: Path) -> Path:
    inner = folder / "other"
    inner.mkdir()
    return inner


def backup(ledger: Ledger, scope: Scope = Scope.OPEN) -> bytes:
    out = bytearray()
    ledger.backups.write(scope, out.extend, now=NOW, version="test")
    return bytes(out)


def test_tasks_of_any_kind_stand_in_the_ledger_as_they_were_given(ledger: Ledger) -> None:
    wholes = drawn(60)
    mark = ledger.rebuilds.begin(now=NOW)
    ledger.rebuilds.take(wholes, mark, after(mark, "z"))
    seen = ledger.rebuilds.whole([whole.task_id for whole in wholes])
    assert [
        difference for mine, theirs in zip(seen, wholes, strict=True) for difference in differences(mine, theirs)
    ] == []
    assert list(seen) == wholes
    sized = ledger.listings.page(TaskFilter(), TaskOrder.SIZE, Moment(NOW, DAY), size=len(wholes))
    sizes = [row.bytes_stored for row in sized.rows]
    assert sizes == sorted(sizes, reverse=True)
    assert {row.task.task_id for row in sized.rows} == {
        each.task_id for each in wholes if each.state in ENDED_WITH_AUDIO
    }
    totals = ledger.rebuilds.end(after(mark, "z"))
    receipts = [row.receipt for whole in wholes for row in whole.stems if row.receipt]
    assert totals.stored_bytes == sum(each.size for each in receipts if each.alias_of is None)
    assert totals.stems["stored"] == len(receipts)
    assert sum(totals.tasks.values()) == len(wholes)


def test_pages_give_every_task_once_by_id(ledger: Ledger) -> None:
    wholes = drawn(7)
    mark = ledger.rebuilds.begin(now=NOW)
    ledger.rebuilds.take(wholes, mark, after(mark, "z"))
    pages = [ledger.rebuilds.page("", 3)]
    while pages[-1]:
        pages.append(ledger.rebuilds.page(pages[-1][-1].task_id, 3))
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [whole for page in pages for whole in page] == wholes


def test_ledger_that_has_tasks_is_refused_and_left_as_it_is(ledger: Ledger) -> None:
    take_in(ledger, 1)
    with pytest.raises(LedgerFull, match="has tasks"):
        ledger.rebuilds.begin(now=NOW)
    assert ledger.rebuilds.unfinished() is None
    assert [whole.task_id for whole in ledger.rebuilds.page("", 9)] == [tid(1)]


def test_rebuild_that_was_killed_goes_on_where_it_was(ledger: Ledger) -> None:
    first, second = drawn(2)
    begun = ledger.rebuilds.begin(now=NOW)
    found = Found(folders=1, broken=1, named=(Trouble("a", "its seal"),), backup="", seconds=0.1)
    ledger.rebuilds.take([first], begun, mark := replace(begun, after="m", found=found))
    assert ledger.rebuilds.unfinished() == mark
    assert ledger.rebuilds.begin(now=NOW + timedelta(days=1)) == mark
    ledger.rebuilds.take([second], mark, after(mark, "n"))
    assert sum(ledger.rebuilds.end(after(mark, "n")).tasks.values()) == 2
    assert ledger.rebuilds.unfinished() is None


def test_second_rebuild_beside_the_first_writes_nothing(ledger: Ledger) -> None:
    first, second = drawn(2)
    mark = ledger.rebuilds.begin(now=NOW)
    ledger.rebuilds.take([first], mark, after(mark, "m"))
    with pytest.raises(LedgerFault, match="another process"):
        ledger.rebuilds.take([second], mark, after(mark, "n"))
    with pytest.raises(LedgerFault, match="another process"):
        ledger.rebuilds.end(mark)
    assert [whole.task_id for whole in ledger.rebuilds.page("", 9)] == [first.task_id]


def test_no_id_is_taken_in_while_a_ledger_is_rebuilt(ledger: Ledger) -> None:
    mark = ledger.rebuilds.begin(now=NOW)
    with pytest.raises(LedgerFault, match="being rebuilt"):
        take_in(ledger, 1)
    assert not ledger.rebuilds.page("", 9)
    ledger.rebuilds.end(mark)
    assert take_in(ledger, 1)


def test_open_tasks_of_a_backup_come_back_and_a_manifest_wins(ledger: Ledger, tmp_path: Path) -> None:
    with closing(ready_ledger(other(tmp_path))) as old:
        stored(old, listed(old, 1))
        take_in(old, 2)
        kept, its = old.rebuilds.page("", 9), backup(old)
    mark = ledger.rebuilds.begin(now=NOW)
    ledger.rebuilds.take_backup(lambda: [its], mark, taken := after(mark, ""))
    assert list(ledger.rebuilds.page("", 9)) == list(kept)
    [archived] = drawn(1)
    archived = replace(archived, task_id=tid(1))
    ledger.rebuilds.take([archived], taken, last := after(taken, "z"))
    assert list(ledger.rebuilds.page("", 9)) == [archived, kept[1]]
    receipts = [row.receipt for row in archived.stems if row.receipt]
    totals = ledger.rebuilds.end(last)
    assert totals.stored_bytes == sum(each.size for each in receipts if each.alias_of is None)
    assert dict(totals.tasks) == {"archived": 1, "queued": 1}
    assert overview(ledger).tasks == dict.fromkeys(TaskState, 0) | {TaskState.ARCHIVED: 1, TaskState.QUEUED: 1}


def test_whole_backup_of_a_ledger_that_is_half_rebuilt_keeps_the_mark(ledger: Ledger) -> None:
    ledger.rebuilds.begin(now=NOW)
    reader = BackupReader([backup(ledger, Scope.WHOLE)])
    assert [table for table, _ in reader.rows() if table == "rebuilds"] == ["rebuilds"]


def test_damaged_backup_leaves_nothing_behind(ledger: Ledger, tmp_path: Path) -> None:
    with closing(ready_ledger(other(tmp_path))) as old:
        take_in(old, 1)
        its = bytearray(backup(old))
    its[len(its) // 2] ^= 1
    mark = ledger.rebuilds.begin(now=NOW)
    with pytest.raises(BackupBroken):
        ledger.rebuilds.take_backup(lambda: [bytes(its)], mark, after(mark, ""))
    assert ledger.rebuilds.unfinished() == mark
    assert not ledger.rebuilds.page("", 9)
