"""Manifests proven by processes of their own: as here, and with an end of its own for each way that one may end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.adapters.proving import ProvingProcesses
from archiver.core.errors import LedgerFault
from archiver.core.model import TaskId
from archiver.core.rebuilt_rows import Document, proven
from tests import FIXTURES
from tests.fakes.object_store import FakeStore
from tests.fakes.waiting import until
from tests.fixtures.ledgers import NOW, ready_ledger, tid
from tests.fixtures.whole_tasks import drawn_in, manifest_in_format_2
from tests.house import rebuild_on

PREFIX = "stems/"
OLD = TaskId("3e63b4cc88d5")
COUNT = 30


@pytest.fixture
def processes() -> Iterator[ProvingProcesses]:
    with ProvingProcesses(2, PREFIX) as made:
        yield made


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").exists() and bool(Path(f"/proc/{pid}/cmdline").read_bytes())


def children() -> set[int]:
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return {int(pid) for pid in found if b"adapters.proving" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def test_manifests_proven_apart_are_judged_and_spelled_as_in_this_process(processes: ProvingProcesses) -> None:
    wholes = drawn_in(COUNT)
    documents = [Document(each.task_id, manifest_in_format_2(each)) for each in wholes]
    documents += [replace(each, record=b"{}", record_was_asked=True) for each in documents[:5]]
    documents += [replace(documents[0], data=documents[1].data), Document(tid(1), b"{}"), Document(tid(2), b"\xff")]
    old = (FIXTURES / "manifests" / "format-1-lost.json").read_bytes()
    documents += [Document(OLD, old), Document(OLD, old, b'{"successFlag":"SUCCESS"}', record_was_asked=True)]
    here = proven(PREFIX, documents)
    assert processes.proven(documents) == here
    judged, rows = here
    assert {bool(each.trouble) for each in judged} == {True, False}
    assert {each.wants_record for each in judged} == {True, False}
    assert rows.stems
    assert rows.history


def test_rebuild_by_processes_is_the_ledger_of_one_without(processes: ProvingProcesses, tmp_path: Path) -> None:
    store, wholes = FakeStore(), drawn_in(COUNT)
    for whole in wholes:
        store.objects[f"{PREFIX}{whole.task_id}/manifest.json"] = manifest_in_format_2(whole)
        if whole.document:
            store.objects[f"{PREFIX}{whole.task_id}/record-info.json"] = whole.document.encode()
    store.objects[f"{PREFIX}broken-0001/manifest.json"] = b"{}"
    found = []
    for number, proving in enumerate((processes.proven, None)):
        (folder := tmp_path / str(number)).mkdir()
        with closing(ready_ledger(folder)) as ledger:
            work = rebuild_on(ledger, store.archive, lambda: NOW, PREFIX, batch=7, proving=proving)
            seen, totals = work.run()
            found.append((replace(seen, seconds=0), totals, list(ledger.rebuilds.page("", 99))))
    assert found[0] == found[1]
    assert found[0][2] == wholes


def test_process_that_dies_ends_the_rebuild_and_what_was_done_is_gone_on_with(tmp_path: Path) -> None:
    store, wholes = FakeStore(), drawn_in(COUNT)
    for whole in wholes:
        store.objects[f"{PREFIX}{whole.task_id}/manifest.json"] = manifest_in_format_2(whole)
        if whole.document:
            store.objects[f"{PREFIX}{whole.task_id}/record-info.json"] = whole.document.encode()
    asked: list[str] = []

    def kill(_method: str, key: str) -> None:
        asked.append(key)
        if str(tid(1020)) in key:
            for pid in children():
                os.kill(pid, signal.SIGKILL)

    store.before = kill
    with closing(ready_ledger(tmp_path)) as ledger:
        with (
            ProvingProcesses(1, PREFIX) as made,
            pytest.raises(LedgerFault, match=r"a process that reads manifests died \(exit code -9\)"),
        ):
            rebuild_on(ledger, store.archive, lambda: NOW, PREFIX, batch=5, proving=made.proven).run()
        mark = ledger.rebuilds.unfinished()
        assert mark is not None
        assert mark.found.folders == len(ledger.rebuilds.page("", 99)) < COUNT
        store.before = lambda _method, _key: None
        with ProvingProcesses(1, PREFIX) as made:
            rebuild_on(ledger, store.archive, lambda: NOW, PREFIX, proving=made.proven).run()
        assert list(ledger.rebuilds.page("", 99)) == wholes


def test_processes_are_gone_once_they_are_closed() -> None:
    before = children()
    with ProvingProcesses(2, PREFIX) as made:
        made.proven([])
        mine = children() - before
        assert len(mine) == 2
    assert not [pid for pid in mine if is_there(pid)]


def test_process_that_cannot_be_started_is_a_fault_with_a_hint() -> None:
    with pytest.raises(LedgerFault, match="no process can be started") as fault:
        ProvingProcesses(1, PREFIX, python="/nowhere/python")
    assert fault.value.hint


def test_processes_end_with_the_one_that_started_them_however_that_ends() -> None:
    program = (
        "import sys; from pathlib import Path; from archiver.adapters.proving import ProvingProcesses\n"
        "ProvingProcesses(2, '').proven([])\n"
        "print(Path('/proc/self/task', str(__import__('os').getpid()), 'children').read_text(), flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        mine = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(mine) == 2
        parent.kill()
    until(lambda: not [pid for pid in mine if is_there(pid)])


def test_process_loads_no_library_and_no_settings() -> None:
    heavy = {"sqlalchemy", "alembic", "botocore", "httpx", "structlog", "pydantic", "typer"}
    program = f"import sys, archiver.adapters.proving; print(sorted({heavy!r} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-P", "-c", program], text=True).strip() == "[]"
