"""`get`, `restore` and `link`: audio out of the archive again. Heavy imports happen inside."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.commands.completion import TaskArgument, TaskArguments
from archiver.commands.halts import Break, quiet_log, waiting
from archiver.commands.invocation import Exit, JsonFlag, at_work, call_of, fail, faults, settings_of, task_ids

if TYPE_CHECKING:
    from archiver.commands.progress import Tally
    from archiver.core.model import AccountName, TaskId
    from archiver.preservation.results import Result
    from archiver.preservation.retrieval import Filter, Retrieval
    from archiver.preservation.wanted import Selection
    from archiver.settings import Settings


class Names(StrEnum):
    """By what folders and files are named."""

    ID = "id"
    TITLE = "title"


StemOption = Annotated[str | None, typer.Option("--stem", metavar="NAME", help="One stem alone, e.g. vocal.")]
NamesOption = Annotated[Names, typer.Option("--names", help="Name folders and files by id, or by title where known.")]
_NEEDED = "store.bucket"
_LONGEST_LINK = timedelta(days=7)
_WHO = (
    "whoever has a link can read its object until it ends; made with temporary credentials it ends with them, at the "
    "latest"
)


def get(
    context: typer.Context,
    ids: TaskArguments,
    stem: StemOption = None,
    into: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the files are written.")] = Path(),
    names: NamesOption = Names.ID,
    as_zip: Annotated[bool, typer.Option("--zip", help="One ZIP archive a task, in the place of a folder.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the stems of a task, its record and its manifest into DIR/ID, proven by their SHA-256. Needs no ledger.

    Run it again after a break: what stands there already is compared, and not fetched twice. A file that differs is
    left alone.

    Exit codes: 0 all stands there and is proven; 1 something does not, and is named; 2 usage or settings; 3 the store
    or the disk; 130, 143 signal.

    Example: stem-archiver get 3e63b4cc88d52611159371f6af5571e7 -o ~/Music/stems --names title
    """
    loaded, wanted = settings_of(context, _NEEDED), list(dict.fromkeys(task_ids(ids)))
    request = _Request(into, stem, names is Names.TITLE, as_json, wanted, as_zip=as_zip, quiet=call_of(context).quiet)
    raise typer.Exit(_retrieve(loaded.settings, request))


def restore(
    context: typer.Context,
    into: Annotated[Path, typer.Argument(metavar="DIR", help="Where the folders are written.")],
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Tasks that ended then or later; UTC if not told.")
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", metavar="NAME", help="Tasks of that account alone.")
    ] = None,
    names: NamesOption = Names.ID,
    as_json: JsonFlag = False,
) -> None:
    """Write the whole archive into DIR, a folder a task, proven by their SHA-256. Needs no ledger.

    Run it again after a break: what stands there already is compared, and not fetched twice. A file that differs is
    left alone.

    Exit codes: 0 all stands there and is proven; 1 something does not, and is named; 2 usage or settings; 3 the store
    or the disk; 130, 143 signal.

    Example: stem-archiver restore /mnt/disk/stems --since 2026-01-01
    """
    loaded = settings_of(context, _NEEDED)
    from archiver.preservation.retrieval import Filter

    filter_ = Filter(_moment(since), _account(account))
    quiet = call_of(context).quiet
    request = _Request(into, None, names is Names.TITLE, as_json, filter=filter_, quiet=quiet)
    raise typer.Exit(_retrieve(loaded.settings, request))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--since {text!a} is no time", Exit.USAGE, "write it like 2026-01-31 or 2026-01-31T18:00:00+01:00")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _account(text: str | None) -> AccountName | None:
    from archiver.core.model import account_name

    try:
        return None if text is None else account_name(text)
    except ValueError as error:
        fail(f"--account: {error}", Exit.USAGE)


@dataclass(frozen=True, slots=True)
class _Request:
    """The options of one call."""

    into: Path
    stem: str | None
    titles: bool
    as_json: bool
    ids: list[TaskId] | None = None
    """None for the whole archive."""
    filter: Filter | None = None
    as_zip: bool = False
    quiet: bool = False

    def selection(self) -> Selection:
        """Return what is wanted of each task."""
        from archiver.preservation.wanted import Selection

        return Selection(self.stem, self.titles)


def _retrieve(settings: Settings, request: _Request) -> int:
    """Fetch, tell of it, and return the exit code."""
    from archiver.app.retrieval import opened, retrieval
    from archiver.commands.progress import Tally
    from archiver.commands.retrieving import Teller
    from archiver.service.shutdown import Shutdown

    log, shutdown, tally = quiet_log(settings), Shutdown(), Tally()
    wait = waiting(shutdown)
    broken_off = Break("stopped; run it again to go on", into=request.into)
    with (
        faults(),
        shutdown.on_signals(),
        opened(settings, log, wait=wait, stopped=lambda: shutdown.asked, received=tally.received) as fetching,
        retrieval(settings, fetching, request.into, request.selection(), filter_=request.filter) as work,
    ):
        at_work()
        results = broken_off.guarded(_results(work, request))

        def code() -> int:
            return _exit_code(work, broken_off, shutdown.signal_number)

        if request.as_json:
            _print_json(results, work, broken_off, tally, code)
        else:
            Teller(work.totals, tally, quiet=request.quiet).tell(results)
            broken_off.say()
        return code()


def _results(work: Retrieval, request: _Request) -> Iterator[Result]:
    if request.ids is None:
        return work.everything()
    if not request.as_zip:
        return work.run(request.ids)
    from archiver.preservation.zipped import Zips

    return Zips(work).run(request.ids)


def _exit_code(work: Retrieval, broken_off: Break, signal_number: int | None) -> int:
    if broken_off.message:
        return Exit.PAUSED if signal_number is None else Exit.SIGNAL + signal_number
    if work.totals.faults:
        return Exit.UNARCHIVED
    return Exit.PAUSED if work.totals.unread else Exit.DONE


def _print_json(
    results: Iterator[Result], work: Retrieval, broken_off: Break, tally: Tally, code: Callable[[], int]
) -> None:
    """Print one object; its files as they come."""
    from archiver.commands.format import print_json
    from archiver.commands.retrieving import summary

    files = (
        {
            "task_id": each.task_id,
            "path": each.path,
            "stem": each.stem or None,
            "verdict": each.verdict,
            "bytes": each.size,
            "sha256": each.sha256 or None,
            "detail": each.detail,
            "hint": each.hint,
        }
        for each in results
    )
    print_json(
        {
            "files": files,
            "summary": lambda: summary(work.totals, tally),
            "error": lambda: broken_off.message or None,
            "exit_code": code,
        },
        sys.stdout,
    )


def link(
    context: typer.Context,
    task: TaskArgument,
    stem: StemOption = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="SPAN", help="How long the links hold: at most 7d.")
    ] = "1h",
) -> None:
    """Print a link to each stem of a task, which gives it to whoever has no credentials. Needs no ledger.

    One line a stem: NAME, a tab, URL. The links go to standard output alone, and into no log.

    Exit codes: 0 printed; 1 no such stored stem; 2 usage or settings; 3 the store.

    Example: stem-archiver link 3e63b4cc88d52611159371f6af5571e7 --stem vocal --expires 2d
    """
    loaded, (wanted,) = settings_of(context, _NEEDED), task_ids([task])
    span = _span(expires)
    lines = _links(loaded.settings, wanted, stem, int(span.total_seconds()))
    typer.echo(_WHO, err=True)
    for line in lines:
        typer.echo(line)


def _span(text: str) -> timedelta:
    from archiver.settings import parse_duration

    try:
        span = parse_duration(text)
    except ValueError as error:
        fail(f"--expires {error}", Exit.USAGE, "write it like 90m, 12h or 7d")
    if not timedelta(seconds=1) <= span <= _LONGEST_LINK:
        fail("--expires must be from 1s to 7d", Exit.USAGE, "no signature holds longer")
    return span


def _links(settings: Settings, task: TaskId, stem: str | None, seconds: int) -> list[str]:
    """Return the lines; end where there is no manifest, no such stem, or no answer."""
    from archiver.app.retrieval import links
    from archiver.core.errors import ArchiverError
    from archiver.core.text import visible
    from archiver.preservation.linking import NoLinks

    log = quiet_log(settings)
    try:
        with faults():
            return [f"{visible(name)}\t{url}" for name, url in links(settings, log, task, stem, seconds)]
    except NoLinks as fault:
        fail(visible(str(fault)), Exit.UNARCHIVED, visible(fault.hint))
    except ArchiverError as fault:
        fail(visible(str(fault)), Exit.PAUSED, fault.hint)
