"""`ledger copy`, `ledger backup` and `ledger restore`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.commands.invocation import Exit, fail, faults, ledger_of, settings_of

if TYPE_CHECKING:
    from archiver.adapters.ledger import SqlLedger
    from archiver.core.backup import BackupSummary
    from archiver.settings import Loaded


def migrate(context: typer.Context) -> None:
    """Make the ledger's tables, or bring them up to date, and end. `run` does that too, where its user may.

    On PostgreSQL run it as the tables' owner, before a new version starts: the service's own user then needs no right
    to change them (USAGE on the schemas public and procrastinate; SELECT, INSERT, UPDATE, DELETE on their tables;
    USAGE on their sequences). A SQLite ledger is backed up beside itself first, as older versions refuse it then.

    Exit codes: 0 it is up to date; 2 settings; 3 refused, or the ledger failed: all is as it was.

    Example: stem-archiver --config /root/owner.toml ledger migrate
    """
    from archiver.app.jobs import migrate_jobs
    from archiver.app.ledger import migrate_ledger

    loaded = settings_of(context)
    with faults():
        before, after = migrate_ledger(loaded.settings)
        migrate_jobs(loaded.settings)
    was = "is new" if before is None else f"had schema {before}" if before != after else "was up to date already"
    typer.echo(f"the ledger {was}; it has schema {after}")


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="URL of the ledger that there is.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="URL of an empty one, as ledger.url would have it.")],
) -> None:
    """Copy the whole ledger into an empty database: from SQLite to PostgreSQL, or back.

    Nobody may be working on it. It is one transaction, at whose end all rows are compared.

    A password is better given in PGPASSWORD or ~/.pgpass: other users see what stands in a command line.

    Exit codes: 0 copied, and every row compared; 2 usage; 3 refused, or a ledger failed: nothing is copied.

    Example: stem-archiver ledger copy sqlite:////var/lib/stem-archiver/ledger.db postgresql+psycopg://me@db/stems
    """
    import time

    from archiver.app.ledger import copy_ledger
    from archiver.commands.format import counted

    began = time.monotonic()
    with faults():
        counts = copy_ledger(source, target, _print_table)
    typer.echo(f"{counted(sum(counts.values()), 'row')} copied and compared in {time.monotonic() - began:.1f} s")
    typer.echo("now set ledger.url to the new one, wherever it is set, and start the service")


def backup(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A new file, on another disk where you can.")
    ] = None,
) -> None:
    """Back up the ledger while the service works: all of it into FILE, or what is open into the bucket.

    FILE can be restored, into SQLite and into PostgreSQL. Into the bucket goes what no manifest there holds: open
    tasks, rejected lines, your holds; `run` does that by itself (ledger.backup_every). Neither holds a password or key.

    Exit codes: 0 written; 2 FILE exists or cannot be written; 3 the store or a ledger failed: nothing is written.

    Example: stem-archiver ledger backup /mnt/other-disk/ledger-2026-11-28.jsonl.gz
    """
    import time

    from archiver.app.backup import back_up

    began = time.monotonic()
    loaded = settings_of(context, *(() if file else ("store.bucket",)))
    with ledger_of(loaded) as ledger:
        if file is None:
            place, summary = _into_bucket(loaded, ledger)
        else:
            with _refusals(file):
                place, summary = str(file), back_up(ledger, file)
    _print_summary(summary)
    what = "what is open of the ledger" if file is None else "the whole ledger"
    typer.echo(f"{what} backed up in {time.monotonic() - began:.1f} s: {place}")


def _into_bucket(loaded: Loaded, ledger: SqlLedger) -> tuple[str, BackupSummary]:
    """Take a backup into the bucket; return where it lies, and what it is."""
    import structlog

    from archiver.app.backup import back_up_into_bucket
    from archiver.core.errors import ArchiverError
    from archiver.logs import configure

    configure("error", "auto")
    try:
        taken = back_up_into_bucket(loaded.settings, ledger, structlog.get_logger("archiver"))
    except ArchiverError as error:
        fail(f"{error.code}: {error}", Exit.PAUSED, error.hint)
    return f"s3://{loaded.settings.store.bucket}/{taken.key}", taken.summary


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `ledger backup` wrote.")],
    keep_schema: Annotated[
        bool, typer.Option("--keep-schema", help="Leave the tables as an older version had them, to go back to it.")
    ] = False,
) -> None:
    """Restore a backup of the whole ledger into the ledger of the settings, which must be empty.

    FILE is read to its end first: one that was damaged or cut restores nothing. It is one transaction, at whose end
    all rows are compared. A backup by an older version is brought up to date.

    Exit codes: 0 restored, and every row compared; 2 the ledger is not empty, or FILE is no whole backup; 3 a ledger
    failed: nothing is restored.

    Example: stem-archiver ledger restore /mnt/other-disk/ledger-2026-11-28.jsonl.gz
    """
    import time

    from archiver.app.backup import restore_ledger
    from archiver.app.clock import utc_now
    from archiver.commands.format import counted, span

    loaded = settings_of(context)
    began = time.monotonic()
    with faults(), _refusals(file):
        summary = restore_ledger(loaded.settings.ledger.url, file, _print_table, keep_schema=keep_schema)
    at, rows = summary.head.at, counted(sum(summary.rows.values()), "row")
    typer.echo(f"{rows} restored and compared in {time.monotonic() - began:.1f} s")
    typer.echo(f"the backup is of {at:%Y-%m-%d %H:%M:%S} UTC, {span(utc_now() - at)} old")


@contextmanager
def _refusals(file: Path) -> Iterator[None]:
    """Turn what a file cannot be used for into one clear line and an exit code."""
    from archiver.core.backup import BackupBroken, BackupRefused

    try:
        yield
    except BackupRefused as refused:
        fail(str(refused), Exit.USAGE, refused.hint)
    except BackupBroken as broken:
        fail(
            f"{file}: {broken}", Exit.USAGE, "nothing was restored: name what `ledger backup` wrote, or an earlier one"
        )


def _print_table(table: str, rows: int) -> None:
    from archiver.commands.format import counted

    typer.echo(f"{table}: {counted(rows, 'row')}")


def _print_summary(summary: BackupSummary) -> None:
    from archiver.commands.format import counted, size

    for table, count in summary.rows.items():
        _print_table(table, count)
    typer.echo(f"{counted(sum(summary.rows.values()), 'row')}, {size(summary.size)}, SHA-256 {summary.sha256}")
