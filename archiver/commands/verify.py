"""`verify`: the bucket, the ledger and the manifests held against each other. Heavy imports happen inside."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.commands.completion import SomeTasks
from archiver.commands.halts import Break, quiet_log, waiting
from archiver.commands.invocation import (
    Exit,
    JsonFlag,
    at_work,
    call_of,
    fail,
    faults,
    ledger_of,
    settings_of,
    task_ids,
)
from archiver.core.levels import Level

if TYPE_CHECKING:
    from archiver.adapters.ledger import SqlLedger
    from archiver.commands.verifying import FixityPrinter
    from archiver.core.fixity import Judged
    from archiver.core.fixity_cost import Plan
    from archiver.core.model import TaskId
    from archiver.preservation.verification import Verification
    from archiver.settings import Settings


LevelOption = Annotated[
    Level,
    typer.Option(
        "--level",
        help="list: sizes and ETags of a listing. head: the checksums that the store tells; not the bytes. "
        "read: every byte, by its SHA-256.",
    ),
]
CostOption = Annotated[
    float | None,
    typer.Option("--max-cost", metavar="AMOUNT", min=0, help="Begin nothing that costs more.", show_default=False),
]

AnewOption = Annotated[bool, typer.Option("--anew", help="Go on with no check that broke off: begin from the start.")]
ReportsOption = Annotated[
    bool, typer.Option("--reports", help="Hold the daily reports of checks against each other, and nothing else.")
]


def verify(
    context: typer.Context,
    ids: SomeTasks = None,
    level: LevelOption = Level.LIST,
    plan: Annotated[bool, typer.Option("--plan", help="Print what it would cost. Asks the store nothing.")] = False,
    max_cost: CostOption = None,
    anew: AnewOption = False,
    reports: ReportsOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Hold the bucket, the ledger and the manifests against each other: the whole archive, or the tasks named.

    It mends, deletes and overwrites nothing. Beside tasks it reads one object at a time. verify.prices tells its costs.

    One that broke off less than a day ago, of the same level and tasks, is gone on with where it was.

    The ledger keeps each fault until a later check finds it mended; `status` counts them. One that `ack --fault`
    acknowledged is named, and changes no exit code.
    The bucket gets a sealed report of each day with checks.

    Exit codes: 0 every object was judged, none at fault; 1 a fault, which is named; 2 usage, settings, or above the
    cost limit; 3 something could not be read, the store or the ledger; 130, 143 signal.

    Example: stem-archiver verify --level read --max-cost 10
    """
    loaded = settings_of(context, "store.bucket")
    settings, wanted = loaded.settings, list(dict.fromkeys(task_ids(ids))) if ids else None
    most = _limit(settings, max_cost)
    with ledger_of(loaded) as ledger:
        if reports:
            raise typer.Exit(_reports_held(settings, ledger, as_json=as_json))
        from archiver.app.verify import plan as planned

        ahead = planned(settings, ledger, level, wanted)
        if plan:
            _print_plan(settings, ahead, as_json=as_json)
        else:
            _refuse_dear(ahead, most)
            quiet = call_of(context).quiet
            raise typer.Exit(_verified(settings, ledger, _Request(ahead, wanted, most, anew, as_json, quiet)))


def _refuse_dear(ahead: Plan, most: float | None) -> None:
    if most is not None and ahead.price > most:
        fail(
            f"it would cost {_price(ahead)}, more than {most:.2f}: nothing was begun",
            Exit.USAGE,
            "`verify --plan` tells why; raise --max-cost, or name fewer tasks or a lighter --level",
        )


def _limit(settings: Settings, max_cost: float | None) -> float | None:
    most = settings.verify.max_cost if max_cost is None else max_cost
    if most is not None and settings.verify.prices.name == "none":
        fail(
            "a cost limit needs prices", Exit.USAGE, "set verify.prices to those of your store: aws, b2, r2, or a table"
        )
    return most


@dataclass(frozen=True, slots=True)
class _Request:
    """The options of one call."""

    ahead: Plan
    ids: list[TaskId] | None
    most: float | None
    anew: bool
    as_json: bool
    quiet: bool


def _price(ahead: Plan) -> str:
    return f"{ahead.price:.2f} {ahead.prices.currency}"


def _print_plan(settings: Settings, ahead: Plan, *, as_json: bool) -> None:
    from datetime import timedelta

    from archiver.commands.format import counted, print_json, size, span
    from archiver.commands.verifying import of_plan

    cold = settings.store.storage_class if settings.store.storage_class in _COLD else None
    if as_json:
        print_json({**of_plan(ahead), "cannot_be_read": cold}, sys.stdout)
        return
    holdings = ahead.holdings
    typer.echo(f"{counted(holdings.tasks, 'task')}, {counted(holdings.objects, 'object')}, {size(holdings.bytes)}")
    typer.echo(
        f"level {ahead.level.value}: {counted(ahead.requests, 'request')} ({ahead.listings} LIST), "
        f"{size(ahead.bytes)} read"
    )
    typer.echo(
        f"price: {_price(ahead)} ({ahead.prices.name or 'your table'})" if ahead.prices.name != "none" else _UNTOLD
    )
    typer.echo(f"at least {span(timedelta(seconds=ahead.seconds))} at the settings' bandwidth and concurrency")
    if cold:
        typer.echo(f"objects of class {cold} cannot be read before the store has thawed them")


_COLD = ("GLACIER", "DEEP_ARCHIVE")
_UNTOLD = "price: not known; set verify.prices to your store's"


def _verified(settings: Settings, ledger: SqlLedger, request: _Request) -> int:
    """Judge, write down what is found, tell of it, and return the exit code."""
    from archiver.app.clock import utc_now
    from archiver.app.fixity import fault_book, write_report
    from archiver.app.verify import Halts, allowance, verification, walking
    from archiver.commands.progress import Tally
    from archiver.commands.verifying import FixityPrinter
    from archiver.preservation.recording import Recording
    from archiver.service.shutdown import Shutdown

    log = quiet_log(settings)
    shutdown, tally = Shutdown(), Tally()
    broken_off = Break("ended before everything was judged", "run it again: it goes on from there")
    extra = allowance(request.ahead, request.most)
    halts = Halts(waiting(shutdown), lambda: shutdown.asked, tally.received)
    opened = verification(settings, ledger, log, request.ahead.level, extra, halts)
    with faults(), shutdown.on_signals(), opened as work:
        at_work()
        walk = walking(settings, ledger, request.ahead.level, request.ids, anew=request.anew)
        work.go_on(walk)
        book = fault_book(ledger, walk)
        recording = Recording(work, book, ledger.checks, utc_now, lambda: tally.bytes_in)
        results = broken_off.guarded(recording.of(work.run(request.ids)))
        printer = FixityPrinter(work, request.ahead, tally, book, lambda: write_report(settings, ledger, log))
        printer.continued = walk.walk if walk.walk.place else None
        printer.quiet = request.quiet
        return _printed(
            printer,
            results,
            broken_off,
            lambda: _exit_code(work, broken_off, shutdown.signal_number),
            as_json=request.as_json,
        )


def _printed(
    printer: FixityPrinter, results: Iterator[Judged], broken_off: Break, code: Callable[[], int], *, as_json: bool
) -> int:
    """Print all, and return the exit code."""
    if as_json:
        printer.print_json(results, lambda: broken_off.message or None, code)
    else:
        printer.print(results, lambda: broken_off.message or None)
        broken_off.say()
    return code()


def _reports_held(settings: Settings, ledger: SqlLedger, *, as_json: bool) -> int:
    """Print the reports that are gone or changed, and return the exit code."""
    from archiver.app.fixity import broken_reports
    from archiver.commands.format import print_json
    from archiver.core.errors import ArchiverError
    from archiver.core.text import visible

    log = quiet_log(settings)
    with faults():
        try:
            found = list(broken_reports(settings, ledger, log))
        except ArchiverError as fault:
            fail(str(fault), Exit.PAUSED, fault.hint)
    code = Exit.UNARCHIVED if found else Exit.DONE
    if as_json:
        said = [{"day": each.day.isoformat(), "why": each.why} for each in found]
        print_json({"reports": said, "exit_code": int(code)}, sys.stdout)
        return code
    for each in found:
        typer.echo(visible(f"report {each.day}: {each.why}"))
    if not found:
        typer.echo("every report is as it was sealed, and none is missing")
    return code


def _exit_code(work: Verification, broken_off: Break, signal_number: int | None) -> int:
    from archiver.core.fixity import Fixity

    if signal_number is not None and broken_off.message:
        return Exit.SIGNAL + signal_number
    if work.totals.faults > work.totals.acknowledged or work.totals.unlisted:
        return Exit.UNARCHIVED
    return Exit.PAUSED if broken_off.message or work.totals.verdicts[Fixity.UNREAD] else Exit.DONE
