"""`ledger trim`: the ledger keeps a row of each task that was archived long ago. Heavy imports happen inside."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.commands.halts import Progress, breaks, quiet_log, waiting
from archiver.commands.invocation import (
    Exit,
    JsonFlag,
    at_work,
    call_of,
    fail,
    faults,
    ledger_of,
    settings_of,
    terminal,
)

if TYPE_CHECKING:
    from datetime import timedelta

    from rich.console import Console

    from archiver.core.trimming import Trims
    from archiver.settings import Loaded, Settings


def trim(
    context: typer.Context,
    older: Annotated[
        str,
        typer.Option("--older", metavar="SPAN", help="Of tasks that ended longer ago: 30d, 8w.", show_default=False),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Remove stems and history of archived tasks from the ledger, of each once its manifest is proven to hold them.

    It keeps the task with its account and times, the number of its stems, their bytes, and a digest of its folder. What
    is lost, failed or missing stays whole. It works beside the service. The file of a SQLite ledger does not shrink,
    but its pages are used again; `ledger backup` and `ledger restore` make a small one.

    Exit codes: 0 all that were due; 1 some manifest is missing, broken or says something else, and is named; 2 usage,
    or SPAN is shorter than provider.retention and schedule.grace_after_deadline; 3 the store, or the ledger; 130, 143
    signal.

    Example: stem-archiver ledger trim --older 30d
    """
    loaded = settings_of(context, "store.bucket")
    trims = _trimmed(loaded, _span(loaded.settings, older), quiet=as_json or call_of(context).quiet)
    code = Exit.UNARCHIVED if trims.left else Exit.DONE
    if as_json:
        _print_json(trims, code)
    else:
        _print_trims(terminal(), trims)
    raise typer.Exit(code)


def _trimmed(loaded: Loaded, span: timedelta, *, quiet: bool) -> Trims:
    """Trim what ended so long ago; return the sum."""
    from archiver.app.clock import utc_now
    from archiver.app.trimming import trimming
    from archiver.service.shutdown import Shutdown

    settings, shutdown, progress = loaded.settings, Shutdown(), Progress(terminal(err=True), quiet=quiet)
    with (
        faults(),
        shutdown.on_signals(),
        breaks(shutdown),
        ledger_of(loaded) as ledger,
        trimming(
            settings,
            ledger,
            quiet_log(settings),
            wait=waiting(shutdown),
            stopped=lambda: shutdown.asked,
            shown=lambda so_far: progress.show(_line(so_far)),
        ) as work,
    ):
        at_work()
        trims = work.run(utc_now() - span)
    progress.end()
    return trims


def _span(settings: Settings, text: str) -> timedelta:
    """Return the span; end with USAGE for none, or one so short that a link of the task might live."""
    from archiver.app.trimming import shortest
    from archiver.commands.format import span
    from archiver.settings import parse_duration

    try:
        asked = parse_duration(text)
    except (ValueError, OverflowError):
        fail(f"--older {text!a} is no span", Exit.USAGE, "write it like 30d or 500h")
    if asked < (least := shortest(settings)):
        fail(
            f"--older {text} is too short: it must be {span(least)} or more",
            Exit.USAGE,
            "until then (provider.retention and schedule.grace_after_deadline) a task may need what would be removed",
        )
    return asked


def _line(trims: Trims) -> str:
    return f"{trims.tasks} tasks trimmed, {trims.left} left alone"


def _print_json(trims: Trims, code: Exit) -> None:
    from archiver.commands.format import print_json

    print_json({**asdict(trims), "exit_code": int(code)}, sys.stdout)


def _print_trims(console: Console, trims: Trims) -> None:
    from archiver.commands.format import counted, size
    from archiver.commands.printing import say

    for left in trims.named:
        say(console, f" {left.task_id}: {left.reason}", mark="left alone")
    if more := trims.left - len(trims.named):
        say(console, f" and {more} more", mark="left alone")
    freed = "" if trims.bytes is None else f", {size(trims.bytes)} free to be used again"
    say(console, f"{counted(trims.tasks, 'task')} trimmed: {counted(trims.rows, 'row')} removed{freed}")
    if trims.renewed:
        say(console, f"{counted(trims.renewed, 'manifest')} of format 1 replaced by one of format 2")
    spent = f"{counted(trims.requests, 'request')} in {trims.seconds:.1f} s"
    say(console, f"{counted(trims.left, 'task')} left alone; {spent}")
