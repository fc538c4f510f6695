"""`queue rotate`."""

from __future__ import annotations

import typer

from archiver.commands.invocation import faults, settings_of


def rotate(context: typer.Context) -> None:
    """Put a new, empty queue file in the place of the present one, and say where that is now.

    Nothing is lost: what stands in the old one and was not taken in yet is taken in first, as long as the old one
    stays beside the new one, uncompressed, until the next poll.

    Exit codes: 0 rotated; 2 settings, or a file that cannot be rotated.

    Example: stem-archiver queue rotate
    """
    loaded = settings_of(context)
    from archiver.app.queue import rotate_queue

    with faults():
        old = rotate_queue(loaded.settings)
    typer.echo(f"the old queue file is {old}")
