"""`backfill`, and its dry run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.commands.halts import quiet_log
from archiver.commands.invocation import (
    FOR_WORK,
    Exit,
    JsonFlag,
    at_work,
    call_of,
    fail,
    faults,
    heeding,
    reading_again,
    settings_of,
    terminal,
)

if TYPE_CHECKING:
    from rich.console import Console

    from archiver.app.assembly import Parts
    from archiver.commands.progress import Tally
    from archiver.commands.screen import Source
    from archiver.ports.runtime import EventLog
    from archiver.service.backfill import BackfillResult
    from archiver.service.shutdown import Shutdown
    from archiver.settings import Settings


def backfill(
    context: typer.Context,
    file: Annotated[str | None, typer.Argument(metavar="FILE|-", help="Ids, one a line; default: queue.path.")] = None,
    as_json: JsonFlag = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be fetched and stored; store nothing.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Take at most N ids there is work on.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for tasks that are still PENDING.")] = True,
    max_wait: Annotated[str, typer.Option("--max-wait", metavar="SPAN", help="How long to wait, once idle.")] = "15m",
) -> None:
    """Archive the ids of FILE, of standard input (-), or of the queue file, and end when each has ended.

    The lines are those of a queue file: ID, or ID account=NAME, or JSON.

    SIGHUP reads the settings again, unless at a terminal: there it says that this is gone, and ends it.

    Running it again does no work twice. With -v every step is logged, also on a terminal; with -q nothing but errors.

    Exit codes: 0 all archived; 1 some task not; 2 usage or settings; 3 paused, the ledger failed, or the
    store overwrites; 130, 143 signal.

    Example: echo 3e63b4cc88d52611159371f6af5571e7 | stem-archiver backfill -
    """
    loaded = settings_of(context, *FOR_WORK)
    from archiver.settings import parse_duration

    try:
        patience = parse_duration(max_wait)
    except ValueError as error:
        fail(f"--max-wait {error}", Exit.USAGE, "write it like 90s, 15m or 2h")
    call, read = call_of(context), reading_again(context, loaded, *FOR_WORK)
    request = Request(
        file, as_json, limit, wait, patience, level_is_said=bool(call.settings()), quiet=call.quiet, read=read
    )
    raise typer.Exit((preview if dry_run else archive)(loaded.settings, request))


@dataclass(frozen=True, slots=True)
class Request:
    """The options of one backfill."""

    file: str | None
    as_json: bool
    limit: int | None
    wait: bool
    max_wait: timedelta
    level_is_said: bool
    """True where the command line says what is logged: on a terminal, too, then."""
    quiet: bool
    read: Callable[[], Settings]
    """Reads the settings again; raises SettingsFault."""


def archive(settings: Settings, request: Request) -> int:
    """Archive the ids, print the result, and return the exit code."""
    from archiver.app.assembly import Role, assembled
    from archiver.app.backfill import Viewer, backfill, intakes, rotation_of
    from archiver.app.descriptors import raise_limit
    from archiver.app.rotation import FileWatch
    from archiver.commands.progress import Tally
    from archiver.commands.screen import Screen
    from archiver.service.backfill import BackfillOptions
    from archiver.service.shutdown import Shutdown
    from archiver.service.supervision import Hangup

    console = terminal(err=True)
    for_people = console.is_terminal or settings.log.format == "console"
    log = _log(settings, for_people=for_people, calm=console.is_terminal and not request.level_is_said)
    raise_limit(log)
    shutdown, hangup, files, tally = Shutdown(), Hangup(), FileWatch.of(settings), Tally()
    with (
        shutdown.on_signals(),
        heeding(hangup),
        faults() if for_people else _faults_as_events(log),
        assembled(settings, Role.BACKFILL, log=log, observer=tally, asked=lambda: shutdown.asked) as parts,
    ):
        at_work()
        source = _source(parts, tally, shutdown)
        batches = source.reading(intakes(request.file, settings.queue.path))
        options = BackfillOptions(request.limit, request.wait, request.max_wait)
        with Screen(console, source, quiet=request.as_json or request.quiet, log=None if for_people else log) as screen:
            rotate = rotation_of(parts, hangup, files, request.read)
            result = backfill(parts, batches, options, shutdown, Viewer(screen.update, screen.stopping), rotate)
    code = exit_code(result, shutdown.signal_number)
    if request.quiet and not request.as_json:
        return code
    _print(result, tally, code, as_json=request.as_json, console=console if for_people else None)
    return code


def _log(settings: Settings, *, for_people: bool, calm: bool) -> EventLog:
    """Return the log: lines for people, or events as JSON."""
    from archiver.commands.progress import current_stderr
    from archiver.logs import configure
    from archiver.service.alerts import ALERTS

    level = "warning" if calm else settings.log.level
    stream, secrets = current_stderr(), settings.secrets()
    return configure(level, "console" if for_people else "json", stream, secrets=secrets, alerted=ALERTS)


def _source(parts: Parts, tally: Tally, shutdown: Shutdown) -> Source:
    from archiver.commands.screen import Source

    return Source(
        tally,
        parts.machine.clock,
        moving=parts.adapters.transfers.under_way,
        working=lambda: parts.dispatcher.working,
        next_in=parts.adapters.accounts.next_in,
        stopping=lambda: shutdown.asked,
    )


def _print(result: BackfillResult, tally: Tally, code: int, *, as_json: bool, console: Console | None) -> None:
    """Print the result; to people on `console`, or None: on standard output, unless that is the stream of events."""
    from archiver.commands.format import print_json
    from archiver.commands.printing import print_result, result_summary

    if as_json:
        print_json(result_summary(result, tally, code), sys.stdout)
    elif console is not None or not _is_one_stream():
        print_result(console or terminal(), result, tally)


def _is_one_stream() -> bool:
    """Return whether standard output and standard error go to the same file, or pipe."""
    try:
        return os.path.samestat(os.fstat(1), os.fstat(2))
    except OSError:
        return True


@contextmanager
def _faults_as_events(log: EventLog) -> Iterator[None]:
    """Do as `faults`, but on a stream of events: the fault is one more of them."""
    from archiver.core.errors import LedgerFault
    from archiver.ports.work import QueueUnreadable

    with faults():
        try:
            yield
        except (LedgerFault, QueueUnreadable) as fault:
            code = Exit.PAUSED if isinstance(fault, LedgerFault) else Exit.USAGE
            said = {"error": str(fault), "hint": fault.hint, "exit_code": int(code)}
            log.error("backfill.failed", **said)  # noqa: TRY400 - the operator's to mend: no traceback
            raise typer.Exit(code) from None


def exit_code(result: BackfillResult, signal_number: int | None) -> int:
    """Return the exit code of a backfill that ended so."""
    from archiver.service.backfill import Verdict

    if result.verdict is Verdict.STOPPED and signal_number is not None:
        return Exit.SIGNAL + signal_number
    codes = {Verdict.DONE: Exit.DONE, Verdict.PAUSED: Exit.PAUSED}
    return codes.get(result.verdict, Exit.UNARCHIVED)


def preview(settings: Settings, request: Request) -> int:
    """Print the stems that would be archived, and return the exit code."""
    from archiver.app.backfill import intakes
    from archiver.app.preview import preview as previewed
    from archiver.commands.format import print_json
    from archiver.commands.printing import print_preview

    log = quiet_log(settings)
    with faults():
        at_work()
        previews = previewed(settings, intakes(request.file, settings.queue.path), limit=request.limit, log=log)
        if request.as_json:
            print_json({"tasks": list(previews)}, sys.stdout)
        else:
            print_preview(terminal(), previews)
    return Exit.DONE
