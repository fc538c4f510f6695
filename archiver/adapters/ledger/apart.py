"""Backups beside work at full speed: each is written by a process of its own.

Within one process, a backup and the threads at work hand the interpreter's lock to and fro: claims take three times as
long. Of another process they notice nothing but its share of the machine, for readers of a ledger keep nobody waiting.

The process reads one JSON object on its standard input: a password in the ledger's URL stands in no command line. It
answers in pieces, each after its length. Behind an empty one stands what it wrote, or what kept it from that.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

import archiver
from archiver.adapters.ledger.backups import write_backup
from archiver.adapters.ledger.database.faults import translated
from archiver.adapters.ledger.database.urls import database_of
from archiver.core.backup import BackupSummary, Head, Scope
from archiver.core.errors import LedgerFault

_NICE: Final = 10
_TICK: Final = 500
"""Milliseconds after which `rest` is called, though nothing came."""
_PIECE: Final = 256 * 1024
_LENGTH: Final = struct.Struct(">I")
_PROGRAM: Final = "import sys; sys.path.append({root!r}); from archiver.adapters.ledger.apart import main; main()"


@dataclass(frozen=True, slots=True)
class BackupsApart:
    """The Backups of `ports.backups` of the ledger at `url`, each written by a process that gives way to all others.

    It ends with this one, however that ends.
    """

    url: str
    python: str = sys.executable

    def write(
        self,
        scope: Scope,
        out: Callable[[bytes], object],
        *,
        now: datetime,
        version: str,
        rest: Callable[[], object] = lambda: None,
    ) -> BackupSummary:
        """See Backups; `rest` is called at least twice a second.

        Raises LedgerFault, also where the process died, and OSError where none can be started.
        """
        asked = {"url": self.url, "scope": scope, "at": now.isoformat(), "version": version}
        with _started(self.python, json.dumps(asked).encode()) as pipe:
            answer = _Answer(pipe, rest)
            for piece in answer.pieces():
                out(piece)
            said = json.loads(b"".join(answer.pieces()))
        if "fault" in said:
            raise LedgerFault(said["fault"], said["hint"])
        tables = {name: tuple(columns) for name, columns in said.pop("tables").items()}
        head = Head(scope, said.pop("schema"), now, version, tables)
        return BackupSummary(head, **said)


@contextmanager
def _started(python: str, asked: bytes) -> Iterator[IO[bytes]]:
    """Start the process, and yield what it answers by; raise LedgerFault where it ends too early. It is gone after."""
    program = _PROGRAM.format(root=str(Path(archiver.__file__).parent.parent))
    with subprocess.Popen(  # noqa: S603 - our own interpreter and program, no shell
        [python, "-P", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,  # a Ctrl-C is for its parent
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("both are pipes")
        try:
            with suppress(BrokenPipeError), stdin:
                stdin.write(asked)
            yield stdout
        except EOFError:
            raise LedgerFault(
                f"the process that wrote the backup died (exit code {process.wait()})",
                "look whether the machine had memory for it, some 60 MB, and whether the program was just replaced",
            ) from None
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class _Answer:
    """Lines of the process, as they come."""

    pipe: IO[bytes]
    rest: Callable[[], object]

    def pieces(self) -> Iterator[bytes]:
        """Yield the pieces up to an empty one; raise EOFError where they end before."""
        while size := _LENGTH.unpack(self._exactly(_LENGTH.size))[0]:
            yield self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        data = bytearray()
        while len(data) < size:
            self.rest()
            if poll.poll(_TICK):
                piece = os.read(self.pipe.fileno(), min(size - len(data), _PIECE))
                if not piece:
                    raise EOFError
                data += piece
        return bytes(data)


def main() -> None:
    """Do what standard input asks for; end quietly once nobody listens any more."""
    os.nice(_NICE)
    asked = json.loads(sys.stdin.buffer.read())
    with suppress(BrokenPipeError):
        try:
            said = _written(asked, _say)
        except LedgerFault as fault:
            said = {"fault": str(fault), "hint": fault.hint}
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - whoever started this tells people
            said = {"fault": f"the ledger could not be read: {error!r}", "hint": "that is a bug: please report it"}
        _say(b"")
        _say(json.dumps(said).encode())
        _say(b"")
        return
    os._exit(1)  # what is left in the buffer has nobody to go to


def _say(data: bytes) -> None:
    out = sys.stdout.buffer
    out.write(_LENGTH.pack(len(data)) + data)
    out.flush()


def pauses(
    clock: Callable[[], float] = time.process_time, sleep: Callable[[float], object] = time.sleep
) -> Callable[[], None]:
    """Return what sleeps for as many seconds as this process computed since: caches and memory are shared by all."""
    worked = clock()

    def rest() -> None:
        nonlocal worked
        sleep(clock() - worked)
        worked = clock()

    return rest


def _written(asked: Mapping[str, str], say: Callable[[bytes], object]) -> dict[str, Any]:
    scope, at = Scope(asked["scope"]), datetime.fromisoformat(asked["at"])
    with closing(database_of(asked["url"])) as database, translated(database.where):
        if not database.stands():
            raise LedgerFault(f"there is no ledger at {database.where}", "it was there when the service began")
        with database.reading() as db:
            found = write_backup(db, scope, say, now=at, version=asked["version"], rest=pauses())
    head, fields = found.head, ("rows", "size", "sha256", "content")
    return {"schema": head.schema, "tables": head.tables, **{name: getattr(found, name) for name in fields}}
