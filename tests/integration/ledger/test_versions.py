"""Every schema that was ever released must open, whole, in every later version.

`tests/fixtures/schemas/REVISION.sql` is a ledger as the release that brought the revision wrote it. A new
revision brings a new file; none is ever changed.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from archiver.adapters.ledger.schema import upgrade
from archiver.adapters.ledger.schema.migrate import HEAD
from archiver.adapters.ledger.schema.tables import tasks
from archiver.core.slices import slice_of
from archiver.core.states import StemState, TaskState
from tests import FIXTURES
from tests.fixtures.ledgers import NOW, claim, open_ledger, overview, pauses, retry, shown, tid

SCHEMAS = sorted((FIXTURES / "schemas").glob("*.sql"))
FROZEN = {
    "0001": "0bfb9e10478b9d0a",
    "0002": "e33dec7b2d5535b9",
    "0003": "9871752d9ee836e0",
    "0004": "09bd0afdcd44e31e",
    "0005": "009feae09dad98b0",
    "0006": "c098cd8e4dd82ddf",
    "0007": "4bae9ae73eaa07b4",
    "0008": "ea67c867819443bc",
    "0009": "bc878312e5b266c6",
    "0010": "f11773f655be5dab",
    "0011": "3b357fd95792ccc7",
    "0012": "684131be73da019a",
    "0013": "0c95bdab7713edda",
    "0014": "40a5b2a7d59da159",
    "0015": "5cad3bf2394b5edf",
    "0016": "c669292c6c1e0ec4",
    "0017": "87122ce211475d59",
    "0018": "97246e7c2cc21e6e",
}
"""The first digits of each file's SHA-256."""

STATES = [
    TaskState.ARCHIVED,
    TaskState.LISTED,
    TaskState.LOST,
    TaskState.FAILED,
    TaskState.MISSING,
    TaskState.QUEUED,
    TaskState.QUEUED,
]
"""Of the tasks 1 to 7 in every such file."""


@pytest.fixture(params=SCHEMAS, ids=lambda path: path.stem)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.executescript(request.param.read_text(encoding="utf-8"))
    return tmp_path


def _content(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "ledger.db")) as db:
        return list(db.iterdump())


def test_every_revision_has_its_ledger_and_none_was_changed() -> None:
    assert [path.stem for path in SCHEMAS] == sorted(FROZEN)
    assert HEAD in FROZEN
    assert all(upgrade.knows(revision) for revision in FROZEN)
    for path in SCHEMAS:
        assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(FROZEN[path.stem]), path


def test_ledger_of_any_version_opens_with_all_that_it_knew(folder: Path) -> None:
    with closing(open_ledger(folder)) as ledger:
        assert [shown(ledger, number).state for number in range(1, 8)] == STATES
        mixed = shown(ledger, 2)
        assert {stem.state for stem in mixed.stems} == {StemState.STORED, StemState.REFUSED}
        [stored] = [stem for stem in mixed.stems if stem.state is StemState.STORED]
        assert stored.receipt is not None
        assert stored.receipt.sha256 == "ab" * 32
        assert [move.event for move in shown(ledger, 1).history] == ["listed", "stored", "all_stored"]
        cursor = ledger.intakes.cursor("q.txt")
        assert cursor is not None
        assert (cursor.inode, cursor.offset) == (2**63 + 1, 9)
        assert [pause.hint for pause in pauses(ledger)] == ["h"]
        assert ledger.uploads.of_dead(lambda _: False) == [("k", "u")]
        seen = overview(ledger)
        assert (seen.rejected_lines, seen.bytes_stored, seen.stems[StemState.STORED]) == (1, 2000, 2)


def test_tasks_of_any_version_are_in_the_slices_of_their_ids(folder: Path) -> None:
    with closing(open_ledger(folder)) as ledger, ledger.db.read() as db:
        found = {row.task_id: row.slice for row in db.execute(select(tasks.c.task_id, tasks.c.slice))}
    assert found == {tid(number): slice_of(tid(number)) for number in range(1, 8)}


def test_ended_tasks_of_any_version_know_what_is_stored_of_them(folder: Path) -> None:
    with closing(open_ledger(folder)) as ledger, ledger.db.read() as db:
        found = {row.task_id: row.bytes_stored for row in db.execute(select(tasks.c.task_id, tasks.c.bytes_stored))}
    assert found == {tid(number): None for number in range(1, 8)} | {tid(1): 1000, tid(3): 0}


def test_migration_takes_the_bytes_of_a_trimmed_task_from_what_was_kept_of_it(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.executescript((FIXTURES / "schemas" / "0016.sql").read_text(encoding="utf-8"))
        trimmed = f"trimmed_stems = 2, trimmed_bytes = 77, folder_digest = '{'d' * 43}'"
        db.execute(f"UPDATE tasks SET {trimmed} WHERE task_id = ?", (tid(1),))
        db.commit()
    with closing(open_ledger(tmp_path)) as ledger, ledger.db.read() as db:
        assert db.scalar(select(tasks.c.bytes_stored).where(tasks.c.task_id == tid(1))) == 77


def test_ledger_of_any_version_can_be_worked_with(folder: Path) -> None:
    with closing(open_ledger(folder)) as ledger:
        assert list(ledger.claims.release_dead(lambda _: False, now=NOW)) == ["us"]
        assert {claim(ledger).task_id for _ in range(2)} == {tid(6), tid(7)}
        assert set(retry(ledger)) == {tid(number) for number in (2, 3, 4, 5)}


def test_ledger_of_any_version_whose_migration_is_cut_is_as_it_was_and_opens_the_next_time(folder: Path) -> None:
    before = _content(folder)

    def cut(step: str) -> None:
        if step == "ledger.migrating":
            raise KeyboardInterrupt

    try:
        open_ledger(folder, cut).close()
    except KeyboardInterrupt:
        assert _content(folder) == before
    open_ledger(folder).close()
    with closing(sqlite3.connect(folder / "ledger.db")) as db:
        assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
