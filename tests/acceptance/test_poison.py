"""A task that takes the daemon down with it, by SIGKILL in the middle of its file, beside honest ones."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from archiver.demo.audio import EmulatedStem
from archiver.demo.records import EmulatedTask
from tests.worlds.site import Json, Site, stems_of

POISON = "poison-0001"


@dataclass(frozen=True)
class Deadly(EmulatedStem):
    """A file whose receiver is killed in the middle of it."""

    victims: list[int] = field(default_factory=list, compare=False)

    def chunks(self, start: int, stop: int) -> Iterator[memoryview]:
        yield from super().chunks(start, start + (stop - start) // 2)
        if self.victims:
            os.kill(self.victims[-1], signal.SIGKILL)
        yield from super().chunks(start + (stop - start) // 2, stop)


@dataclass
class Street:
    """A poisonous task, the first of all, and honest ones; the daemon is started again whenever it was killed."""

    site: Site
    honest: int
    kills: bool = True
    deadly: Deadly = field(default_factory=lambda: Deadly(50_000, "deadly"))
    starts: int = 0
    events: list[Json] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tasks = [self._task(number) for number in range(self.honest)]
        self.site.emulator.add(EmulatedTask(task_id=POISON, stems={"vocal": self.deadly}), *self.tasks)
        with self.site.queue.open("a") as queue:
            queue.writelines(f"{name}\n" for name in (POISON, *(task.task_id for task in self.tasks)))

    @staticmethod
    def _task(number: int) -> EmulatedTask:
        name = f"honest-{number:04}"
        return EmulatedTask(task_id=name, stems=stems_of("vocal", seed=name))

    def start(self, *, seconds: float) -> bool:
        """Run the daemon until it is killed, or all honest tasks are archived; return whether they are."""
        self.starts += 1
        give_up = time.monotonic() + seconds
        with self.site.daemon() as daemon:
            if self.kills:
                self.deadly.victims.append(daemon.popen.pid)
            while daemon.popen.poll() is None and time.monotonic() < give_up:
                time.sleep(0.5)
                if self.archived() >= self.honest:
                    break
            self.deadly.victims.clear()
            if daemon.popen.poll() is None:
                assert daemon.stop() == 0
            self.events += daemon.events
        return self.archived() >= self.honest

    def archived(self) -> int:
        """Count them; none before the first daemon has made its ledger."""
        shown = self.site.run("status", "--json").out
        return int(json.loads(shown)["tasks"]["archived"]) if shown else 0

    def named(self, event: str) -> Sequence[Json]:
        return [line for line in self.events if line["event"] == event]


def test_four_honest_tasks_beside_one_that_kills_the_daemon_are_archived_within_five_starts(site: Site) -> None:
    street = Street(site, honest=4)
    while not street.start(seconds=60):
        assert street.starts < 5, street.events[-50:]
    assert {line["task_id"] for line in street.named("task.quarantined")} >= {POISON}
    status = site.run("status", "--json")
    shown = site.show(POISON)
    assert status.code == 1
    assert shown["deaths"] >= 2
    assert "quarantined: " in site.run("show", POISON).out
    site.oracles(*street.tasks) if shown["state"] == "archived" else None
    assert site.run("retry", POISON).code == 0
    assert site.show(POISON)["deaths"] == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [False, True])
def test_999_honest_tasks_beside_one_that_kills_the_daemon_cost_four_starts(site: Site, kills: bool) -> None:
    street = Street(site, honest=999, kills=kills)
    began = time.monotonic()
    while not street.start(seconds=600):
        assert street.starts < 5
    print(f"{street.starts} starts, {time.monotonic() - began:.1f} s, {len(street.named('task.quarantined'))} named")
    assert ({POISON} <= {line["task_id"] for line in street.named("task.quarantined")}) is kills
