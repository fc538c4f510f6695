"""Decoding of audio that nobody trusts: by a process of its own, bounded in time and memory, the last in line.

It is given the file, and nothing else: no variable of the environment, so no key.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import threading
from typing import IO, Final

from archiver.core.sound import LONGEST_TEXT, Sound
from archiver.ports.sound import SoundUnknown

WITHIN: Final = 900.0
"""Seconds until it is given up; on a busy machine it waits for its turn."""

_PROGRAM: Final = "import sys; sys.path[:] = {path!r}; from archiver.adapters.sounds.measuring import main; main()"


class SoundsApart:
    """Starts the processes; one ends with `close`, or with its bounds. `within` are seconds."""

    def __init__(self, python: str = sys.executable, within: float = WITHIN) -> None:
        self._python = python
        self._within = within
        self._lock = threading.Lock()
        self._closed = False
        self._running = set[subprocess.Popen[bytes]]()

    @staticmethod
    def is_installed() -> bool:
        """Return whether the decoder is there; it is not loaded."""
        return importlib.util.find_spec("miniaudio") is not None

    def measured(self, file: IO[bytes]) -> Sound:
        """See Sounds."""
        with tempfile.TemporaryFile() as out:
            code = self._run(file, out)
            out.seek(0)
            said = out.read(LONGEST_TEXT)
        if said.startswith(b"!"):
            raise SoundUnknown(said[1:].decode("ascii", "replace"))
        try:
            return Sound.of(said)
        except ValueError:
            raise SoundUnknown(f"its decoder ended with code {code}") from None

    def _run(self, file: IO[bytes], out: IO[bytes]) -> int:
        program = _PROGRAM.format(path=sys.path)
        words = [self._python, "-P", "-c", program]
        file.flush()
        with self._lock:
            if self._closed:
                raise SoundUnknown("the page ends")
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and program, no shell
                words, stdin=file, stdout=out, stderr=subprocess.DEVNULL, env={}, cwd="/", start_new_session=True
            )
            self._running.add(process)
        try:
            return process.wait(self._within)
        except subprocess.TimeoutExpired:
            raise SoundUnknown(f"decoding it took more than {self._within:g} s") from None
        finally:
            process.kill()
            process.wait()
            self._running.discard(process)

    def close(self) -> None:
        """See Sounds."""
        with self._lock:
            self._closed = True
            for process in list(self._running):
                process.kill()
