"""Commands and exit codes; no logic. Heavy imports happen inside the commands, so that --help is quick."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from archiver import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from archiver.adapters.ledger import SqlLedger
    from archiver.app.assembly import Role
    from archiver.core.model import AccountName, Dependency, Intake, TaskId
    from archiver.service.backfill import Ending
    from archiver.settings import Loaded, Settings


class Exit(IntEnum):
    """What the exit codes mean, the same for every command."""

    DONE = 0
    UNARCHIVED = 1
    USAGE = 2
    PAUSED = 3
    SIGNAL = 128
    """Plus the signal's number."""


_HELP = (
    "Archives the stems an AI music provider made for you into S3 before they expire.\n\n"
    "Exit codes: 0 all done; 1 some task ended or stands without its audio archived, or, from health, the daemon is "
    "not alive; 2 usage or settings; 3 a paused dependency (bad key, no bucket) or a failing ledger stopped the work; "
    "130 or 143 after a signal in backfill (0 for run)."
)

app = typer.Typer(
    name="stem-archiver",
    help=_HELP,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Look at the settings in effect.", no_args_is_help=True)
app.add_typer(config_app, name="config")
ledger_app = typer.Typer(help="Look after the ledger as a whole.", no_args_is_help=True)
app.add_typer(ledger_app, name="ledger")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Task ids of the separation (not of the music).")]


@dataclass(frozen=True, slots=True)
class Options:
    """What the options before the command say."""

    config: Path | None


def main() -> None:
    """Run the command line.

    The garbage collector rests until `_at_work`: looking again and again through the half million lasting
    objects that a start makes, and once more at the end, would be a quarter of a start's CPU.
    """
    gc.disable()
    try:
        app()
    finally:
        gc.freeze()


def _at_work() -> None:
    """Collect garbage from now on, but not among what the start has made: that lasts as long as the process."""
    gc.freeze()
    gc.enable()


def _fail(message: str, code: Exit, hint: str = "") -> NoReturn:
    typer.echo(f"stem-archiver: {message}", err=True)
    if hint:
        typer.echo(f"  {hint}", err=True)
    raise typer.Exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stem-archiver {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="The settings file (TOML); or $ARCHIVER_CONFIG."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold what stands before the command."""
    del version
    context.obj = Options(config)


# ---------------------------------------------------------------- what several commands need


def _load(context: typer.Context, *need: str) -> Loaded:
    from archiver.core.errors import SettingsFault
    from archiver.settings import load

    try:
        return load(context.obj.config, os.environ, require=frozenset(need))
    except SettingsFault as fault:
        _fail(str(fault), Exit.USAGE)


_FOR_WORK = ("store.bucket", "provider.api_key")


@contextmanager
def _faults() -> Iterator[None]:
    """Turn what an operator can mend into one clear line and an exit code."""
    from archiver.core.errors import LedgerFault, QueueUnreadable, SettingsFault

    try:
        yield
    except SettingsFault as fault:
        _fail(str(fault), Exit.USAGE)
    except LedgerFault as fault:
        _fail(str(fault), Exit.PAUSED, fault.hint)
    except QueueUnreadable as unreadable:
        _fail(str(unreadable), Exit.USAGE, unreadable.hint)
    except OSError as error:
        if error.errno not in {errno.EMFILE, errno.ENFILE}:
            raise
        subject = error.filename or "a connection"
        _fail(f"{subject}: {error.strerror}", Exit.PAUSED, "raise the limit of open files (`ulimit -n`)")


@contextmanager
def _ledger(loaded: Loaded) -> Iterator[SqlLedger]:
    from archiver.app.ledger import open_ledger

    with _faults():
        ledger = open_ledger(loaded.settings)
        try:
            yield ledger
        finally:
            ledger.close()


def _console(*, err: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=err, soft_wrap=True)


def _ids(texts: list[str]) -> list[TaskId]:
    from archiver.core.model import TASK_ID_RULE, task_id

    ids, bad = [], []
    for text in texts:
        try:
            ids.append(task_id(text))
        except ValueError:
            bad.append(text)
    if bad:
        _fail(f"no task id: {', '.join(map(ascii, bad))}", Exit.USAGE, f"a task id is {TASK_ID_RULE}")
    return ids


def _account(settings: Settings, name: str | None) -> AccountName | None:
    known = {str(account): account for account in settings.provider.api_keys()}
    if name is not None and name not in known:
        _fail(f"no account {name!a} in the settings", Exit.USAGE, f"they have: {', '.join(known)}")
    return None if name is None else known[name]


# ---------------------------------------------------------------- the commands


@app.command()
def run(context: typer.Context) -> None:
    """Run the daemon: take in the queue file, archive what is due, watch deadlines; until SIGTERM or SIGINT.

    A first signal drains (what fits into shutdown_grace), a second stops at once. SIGHUP reads the settings again.

    On a PostgreSQL ledger it takes ids in and defers jobs; `stem-archiver worker` does them. Several may run.

    Under systemd it tells how it fares, and feeds the watchdog while it makes progress.

    Exit codes: 0 after a signal; 2 settings; 3 the ledger failed.

    Example: stem-archiver --config /etc/stem-archiver/archiver.toml run
    """
    from archiver.app.assembly import Role

    _serve(context, Role.RUN)


@app.command()
def worker(context: typer.Context) -> None:
    """Work on the jobs that `run` defers on a PostgreSQL ledger; as many as you like, on any machine.

    Started and stopped at will: a first signal drains (what fits into shutdown_grace), a second stops at once.

    What a worker that was killed was at is taken up by the others within 15 seconds.

    Exit codes: 0 after a signal; 2 settings; 3 the ledger failed.

    Example: stem-archiver --config /etc/stem-archiver/archiver.toml worker
    """
    from archiver.app.assembly import Role

    _serve(context, Role.WORKER)


def _serve(context: typer.Context, role: Role) -> None:
    loaded = _load(context, *_FOR_WORK)
    from archiver.app.assembly import service
    from archiver.logs import configure
    from archiver.service.shutdown import Shutdown
    from archiver.service.supervision import Hangup
    from archiver.settings import load

    settings = loaded.settings
    log = configure(settings.log.level, settings.log.format, secrets=settings.secrets())
    shutdown, hangup = Shutdown(), Hangup()

    def read() -> Settings:
        return load(context.obj.config, os.environ, require=frozenset(_FOR_WORK)).settings

    with shutdown.on_signals(), hangup.on_signal(), _faults(), service(settings, role=role, log=log) as ready:
        _at_work()
        ready.run(shutdown, hangup, read)


@app.command()
def backfill(
    context: typer.Context,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE|-]", help="Ids, one a line; default: queue.path.")
    ] = None,
    as_json: JsonFlag = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be fetched and stored; store nothing.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Take at most N unfinished ids.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for tasks that are still PENDING.")] = True,
    max_wait: Annotated[str, typer.Option("--max-wait", metavar="SPAN", help="How long to wait, once idle.")] = "15m",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step, also on a terminal.")] = False,
) -> None:
    """Archive the ids of FILE, of standard input (-), or of the queue file, and end when each has ended.

    The lines are those of a queue file: ID, or ID account=NAME, or JSON.

    Running it again does no work twice.

    Exit codes: 0 all archived; 1 some task not; 2 usage or settings; 3 paused, or the ledger failed; 130, 143 signal.

    Example: echo 3e63b4cc88d52611159371f6af5571e7 | stem-archiver backfill -
    """
    loaded = _load(context, *_FOR_WORK)
    from archiver.settings import parse_duration

    try:
        patience = parse_duration(max_wait)
    except ValueError as error:
        _fail(f"--max-wait {error}", Exit.USAGE, "write it like 90s, 15m or 2h")
    asked = BackfillOptions(file, as_json, limit, wait, patience, verbose)
    raise typer.Exit(_dry_run(loaded, asked) if dry_run else _backfill(loaded, asked))


@app.command()
def enqueue(
    context: typer.Context,
    ids: Ids,
    account: Annotated[
        str | None, typer.Option("--account", metavar="NAME", help="Whose tasks they are; see provider.accounts.")
    ] = None,
) -> None:
    """Append task ids to the queue file.

    A task that is known already moves to the account that is named.

    Exit codes: 0 they are on the disk; 2 no id, an unknown account, or a file that cannot be written.

    Example: stem-archiver enqueue 3e63b4cc88d52611159371f6af5571e7
    """
    loaded = _load(context)
    from archiver.adapters.queue_file import QueueFile

    checked, of_account = _ids(ids), _account(loaded.settings, account)
    if loaded.sources["queue.path"] == "default":
        loaded.settings.queue.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _faults():
        QueueFile(str(loaded.settings.queue.path)).append(checked, of_account)
    typer.echo(f"{len(checked)} appended to {loaded.settings.queue.path}")


@app.command()
def status(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Count tasks by state, and workers and their jobs where there are any; say what is at risk, paused or rejected.

    Exit codes: 0 all is well; 1 anything is lost, refused or at risk; 2 settings; 3 the ledger failed.

    Example: stem-archiver status --json
    """
    loaded = _load(context)
    from archiver.app.clock import utc_now
    from archiver.app.jobs import job_counts
    from archiver.commands.printing import print_jobs, print_json, print_overview
    from archiver.core.states import StemState, TaskState

    now = utc_now()
    with _ledger(loaded) as ledger:
        overview = ledger.overview(now=now, at_risk=loaded.settings.schedule.at_risk)
        jobs = job_counts(loaded.settings)
    if as_json:
        print_json(overview if jobs is None else {**asdict(overview), "jobs": jobs}, sys.stdout)
    else:
        print_overview(_console(), overview, now)
        if jobs is not None:
            print_jobs(_console(), jobs)
    bad = overview.tasks.get(TaskState.LOST, 0) + overview.stems.get(StemState.REFUSED, 0) + overview.at_risk_count
    raise typer.Exit(Exit.UNARCHIVED if bad else Exit.DONE)


@app.command()
def show(context: typer.Context, task: Annotated[str, typer.Argument(metavar="ID")], as_json: JsonFlag = False) -> None:
    """Show one task: its stems, receipts, attempts, history and next try.

    Exit codes: 0 shown; 1 the ledger does not know it; 2 no id, or settings; 3 the ledger failed.

    Example: stem-archiver show 3e63b4cc88d52611159371f6af5571e7
    """
    loaded = _load(context)
    from archiver.app.clock import utc_now
    from archiver.commands.printing import print_json, print_task

    [task_id] = _ids([task])
    with _ledger(loaded) as ledger:
        row = ledger.show(task_id)
    if row is None:
        _fail(f"the ledger does not know {task_id}", Exit.UNARCHIVED, "append it to the queue file first")
    if as_json:
        print_json(row, sys.stdout)
    else:
        print_task(_console(), row, utc_now())


@app.command()
def retry(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]")] = None,
    all_failed: Annotated[
        bool, typer.Option("--all-failed", help="All refused, failed, missing and lost tasks.")
    ] = False,
) -> None:
    """Put refused, failed, missing or lost tasks back to work.

    Exit codes: 0 all that were named; 1 some were left alone; 2 usage or settings; 3 the ledger failed.

    Example: stem-archiver retry --all-failed
    """
    if bool(ids) == all_failed:
        _fail("name task ids, or say --all-failed", Exit.USAGE)
    loaded = _load(context)
    from archiver.app.clock import utc_now

    wanted = _ids(ids) if ids else None
    with _ledger(loaded) as ledger:
        back = ledger.retry(wanted, now=utc_now())
    for task_id in back:
        typer.echo(f"{task_id} is tried again")
    untouched = sorted(set(wanted or ()) - set(back))
    for task_id in untouched:
        typer.echo(f"{task_id} was left alone: it is unknown, archived or still being worked on", err=True)
    raise typer.Exit(Exit.UNARCHIVED if untouched else Exit.DONE)


ProviderFlag = Annotated[bool, typer.Option("--provider", help="Only the provider: nothing is asked.")]
StoreFlag = Annotated[bool, typer.Option("--store", help="Only the store: nothing is fetched or stored.")]


@app.command()
def pause(
    context: typer.Context,
    provider: ProviderFlag = False,
    store: StoreFlag = False,
    span: Annotated[str, typer.Option("--for", metavar="SPAN", help="End by itself after 90s, 15m, 2h ...")] = "",
) -> None:
    """Leave the provider, the store or both alone until `resume`, here and in every process on this ledger.

    A running daemon begins nothing more within seconds and goes on taking ids in; a backfill ends with 3.

    Deadlines go on all the same.

    Exit codes: 0 paused; 2 usage or settings; 3 the ledger failed.

    Example: stem-archiver pause --store --for 2h
    """
    from archiver.app.clock import utc_now
    from archiver.settings import parse_duration

    try:
        until = utc_now() + parse_duration(span) if span else None
    except (ValueError, OverflowError) as error:
        _fail(f"--for {error}", Exit.USAGE, "write it like 90s, 15m or 2h")
    with _ledger(_load(context)) as ledger:
        for dependency in _dependencies(provider=provider, store=store):
            ledger.hold(dependency, until=until, now=utc_now())
            ending = "until `stem-archiver resume`" if until is None else f"until {until:%Y-%m-%d %H:%M:%S} UTC"
            typer.echo(f"{dependency.value} is paused {ending}")


@app.command()
def resume(context: typer.Context, provider: ProviderFlag = False, store: StoreFlag = False) -> None:
    """End the pause of the provider, the store or all, whether `pause` began it or a refusal.

    What is still refused is paused again at the next try.

    Exit codes: 0 also when nothing was paused; 2 settings; 3 the ledger failed.

    Example: stem-archiver resume
    """
    with _ledger(_load(context)) as ledger:
        for dependency in _dependencies(provider=provider, store=store):
            if ledger.lift(dependency):
                typer.echo(f"{dependency.value} is no longer paused")


def _dependencies(*, provider: bool, store: bool) -> list[Dependency]:
    from archiver.core.model import Dependency

    flags = {Dependency.PROVIDER: provider, Dependency.STORE: store, Dependency.ORIGIN: False}
    return [dependency for dependency, wanted in flags.items() if wanted or not (provider or store)]


@app.command()
def health(
    context: typer.Context,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="How long to wait.")] = 3,
) -> None:
    """Ask the running daemon at http.listen whether it is alive and progressing. For supervisors.

    Exit codes: 0 it is; 1 it is not, or does not answer; 2 usage or settings.

    Example: stem-archiver health --timeout 2
    """
    address = _load(context).settings.http.address()
    from archiver.web.health import ask

    if address is None or not address[1]:
        _fail("http.listen names no port to ask at", Exit.USAGE, "set it to host:port, for the daemon and for this")
    alive, said = ask(*address, seconds=timeout)
    typer.echo(said, err=not alive)
    raise typer.Exit(Exit.DONE if alive else Exit.UNARCHIVED)


@app.command()
def check(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Try everything before you rely on it: settings, provider, bucket, clock, file modes, ledger's server.

    Exit codes: 0 nothing failed; 1 something did; 2 settings.

    Example: stem-archiver check
    """
    loaded = _load(context, *_FOR_WORK)
    from archiver.app.check import findings
    from archiver.commands.printing import print_findings, print_json
    from archiver.logs import configure

    settings = loaded.settings
    log = configure("error", settings.log.format, secrets=settings.secrets())
    _at_work()
    with _faults():
        found = list(findings(loaded, log))
    if as_json:
        print_json({"findings": found}, sys.stdout)
    passed = all(finding.level != "fail" for finding in found) if as_json else print_findings(_console(), found)
    raise typer.Exit(Exit.DONE if passed else Exit.UNARCHIVED)


@app.command()
def demo(
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Where to leave the archived files.")
    ] = None,
) -> None:
    """Do the main job for real on embedded parts: an emulated provider and a real S3 server, on loopback.

    Exit codes: 0 it worked; 1 it did not; 2 the extra `demo` is not installed.

    Example: stem-archiver demo --keep stems
    """
    try:
        from archiver.demo.show import run_demo
    except ImportError as missing:
        _fail(f"the demo needs {missing.name}", Exit.USAGE, "install it with: pip install 'stem-archiver[demo]'")
    _at_work()
    raise typer.Exit(run_demo(_console(), keep=keep))


@config_app.command("show")
def config_show(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Print the effective settings, secrets masked, and where each came from.

    Exit codes: 0 they can be used; 2 they cannot.

    Example: stem-archiver config show --json
    """
    loaded = _load(context)
    from archiver.commands.printing import print_json
    from archiver.settings import masked

    rows = masked(loaded.settings, loaded.sources)
    if as_json:
        print_json({row.key: {"value": row.value, "source": row.source} for row in rows}, sys.stdout)
        return
    for row in rows:
        typer.echo(f"{row.key} = {row.value}  # {row.source}")


@config_app.command("validate")
def config_validate(context: typer.Context) -> None:
    """Read the settings as `run` would, and say every fault at once.

    Exit codes: 0 they can be used; 2 they cannot.

    Example: stem-archiver --config archiver.toml config validate
    """
    _load(context, *_FOR_WORK)
    typer.echo("the settings are valid")


@ledger_app.command("copy")
def ledger_copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="URL of the ledger that there is.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="URL of an empty one, as ledger.url would have it.")],
) -> None:
    """Copy the whole ledger into an empty database: from SQLite to PostgreSQL, or back.

    Nobody may be working on it. It is one transaction, at whose end all rows are compared.

    A password is better given in PGPASSWORD or ~/.pgpass: other users see what stands in a command line.

    Exit codes: 0 copied, and every row compared; 2 usage; 3 refused, or a ledger failed: nothing is copied.

    Example: stem-archiver ledger copy sqlite:////var/lib/stem-archiver/ledger.db postgresql+psycopg://me@db/stems
    """
    import time

    from archiver.app.ledger import copy_ledger

    def said(table: str, rows: int) -> None:
        typer.echo(f"{table}: {rows} rows")

    began = time.monotonic()
    with _faults():
        counts = copy_ledger(source, target, said)
    typer.echo(f"{sum(counts.values())} rows copied and compared in {time.monotonic() - began:.1f} s")
    typer.echo("now set ledger.url to the new one, wherever it is set, and start the service")


# ---------------------------------------------------------------- backfill's two forms


@dataclass(frozen=True, slots=True)
class BackfillOptions:
    """What was asked of a backfill."""

    file: str | None
    as_json: bool
    limit: int | None
    wait: bool
    max_wait: timedelta
    verbose: bool


def _intakes(file: str | None, queue: Path) -> Iterator[Intake]:
    """Yield the ids in batches; raise QueueUnreadable.

    Opened and closed by whoever reads, for where that is a thread nobody else may touch what it reads from: they
    would wait for it. Python itself would, at its end, for sys.stdin.
    """
    from archiver.adapters.queue_file import read_ids
    from archiver.core.errors import QueueUnreadable

    path = queue if file is None else Path(file)
    # Where nothing stands at standard input its number may by now be that of another file.
    if file == "-" and sys.stdin is None:
        raise QueueUnreadable("-", "standard input is closed", "write the ids into it, or name a file")
    try:
        stream = os.fdopen(os.dup(0), "rb") if file == "-" else path.open("rb")
    except OSError as error:
        raise QueueUnreadable(str(path), error.strerror or str(error), "name a file that can be read") from None
    with stream:
        yield from read_ids(stream, str(path))


def _backfill(loaded: Loaded, asked: BackfillOptions) -> int:
    from archiver.app.assembly import Role, service
    from archiver.commands.printing import Screen, Tally, current_stderr, ending_summary, print_ending, print_json
    from archiver.logs import configure
    from archiver.service.shutdown import Shutdown

    settings = loaded.settings
    console = _console(err=True)
    level = settings.log.level if asked.verbose or not console.is_terminal else "warning"
    log = configure(level, settings.log.format, current_stderr(), secrets=settings.secrets())
    shutdown, tally = Shutdown(), Tally()
    with (
        shutdown.on_signals(),
        _faults(),
        service(settings, observer=tally, log=log, role=Role.BACKFILL) as ready,
        Screen(console, tally, quiet=asked.as_json) as screen,
    ):
        _at_work()
        ending = ready.backfill(
            _intakes(asked.file, settings.queue.path),
            shutdown=shutdown,
            limit=asked.limit,
            wait=asked.wait,
            max_wait=asked.max_wait,
            progress=screen.update,
        )
    code = _exit_code(ending, shutdown.signal_number)
    if asked.as_json:
        print_json(ending_summary(ending, tally, code), sys.stdout)
    else:
        print_ending(console, ending, tally)
    return code


def _exit_code(ending: Ending, signal_number: int | None) -> int:
    from archiver.service.backfill import Verdict

    if ending.verdict is Verdict.STOPPED and signal_number is not None:
        return Exit.SIGNAL + signal_number
    codes = {Verdict.DONE: Exit.DONE, Verdict.PAUSED: Exit.PAUSED}
    return codes.get(ending.verdict, Exit.UNARCHIVED)


def _dry_run(loaded: Loaded, asked: BackfillOptions) -> int:
    from archiver.app.preview import preview
    from archiver.commands.printing import print_json, print_preview
    from archiver.logs import configure

    settings = loaded.settings
    log = configure("warning", settings.log.format, secrets=settings.secrets())
    with _faults():
        _at_work()
        previews = preview(settings, _intakes(asked.file, settings.queue.path), limit=asked.limit, log=log)
        if asked.as_json:
            print_json({"tasks": list(previews)}, sys.stdout)
        else:
            print_preview(_console(), previews)
    return Exit.DONE
