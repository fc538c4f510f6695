"""`rebuild`: the ledger out of the bucket, and the two compared. Heavy imports happen inside."""

from __future__ import annotations

import sys
from collections.abc import Iterator
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
    from rich.console import Console

    from archiver.core.rebuilding import Found, Totals
    from archiver.core.whole_task import Difference
    from archiver.preservation.comparison import Comparison
    from archiver.settings import Loaded

_NEEDED = "store.bucket"
_FORMAT_1 = (
    "their tasks come back without source, account, the time of the first question, attempts and history: "
    "manifests of format 1 do not tell them"
)
_LATE = {"account", "kind", "title", "parent"}
_NAMED_LATE = (
    "an account, kind, title or parent that a line named after the task's end stands in no manifest: a rebuild loses it"
)


def rebuild(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: compare a ledger that is at work with the bucket.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Fill an empty ledger from the bucket: from the manifests, the newest backup, and objects without a manifest.

    Nobody may work on the ledger meanwhile: `run`, `worker` and `backfill` refuse to start until it has ended. Killed,
    it goes on where it was when it is run again. It asks no provider and writes nothing into the bucket.

    An account, kind, title or parent that a line named once the task had ended stands in no manifest: --check names it,
    and a rebuild loses it.

    Exit codes: 0 everything was understood (--check: nothing differs); 1 something was not, and is named; 2 the ledger
    has tasks, or settings; 3 the store, or the ledger; 130, 143 signal.

    Example: stem-archiver rebuild && stem-archiver rebuild --check
    """
    loaded = settings_of(context, _NEEDED)
    quiet = as_json or call_of(context).quiet
    raise typer.Exit((_compare if check else _rebuild)(loaded, as_json=as_json, quiet=quiet))


def _rebuild(loaded: Loaded, *, as_json: bool, quiet: bool) -> int:
    from archiver.app.rebuild import rebuilding
    from archiver.core.rebuilding import LedgerFull
    from archiver.service.shutdown import Shutdown

    shutdown, progress = Shutdown(), Progress(terminal(err=True), quiet=quiet)
    with faults(), shutdown.on_signals(), breaks(shutdown):
        try:
            with rebuilding(
                loaded.settings,
                quiet_log(loaded.settings),
                wait=waiting(shutdown),
                stopped=lambda: shutdown.asked,
                shown=lambda found: progress.show(_line(found)),
            ) as work:
                at_work()
                found, totals = work.run()
        except LedgerFull as full:
            fail(str(full), Exit.USAGE, full.hint)
    progress.end()
    code = _code(found)
    if as_json:
        _print_json({**asdict(found), "ledger": asdict(totals), "exit_code": int(code)})
    else:
        _print_found(terminal(), found, totals)
    return code


def _compare(loaded: Loaded, *, as_json: bool, quiet: bool) -> int:
    from archiver.app.rebuild import comparing
    from archiver.service.shutdown import Shutdown

    shutdown, progress = Shutdown(), Progress(terminal(err=True), quiet=quiet)
    with (
        faults(),
        shutdown.on_signals(),
        breaks(shutdown),
        ledger_of(loaded) as ledger,
        comparing(
            loaded.settings,
            ledger,
            quiet_log(loaded.settings),
            wait=waiting(shutdown),
            stopped=lambda: shutdown.asked,
            shown=lambda found: progress.show(_line(found)),
        ) as work,
    ):
        at_work()
        if as_json:
            return _print_comparison(work)
        count, is_late = _print_differences(work.run())
    progress.end()
    _print_compared(terminal(), work.found, count)
    if is_late:
        typer.echo(_NAMED_LATE)
    return _code(work.found, count)


def _code(found: Found, differences: int = 0) -> Exit:
    return Exit.UNARCHIVED if differences or not found.understood else Exit.DONE


def _print_differences(differences: Iterator[Difference]) -> tuple[int, bool]:
    """Print each as it comes; return their number, and whether any may have been named after the task's end."""
    from archiver.commands.format import jsonable
    from archiver.commands.printing import say

    console, count, is_late = terminal(), 0, False
    for count, each in enumerate(differences, start=1):  # noqa: B007 - how many there were
        sides = f"ledger {jsonable(each.ledger)!a}, bucket {jsonable(each.bucket)!a}"
        say(console, f" {each.task_id} {each.column}: {sides}", mark="differs")
        is_late |= each.column in _LATE
    return count, is_late


def _print_comparison(work: Comparison) -> int:
    """Print one object, its differences as they come; return the exit code."""
    count = 0

    def differences() -> Iterator[Difference]:
        nonlocal count
        for each in work.run():
            count += 1
            yield each

    _print_json(
        {
            "differences": differences(),
            "compared": lambda: {"tasks": work.found.tasks, "folders": work.found.folders},
            "broken": lambda: work.found.broken,
            "foreign": lambda: work.found.foreign,
            "named": lambda: list(work.found.named),
            "exit_code": lambda: int(_code(work.found, count)),
        }
    )
    return _code(work.found, count)


def _line(found: Found) -> str:
    return f"{found.folders} folders, {found.tasks} tasks, {found.broken + found.foreign} not understood"


def _print_found(console: Console, found: Found, totals: Totals) -> None:
    from archiver.commands.format import counted, size
    from archiver.commands.printing import say

    _print_named(console, found)
    states = ", ".join(f"{count} {state}" for state, count in sorted(totals.tasks.items()))
    stored = totals.stems.get("stored", 0)
    say(console, f"{counted(sum(totals.tasks.values()), 'task')} in the ledger{states and f': {states}'}")
    say(console, f"{counted(stored, 'stem')} stored, {size(totals.stored_bytes)}")
    say(console, f"{counted(found.adopted, 'object')} without a manifest adopted")
    say(console, f"backup taken first: {found.backup or 'there is none that can be read'}")
    if found.format_1:
        say(console, f"{counted(found.format_1, 'manifest')} of format 1; {_FORMAT_1}")
    spent = f"{found.pages} listings and {found.requests} other requests in {found.seconds:.1f} s"
    say(console, f"{counted(found.folders, 'folder')}, {found.broken} broken, {found.foreign} foreign; {spent}")


def _print_compared(console: Console, found: Found, count: int) -> None:
    from archiver.commands.format import counted
    from archiver.commands.printing import say

    _print_named(console, found)
    compared = f"{counted(found.tasks, 'task')} of the ledger and {counted(found.folders, 'folder')} of the bucket"
    say(console, f"{compared} compared: {counted(count, 'difference')}, {found.broken + found.foreign} not understood")


def _print_named(console: Console, found: Found) -> None:
    from archiver.commands.printing import say

    for trouble in found.named:
        say(console, f" {trouble.folder}: {trouble.reason}", mark="not understood")
    more = found.broken + found.foreign - len(found.named)
    if more > 0:
        say(console, f" and {more} more", mark="not understood")


def _print_json(value: dict[str, object]) -> None:
    from archiver.commands.format import print_json

    print_json(value, sys.stdout)
