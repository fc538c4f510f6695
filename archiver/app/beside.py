"""The page beside `run`: a process of its own, started again where it ends, and waited for by nobody."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from archiver.ports.runtime import EventLog
from archiver.service.supervision import Hangup

_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0
_SETTLED = 60.0
"""Seconds; whoever ran so long is started again without a long pause."""
_PATIENCE = 2.0
_SETTINGS = 2
"""The exit code for settings at fault, a port that is taken, or an extra that is not installed."""


class PageKeeper:
    """Keeps a process at work until `close`, by a thread. It ends when its standard input does, so with us.

    Where it says that the settings are at fault (2), it is left alone.
    """

    def __init__(self, words: Sequence[str], log: EventLog, first_pause: float = _FIRST_PAUSE) -> None:
        self._words = words
        self._log = log
        self._pause = self._first_pause = first_pause
        self._closed = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="page", daemon=True)
        self._thread.start()

    def hang_up(self) -> None:
        """Let the process read its settings again, by SIGHUP."""
        with self._lock:
            if self._process is not None:
                self._process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        """End the process, by force where it does not within two seconds."""
        self._closed.set()
        with self._lock:
            process = self._process
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
            process.kill()
        self._thread.join(_PATIENCE)

    def _keep(self) -> None:
        # What we start inherits this: one that comes before it heeds the signal is kept, and does not end it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        while not self._closed.is_set():
            began = threading.Timer(_SETTLED, self._settled)
            began.daemon = True
            began.start()
            code = self._run()
            began.cancel()
            if self._closed.is_set():
                return
            self._log.warning("page.ended", code=code, again_in=None if code == _SETTINGS else self._pause)
            if code == _SETTINGS:
                return
            self._closed.wait(self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _settled(self) -> None:
        self._pause = self._first_pause

    def _run(self) -> int | None:
        """Run the process to its end, and return its code; None where it could not be started."""
        with self._lock:
            if self._closed.is_set():
                return None
            try:
                self._process = subprocess.Popen(self._words, stdin=subprocess.PIPE)  # noqa: S603 - our own command
            except OSError:
                return None
        with self._process as process:
            # Not `communicate`: the pipe stays open for as long as we live.
            return process.wait()


@contextmanager
def page_beside(config: Path | None, log: EventLog, hangup: Hangup) -> Iterator[None]:
    """Keep `stem-archiver page` of these settings at work while this lasts; it reads them again where we do."""
    named = [] if config is None else ["--config", str(config)]
    keeper = PageKeeper([sys.executable, "-m", "archiver", *named, "page", "--beside"], log)
    hangup.also(keeper.hang_up)
    try:
        yield
    finally:
        keeper.close()
