"""`enqueue`, `retry` and `ack`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from archiver.commands.completion import NeedyTasks
from archiver.commands.invocation import (
    Exit,
    fail,
    faults,
    ledger_of,
    settings_of,
    task_ids,
)
from archiver.commands.naming import named_in, unknown

if TYPE_CHECKING:
    from archiver.core.attention import Need
    from archiver.core.model import AccountName, TaskId
    from archiver.core.named_ids import NamedIds
    from archiver.core.said import Said
    from archiver.settings import Loaded, Settings


KindOption = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="Of which kind they are: auto, separation, jobs, music, wav, ..."),
]
TitleOption = Annotated[str | None, typer.Option("--title", metavar="TEXT", help="What they are called.")]
ParentOption = Annotated[str | None, typer.Option("--parent", metavar="ID", help="The task that they were made from.")]


def enqueue(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="ID|FILE|URL|JSON|-...",
            help="Task ids, files of them, links or answers; - standard input.",
        ),
    ],
    account: Annotated[
        str | None, typer.Option("--account", metavar="NAME", help="Whose tasks they are; see provider.accounts.")
    ] = None,
    kind: KindOption = None,
    title: TitleOption = None,
    parent: ParentOption = None,
) -> None:
    """Append task ids to the queue file, each once: what is known already is said, and not appended again.

    What is named by an option holds for tasks that are known already, too, but for a kind where one is known.

    Exit codes: 0 they are on the disk, or were known; 1 some line of a file is no id, the others are on the disk;
    2 no id, an unknown account, or a file that cannot be read or written.

    Example: stem-archiver enqueue 3e63b4cc88d52611159371f6af5571e7
    """
    loaded = settings_of(context)
    from archiver.adapters.ownership import make_folder
    from archiver.adapters.queue_file import QueueFile

    settings, said = loaded.settings, _said(kind=kind, title=title, parent=parent)
    of_account = _account(settings, account)
    with faults():
        found = _named(what, said.parent)
        if loaded.sources["queue.path"] == "default":
            make_folder(settings.queue.path.parent)
        queue = QueueFile(str(settings.queue.path))
        fresh = list(found.ids) if of_account or any(said) else unknown(settings, queue, found.ids)
        queue.append([found.line_of(each, of_account, said) for each in fresh])
    typer.echo(f"{len(fresh)} appended to {settings.queue.path}")
    raise typer.Exit(Exit.UNARCHIVED if found.rejects else Exit.DONE)


def _named(what: list[str], parent: TaskId | None) -> NamedIds:
    """Return the ids of `what`; end with USAGE where the parent is one: its line would be rejected when it is read."""
    found = named_in(what)
    if parent in found.ids:
        fail(f"{parent} cannot be its own parent", Exit.USAGE, "hand it in by itself, without --parent")
    return found


def _account(settings: Settings, name: str | None) -> AccountName | None:
    known = {str(account): account for account in settings.provider.api_keys()}
    if name is not None and name not in known:
        fail(f"no account {name!a} in the settings", Exit.USAGE, f"they have: {', '.join(known)}")
    return None if name is None else known[name]


def _said(**words: str | None) -> Said:
    from archiver.core.said import said_in

    try:
        return said_in(words)
    except ValueError as error:
        fail(str(error).partition(";")[0], Exit.USAGE)


def retry(
    context: typer.Context,
    ids: NeedyTasks = None,
    all_failed: Annotated[
        bool, typer.Option("--all-failed", help="All refused, failed, missing, lost and quarantined tasks.")
    ] = False,
) -> None:
    """Put refused, failed, missing, lost or quarantined tasks back to work.

    What was acknowledged counts again, should it come to the same end.

    Exit codes: 0 all that were named; 1 some were left alone; 2 usage or settings; 3 the ledger failed.

    Example: stem-archiver retry --all-failed
    """
    if bool(ids) == all_failed:
        fail("name task ids, or say --all-failed", Exit.USAGE)
    loaded = settings_of(context)
    from archiver.app.clock import utc_now

    wanted = task_ids(ids) if ids else None
    with ledger_of(loaded) as ledger:
        back = ledger.intakes.retry(wanted, now=utc_now())
    if not back and wanted is None:
        typer.echo("nothing is refused, failed, missing, lost or quarantined")
    for task_id in back:
        typer.echo(f"{task_id} is tried again")
    untouched = sorted(set(wanted or ()) - set(back))
    for task_id in untouched:
        typer.echo(f"{task_id} was left alone: it is unknown, archived or still being worked on", err=True)
    raise typer.Exit(Exit.UNARCHIVED if untouched else Exit.DONE)


def ack(
    context: typer.Context,
    ids: NeedyTasks = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="All rejected lines of queue files.")] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="KEY|ID", help="Faults that `verify` found: an object's, or all of a task."),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="STATE", help="All that are lost, failed, missing, refused, ..., or at_risk."),
    ] = None,
) -> None:
    """Acknowledge what needs a person: it no longer counts in `status`, exit codes and alerts.

    Nothing else changes: an open task is still worked on, and `list --all` shows what is acknowledged. A task that is
    retried, ends so again, has another stem refused or lost, or takes a process down once more counts again; a fault
    of the archive does once it is found otherwise. Its acknowledgement is logged.

    Exit codes: 0 all that were named; 1 some needed nobody; 2 usage or settings; 3 the ledger failed.

    Example: stem-archiver ack --state missing
    """
    if sum((bool(ids), rejected, bool(fault), state is not None)) != 1:
        fail("name task ids, or say --rejected, --fault KEY, or --state STATE", Exit.USAGE)
    if fault:
        raise typer.Exit(_acknowledge_faults(settings_of(context), fault))
    from archiver.commands.listing import need_named

    need, wanted = None if state is None else need_named(state), task_ids(ids) if ids else []
    acknowledged, others = _acknowledge(settings_of(context), wanted, need)
    typer.echo(f"{acknowledged} acknowledged")
    for task_id in others:
        typer.echo(f"{task_id} needs nobody, or was acknowledged before, or is unknown", err=True)
    raise typer.Exit(Exit.UNARCHIVED if others else Exit.DONE)


def _acknowledge(loaded: Loaded, ids: list[TaskId], need: Need | None) -> tuple[str, list[TaskId]]:
    """Acknowledge those ids, or all for that need, or all rejected lines; return what, and which ids needed nobody."""
    from archiver.app.clock import utc_now
    from archiver.commands.format import counted

    now, at_risk, retention = utc_now(), loaded.settings.schedule.at_risk, loaded.settings.provider.retention
    with ledger_of(loaded) as ledger:
        if ids:
            done = set(ledger.intakes.acknowledge(ids, now=now, at_risk=at_risk, retention=retention))
            return counted(len(done), "task"), [each for each in dict.fromkeys(ids) if each not in done]
        if need is not None:
            tasks = ledger.intakes.acknowledge_all([need], now=now, at_risk=at_risk, retention=retention)
            return counted(tasks, "task"), []
        return counted(ledger.intakes.acknowledge_rejects(now=now), "rejected line"), []


def _acknowledge_faults(loaded: Loaded, names: list[str]) -> int:
    """Acknowledge the faults of those objects and tasks, log each, and return the exit code."""
    from archiver.app.clock import utc_now
    from archiver.commands.format import counted
    from archiver.core.text import visible
    from archiver.logs import configure

    log = configure("info", loaded.settings.log.format, secrets=loaded.settings.secrets())
    with ledger_of(loaded) as ledger:
        found = ledger.faults.acknowledge(names, now=utc_now())
    for each in found:
        log.info("fixity.acknowledged", key=each.key, kind=each.kind.value, task_id=each.task_id or None)
    typer.echo(f"{counted(len(found), 'fault')} acknowledged")
    known = {name for each in found for name in (each.key, each.task_id)}
    others = [name for name in dict.fromkeys(names) if name not in known]
    for name in others:
        typer.echo(visible(f"{name} has no open fault, or it was acknowledged before"), err=True)
    return Exit.UNARCHIVED if others else Exit.DONE
