"""`status`, `list` and `show`: what the ledger says to people."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.commands.completion import TaskArgument
from archiver.commands.invocation import Exit, JsonFlag, fail, ledger_of, settings_of, task_ids, terminal
from archiver.commands.naming import fail_unknown

if TYPE_CHECKING:
    from archiver.adapters.ledger import SqlLedger
    from archiver.commands.overview import StoreStanding, Surroundings
    from archiver.core.attention import Need
    from archiver.core.reports import TaskQuery, TaskRow
    from archiver.core.states import TaskState
    from archiver.settings import Loaded, Settings


def status(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Say what needs a person, what is at work, how far the queue file is read, and what is paused.

    A person is needed by each task that is lost, failed, missing, refused, quarantined or at risk, by a rejected line,
    and by a queue file that was not read for three polls; `ack` acknowledges, and it counts no longer. The first 20 are
    named, all with --json. So it is by what `verify` found lost or damaged, until it finds it mended.

    Exit codes: 0 all is well; 1 anything needs a person; 2 settings, no ledger; 3 a pause, or the ledger failed.

    Example: stem-archiver status --json
    """
    loaded = settings_of(context)
    from archiver.app.clock import utc_now
    from archiver.app.jobs import job_counts
    from archiver.app.standing import fixity_standing
    from archiver.commands.format import print_json
    from archiver.commands.overview import print_fixity, print_jobs, print_overview, print_surroundings
    from archiver.core.attention import is_held_up, needs_person

    settings, now = loaded.settings, utc_now()
    at_risk, retention = settings.schedule.at_risk, settings.provider.retention
    with ledger_of(loaded) as ledger:
        overview = ledger.reports.overview(now=now, at_risk=at_risk, retention=retention)
        around = _surroundings(loaded, ledger, now)
        jobs, fixity = job_counts(settings), fixity_standing(settings, ledger, now)
        needed = needs_person(overview.needs, overview.rejected_lines, queue_is_overdue=around.queue_is_overdue)
        needed = needed or fixity.needs_person
        code = Exit.UNARCHIVED if needed else Exit.PAUSED if is_held_up(overview.pauses, now) else Exit.DONE
        if as_json:
            says = {**asdict(overview), **_as_json(around), "fixity": fixity, "exit_code": int(code)}
            says |= {} if jobs is None else {"jobs": jobs}
            all_needing = ledger.reports.needing(now=now, at_risk=at_risk, retention=retention)
            print_json({**says, "needing": all_needing}, sys.stdout)
    if not as_json:
        print_surroundings(terminal(), around, now)
        print_overview(terminal(), overview, now)
        print_fixity(terminal(), fixity)
        if jobs is not None:
            print_jobs(terminal(), jobs)
    raise typer.Exit(code)


def _surroundings(loaded: Loaded, ledger: SqlLedger, now: datetime) -> Surroundings:
    from archiver.app.places import store_name, store_place
    from archiver.app.standing import queue_standing, seen_processes
    from archiver.commands.overview import StoreStanding, Surroundings

    settings = loaded.settings
    queue = queue_standing(settings, ledger)
    seen = seen_processes(settings, ledger.reports.processes(), now)
    return Surroundings(
        settings_file="" if loaded.config is None else str(loaded.config.absolute()),
        ledger=ledger.db.where,
        queue=queue,
        queue_is_overdue=queue.is_overdue(now, settings.queue.poll_interval),
        processes=[(each.process, each.alive) for each in seen],
        store=StoreStanding(store_place(settings), settings.store.create_only, ledger.proofs.of(store_name(settings))),
        full_in=_full_in(settings, ledger, now),
    )


def _full_in(settings: Settings, ledger: SqlLedger, now: datetime) -> timedelta | None:
    """Return when the ledger's disk will be full, where that is near."""
    from archiver.app.ledger import ledger_room
    from archiver.core.room import LOOKED_BACK, NEAR

    try:
        room = ledger_room(settings, ledger)
    except OSError:
        return None
    lasts = None if room is None else room.lasts(ledger.trimming.accepted_since(now - LOOKED_BACK))
    return lasts if lasts is not None and lasts < NEAR else None


def _as_json(around: Surroundings) -> dict[str, object]:
    return {
        "settings_file": around.settings_file or None,
        "ledger": around.ledger,
        "ledger_full_in_seconds": None if around.full_in is None else round(around.full_in.total_seconds()),
        "queue": {**asdict(around.queue), "overdue": around.queue_is_overdue},
        "processes": [{**asdict(process), "alive": alive} for process, alive in around.processes],
        "store": _store_as_json(around.store),
    }


def _store_as_json(store: StoreStanding) -> dict[str, object]:
    proof = store.proof
    return {
        "place": store.place,
        "create_only": store.demand,
        "proven_at": None if proof is None else proof.at,
        "can": None if proof is None else asdict(proof.known),
        "gaps": [gap._asdict() for gap in store.gaps],
    }


# ---------------------------------------------------------------------- list

_OPEN_NEEDS = ("refused", "quarantined", "at_risk")


def list_tasks(
    context: typer.Context,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="queued, listed, archived, lost, failed, missing; or refused, ..., at_risk.",
        ),
    ] = None,
    account: Annotated[str | None, typer.Option("--account", metavar="NAME", help="Only that account's.")] = None,
    since: Annotated[
        str,
        typer.Option("--since", metavar="TIME", help="Accepted since: 2h, 3d, 2026-11-01, 2026-11-01T08:00 (UTC)."),
    ] = "",
    grep: Annotated[
        str,
        typer.Option(
            "--grep", metavar="TEXT", help="Only with that text in id, title, source, account, stem or reason."
        ),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=0, metavar="N", help="At most so many; 0 for all.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="Also what was acknowledged.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List tasks, those accepted last first: id, state, when it was accepted, what is wrong.

    Exit codes: 0 listed, or none; 2 usage or settings; 3 the ledger failed.

    Example: stem-archiver list --state missing --since 7d
    """
    from archiver.app.clock import utc_now

    now = utc_now()
    query = _query(now, state=state, account=account, since=since, text=grep, acknowledged=everything)
    _print_newest(settings_of(context), query, now, limit=limit, as_json=as_json)


def _print_newest(loaded: Loaded, query: TaskQuery, now: datetime, *, limit: int, as_json: bool) -> None:
    from archiver.commands.format import print_json
    from archiver.commands.overview import print_list

    at_risk, retention = loaded.settings.schedule.at_risk, loaded.settings.provider.retention
    with ledger_of(loaded) as ledger:
        found = ledger.reports.newest(query, now=now, at_risk=at_risk, retention=retention)
        shown = islice(found, min(limit, sys.maxsize)) if limit else found
        if as_json:
            print_json({"tasks": shown, "more": lambda: next(found, None) is not None}, sys.stdout)
            return
        print_list(terminal(), shown, now)
        if next(found, None) is not None:
            typer.echo(f"and more: --limit 0 lists all, --limit {2 * limit} twice as many", err=True)


def _query(
    now: datetime,
    *,
    state: str | None,
    account: str | None,
    since: str,
    text: str,
    acknowledged: bool,
) -> TaskQuery:
    from archiver.core.model import AccountName
    from archiver.core.reports import TaskQuery
    from archiver.core.states import OPEN_TASK_STATES, TaskState

    word = None if state is None else _word(state)
    need = need_named(word) if word in _OPEN_NEEDS else None
    if word is None:
        states = tuple(TaskState)
    elif need is not None:
        states = tuple(each for each in TaskState if each in OPEN_TASK_STATES)
    else:
        states = (_state_named(word),)
    return TaskQuery(
        states=states,
        need=need,
        account=None if account is None else AccountName(account),
        since=None if not since else _moment(since, now),
        text=text,
        acknowledged=acknowledged,
    )


def _word(text: str) -> str:
    return text.strip().lower().replace("-", "_").replace(" ", "_")


def _state_named(word: str) -> TaskState:
    from archiver.core.states import TaskState

    try:
        return TaskState(word)
    except ValueError:
        fail(f"--state {word!a} is none", Exit.USAGE, f"there are: {', '.join((*TaskState, *_OPEN_NEEDS))}")


def need_named(text: str) -> Need:
    """Return the reason of that name why a task needs a person; end with USAGE where there is none."""
    from archiver.core.attention import Need

    try:
        return Need(_word(text))
    except ValueError:
        fail(f"--state {text!a} needs nobody", Exit.USAGE, f"there are: {', '.join(Need)}")


def _moment(text: str, now: datetime) -> datetime:
    """Return the moment: a span before now, or a date, or a time of day of one, in UTC where no zone is named."""
    from archiver.settings import parse_duration

    try:
        return now - parse_duration(text)
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        fail(f"--since {text!a} is no time", Exit.USAGE, "write it like 2h, 3d, 2026-11-01 or 2026-11-01T08:00 (UTC)")


# ---------------------------------------------------------------------- show


def show(context: typer.Context, task: TaskArgument, as_json: JsonFlag = False) -> None:
    """Show one task: its stems, receipts, attempts, history and next try.

    Of a task that was trimmed (`ledger trim`) its manifest tells stems and history: the store is asked for it.

    Exit codes: 0 shown; 1 the ledger does not know it, or a trimmed one's manifest is missing or broken; 2 no id, or
    settings; 3 the ledger, or the store, failed.

    Example: stem-archiver show 3e63b4cc88d52611159371f6af5571e7
    """
    loaded = settings_of(context)
    from archiver.app.clock import utc_now
    from archiver.commands.format import print_json
    from archiver.commands.overview import print_task

    [task_id] = task_ids([task])
    with ledger_of(loaded) as ledger:
        row = ledger.reports.show(task_id)
    if row is None:
        fail_unknown(loaded.settings, task_id)
    shown, code = (row, Exit.DONE) if row.trimmed is None else _by_manifest(context, row)
    if as_json:
        print_json(shown, sys.stdout)
    else:
        print_task(terminal(), shown, utc_now())
    raise typer.Exit(code)


def _by_manifest(context: typer.Context, row: TaskRow) -> tuple[TaskRow, Exit]:
    """Return a task that was trimmed as its manifest has it, or without its stems, and the exit code."""
    from archiver.app.trimming import by_manifest
    from archiver.commands.halts import quiet_log
    from archiver.core.errors import ArchiverError
    from archiver.core.manifest_fields import ManifestBroken

    settings = settings_of(context, "store.bucket").settings
    try:
        return by_manifest(settings, row, quiet_log(settings)), Exit.DONE
    except (ArchiverError, ManifestBroken) as error:
        typer.echo(
            f"stem-archiver: its stems and history stand in its manifest, which cannot be read: {error}", err=True
        )
        return row, Exit.UNARCHIVED if isinstance(error, ManifestBroken) else Exit.PAUSED
