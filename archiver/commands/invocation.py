"""A call of the command line: its settings, its exit codes, and how it fails. Heavy imports happen inside."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from archiver.adapters.ledger import SqlLedger
    from archiver.core.model import TaskId
    from archiver.service.supervision import Hangup
    from archiver.settings import Loaded, Settings


class Exit(IntEnum):
    """Exit codes; they mean the same for every command."""

    DONE = 0
    UNARCHIVED = 1
    USAGE = 2
    PAUSED = 3
    SIGNAL = 128
    """Plus the signal's number."""


Level = Literal["debug", "info", "warning", "error"]


@dataclass(slots=True)
class Call:
    """The options that every command takes, before it or after it."""

    config: Path | None = None
    quiet: bool = False
    verbose: bool = False
    log_level: Level | None = None

    def take(self, name: str, value: object) -> None:
        """Take the value of the option of that name, which stood behind the command."""
        if name == "no_color":
            colorless()
        else:
            setattr(self, name, value)

    def settings(self) -> Mapping[str, str]:
        """Return the settings that it gives, by dotted name."""
        level = self.log_level or ("debug" if self.verbose else "error" if self.quiet else None)
        return {} if level is None else {"log.level": level}


def colorless() -> None:
    """Let nothing that is printed from now on be in colour, here and in child processes."""
    os.environ["NO_COLOR"] = "1"


def call_of(context: typer.Context) -> Call:
    """Return the options of this call that every command takes."""
    return context.obj if isinstance(context.obj, Call) else Call()


JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

FOR_WORK = ("store.bucket", "provider.api_key")
"""The settings without which nothing can be archived."""


def at_work(*, lasts: bool = False) -> None:
    """Collect garbage from now on, but not among what the start has made: that lasts as long as the process.

    One that `lasts` for months drops first what its start is done with: the bytes of a proof, and of an upgrade.
    """
    if lasts:
        gc.collect()
    gc.freeze()
    gc.enable()


def fail(message: str, code: Exit, hint: str = "") -> NoReturn:
    """Print the message, and how to mend it, and end with that exit code."""
    _say(message, hint)
    raise typer.Exit(code)


def _say(message: str, hint: str) -> None:
    typer.echo(f"stem-archiver: {message}", err=True)
    if hint:
        typer.echo(f"  {hint}", err=True)


def standard_input() -> TextIO:
    """Return standard input; end with USAGE where it is closed."""
    if sys.stdin is None:
        fail("standard input is closed", Exit.USAGE, "write into it, or name a file in its place")
    return sys.stdin


def settings_of(context: typer.Context, *need: str) -> Loaded:
    """Load the settings of this call; end with USAGE where they have faults, or lack what is needed."""
    from archiver.core.errors import SettingsFault
    from archiver.settings import load

    call = call_of(context)
    try:
        return load(call.config, os.environ, require=frozenset(need), options=call.settings())
    except SettingsFault as fault:
        fail(str(fault), Exit.USAGE)


def settings_file(context: typer.Context, loaded: Loaded) -> Path | None:
    """Return the settings file of this call; should the working folder be deleted, it is still the same file."""
    call = call_of(context)
    return call.config if loaded.config is None else Path(os.path.abspath(loaded.config))  # noqa: PTH100 - folds ".."


def reading_again(context: typer.Context, loaded: Loaded, *need: str) -> Callable[[], Settings]:
    """Return what reads the settings of this call again; it raises SettingsFault."""
    from archiver.settings import load

    config, options = settings_file(context, loaded), call_of(context).settings()
    return lambda: load(config, os.environ, require=frozenset(need), options=options).settings


def heeding(hangup: Hangup) -> AbstractContextManager[None]:
    """Take SIGHUP for the wish to read the settings again; at a terminal it says that this is gone, and ends us."""
    return nullcontext() if os.isatty(2) else hangup.on_signal()


@contextmanager
def faults() -> Iterator[None]:
    """Turn each fault that an operator can mend into one clear line and an exit code."""
    from archiver.core.errors import LedgerFault, SettingsFault, StoreUnfit
    from archiver.ports.work import QueueUnreadable

    try:
        yield
    except SettingsFault as fault:
        fail(str(fault), Exit.USAGE)
    except LedgerFault as fault:
        fail(str(fault), Exit.PAUSED, fault.hint)
    except StoreUnfit as unfit:
        fail(str(unfit), Exit.PAUSED, unfit.hint)
    except QueueUnreadable as unreadable:
        fail(str(unreadable), Exit.USAGE, unreadable.hint)
    except OSError as error:
        if error.errno not in {errno.EMFILE, errno.ENFILE}:
            raise
        subject = error.filename or "a connection"
        fail(f"{subject}: {error.strerror}", Exit.PAUSED, "raise the limit of open files (`ulimit -n`)")


@contextmanager
def unforeseen() -> Iterator[None]:
    """Turn what no command foresaw into one line or one event, and an exit code."""
    try:
        yield
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        _say(f"{where}{error.strerror or error}", "the system refused that: mend it, and try again")
        raise SystemExit(Exit.PAUSED) from None
    except Exception as error:  # noqa: BLE001 - told as a bug, and where
        if isinstance(error, RuntimeError) and "start new thread" in str(error):
            _say("the system starts no further thread", "raise `ulimit -u`, or the pids of the container")
            raise SystemExit(Exit.PAUSED) from None
        import structlog

        if not structlog.is_configured():
            from archiver.logs import configure

            configure("error", "auto")
        structlog.get_logger("archiver").critical("process.crashed", exc_info=error)
        raise SystemExit(Exit.UNARCHIVED) from None


@contextmanager
def ledger_of(loaded: Loaded) -> Iterator[SqlLedger]:
    """Open the ledger of these settings while this lasts; where there is none, say where it was looked for, and end."""
    from archiver.app.ledger import open_ledger
    from archiver.core.errors import LedgerAbsent

    with faults():
        try:
            ledger = open_ledger(loaded.settings, create=False)
        except LedgerAbsent as absent:
            fail(
                f"{absent} (ledger.url: {loaded.sources['ledger.url']}; looked as {user_name()})",
                Exit.USAGE,
                f"run it as the service's user and with its settings (--config FILE); {absent.hint}",
            )
        try:
            yield ledger
        finally:
            ledger.close()


def user_name() -> str:
    """Return who this process is, for messages."""
    import pwd

    number = os.geteuid()
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"


def terminal(*, err: bool = False) -> Console:
    """Return standard output, or standard error, for people: lines are not wrapped."""
    from rich.console import Console

    return Console(stderr=err, soft_wrap=True)


def task_ids(texts: list[str]) -> list[TaskId]:
    """Return the texts as task ids; end with USAGE where one of them is none."""
    from archiver.core.model import TASK_ID_RULE, task_id

    ids, bad = [], []
    for text in texts:
        try:
            ids.append(task_id(text))
        except ValueError:
            bad.append(text)
    if bad:
        fail(f"no task id: {', '.join(map(ascii, bad))}", Exit.USAGE, f"a task id is {TASK_ID_RULE}")
    return ids
