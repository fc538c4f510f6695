"""Ids as a person names them to a command, and what is known of them. Heavy imports happen inside."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from archiver.commands.invocation import Exit, fail, standard_input

if TYPE_CHECKING:
    from archiver.adapters.queue_file import QueueFile
    from archiver.core.model import TaskId
    from archiver.core.named_ids import NamedIds
    from archiver.settings import Settings

SHOWN = 20
"""Lines that are told one by one."""


def named_in(words: Sequence[str]) -> NamedIds:
    """Return the ids of all words; a word is an id, a link or JSON with one, a file of them, or - for standard input.

    Tells which lines of a file are no ids; ends with USAGE where a word is none of all that, or none names an id.
    Raises QueueUnreadable.
    """
    from archiver.core.intake import Intake
    from archiver.core.model import TASK_ID_RULE
    from archiver.core.named_ids import NamedIds
    from archiver.core.queue_lines import parse_entry
    from archiver.core.said import UNSAID

    found, bad = NamedIds(), []
    for word in words:
        parsed = parse_entry(os.fsencode(word))
        if word == "-" or (parsed.fault and Path(word).is_file()):
            _take_file(found, word)
        elif parsed.fault or not parsed.named:
            bad.append(word)
        else:
            accounts = {each.task_id: each.account for each in parsed.named if each.account is not None}
            said = {each.task_id: each.said for each in parsed.named if each.said != UNSAID}
            found.take(Intake(ids=tuple(each.task_id for each in parsed.named), accounts=accounts, said=said))
    if bad:
        fail(f"no task id: {', '.join(map(ascii, bad))}", Exit.USAGE, f"a task id is {TASK_ID_RULE}; nor is it a file")
    for reject in found.rejects[:SHOWN]:
        typer.echo(f"{reject.path}: {reject.place}: {reject.reason}", err=True)
    if len(found.rejects) > SHOWN:
        typer.echo(f"and {len(found.rejects) - SHOWN} more lines that name no task", err=True)
    if not found.ids:
        fail("no task id was named", Exit.USAGE, f"a task id is {TASK_ID_RULE}")
    return found


def _take_file(found: NamedIds, word: str) -> None:
    from archiver.adapters.queue_file import read_ids

    if word == "-":
        for intake in read_ids(standard_input().buffer, "standard input"):
            found.take(intake)
    else:
        with Path(word).open("rb") as file:
            for intake in read_ids(file, word):
                found.take(intake)


def unknown(settings: Settings, queue: QueueFile, ids: Collection[TaskId]) -> list[TaskId]:
    """Return those ids that neither the ledger knows nor the queue file has; tell of the others what is known.

    Asks no ledger on a server: what stands in the queue file may have been read long ago then.
    """
    from archiver.adapters.known import known
    from archiver.core.states import ENDED_BADLY

    path = settings.ledger_file()
    looked = None if path is None else known(path, ids)
    states = looked or {}
    waiting = queue.holds([each for each in ids if each not in states])
    facts = {each: f"is known already: {states[each].value}" for each in ids if each in states}
    facts |= dict.fromkeys(waiting, f"stands in the queue file already{'' if looked is None else ', not read yet'}")
    for each, fact in list(facts.items())[:SHOWN]:
        hint = f"; to try again: stem-archiver retry {each}" if states.get(each) in ENDED_BADLY else ""
        typer.echo(f"{each} {fact}{hint}")
    if len(facts) > SHOWN:
        typer.echo(f"and {len(facts) - SHOWN} more are known already")
    return [each for each in ids if each not in facts]


def fail_unknown(settings: Settings, task_id: TaskId) -> NoReturn:
    """Say where an id stands that the ledger does not know, and end."""
    from archiver.adapters.queue_file import QueueFile

    if QueueFile(str(settings.queue.path)).holds([task_id]):
        fail(
            f"{task_id} stands in the queue file and is not read yet",
            Exit.UNARCHIVED,
            "a running daemon reads it within a second; a last line without its newline within two polls",
        )
    fail(f"the ledger does not know {task_id}", Exit.UNARCHIVED, f"hand it in: stem-archiver enqueue {task_id}")
