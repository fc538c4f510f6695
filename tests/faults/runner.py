"""Runs the service as a process that is stopped at a named step, or at a random moment.

`python -m tests.faults.runner` is a fork server: it reads an `Order` a line from standard input, forks a
child that has everything imported already and carries it out, and writes one `Ended` line once that child
is gone. Each child is a process of its own, with its own end: a real exit, or a real signal. A `fresh`
order is carried out by a new interpreter in place of the child.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Literal, NoReturn

import typer

from archiver.app.assembly import Role, assembled
from archiver.app.backfill import backfill, intakes
from archiver.app.clock import utc_now
from archiver.app.daemon import daemon
from archiver.app.ledger import open_ledger
from archiver.app.machine import Machine
from archiver.commands import app
from archiver.commands.backfill import exit_code
from archiver.commands.invocation import faults
from archiver.commands.progress import Tally
from archiver.logs import configure
from archiver.service.backfill import BackfillOptions
from archiver.service.shutdown import Shutdown
from archiver.service.supervision import Hangup
from archiver.settings import Settings, load
from tests.fixtures.ledgers import retry
from tests.worlds.warm import warm

How = Literal["SIGKILL", "SIGTERM", "exception"]

SETTLES = 0.5
"""Seconds that a daemon gets to go on after an exception, before it is asked to end."""


class StoppedHere(Exception):
    """What a step raises when it is told to."""


@dataclass(frozen=True, slots=True)
class Stop:
    """What happens at the `nth` occurrence of a step, once."""

    step: str
    how: How
    nth: int = 1


@dataclass(frozen=True, slots=True)
class Order:
    """One run of the command line."""

    argv: list[str]
    env: dict[str, str]
    folder: str
    output: str
    """The file that takes standard output, and error where `errors` names no other."""
    errors: str = ""
    stdin: str = os.devnull
    stop: Stop | None = None
    kill_after: float | None = None
    """Seconds until SIGKILL, if the process lives so long."""
    user: int | None = None
    """Whom a child of root is really; what it may do stays root's, for Python itself may be readable to root alone."""
    vanishes: bool = False
    """Whether the folder, which must be empty, is deleted once the child is in it."""
    until: str = ""
    """The text in the output at which SIGTERM is sent."""
    fresh: bool = False
    """Whether a new interpreter carries it out; without a stop that is plain `python -m archiver`."""
    limit: float = 60.0
    """Seconds after which it counts as hung, and is killed."""

    def line(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> Order:
        fields = json.loads(line)
        stop = fields.pop("stop")
        return cls(**fields, stop=stop and Stop(**stop))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    code: int
    """The exit code, or the negative number of the signal."""
    hung: bool = False


def marker_of(output: str | Path) -> Path:
    """The file that tells that the run with this output has reached its step."""
    return Path(f"{output}.reached")


# ---------------------------------------------------------------- the child


@dataclass(slots=True)
class Stopper:
    """The checkpoint: counts the steps and stops the process at one of them."""

    stop: Stop
    shutdown: Shutdown | None
    """None where a SIGTERM just ends the process."""
    reached: Path
    _seen: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, step: str) -> None:
        if step != self.stop.step:
            return
        with self._lock:
            self._seen += 1
            if self._seen != self.stop.nth:
                return
            self.reached.write_text(step)
        self._act()

    def _act(self) -> None:
        if self.stop.how == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()
        elif self.stop.how == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
            # The kernel may hand the signal to another thread; the step ends once it was handled.
            while self.shutdown is None or not self.shutdown.asked:
                time.sleep(0.001)
        else:
            raise StoppedHere(self.stop.step)


def carry_out(order: Order) -> int:
    """Run the command; return its exit code."""
    os.chdir(order.folder)
    if order.vanishes:
        Path(order.folder).rmdir()
    if order.user is not None:
        os.setreuid(order.user, -1)
    if order.fresh:
        plain = [sys.executable, "-m", "archiver", *order.argv]
        told = [sys.executable, "-m", "tests.faults.runner", replace(order, fresh=False).line()]
        os.execve(sys.executable, plain if order.stop is None else told, order.env)
    os.environ.clear()
    os.environ.update(order.env)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding=order.env.get("PYTHONIOENCODING", "utf-8"))
    reached = marker_of(order.output)
    try:
        if order.stop is None:
            sys.argv = ["stem-archiver", *order.argv]
            app.main()
        elif order.argv[0] == "retry":
            return _retry(order.stop, reached)
        else:
            return _observed(order.argv, order.stop, reached)
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException as error:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    raise AssertionError("the command line ends the process")


def leave(code: int) -> NoReturn:
    """End as the interpreter does, but for taking itself apart: that costs more than most runs."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that are not daemons
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _settings() -> Settings:
    return load(None, os.environ, require=frozenset({"store.bucket", "provider.api_key"})).settings


def _retry(stop: Stop, reached: Path) -> int:
    """Do what `archiver.commands.tasks` does for `retry --all-failed`, with a checkpoint."""
    with closing(open_ledger(_settings(), Stopper(stop, None, reached))) as ledger:
        retry(ledger, now=utc_now())
    return 0


def _observed(argv: list[str], stop: Stop, reached: Path) -> int:
    """Do what `archiver.commands` do for `run` and `backfill [FILE]`, with a checkpoint."""
    command, file = argv[0], argv[1] if len(argv) > 1 else None
    settings = _settings()
    log = configure(settings.log.level, settings.log.format, secrets=settings.secrets())
    shutdown = Shutdown()
    machine = Machine(checkpoint=Stopper(stop, shutdown, reached))
    try:
        with shutdown.on_signals(), faults():
            if command == "run":
                with daemon(settings, Role.RUN, log=log, machine=machine) as process:
                    process.run(shutdown, Hangup(), _settings)
                return 0
            options = BackfillOptions(limit=None, wait=True, max_wait=timedelta(minutes=1))
            with assembled(settings, Role.BACKFILL, log=log, observer=Tally(), machine=machine) as parts:
                batches = intakes(file, settings.queue.path)
                result = backfill(parts, batches, options, shutdown)
            return exit_code(result, shutdown.signal_number)
    except typer.Exit as ended:
        return ended.exit_code


# ---------------------------------------------------------------- the fork server


def serve() -> Order | None:
    """Carry out orders until there are no more; returns an order in the child that is to carry it out."""
    warm()
    gc.collect()
    gc.freeze()  # or each child would copy it all to look at it
    for line in iter(sys.stdin.readline, ""):
        order = Order.of(line)
        child = os.fork()
        if not child:
            _redirect(order)
            return order
        ended = _watch(child, order)
        sys.stdout.write(json.dumps(asdict(ended)) + "\n")
        sys.stdout.flush()
    return None


def _redirect(order: Order) -> None:
    for number, file in enumerate((order.stdin, order.output, order.errors or order.output)):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY
        opened = os.open(file, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)


def _watch(child: int, order: Order) -> Ended:
    handle = os.pidfd_open(child)
    try:
        hung = not _let_run(handle, order)
        if hung:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    finally:
        os.close(handle)
    return Ended(os.waitstatus_to_exitcode(status), hung)


def _let_run(handle: int, order: Order) -> bool:
    """Wait until the child is gone; False when it is still there at its limit."""
    if order.until:
        _wait_for(handle, lambda: order.until in Path(order.errors or order.output).read_text(), order.limit)
        signal.pidfd_send_signal(handle, signal.SIGTERM)
    elif order.kill_after is not None:
        if not _gone(handle, order.kill_after):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    elif order.argv[0] == "run" and order.stop is not None and order.stop.how == "exception":
        _wait_for(handle, marker_of(order.output).exists, order.limit)
        if not _gone(handle, SETTLES):
            signal.pidfd_send_signal(handle, signal.SIGTERM)
    return _gone(handle, order.limit)


def _wait_for(handle: int, happened: Callable[[], bool], limit: float) -> None:
    until = time.monotonic() + limit
    while not happened() and not _gone(handle, 0.02) and time.monotonic() < until:
        pass


def _gone(handle: int, seconds: float) -> bool:
    return bool(select.select([handle], [], [], seconds)[0])


def main() -> None:
    order = Order.of(sys.argv[1]) if len(sys.argv) > 1 else serve()
    if order is not None:
        leave(carry_out(order))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
