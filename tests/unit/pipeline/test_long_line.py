"""A line whose round trips bound each connection: transfers at one time make up for it, and the default is enough."""

from __future__ import annotations

from tests.fakes.downloader import Audio
from tests.worlds.path import PREFIX
from tests.worlds.simulated import SimulatedPath, simulated

TASKS, EACH = 8, 12
STEM = 5.0
"""Seconds that 5 MiB take on one connection with 50 ms and 0.1 % of loss."""
RCLONE = 16
"""Transfers at one time of a client that stores each file while it fetches it: two connections each."""


def archives(path: SimulatedPath) -> float:
    """Let the tasks come; return after how many seconds all are archived."""
    names = [f"task-{number:04}" for number in range(TASKS)]
    for name in names:
        files = [f"{name}-stem{number}" for number in range(EACH)]
        path.lists(*(path.serves(each, Audio(each.encode() * 50, comes=path.flows(STEM))) for each in files), task=name)
    path.on.append((f"put {PREFIX}", lambda _: path.time.sleep(STEM)))
    path.accept(*names)
    began = path.time.monotonic()
    path.works(600, until=lambda: len(path.ends.archived) == TASKS)
    return max(path.ends.archived.values()) - began


def test_default_is_as_quick_on_a_long_line_as_sixteen_transfers_with_two_connections_each() -> None:
    with simulated() as path:
        assert archives(path) <= 1.2 * TASKS * EACH / RCLONE * STEM
