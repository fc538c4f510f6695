"""A server as a process: in a session of its own, ended with whoever started it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from archiver.demo.seaweed import LEASH, S3Server, ServerFault

READY_SECONDS = 60.0
STOP_SECONDS = 10.0


def program(name: str) -> str:
    """Find a program beside this interpreter, where pip puts it, or else on PATH; raise ServerFault."""
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent), None):
        if found := shutil.which(name, path=folder):
            return found
    raise ServerFault(f"{name} is not installed here")


@contextmanager
def process(
    folder: Path, command: Sequence[str], env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in `folder` until the block is left, even by SIGKILL; `folder`/server.log takes what it prints."""
    with (folder / "server.log").open("ab") as log:
        started = subprocess.Popen(
            ["/bin/sh", "-c", LEASH, "leash", *command],
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        if started.stdin:
            started.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            started.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


@contextmanager
def serving(
    folder: Path, server: S3Server, command: Sequence[str], env: Mapping[str, str] | None = None
) -> Iterator[S3Server]:
    """Run a server; it answers a signed request once the block is entered. Raise ServerFault where it never does."""
    with process(folder, command, env) as started, closing(server.client(connect_timeout=1, read_timeout=20)) as client:
        give_up = time.monotonic() + READY_SECONDS
        while True:
            try:
                client.list_buckets()
                break
            except (BotoCoreError, ClientError) as error:
                if started.poll() is not None or time.monotonic() > give_up:
                    said = (folder / "server.log").read_text(errors="replace")
                    raise ServerFault(f"the server does not answer ({error}): {said[-2000:]}") from None
            time.sleep(0.05)
        yield server
