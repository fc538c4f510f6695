from __future__ import annotations

import fcntl
import multiprocessing
import multiprocessing.process
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text

from archiver.adapters.ledger.database.sqlite import SqliteFile
from archiver.adapters.ledger.schema import upgrade
from archiver.adapters.ledger.schema.indexes import metadata
from archiver.adapters.ledger.schema.migrate import HEAD
from archiver.core.errors import LedgerFault
from archiver.core.intake import Cursor, Intake
from archiver.core.model import Archived, Dependency, Yielded
from archiver.core.states import TaskState
from archiver.ports.runtime import unobserved
from tests import FIXTURES
from tests.fixtures.ledgers import (
    DAY,
    LEASE,
    NOW,
    accept,
    claim,
    engine_of,
    finish,
    listed,
    open_ledger,
    pause,
    pauses,
    receipt,
    record,
    release,
    relisted,
    renew,
    shown,
    stem_failed,
    stored,
    take_in,
    tid,
)
from tests.house import Ledger, ledger_at

NOBODY = 65534
FULL = 2
"""Of PRAGMA synchronous."""
SHORT = timedelta(seconds=0.2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A ledger with three tasks, closed."""
    ledger = open_ledger(tmp_path)
    take_in(ledger, 1, 2, 3)
    ledger.close()
    return tmp_path / "ledger.db"


def _sql(file: Path, *statements: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as db, db:
        for statement in statements[:-1]:
            db.execute(statement)
        return db.execute(statements[-1]).fetchall()


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- creation


def test_a_new_ledger_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        ledger = open_ledger(tmp_path / "deep" / "state")
        take_in(ledger, 1)
        modes = {path.name: _mode(path) for path in (tmp_path / "deep" / "state").iterdir()}
        ledger.close()
    finally:
        os.umask(before)
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}
    assert _mode(tmp_path / "deep" / "state") == 0o700


def test_close_leaves_one_whole_file(file: Path) -> None:
    assert [path.name for path in file.parent.iterdir()] == ["ledger.db"]
    assert _sql(file, "SELECT count(*) FROM tasks") == [(3,)]


def test_close_in_the_midst_of_a_write_leaves_the_writers_own_error(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)

    def closed_in_it() -> None:
        with ledger.db.write():
            ledger.close()
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        closed_in_it()


def test_an_empty_file_is_taken_for_a_new_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    ledger = open_ledger(tmp_path)
    assert take_in(ledger, 1) == [tid(1)]
    ledger.close()


def test_a_relative_url_names_the_file_where_it_was_opened(tmp_path: Path) -> None:
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        ledger = ledger_at("sqlite:///ledger.db")
        os.chdir(here)
        take_in(ledger, 1)
        ledger.close()
    finally:
        os.chdir(here)
    assert _sql(tmp_path / "ledger.db", "SELECT count(*) FROM tasks") == [(1,)]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql+psycopg://u:topsecret@h",
        "postgresql+asyncpg://u:topsecret@h/db",
        "postgresql://u:topsecret@h:port/db",
        "ledger.db",
        "",
        "nonsense://x",
    ],
)
def test_a_url_that_names_no_file_and_no_database_is_refused_with_a_hint(url: str) -> None:
    with pytest.raises(LedgerFault) as caught:
        ledger_at(url)
    assert "sqlite:///" in caught.value.hint
    assert "postgresql+psycopg://" in caught.value.hint
    assert "topsecret" not in str(caught.value)


def test_connection_is_synced_and_checked(file: Path) -> None:
    ledger = open_ledger(file.parent)
    with ledger.db.read() as db:  # what the connection was set to cannot be seen from outside
        asked = ("synchronous", "journal_mode", "foreign_keys", "busy_timeout", "journal_size_limit")
        seen = {name: db.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked}
    ledger.close()
    assert seen == {
        "synchronous": FULL,
        "journal_mode": "wal",
        "foreign_keys": 1,
        "busy_timeout": 30_000,
        "journal_size_limit": 16 * 1024 * 1024,
    }


def test_only_leases_are_not_waited_for_until_they_are_on_the_disk(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    waited: list[bool] = []

    def note(db: Connection) -> None:
        waited.append(db.exec_driver_sql("PRAGMA synchronous").scalar_one() == FULL)

    event.listen(ledger.db._database.engine, "commit", note)
    take_in(ledger, 1)
    mine = claim(ledger)
    relisted(ledger, mine, record("vocal"))
    stored(ledger, mine)
    renew(ledger, lease=DAY)
    finish(ledger, mine, Yielded())
    ledger.close()
    assert waited == [True, False, True, True, False, True]  # taken in, claimed, listed, stored, renewed, given back


def test_a_thread_that_the_end_left_behind_may_still_write(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    take_in(ledger, 1)
    ledger.close()
    assert take_in(ledger, 1, 2) == [tid(2)]
    ledger.close()


def test_the_write_ahead_log_shrinks_again_after_a_large_transaction(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    take_in(ledger, *range(90_000))
    large = (tmp_path / "ledger.db-wal").stat().st_size
    for number in range(3):
        take_in(ledger, 100_000 + number)
    assert large > 16 * 1024 * 1024
    assert (tmp_path / "ledger.db-wal").stat().st_size <= 16 * 1024 * 1024
    ledger.close()


# --- files that cannot be used


def _refused(file: Path, patience: timedelta = timedelta(seconds=30)) -> LedgerFault:
    """The fault of opening `file`, which must be left as it is."""
    before = file.read_bytes()
    with pytest.raises(LedgerFault) as caught:
        ledger_at(f"sqlite:///{file}", patience=patience)
    assert file.read_bytes() == before
    assert str(file) in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_text("task ids, one a line\n" * 500)
    assert "is not a database" in str(_refused(file))


@pytest.mark.parametrize("mark", ["", "PRAGMA application_id = 42"])
def test_another_programs_database_is_refused(tmp_path: Path, mark: str) -> None:
    file = tmp_path / "ledger.db"
    _sql(file, "CREATE TABLE songs (id)", "INSERT INTO songs VALUES (1)", mark)
    assert "another program's" in str(_refused(file))
    assert _sql(file, "PRAGMA journal_mode") == [("delete",)]
    assert _sql(file, "SELECT * FROM songs") == [(1,)]


def test_an_empty_database_that_another_program_marked_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    _sql(file, "PRAGMA application_id = 42")
    assert "another program's" in str(_refused(file))


def test_a_newer_schema_is_refused(file: Path) -> None:
    _sql(file, "UPDATE alembic_version SET version_num = '9999'")
    assert "newer version (schema 9999)" in str(_refused(file))


def test_a_torn_file_is_refused(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2 // 4096 * 4096)
    assert "is damaged" in str(_refused(file))


def test_damage_inside_the_file_is_a_fault_when_it_is_met(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 64] = b"\xde\xad\xbe\xef" * 16
    file.write_bytes(content)
    with pytest.raises(LedgerFault, match="is damaged"):
        open_ledger(file.parent)


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerFault, match="cannot be created"):
        open_ledger(tmp_path / "file" / "below")


def test_a_folder_in_the_ledgers_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(LedgerFault, match="cannot be"):
        open_ledger(tmp_path)


@contextmanager
def _unprivileged() -> Iterator[None]:
    """Root may write anywhere; be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that anybody may enter, which tmp_path is not."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("folder_mode", [0o777, 0o555])
def test_a_read_only_file_is_refused(public: Path, folder_mode: int) -> None:
    ledger = open_ledger(public)
    take_in(ledger, 1)
    ledger.close()
    (public / "ledger.db").chmod(0o444)
    public.chmod(folder_mode)
    with _unprivileged():
        fault = _refused(public / "ledger.db")
    assert "permission" in fault.hint or "can write to" in fault.hint


def test_a_folder_that_cannot_be_written_to_is_refused(public: Path) -> None:
    public.chmod(0o555)
    with _unprivileged(), pytest.raises(LedgerFault, match="cannot be created"):
        open_ledger(public / "state")


# --- trouble on the way


def _limit_pages(ledger: Ledger, pages: int) -> None:
    """Let SQLite answer SQLITE_FULL, as it does on a full disk; reaches into the connection that writes."""
    with ledger.db.write() as db:
        db.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_a_fault_that_writes_nothing_and_passes(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    mine = listed(ledger, 1, "vocal")
    _limit_pages(ledger, 1)
    ids = tuple(tid(number) for number in range(10, 5000))
    intake = Intake(ids=ids, cursor=Cursor("q.txt", 1, 2, "", 0, 9))
    with pytest.raises(LedgerFault, match="disk is full"):
        accept(ledger, intake)
    assert ledger.intakes.cursor("q.txt") is None
    assert ledger.intakes.known(ids) == {}
    _limit_pages(ledger, 1_000_000)
    assert len(accept(ledger, intake)) == len(ids)
    stored(ledger, mine, mine.stems[0].name, receipt())
    ledger.close()


def test_a_lock_held_too_long_is_a_fault_and_afterwards_work_goes_on(file: Path) -> None:
    ledger = ledger_at(f"sqlite:///{file}", patience=SHORT)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerFault, match="locked by another process") as caught:
            take_in(ledger, 9)
        assert ledger.intakes.known([tid(1)]), "reading is not held up"
        with pytest.raises(LedgerFault, match="locked by another process"):
            ledger_at(f"sqlite:///{file}", patience=SHORT)
        other.execute("ROLLBACK")
    assert "fuser" in caught.value.hint
    assert take_in(ledger, 9) == [tid(9)]
    ledger.close()


def test_a_lock_that_is_given_up_in_time_is_waited_for(file: Path) -> None:
    ledger = open_ledger(file.parent)
    code = (
        "import sqlite3, sys, time; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('BEGIN IMMEDIATE'); print(flush=True); time.sleep(0.5); db.execute('COMMIT')"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert take_in(ledger, 9) == [tid(9)]
    ledger.close()


def test_a_start_waits_for_another_start_no_longer_than_its_patience(file: Path) -> None:
    folder = os.open(file.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(LedgerFault, match="starting"):
        ledger_at(f"sqlite:///{file}", patience=SHORT)
    os.close(folder)
    open_ledger(file.parent).close()


def test_checkpoint_comes_after_the_commit_and_outside_the_lock(tmp_path: Path) -> None:
    seen: list[object] = []

    def look(step: str) -> None:
        if step == "ledger.taken_in":
            other = open_ledger(tmp_path)
            seen.append(other.intakes.known([tid(1)]))
            other.close()
            seen.append(claim(ledger).task_id)

    ledger = open_ledger(tmp_path, look)
    take_in(ledger, 1)
    ledger.close()
    assert seen == [{tid(1): TaskState.QUEUED}, tid(1)]


# --- the schema


def _tables(file: Path) -> dict[str, list[str]]:
    """The parts of each statement, sorted: a column that a migration adds stands behind the constraints.

    Without the words of titles, which each kind of database keeps in its own way; tests/golden has them.
    """
    rows = _sql(file, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'title%'")
    return {str(name): _parts(str(sql)) for name, sql in rows if name != "alembic_version"}


def _parts(statement: str) -> list[str]:
    outside_parentheses = r",\s+(?![^()]*\))"
    return sorted(part.strip() for part in re.split(outside_parentheses, statement.removesuffix(")")))


def test_a_start_on_a_current_ledger_loads_neither_migrations_nor_another_databases_dialect(file: Path) -> None:
    assert upgrade.head() == HEAD
    code = (
        "import sys; from archiver.adapters.ledger import SqlLedger; SqlLedger.open(sys.argv[1]).close();"
        "print([name for name in sys.modules if name.startswith(('alembic', 'sqlalchemy.dialects.postgresql'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{file}"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_the_migrations_lead_to_the_tables_as_they_are_declared(file: Path, tmp_path: Path) -> None:
    declared = tmp_path / "declared.db"
    with engine_of(f"sqlite:///{declared}") as engine:
        metadata.create_all(engine)
    assert _tables(file) == _tables(declared)


_STORED = "key = 'k', size = 1, etag = 'e', content_type = 'c', stored_at = 1"


@pytest.mark.parametrize(
    "broken",
    [
        "UPDATE tasks SET state = 'nonsense'",
        "UPDATE tasks SET stage = 'nonsense'",
        "UPDATE tasks SET state = 'failed'",
        "UPDATE tasks SET ended_at = 1, not_before = NULL",
        "UPDATE tasks SET not_before = NULL",
        "UPDATE tasks SET state = 'listed'",
        "UPDATE tasks SET state = 'lost', ended_at = 1",
        "UPDATE tasks SET token = 't'",
        "UPDATE tasks SET token = 't', owner = 'o'",
        "UPDATE tasks SET asks = -1",
        "UPDATE tasks SET kind = ''",
        f"UPDATE tasks SET hint = '{'x' * 33}'",
        "UPDATE tasks SET title = ''",
        f"UPDATE tasks SET title = '{'x' * 201}'",
        "UPDATE tasks SET parent = 'short'",
        "UPDATE stems SET media = 'nonsense'",
        "UPDATE stems SET media = NULL",
        "UPDATE stems SET state = 'nonsense'",
        "UPDATE stems SET state = 'stored'",
        f"UPDATE stems SET state = 'stored', {_STORED}",
        f"UPDATE stems SET state = 'stored', {_STORED}, sha256 = 'abc'",
        f"UPDATE stems SET state = 'stored', {_STORED}, sha256 = '{'a' * 64}', size = 0",
        f"UPDATE stems SET sha256 = '{'a' * 64}'",
        "UPDATE stems SET shown_url = 'https://h/a?sig=1'",
        "UPDATE stems SET gone = -1",
        "UPDATE stems SET task_id = 'nobody-knows'",
        "UPDATE tallies SET stems = -1",
        "UPDATE task_counts SET tasks = -1",
        "DELETE FROM tasks",
    ],
)
def test_the_tables_repeat_the_rules(tmp_path: Path, broken: str) -> None:
    ledger = open_ledger(tmp_path)
    listed(ledger, 1, "vocal")
    release(ledger)
    take_in(ledger, 2)
    ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.execute("PRAGMA foreign_keys = ON")
        if "tasks SET" in broken:
            broken += f" WHERE task_id = '{tid(2)}'"
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(broken)


# --- processes


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])


def _start(work: Callable[..., None], *arguments: object) -> multiprocessing.process.BaseProcess:
    """Run `work` in a process of its own, which has all modules loaded and nothing open."""
    process = _FORKS.Process(target=work, args=arguments)
    process.start()
    return process


def _ended(process: multiprocessing.process.BaseProcess) -> int | None:
    process.join(60)
    code = process.exitcode
    process.close()
    return code


def _open_and_close(file: Path) -> None:
    ledger_at(f"sqlite:///{file}").close()


def test_processes_that_start_at_once_on_no_file_all_find_a_ledger(tmp_path: Path) -> None:
    file = tmp_path / "state" / "ledger.db"
    started = [_start(_open_and_close, file) for _ in range(6)]
    assert [_ended(process) for process in started] == [0] * 6
    assert _sql(file, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def test_processes_that_start_at_once_on_an_old_ledger_migrate_it_once(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    old = FIXTURES / "schemas" / "0001.sql"
    with closing(sqlite3.connect(file)) as db:
        db.executescript(old.read_text(encoding="utf-8"))
    started = [_start(_open_and_close, file) for _ in range(6)]
    assert [_ended(process) for process in started] == [0] * 6
    assert _sql(file, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert _sql(file, "SELECT count(*) FROM pauses") == [(1,)]


def _work(folder: Path, fatal: str, blow: str) -> None:
    """Take one task along its path, and die at the step `fatal`."""

    def checkpoint(step: str) -> None:
        if step == fatal and blow == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if step == fatal:
            raise SystemExit(9)

    ledger = open_ledger(folder, checkpoint)
    mine = listed(ledger, 1, "vocal")
    vocal = mine.stems[0].name
    stem_failed(ledger, mine, vocal, reason="cut", gone=True)
    ledger.uploads.opened("us", "key", "upload", now=NOW)
    ledger.uploads.closed("key", "upload")
    stored(ledger, mine, vocal, receipt())
    pause(ledger, Dependency.STORE, reason="r", hint="h", lasting=True)
    finish(ledger, mine, Archived())


_STEPS = [
    "ledger.migrating",
    "ledger.migrated",
    "ledger.taken_in",
    "ledger.claimed",
    "ledger.listed",
    "ledger.stem_failed",
    "ledger.upload_opened",
    "ledger.upload_closed",
    "ledger.stem_stored",
    "ledger.paused",
    "ledger.finished",
]


def _standing(folder: Path) -> list[str]:
    """What the next start finds, in the order it must have been written."""
    ledger = open_ledger(folder)
    row = ledger.reports.show(tid(1))
    found = ["ledger.taken_in"] if row else []
    found += ["ledger.claimed"] if row and (row.leased_until or row.state is TaskState.ARCHIVED) else []
    found += ["ledger.listed"] if row and row.stems else []
    found += ["ledger.stem_failed"] if row and row.stems and row.stems[0].gone else []
    found += ["ledger.stem_stored"] if row and row.stems and row.stems[0].receipt else []
    found += ["ledger.paused"] if pauses(ledger) else []
    found += ["ledger.finished"] if row and row.state is TaskState.ARCHIVED else []
    uploads = ledger.uploads.of_dead(lambda _: False)
    assert ledger.claims.release_dead(lambda _: False, now=NOW) in ([], ["us"])
    if row is None:
        listed(ledger, 1, "vocal")
    elif row.state is not TaskState.ARCHIVED:
        claim(ledger, owner="next")
    ledger.close()
    return [*found, f"uploads: {len(uploads)}"]


@pytest.mark.parametrize("blow", ["kill", "exit"])
@pytest.mark.parametrize("step", _STEPS)
def test_a_process_that_dies_just_after_a_step_has_made_it_and_no_other(tmp_path: Path, step: str, blow: str) -> None:
    died = _ended(_start(_work, tmp_path, step, blow))
    assert died == (-signal.SIGKILL if blow == "kill" else 9)
    lasting = [name for name in _STEPS[2:] if "upload" not in name]
    made = [name for name in _STEPS[: _STEPS.index(step) + 1] if name in lasting]
    assert _standing(tmp_path) == [*made, f"uploads: {int(step == 'ledger.upload_opened')}"]


def test_a_migration_cut_by_an_exception_leaves_no_table_behind(tmp_path: Path) -> None:
    def cut(step: str) -> None:
        if step == "ledger.migrating":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_ledger(tmp_path, cut)
    assert _sql(tmp_path / "ledger.db", "SELECT count(*) FROM sqlite_master") == [(0,)]
    steps: list[str] = []
    open_ledger(tmp_path, steps.append).close()
    open_ledger(tmp_path, steps.append).close()
    assert [step for step in steps if "migrat" in step] == ["ledger.migrating"] * int(HEAD) + ["ledger.migrated"]


def test_a_ledger_reads_on_while_another_process_writes(file: Path) -> None:
    reader, writer = open_ledger(file.parent), open_ledger(file.parent)
    mine = claim(writer)
    assert shown(reader, 1).leased_until == NOW + LEASE
    mine = relisted(writer, mine, record("vocal"))
    stored(writer, mine, mine.stems[0].name, receipt())
    finish(writer, mine, Archived())
    assert shown(reader, 1).state is TaskState.ARCHIVED
    reader.close()
    writer.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_ledger_whose_file_is_deleted_or_replaced_under_it_writes_no_more(tmp_path: Path, *, replaced: bool) -> None:
    file = tmp_path / "ledger.db"
    with closing(ledger_at(f"sqlite:///{file}")) as ledger:
        renew(ledger, "owner", lease=timedelta(minutes=1))
        file.rename(tmp_path / "moved.db")
        if replaced:
            ledger_at(f"sqlite:///{file}").close()
        with pytest.raises(LedgerFault, match="deleted or replaced"):
            renew(ledger, "owner", lease=timedelta(minutes=1))


@pytest.mark.parametrize("instead", ["nothing", "text", "another program's", "a folder"])
def test_ledger_whose_file_is_gone_says_so_to_whoever_reads_by_a_new_connection(tmp_path: Path, instead: str) -> None:
    file = SqliteFile(tmp_path / "ledger.db", timedelta(seconds=1))
    file.prepare(unobserved)
    with (tmp_path / "ledger.db").open("rb"):  # as every service has it: its number is nobody else's meanwhile
        file.engine.dispose()
        (tmp_path / "ledger.db").rename(tmp_path / "moved.db")
        if instead == "text":
            (tmp_path / "ledger.db").write_text("no database " * 500)
        elif instead == "another program's":
            with closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
                other.execute("CREATE TABLE theirs (a)")
        elif instead == "a folder":
            (tmp_path / "ledger.db").mkdir()
        with pytest.raises(LedgerFault, match="deleted or replaced"), file.reading() as db:
            db.execute(text("SELECT count(*) FROM tasks"))
    file.close()
