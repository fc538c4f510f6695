"""The rows of the fault matrix: what a fault is, how one is carried out, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from archiver.core.errors import LedgerFault
from archiver.core.states import StemState, TaskState
from tests.faults import oracles
from tests.fixtures.ledgers import pauses
from tests.worlds.world import FRESH, LIVENESS, RECOVERY, VICTIM, Running, World

Hop = Literal["API", "CDN", "S3", "host"]


class End(StrEnum):
    """How the task that meets a fault ends."""

    ARCHIVED = "archived all the same"
    RETRIED = "tried again, then archived"
    WAITED = "asked again, then archived"
    PAUSED = "paused with an alarm, then archived"
    REFUSED = "refused with an alarm, archived on `retry`"
    FAILED = "failed with an alarm, archived on `retry`"
    MISSING = "missing with an alarm, archived on `retry`"
    LOST = "lost with an alarm, archived on `retry`"
    UNREAD = "warned of, read as soon as it can be"
    STOPPED = "stopped with exit code 3, archived after the next start"


_EVENTS: Mapping[End, tuple[set[str], set[str]]] = {
    End.ARCHIVED: ({"task.archived"}, {"info"}),
    End.RETRIED: ({"stem.retry", "task.later"}, {"info"}),
    End.WAITED: ({"record.not_ready"}, {"info"}),
    End.PAUSED: ({"dependency.paused"}, {"error"}),
    End.REFUSED: ({"stem.refused"}, {"error"}),
    End.FAILED: ({"task.failed"}, {"error"}),
    End.MISSING: ({"task.missing"}, {"error"}),
    End.LOST: ({"task.lost"}, {"error"}),
    End.UNREAD: ({"queue.unreadable"}, {"warning"}),
}
"""What the log says of each end (one of these events), and at which level."""

_BUGS = {"task.crashed", "job.failed", "process.crashed"}
_NEEDS_OPERATOR = {End.REFUSED, End.FAILED, End.MISSING, End.LOST}


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a fault."""

    end: End
    reason: str
    """What `show` or `status` said of it, while it lasted."""
    fresh_after: timedelta
    """How long after the fault a fresh id was archived."""

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.end.partition(',')[0]}{why}; a fresh id after {self.fresh_after.total_seconds():.0f} s"


def nothing(_: World) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row."""

    hop: Hop
    name: str
    end: End
    reason: str
    """Stands in what `show` or `status` say of the task while the fault lasts; empty when it is archived."""
    begin: Callable[[World], None]
    lasts: timedelta = timedelta(seconds=12)
    step: float = 2.0
    """Seconds of the world's time between two runs of the dispatcher, while the fault lasts."""
    tls: bool = False
    restarts: bool = False
    """Whether the operator must start the service anew to mend it."""
    midway: Callable[[World], None] = nothing
    """Happens when half the time is over."""
    mend: Callable[[World], None] = nothing
    """Ends what `World.mend` does not end by itself."""
    after: Callable[[World], None] = nothing
    """Asserts what is special to this fault."""
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    sizes: Mapping[str, int] | None = None

    @property
    def title(self) -> str:
        return f"{self.hop}: {self.name}"


def carry_out(fault: Fault, world: World) -> Seen:
    """Let one task meet the fault, and a fresh one come after it; assert every oracle."""
    world.settings.update({name: dict(section) for name, section in fault.settings.items()})
    world.sizes = fault.sizes or world.sizes
    world.publish(VICTIM)
    world.accept(VICTIM)
    fault.begin(world)
    with world.running() as running:
        end, reason = _meet(fault, running)
        if not fault.restarts:
            _mend(fault, world)
            fresh_after = aftermath(running, end)
    if fault.restarts:
        _mend(fault, world)
        with world.running() as running:
            fresh_after = aftermath(running, end)
    next_start(world)
    assert (end, fault.reason in reason) == (fault.end, True), f"{end}: {reason!r}"
    fault.after(world)
    return Seen(end, reason.replace(f"{world.folder}/", "")[:90], fresh_after)


def _meet(fault: Fault, running: Running) -> tuple[End, str]:
    try:
        running.pass_time(fault.lasts / 2, fault.step)
        fault.midway(running.world)
        running.pass_time(fault.lasts / 2, fault.step)
        end, reason = observed(running)
        oracles.secrecy(running.world, running.status(), running.world.objects(".json"))
    except LedgerFault as fatal:
        return End.STOPPED, f"{fatal}; {fatal.hint}".replace(str(running.world.folder), "")
    _is_loud(running.world, end)
    return end, reason


def observed(running: Running) -> tuple[End, str]:
    """Say how the task stands, and why."""
    row = running.show(VICTIM)
    if row is None:
        return End.UNREAD, next(line["error"] for line in running.world.events if line["event"] == "queue.unreadable")
    if row.state is TaskState.ARCHIVED:
        return End.ARCHIVED, ""
    oracles.conservation(running, [VICTIM])
    reason = oracles.reasons(running, VICTIM)[-1]
    if row.state in (TaskState.FAILED, TaskState.MISSING, TaskState.LOST):
        return End[row.state.name], reason
    if pauses(running.ledger):
        return End.PAUSED, reason
    if any(stem.state is StemState.REFUSED for stem in row.stems):
        return End.REFUSED, reason
    if row.attempts or any(stem.attempts for stem in row.stems):
        return End.RETRIED, reason
    assert row.asks, f"nothing was done: {row}"
    return End.WAITED, reason


def _is_loud(world: World, end: End) -> None:
    names, levels = _EVENTS[end]
    said = [line for line in world.events if line["event"] in names]
    assert said, f"the log says nothing of {end}"
    assert {line["level"] for line in said} <= levels
    bugs = [line for line in world.events if line["event"] in _BUGS]
    assert bugs == [], bugs


def _mend(fault: Fault, world: World) -> None:
    world.mend()
    fault.mend(world)


def aftermath(running: Running, end: End) -> timedelta:
    """Go on after the fault; return how long a fresh id took."""
    world = running.world
    if end in _NEEDS_OPERATOR:
        running.retry(VICTIM)
    world.publish(FRESH)
    world.accept(FRESH)
    took = running.until_archived(FRESH, LIVENESS)
    running.until_archived(VICTIM, RECOVERY)
    oracles.secrecy(world, running.status())
    return took


def next_start(world: World) -> None:
    """Start once more: nothing is left to do, and nothing is left over."""
    with world.running() as running:
        running.step()
        rows = [row for task_id in (VICTIM, FRESH) if (row := running.show(task_id))]
        oracles.conservation(running, [VICTIM, FRESH])
    assert [row.state for row in rows] == [TaskState.ARCHIVED] * 2
    objects = world.objects()
    oracles.integrity(world, rows, objects)
    assert world.uploads() == []
    oracles.secrecy(world, None, {key: body for key, body in objects.items() if key.endswith(".json")})
