"""Backups of a ledger: the same from either database into either, all or nothing, whatever happens on the way."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import Connection, event

from archiver.adapters.ledger import new_file
from archiver.adapters.ledger.backups import write_backup
from archiver.adapters.ledger.every_row import rows_of, tables_of
from archiver.adapters.ledger.schema.migrate import HEAD
from archiver.app.backup import back_up, restore_ledger
from archiver.core.backup import (
    BackupBroken,
    BackupReader,
    BackupRefused,
    BackupSummary,
    BackupWriter,
    Head,
    Row,
    Scope,
)
from archiver.core.errors import LedgerFault
from archiver.core.intake import Intake, Reject
from archiver.core.model import Archived, Dependency, Stage
from archiver.core.states import StemState, TaskState
from archiver.demo.seaweed import S3Server
from archiver.ports.runtime import Checkpoint, unobserved
from tests import FIXTURES
from tests.fixtures.ledgers import (
    LEASE,
    NOW,
    accept,
    claim,
    engine_of,
    finish,
    hold,
    listed,
    overview,
    pause,
    release,
    rows,
    shown,
    stored,
    take_in,
    tid,
)
from tests.fixtures.postgres import PostgresServer
from tests.house import Ledger, command, ledger_at

SCHEMAS = sorted((FIXTURES / "schemas").glob("*.sql"))


def _quiet(_table: str, _rows: int) -> None:
    pass


EMPTY = len(StemState) + len(TaskState)
"""Rows of a ledger without a task: the counts of each state."""


def _content(url: str) -> list[Row]:
    """All that a backup is to hold of a ledger."""
    with engine_of(url) as engine, engine.connect() as db:
        return [(name, list(row)) for name, row in rows_of(db, tables_of(db), Scope.WHOLE)]


def _backed_up(url: str, file: Path, checkpoint: Checkpoint = unobserved) -> BackupSummary:
    with closing(ledger_at(url)) as ledger:
        return back_up(ledger, file, checkpoint)


def _frozen(schema: Path, folder: Path) -> str:
    """A ledger as the release that brought the schema wrote it: a row in every table, a task in every state."""
    with closing(sqlite3.connect(folder / "frozen.db")) as db:
        db.executescript(schema.read_text(encoding="utf-8"))
    return f"sqlite:///{folder}/frozen.db"


def _written(rows_: list[Row], head: Head, file: Path) -> None:
    with file.open("wb") as out:
        writer = BackupWriter(head, out.write)
        for table, values in rows_:
            writer.add(table, [values])
        writer.close()


@pytest.fixture
def full(tmp_path: Path) -> str:
    """A ledger with more rows than are held in memory, one of them under a lease."""
    url = f"sqlite:///{tmp_path}/full.db"
    with closing(ledger_at(url)) as ledger:
        mine = listed(ledger, 1, "vocal", "a-b", "a_c", "B")
        stored(ledger, mine, mine.stems[0].name)
        take_in(ledger, *range(2, 2500))
        accept(ledger, Intake(rejects=(Reject("q", 1, "bad", "no\0id"),)))
        hold(ledger, Dependency.STORE)
        pause(ledger, Dependency.PROVIDER)
    return url


@pytest.mark.parametrize("schema", ["0001"])
def test_a_ledger_is_the_same_after_a_backup_was_restored_into_a_server_and_back(
    tmp_path: Path, postgres_url: str, schema: str
) -> None:
    url, back = _frozen(FIXTURES / "schemas" / f"{schema}.sql", tmp_path), f"sqlite:///{tmp_path}/back.db"
    first = _backed_up(url, tmp_path / "first")
    assert restore_ledger(postgres_url, tmp_path / "first", _quiet) == first
    assert _content(postgres_url) == _content(url)
    second = _backed_up(postgres_url, tmp_path / "second")
    assert (second.rows, second.content) == (first.rows, first.content)
    restore_ledger(back, tmp_path / "second", _quiet)
    assert _content(back) == _content(url)


def test_what_was_restored_is_worked_on_as_the_original_would_have_been(
    full: str, postgres_url: str, tmp_path: Path
) -> None:
    _backed_up(full, tmp_path / "file")
    told: dict[str, int] = {}
    restore_ledger(postgres_url, tmp_path / "file", told.__setitem__)
    assert (told["tasks"], told["dropped_rejects"]) == (2499, 0)
    with closing(ledger_at(postgres_url)) as ledger:
        assert take_in(ledger, 1, 2, 9000) == [tid(9000)]
        accept(ledger, Intake(rejects=(Reject("q", 2, "worse", "no id"),)))
        assert [reject.reason for reject in overview(ledger).rejects] == ["no\N{SYMBOL FOR NULL}id", "no id"]
        assert [pause.dependency for pause in ledger.pauses.all()] == [Dependency.STORE]
        assert ledger.claims.claim_task(tid(1), owner="us", now=NOW, lease=LEASE, stages=[Stage.STORE]) is not None
        assert [move.event for move in shown(ledger, 1).history] == ["listed", "stored"]


@pytest.mark.parametrize("schema", [SCHEMAS[0], SCHEMAS[2], SCHEMAS[-2]], ids=lambda path: path.stem)
def test_a_backup_by_an_older_version_is_brought_up_to_date_or_left_as_it_was(tmp_path: Path, schema: Path) -> None:
    url, now, then = _frozen(schema, tmp_path), f"sqlite:///{tmp_path}/now.db", f"sqlite:///{tmp_path}/then.db"
    with engine_of(url) as engine, engine.connect() as db, new_file(tmp_path / "file") as out:
        write_backup(db, Scope.WHOLE, out, now=NOW, version="0.1.0")
    restore_ledger(now, tmp_path / "file", _quiet)
    restore_ledger(then, tmp_path / "file", _quiet, keep_schema=True)
    assert _content(then) == _content(url)
    assert rows(then, "SELECT version_num FROM alembic_version") == [(schema.stem,)]
    ledger_at(url).close()
    assert _content(now) == _content(url)
    ledger_at(then).close()
    assert _content(then) == _content(url)


def test_an_older_backup_is_restored_into_a_server(tmp_path: Path, postgres_url: str) -> None:
    url = _frozen(SCHEMAS[2], tmp_path)
    with engine_of(url) as engine, engine.connect() as db, new_file(tmp_path / "file") as out:
        write_backup(db, Scope.WHOLE, out, now=NOW, version="0.1.0")
    restore_ledger(postgres_url, tmp_path / "file", _quiet)
    ledger_at(url).close()
    assert _content(postgres_url) == _content(url)


# ---------------------------------------------------------------- one moment, while others work


def test_a_backup_holds_one_moment_though_the_ledger_is_written_to_meanwhile(ledger: Ledger, ledger_url: str) -> None:
    take_in(ledger, *range(1, 4200))
    pieces: list[bytes] = []

    def rest() -> None:
        with closing(ledger_at(ledger_url)) as other:
            take_in(other, 9000 + len(pieces))
            claim(other)

    summary = ledger.backups.write(Scope.WHOLE, pieces.append, now=NOW, version="0.2.0", rest=rest)
    assert summary.rows["tasks"] == 4199
    assert BackupReader(pieces).check() == summary
    assert len(overview(ledger).tasks) > 0


def test_no_lease_stands_in_a_backup(full: str, tmp_path: Path) -> None:
    assert rows(full, "SELECT count(*) FROM tasks WHERE token IS NOT NULL") == [(1,)]
    _backed_up(full, tmp_path / "file")
    restore_ledger(f"sqlite:///{tmp_path}/new.db", tmp_path / "file", _quiet)
    assert rows(f"sqlite:///{tmp_path}/new.db", "SELECT count(*) FROM tasks WHERE token IS NOT NULL") == [(0,)]


def _open(ledger: Ledger) -> tuple[BackupSummary, list[Row]]:
    pieces: list[bytes] = []
    summary = ledger.backups.write(Scope.OPEN, pieces.append, now=NOW, version="0.2.0")
    return summary, list(BackupReader(pieces).rows())


def test_the_open_part_is_what_no_manifest_holds(ledger: Ledger) -> None:
    done = listed(ledger, 1, "vocal")
    stored(ledger, done)
    finish(ledger, done, Archived())
    mine = listed(ledger, 2, "vocal", "bass")
    stored(ledger, mine)
    take_in(ledger, 3)
    accept(ledger, Intake(rejects=(Reject("q", 1, "bad", "no id"),)))
    hold(ledger, Dependency.STORE)
    pause(ledger, Dependency.PROVIDER)
    summary, found = _open(ledger)
    named = [(table, values[0]) for table, values in found if table in {"tasks", "stems", "pauses"}]
    assert sorted(named) == [
        ("pauses", "store"),
        ("stems", tid(2)),
        ("stems", tid(2)),
        ("tasks", tid(2)),
        ("tasks", tid(3)),
    ]
    history = [values for table, values in found if table == "history"]
    assert [(values[1], values[4]) for values in history] == [(tid(2), "listed"), (tid(2), "stored")]
    assert (summary.rows["rejects"], summary.rows["tallies"], summary.rows["cursors"]) == (1, 0, 0)
    assert shown(ledger, 1).state is TaskState.ARCHIVED


def test_the_open_part_is_the_same_until_something_happens(ledger: Ledger) -> None:
    take_in(ledger, 1, 2)
    before = _open(ledger)[0].content
    claim(ledger)
    assert _open(ledger)[0].content == before
    release(ledger)
    take_in(ledger, 3)
    assert _open(ledger)[0].content != before


def test_the_open_part_costs_nothing_for_what_has_ended(ledger: Ledger) -> None:
    take_in(ledger, *range(100, 5100))
    with ledger.db.write() as db:
        db.exec_driver_sql("UPDATE tasks SET state = 'archived', ended_at = accepted_at, not_before = NULL")
        if db.dialect.name == "postgresql":
            db.exec_driver_sql("ANALYZE tasks")
    listed(ledger, 1, "vocal")
    with ledger.db.read() as db:
        with _noted(db) as statements:
            write_backup(db, Scope.OPEN, lambda _: None, now=NOW, version="0.2.0")
        explain = "EXPLAIN QUERY PLAN" if db.dialect.name == "sqlite" else "EXPLAIN"
        plans = [
            " ".join(map(str, row)) for statement in statements for row in db.exec_driver_sql(f"{explain} {statement}")
        ]
    assert sum("tasks_waiting" in step for step in plans) == 4
    assert not [step for step in plans if "Seq Scan on tasks" in step or step.endswith("SCAN tasks")]


@contextmanager
def _noted(db: Connection) -> Iterator[list[str]]:
    """The statements that read tasks."""
    statements: list[str] = []

    def note(_db: object, _cursor: object, statement: str, *_: object) -> None:
        if "tasks.ended_at IS NULL" in statement:
            statements.append(statement)

    event.listen(db, "before_cursor_execute", note)
    yield statements
    event.remove(db, "before_cursor_execute", note)


# ---------------------------------------------------------------- refusals


def _refused(url: str, file: Path) -> str:
    with pytest.raises((BackupBroken, BackupRefused)) as refused:
        restore_ledger(url, file, _quiet)
    return str(refused.value)


def test_a_damaged_file_restores_nothing_and_makes_no_ledger(full: str, tmp_path: Path) -> None:
    """That no byte may be another or missing is tested in unit/core/test_backup.py; this is what follows."""
    file, new = tmp_path / "file", tmp_path / "new.db"
    _backed_up(full, file)
    whole = file.read_bytes()
    for at in range(3, len(whole), len(whole) // 10):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        _refused(f"sqlite:///{new}", file)
        file.write_bytes(whole[:at])
        _refused(f"sqlite:///{new}", file)
    assert not new.exists()


def test_a_file_that_changes_after_it_was_checked_restores_nothing(full: str, tmp_path: Path) -> None:
    file, new = tmp_path / "file", f"sqlite:///{tmp_path}/new.db"
    _backed_up(full, file)

    def damage(step: str) -> None:
        if step == "restore.checked":
            file.write_bytes(file.read_bytes()[:-30])

    with pytest.raises(BackupBroken):
        restore_ledger(new, file, _quiet, checkpoint=damage)
    assert rows(new, "SELECT count(*) FROM tasks") == [(0,)]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_ledger_with_tasks_is_refused_and_left_as_it_was(
    full: str, postgres_url: str, tmp_path: Path, kind: str
) -> None:
    target = postgres_url if kind == "postgresql" else f"sqlite:///{tmp_path}/other.db"
    with closing(ledger_at(target)) as ledger:
        take_in(ledger, 9)
    before = _content(target)
    _backed_up(full, tmp_path / "file")
    assert _refused(target, tmp_path / "file").endswith("is not empty (tasks)")
    assert _content(target) == before


def test_a_ledger_on_which_a_run_has_found_nothing_yet_counts_as_empty_but_not_with_a_hold(
    full: str, tmp_path: Path
) -> None:
    new = f"sqlite:///{tmp_path}/new.db"
    _backed_up(full, tmp_path / "file")
    with closing(ledger_at(new)) as ledger:
        pause(ledger, Dependency.PROVIDER)
        hold(ledger, Dependency.STORE)
        assert _refused(new, tmp_path / "file").endswith("is not empty (pauses)")
        ledger.pauses.lift(Dependency.STORE)
    restore_ledger(new, tmp_path / "file", _quiet)
    assert _content(new) == _content(full)


def test_a_ledger_whose_rebuild_is_not_finished_is_left_to_it(full: str, tmp_path: Path) -> None:
    new = f"sqlite:///{tmp_path}/new.db"
    _backed_up(full, tmp_path / "file")
    with closing(ledger_at(new)) as ledger:
        ledger.rebuilds.begin(now=NOW)
    assert _refused(new, tmp_path / "file").endswith("is not empty (rebuilds)")


def test_open_tasks_alone_a_newer_version_and_what_is_no_backup_are_refused(full: str, tmp_path: Path) -> None:
    file, new = tmp_path / "file", tmp_path / "new.db"
    url = f"sqlite:///{new}"
    with closing(ledger_at(full)) as ledger, new_file(file) as out:
        head = ledger.backups.write(Scope.OPEN, out, now=NOW, version="0.2.0").head
    assert _refused(url, file) == "this backup holds open tasks alone"
    _written([], Head(Scope.WHOLE, "9999", NOW, "9.0", head.tables), file)
    assert "was written by a newer version" in _refused(url, file)
    file.write_bytes(b"SQLite format 3\0")
    assert _refused(url, file) == "it does not begin as a backup does"
    file.unlink()
    assert _refused(url, file).endswith("cannot be read: No such file or directory")
    assert not new.exists()


@pytest.mark.parametrize("change", ["state", "twice", "width", "number", "kind"])
def test_rows_that_no_ledger_can_have_had_restore_nothing(tmp_path: Path, postgres_url: str, change: str) -> None:
    url, file = _frozen(SCHEMAS[-1], tmp_path), tmp_path / "file"
    head, (first, *others) = _backed_up(url, file).head, _content(url)
    [at] = [number for number, (table, _) in enumerate(others) if table == "tasks"][:1]
    table, values = others[at]
    values = list(values)
    columns = {name: list(names) for name, names in head.tables.items()}
    if change == "state":
        values[1] = "no such state"
    elif change == "width":
        columns["tasks"].append("more")
        others = [(each, [*row, 1] if each == "tasks" else row) for each, row in others]
        values.append(1)
    elif change == "number":
        values[3] = 2**70
    elif change == "kind":
        values[head.tables["tasks"].index("awaited")] = "perhaps"
    more = [(table, values)] if change == "twice" else []
    tables = {name: tuple(names) for name, names in columns.items()}
    _written(
        [first, *others[:at], (table, values), *more, *others[at + 1 :]],
        Head(Scope.WHOLE, HEAD, NOW, "0.2.0", tables),
        file,
    )
    for target in (f"sqlite:///{tmp_path}/new.db", postgres_url):
        _refused(target, file)
        assert rows(target, "SELECT count(*) FROM tasks") == [(0,)]


def test_a_server_that_changes_a_row_on_its_way_has_nothing_restored(
    full: str, postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    ledger_at(postgres_url).close()
    rows(
        postgres_url,
        """CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        UPDATE tasks SET source = 'else' WHERE task_id = 'task-002499'; RETURN NULL; END $$;
        CREATE TRIGGER meddle AFTER INSERT ON stems FOR EACH STATEMENT EXECUTE FUNCTION meddle()""",
    )
    _backed_up(full, tmp_path / "file")
    with pytest.raises(LedgerFault, match=r"the copy of tasks in .* differs from the original in row 2499"):
        restore_ledger(postgres_url, tmp_path / "file", _quiet)
    assert rows(postgres_url, "SELECT count(*) FROM tasks") == [(0,)]


# ---------------------------------------------------------------- the file


def test_the_file_is_for_its_owner_alone_and_takes_no_other_s_place(full: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    _backed_up(full, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    with pytest.raises(BackupRefused, match="exists"):
        _backed_up(full, file)
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("file*")) == ["file"]


def test_a_name_that_leads_nowhere_counts_as_taken_and_a_part_that_leads_elsewhere_is_not_followed(
    full: str, tmp_path: Path
) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BackupRefused, match="exists"):
        _backed_up(full, tmp_path / "file")
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "other.part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackupRefused, match="cannot be written"):
        _backed_up(full, tmp_path / "other")
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_a_file_that_another_process_writes_is_left_to_it(full: str, tmp_path: Path) -> None:
    with (tmp_path / "file.part").open("wb") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        with pytest.raises(BackupRefused, match="cannot be written"):
            _backed_up(full, tmp_path / "file")
    assert (tmp_path / "file.part").exists()


def test_a_folder_that_is_missing_is_told(full: str, tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="cannot be written: No such file or directory"):
        _backed_up(full, tmp_path / "no" / "file")


# ---------------------------------------------------------------- deaths


def _in_a_fork(work: Callable[[], object]) -> int:
    """Carry out `work` in a process of its own; return how that ended, as a wait status."""
    if (child := os.fork()) == 0:
        try:
            work()
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def _dying(at: str) -> Checkpoint:
    def checkpoint(step: str) -> None:
        if step == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return checkpoint


@pytest.mark.parametrize("step", ["backup.begun", "backup.written", "backup.synced", "backup.named"])
def test_a_backup_that_is_killed_leaves_a_whole_file_or_none_and_is_done_the_next_time(
    full: str, tmp_path: Path, step: str
) -> None:
    file, again = tmp_path / "file", tmp_path / "again"
    assert _in_a_fork(lambda: _backed_up(full, file, _dying(step))) == signal.SIGKILL
    if step != "backup.named":
        assert not file.exists()
        _backed_up(full, file)
    restore_ledger(f"sqlite:///{again}", file, _quiet)
    assert _content(f"sqlite:///{again}") == _content(full)


RESTORE_STEPS = ["restore.checked", "restore.staged", "tasks", "history", "restore.filled", "restore.compared"]


@pytest.mark.parametrize("step", [*RESTORE_STEPS, "restore.committed"])
def test_a_restore_that_is_killed_has_restored_all_or_nothing_and_is_done_the_next_time(
    tmp_path: Path, step: str
) -> None:
    schema = SCHEMAS[2] if step == "restore.staged" else SCHEMAS[-1]
    url, file, new = _frozen(schema, tmp_path), tmp_path / "file", f"sqlite:///{tmp_path}/new.db"
    with engine_of(url) as engine, engine.connect() as db, new_file(file) as out:
        write_backup(db, Scope.WHOLE, out, now=NOW, version="0.1.0")
    die = _dying(step)

    def restore() -> None:
        restore_ledger(new, file, lambda table, _: die(table), checkpoint=die)

    assert _in_a_fork(restore) == signal.SIGKILL
    ledger_at(new).close()
    assert len(_content(new)) == (EMPTY if step != "restore.committed" else len(_content(url)))
    if step != "restore.committed":
        restore_ledger(new, file, _quiet)
    ledger_at(url).close()
    assert _content(new) == _content(url)


def test_a_full_disk_leaves_no_file_and_restores_nothing(full: str, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk's end: the system refuses the write that goes beyond."""
    file, new = tmp_path / "file", f"sqlite:///{tmp_path}/new.db"
    _backed_up(full, tmp_path / "whole")

    def limit(most: int, step: str) -> None:
        if step in {"backup.begun", "restore.checked"}:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    def refused(work: Callable[[], object], fault: type[Exception]) -> NoReturn:
        try:
            work()
        except fault:
            os._exit(7)
        os._exit(1)

    back = partial(refused, lambda: _backed_up(full, file, partial(limit, 2000)), BackupRefused)
    assert os.waitstatus_to_exitcode(_in_a_fork(back)) == 7
    assert list(tmp_path.glob("file*")) == []
    whole = partial(restore_ledger, new, tmp_path / "whole", _quiet)
    restore = partial(refused, lambda: whole(checkpoint=partial(limit, 100_000)), LedgerFault)
    assert os.waitstatus_to_exitcode(_in_a_fork(restore)) == 7
    ledger_at(new).close()
    assert rows(new, "SELECT count(*) FROM tasks") == [(0,)]
    whole()
    assert _content(new) == _content(full)


# ---------------------------------------------------------------- into the bucket


def test_the_command_backs_what_is_open_up_into_the_bucket(
    full: str, tmp_path: Path, s3_server: S3Server, bucket: str
) -> None:
    settings = tmp_path / "archiver.toml"
    settings.write_text(
        f'[ledger]\nurl = "{full}"\n[store]\nbucket = "{bucket}"\nprefix = "stems/"\nregion = "us-east-1"\n'
        f'endpoint_url = "{s3_server.endpoint_url}"\naddressing_style = "path"\n'
    )
    env = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
    done = command("--config", str(settings), "ledger", "backup", env=env)
    assert done.exit_code == 0, done.output
    with closing(s3_server.client()) as client:
        [found] = client.list_objects_v2(Bucket=bucket, Prefix="stems/_archive/")["Contents"]
        data = client.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
        summary = BackupReader([data]).check()
        client.delete_object(Bucket=bucket, Key=found["Key"])
        client.delete_object(Bucket=bucket, Key="stems/stem-archiver-probe")
    assert summary.rows["tasks"] == 2499
    assert f"s3://{bucket}/{found['Key']}" in done.output
    assert f"SHA-256 {summary.sha256}" in done.output


def test_the_command_tells_a_bucket_that_is_missing(full: str, tmp_path: Path, s3_server: S3Server) -> None:
    settings = tmp_path / "archiver.toml"
    settings.write_text(
        f'[ledger]\nurl = "{full}"\n[store]\nbucket = "nowhere-at-all"\nregion = "us-east-1"\n'
        f'endpoint_url = "{s3_server.endpoint_url}"\naddressing_style = "path"\n'
    )
    env = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
    done = command("--config", str(settings), "ledger", "backup", env=env)
    assert (done.exit_code, "store.no_bucket" in done.stderr) == (3, True), done.output


# ---------------------------------------------------------------- before a migration


def _copies(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("frozen.db.*.jsonl.gz*"))


@pytest.mark.parametrize("schema", ["0001", "0009"])
def test_a_migration_leaves_a_copy_from_which_the_older_version_goes_on(tmp_path: Path, schema: str) -> None:
    frozen = FIXTURES / "schemas" / f"{schema}.sql"
    url, back = _frozen(frozen, tmp_path), f"sqlite:///{tmp_path}/back.db"
    before = _content(url)
    ledger_at(url).close()
    ledger_at(url).close()
    assert _copies(tmp_path) == [f"frozen.db.schema-{schema}.jsonl.gz"]
    restore_ledger(back, tmp_path / _copies(tmp_path)[0], _quiet, keep_schema=True)
    assert _content(back) == before
    assert rows(back, "SELECT version_num FROM alembic_version") == [(schema,)]


def test_a_migration_that_is_done_again_leaves_another_copy_only_of_another_content(tmp_path: Path) -> None:
    url = _frozen(SCHEMAS[0], tmp_path)
    for killed in (True, True, False):
        work = partial(ledger_at, url, checkpoint=_dying("ledger.kept")) if killed else lambda: ledger_at(url).close()
        ended = _in_a_fork(work)
        assert (ended == signal.SIGKILL) is killed
        assert _copies(tmp_path) == ["frozen.db.schema-0001.jsonl.gz"]
    (tmp_path / "frozen.db").unlink()
    url = _frozen(SCHEMAS[0], tmp_path)
    rows(url, "UPDATE tasks SET source = 'another day'")
    ledger_at(url).close()
    assert _copies(tmp_path) == ["frozen.db.schema-0001-2.jsonl.gz", "frozen.db.schema-0001.jsonl.gz"]


def test_without_room_for_the_copy_nothing_is_migrated(tmp_path: Path) -> None:
    url = _frozen(SCHEMAS[0], tmp_path)
    (tmp_path / "frozen.db.schema-0001.jsonl.gz.part").mkdir()
    with pytest.raises(LedgerFault, match=r"is not brought up to date: .*cannot be written"):
        ledger_at(url)
    assert rows(url, "SELECT version_num FROM alembic_version") == [("0001",)]


def test_a_ledger_of_the_present_schema_and_a_new_one_leave_no_copy(tmp_path: Path) -> None:
    ledger_at(_frozen(SCHEMAS[-1], tmp_path)).close()
    ledger_at(f"sqlite:///{tmp_path}/new.db").close()
    assert list(tmp_path.glob("*.gz*")) == []
