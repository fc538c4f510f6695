"""Manifests proven by processes of their own, so that more than one core works on them.

Each imports the pure core alone: it holds no key, opens no connection, and takes 12 MB. It reads questions on its
standard input and answers on its standard output, both of plain values after their length. It ends with that input, and
so with this process, however that ends.
"""

from __future__ import annotations

import marshal
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Final, Self

import archiver
from archiver.core.errors import LedgerFault
from archiver.core.rebuilt_rows import Document, Judged, proven
from archiver.core.task_rows import TaskRows

_LENGTH: Final = struct.Struct(">Q")
_PROGRAM: Final = "import sys; sys.path.append({root!r}); from archiver.adapters.proving import main; main()"


class ProvingProcesses:
    """The Proving of `ports.rebuilding`, by so many processes. Safe to share among threads; close it after use."""

    def __init__(self, count: int, prefix: str, python: str = sys.executable) -> None:
        self._prefix = prefix
        self._all: list[subprocess.Popen[bytes]] = []
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        try:
            for _ in range(count):
                self._all.append(_started(python))
                self._free.put(self._all[-1])
        except BaseException:
            self.close()
            raise

    def proven(self, documents: Sequence[Document]) -> tuple[Sequence[Judged], TaskRows]:
        """See Proving."""
        process = self._free.get()
        try:
            asked = [(each.task, each.data, each.record, each.record_was_asked) for each in documents]
            judged, rows = _answer(process, (self._prefix, asked))
        finally:
            self._free.put(process)
        tasks, stems, tracks, history, states, kept, stored_bytes = rows
        counts = (Counter(states), Counter(kept), stored_bytes)
        return [Judged(*each) for each in judged], TaskRows(tasks, stems, tracks, history, *counts)

    def close(self) -> None:
        """End the processes; whoever still waits for one is told that it died."""
        for process in self._all:
            process.kill()
        for process in self._all:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def __enter__(self) -> Self:
        """Hold them."""
        return self

    def __exit__(self, *_: object) -> None:
        """End them."""
        self.close()


def _started(python: str) -> subprocess.Popen[bytes]:
    program = _PROGRAM.format(root=str(Path(archiver.__file__).parent.parent))
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and program, no shell
            [python, "-P", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for its parent
        )
    except OSError as error:
        raise LedgerFault(
            f"no process can be started to read manifests: {error.strerror}",
            "look whether the machine has room for processes and memory",
        ) from None


def _answer(process: subprocess.Popen[bytes], asked: Any) -> Any:  # noqa: ANN401 - of marshal
    """Return what the process answers; raise LedgerFault where it died."""
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise AssertionError("both are pipes")
    with suppress(BrokenPipeError, ValueError, EOFError):
        _write(stdin, asked)
        return _read(stdout)
    raise LedgerFault(
        f"a process that reads manifests died (exit code {process.wait()})",
        "look whether the machine had memory for it, and whether the program was just replaced; then run it again: "
        "what is done is kept",
    )


def _write(pipe: IO[bytes], value: Any) -> None:  # noqa: ANN401 - of marshal
    data = marshal.dumps(value)
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> Any:  # noqa: ANN401 - of marshal
    """Return the next value; raise EOFError where none comes whole."""
    head = pipe.read(_LENGTH.size)
    size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else -1
    data = pipe.read(size) if size >= 0 else b""
    if len(data) != size:
        raise EOFError
    return marshal.loads(data)  # noqa: S302 - of our own process, which was given bytes and gives values


def main() -> None:
    """Answer until the input ends."""
    with suppress(EOFError, BrokenPipeError):
        while True:
            prefix, asked = _read(sys.stdin.buffer)
            judged, rows = proven(prefix, [Document(*each) for each in asked])
            tables = (rows.tasks, rows.stems, rows.tracks, rows.history)
            counts = (dict(rows.states), dict(rows.kept), rows.stored_bytes)
            answers = [(each.trouble, each.format, each.wants_record) for each in judged]
            _write(sys.stdout.buffer, (answers, (*tables, *counts)))
