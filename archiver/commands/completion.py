"""Completion of task ids by a shell, out of the ledger. Heavy imports happen inside."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Annotated

import typer

from archiver.commands.invocation import call_of


def known(context: typer.Context, incomplete: str) -> list[str]:
    """Return ids of the ledger that begin so, the newest first; none without a ledger, or where anything fails."""
    return _quietly(context, incomplete, needs_person=False)


def needing(context: typer.Context, incomplete: str) -> list[str]:
    """Return those of them that need a person."""
    return _quietly(context, incomplete, needs_person=True)


def _quietly(context: typer.Context, incomplete: str, *, needs_person: bool) -> list[str]:
    try:
        return _ids(context, incomplete, needs_person=needs_person)
    except Exception:  # noqa: BLE001 - whoever is typing a line wants no fault in the midst of it
        return []


def _ids(context: typer.Context, incomplete: str, *, needs_person: bool) -> list[str]:
    from archiver.app.clock import utc_now
    from archiver.app.ledger import open_for_reading
    from archiver.core.listing import PREFIX_MIN, TaskFilter, TaskOrder
    from archiver.ports.listing import Moment
    from archiver.settings import load

    config = call_of(context).config or context.find_root().params.get("config")
    settings = load(config, os.environ).settings
    wanted = TaskFilter(needs_person=needs_person, prefix=incomplete if len(incomplete) >= PREFIX_MIN else "")
    moment = Moment(utc_now(), settings.schedule.at_risk, settings.provider.retention)
    with closing(open_for_reading(settings)) as ledger:
        rows = ledger.listings.page(wanted, TaskOrder.NEWEST, moment).rows
    return [row.task.task_id for row in rows if row.task.task_id.startswith(incomplete)]


_ONE, _MANY = "A task's id, as `list` shows it.", "Ids of tasks, as `list` shows them."

TaskArgument = Annotated[str, typer.Argument(metavar="ID", help=_ONE, autocompletion=known)]
TaskArguments = Annotated[list[str], typer.Argument(metavar="ID", help=_MANY, autocompletion=known)]
SomeTasks = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help=_MANY, show_default=False, autocompletion=known)
]
NeedyTasks = Annotated[list[str] | None, typer.Argument(metavar="ID", help=_MANY, autocompletion=needing)]
