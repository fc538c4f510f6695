"""Runs pytest in forks of one process, which has paid for the imports of all libraries, once.

Reads lines of JSON on standard input, `[arguments of pytest, seconds it may take]`, and answers each with
a line: pytest's exit code, or -1 when the time was up.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

LIBRARIES = (
    "alembic.command",
    "apscheduler.schedulers.background",
    "boto3",
    "cryptography.x509",
    "httpx",
    "hypothesis.stateful",
    "mutagen",
    "pydantic",
    "pytest",
    "rich.live",
    "sqlalchemy.orm",
    "structlog",
    "tenacity",
    "typer.testing",
)


def _run(arguments: list[str]) -> NoReturn:
    """Become a session of its own, silent, and end with pytest's exit code."""
    import pytest

    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    code = 1
    try:
        code = int(pytest.main([*arguments, "-W", "ignore::pytest.PytestAssertRewriteWarning"]))
    finally:
        os._exit(code)


def _ended(child: int, seconds: float) -> int:
    give_up = time.monotonic() + seconds
    try:
        while time.monotonic() < give_up:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        return -1
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # also what the tests started, and a failed one did not end
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def main() -> None:
    """Serve until standard input ends."""
    for name in LIBRARIES:
        import_module(name)
    for line in sys.stdin:
        arguments, seconds = json.loads(line)
        child = os.fork() or _run(arguments)
        print(_ended(child, seconds), flush=True)


if __name__ == "__main__":
    main()
