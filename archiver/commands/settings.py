"""`config show` and `config validate`."""

from __future__ import annotations

import sys

import typer

from archiver.commands.invocation import FOR_WORK, JsonFlag, settings_of


def show(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Print the effective settings, secrets masked, and where each came from; then what `run` would lack.

    Exit codes: 0 they can be used; 2 they cannot.

    Example: stem-archiver config show --json
    """
    loaded = settings_of(context)
    from archiver.commands.format import print_json
    from archiver.settings import masked

    rows = masked(loaded.settings, loaded.sources)
    if as_json:
        print_json({row.key: {"value": row.value, "source": row.source} for row in rows}, sys.stdout)
    else:
        for row in rows:
            typer.echo(f"{row.key} = {row.value}  # {row.source}")
    settings_of(context, *FOR_WORK)


def validate(context: typer.Context) -> None:
    """Read the settings as `run` would, and say every fault at once.

    Exit codes: 0 they can be used; 2 they cannot.

    Example: stem-archiver --config archiver.toml config validate
    """
    settings_of(context, *FOR_WORK)
    typer.echo("the settings are valid")
