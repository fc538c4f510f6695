"""Speaks to the fork server of tests/faults/runner.py."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests import ROOT
from tests.faults.runner import Ended, Order

RUNNER = (sys.executable, "-m", "tests.faults.runner")


@dataclass(frozen=True, slots=True)
class ForkServer:
    """A process that has imported everything and forks a child for each order, one at a time."""

    popen: subprocess.Popen[str]
    busy: threading.Lock = field(default_factory=threading.Lock)

    def run(self, order: Order) -> Ended:
        if self.popen.stdin is None or self.popen.stdout is None:
            raise AssertionError("the fork server is spoken to through pipes")
        with self.busy:
            self.popen.stdin.write(order.line() + "\n")
            self.popen.stdin.flush()
            answer = self.popen.stdout.readline()
        if not answer:
            raise AssertionError(f"the fork server ended with {self.popen.wait()}")
        return Ended(**json.loads(answer))


@contextmanager
def fork_server() -> Iterator[ForkServer]:
    with subprocess.Popen(RUNNER, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as popen:
        yield ForkServer(popen)
