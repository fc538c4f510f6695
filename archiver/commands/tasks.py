"""`enqueue`, `status`, `show` and `retry`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.commands.invocation import (
    Exit,
    JsonFlag,
    fail,
    faults,
    ledger_of,
    settings_of,
    task_ids,
    terminal,
)
from archiver.commands.naming import fail_unknown, named_in, unknown

if TYPE_CHECKING:
    from archiver.core.model import AccountName
    from archiver.settings import Settings


def enqueue(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="ID|FILE|URL|JSON|-...",
            help="Task ids of the separation (not of the music), files of them, links or answers; - standard input.",
        ),
    ],
    account: Annotated[
        str | None, typer.Option("--account", metavar="NAME", help="Whose tasks they are; see provider.accounts.")
    ] = None,
) -> None:
    """Append task ids to the queue file, each once: what is known already is said, and not appended again.

    A task that is known already moves to the account that is named.

    Exit codes: 0 they are on the disk, or were known; 1 some line of a file is no id, the others are on the disk;
    2 no id, an unknown account, or a file that cannot be read or written.

    Example: stem-archiver enqueue 3e63b4cc88d52611159371f6af5571e7
    """
    loaded = settings_of(context)
    from archiver.adapters.ownership import make_folder
    from archiver.adapters.queue_file import QueueFile

    settings = loaded.settings
    of_account = _account(settings, account)
    with faults():
        found = named_in(what)
        if loaded.sources["queue.path"] == "default":
            make_folder(settings.queue.path.parent)
        queue = QueueFile(str(settings.queue.path))
        fresh = unknown(settings, queue, found.ids) if of_account is None else list(found.ids)
        for name in dict.fromkeys(found.accounts.get(each, of_account) for each in fresh):
            queue.append([each for each in fresh if found.accounts.get(each, of_account) == name], name)
    typer.echo(f"{len(fresh)} appended to {settings.queue.path}")
    raise typer.Exit(Exit.UNARCHIVED if found.rejects else Exit.DONE)


def _account(settings: Settings, name: str | None) -> AccountName | None:
    known = {str(account): account for account in settings.provider.api_keys()}
    if name is not None and name not in known:
        fail(f"no account {name!a} in the settings", Exit.USAGE, f"they have: {', '.join(known)}")
    return None if name is None else known[name]


def status(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Count tasks by state, and workers and their jobs; say what is at risk, paused, quarantined or rejected.

    Exit codes: 0 all is well; 1 anything is lost, refused, quarantined or at risk; 2 settings; 3 the ledger failed.

    Example: stem-archiver status --json
    """
    loaded = settings_of(context)
    from archiver.app.clock import utc_now
    from archiver.app.jobs import job_counts
    from archiver.commands.format import print_json
    from archiver.commands.printing import print_jobs, print_overview
    from archiver.core.states import StemState, TaskState

    now = utc_now()
    with ledger_of(loaded) as ledger:
        settings = loaded.settings
        overview = ledger.reports.overview(
            now=now, at_risk=settings.schedule.at_risk, retention=settings.provider.retention
        )
        jobs = job_counts(loaded.settings)
    if as_json:
        print_json(overview if jobs is None else {**asdict(overview), "jobs": jobs}, sys.stdout)
    else:
        print_overview(terminal(), overview, now)
        if jobs is not None:
            print_jobs(terminal(), jobs)
    stuck = overview.at_risk_count + overview.quarantined_count
    bad = overview.tasks.get(TaskState.LOST, 0) + overview.stems.get(StemState.REFUSED, 0) + stuck
    raise typer.Exit(Exit.UNARCHIVED if bad else Exit.DONE)


def show(context: typer.Context, task: Annotated[str, typer.Argument(metavar="ID")], as_json: JsonFlag = False) -> None:
    """Show one task: its stems, receipts, attempts, history and next try.

    Exit codes: 0 shown; 1 the ledger does not know it; 2 no id, or settings; 3 the ledger failed.

    Example: stem-archiver show 3e63b4cc88d52611159371f6af5571e7
    """
    loaded = settings_of(context)
    from archiver.app.clock import utc_now
    from archiver.commands.format import print_json
    from archiver.commands.printing import print_task

    [task_id] = task_ids([task])
    with ledger_of(loaded) as ledger:
        row = ledger.reports.show(task_id)
    if row is None:
        fail_unknown(loaded.settings, task_id)
    if as_json:
        print_json(row, sys.stdout)
    else:
        print_task(terminal(), row, utc_now())


def retry(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]")] = None,
    all_failed: Annotated[
        bool, typer.Option("--all-failed", help="All refused, failed, missing, lost and quarantined tasks.")
    ] = False,
) -> None:
    """Put refused, failed, missing, lost or quarantined tasks back to work.

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
    for task_id in back:
        typer.echo(f"{task_id} is tried again")
    untouched = sorted(set(wanted or ()) - set(back))
    for task_id in untouched:
        typer.echo(f"{task_id} was left alone: it is unknown, archived or still being worked on", err=True)
    raise typer.Exit(Exit.UNARCHIVED if untouched else Exit.DONE)
