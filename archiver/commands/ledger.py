"""`ledger copy`, `ledger backup` and `ledger restore`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from archiver.commands.invocation import Exit, fail, faults, ledger_of, settings_of


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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, on another disk where you can.")],
) -> None:
    """Back up the whole ledger into a new file, while the service works.

    It holds one moment, without a password or key. The file can be restored into SQLite and into PostgreSQL.

    Exit codes: 0 written; 2 FILE exists or cannot be written; 3 a ledger failed: no file is left.

    Example: stem-archiver ledger backup /mnt/other-disk/ledger-2026-11-28.jsonl.gz
    """
    import time

    from archiver.app.ledger import back_up

    loaded = settings_of(context)
    began = time.monotonic()
    with ledger_of(loaded) as ledger, _refusals(file):
        summary = back_up(ledger, file)
    _print_rows(summary.rows)
    _print_file(summary.rows, summary.size, summary.sha256)
    typer.echo(f"the whole ledger backed up in {time.monotonic() - began:.1f} s: {file}")


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

    from archiver.app.clock import utc_now
    from archiver.app.ledger import restore_ledger
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


def _print_rows(rows: Mapping[str, int]) -> None:
    for table, count in rows.items():
        _print_table(table, count)


def _print_table(table: str, rows: int) -> None:
    from archiver.commands.format import counted

    typer.echo(f"{table}: {counted(rows, 'row')}")


def _print_file(rows: Mapping[str, int], size: int, sha256: str) -> None:
    from archiver.commands.format import counted
    from archiver.commands.format import size as shown

    typer.echo(f"{counted(sum(rows.values()), 'row')}, {shown(size)}, SHA-256 {sha256}")
