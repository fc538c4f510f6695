"""`ledger copy`."""

from __future__ import annotations

from typing import Annotated

import typer

from archiver.commands.invocation import faults


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

    def print_table(table: str, rows: int) -> None:
        typer.echo(f"{table}: {counted(rows, 'row')}")

    began = time.monotonic()
    with faults():
        counts = copy_ledger(source, target, print_table)
    typer.echo(f"{counted(sum(counts.values()), 'row')} copied and compared in {time.monotonic() - began:.1f} s")
    typer.echo("now set ledger.url to the new one, wherever it is set, and start the service")
