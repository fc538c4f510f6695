from __future__ import annotations

import signal
from datetime import timedelta
from typing import Any

import pytest

from archiver.service.shutdown import Shutdown, drain
from tests.fakes.events import Events


class Idle:
    """A dispatcher with nothing in hand."""

    working = 0

    def stop(self) -> None:
        pass

    def wait_idle(self, _seconds: float) -> bool:
        return True


@pytest.mark.parametrize(("asked_by", "said"), [(signal.SIGTERM, 1), (signal.SIGINT, 1), (None, 0)])
def test_draining_is_told_of_a_signal_alone(asked_by: signal.Signals | None, said: int) -> None:
    log, shutdown = Events(), Shutdown()
    shutdown.ask(asked_by)
    idle: Any = Idle()
    assert drain(idle, shutdown, grace=timedelta(seconds=1), cancel=lambda: None, log=log)
    assert len(log.of("daemon.draining")) == said
