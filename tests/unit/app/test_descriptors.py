"""The limit of open descriptors, on machines that allow it to be raised and on those that do not."""

from __future__ import annotations

from resource import RLIM_INFINITY

import pytest

from archiver.app.descriptors import raise_limit
from tests.fakes.events import Events


class Kernel:
    """What a process may have open, and the most that a kernel takes though its hard limit says more."""

    def __init__(self, soft: int, hard: int, takes: int | None = None) -> None:
        self.limits = soft, hard
        self._takes = takes

    def read(self, _resource: int) -> tuple[int, int]:
        return self.limits

    def write(self, _resource: int, limits: tuple[int, int]) -> None:
        if self._takes is not None and (limits[0] == RLIM_INFINITY or limits[0] > self._takes):
            raise ValueError("current limit exceeds maximum limit")
        self.limits = limits


@pytest.mark.parametrize(
    ("kernel", "now"),
    [
        (Kernel(1024, 524_288), 524_288),
        (Kernel(256, RLIM_INFINITY), RLIM_INFINITY),
        (Kernel(256, RLIM_INFINITY, takes=10_240), 10_240),
        (Kernel(256, 1_000_000, takes=10_240), 10_240),
        (Kernel(1024, 4096, takes=512), 1024),
        (Kernel(20_000, 20_000), 20_000),
        (Kernel(RLIM_INFINITY, RLIM_INFINITY), RLIM_INFINITY),
        (Kernel(12_000, 20_000, takes=10_240), 12_000),
    ],
)
def test_limit_is_raised_as_far_as_the_kernel_takes_it_and_never_lowered(kernel: Kernel, now: int) -> None:
    before, hard = kernel.limits
    events = Events()
    raise_limit(events, read=kernel.read, write=kernel.write)
    assert kernel.limits == (now, hard)
    said = [] if now == before else [("debug", "descriptors.raised", {"before": before, "now": now})]
    assert events.seen == said
