"""A `ports.Observer` that keeps what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from archiver.core.errors import ArchiverError
from archiver.core.model import Outcome
from archiver.ports.runtime import Checkpoint, unobserved


@dataclass
class Watcher:
    """Every call of it, by kind; each read of a body is a step that `checkpoint` is told of."""

    checkpoint: Checkpoint = unobserved
    bytes_in: int = 0
    stored: list[int] = field(default_factory=list)
    ended: list[Outcome] = field(default_factory=list)
    unknown: int = 0
    failed: list[str] = field(default_factory=list)
    ages: list[timedelta | None] = field(default_factory=list)

    def received(self, size: int) -> None:
        self.bytes_in += size
        self.checkpoint("body.read")

    def stem_stored(self, size: int, seconds: float) -> None:
        self.stored.append(size)

    def unknown_name(self) -> None:
        self.unknown += 1

    def try_failed(self, error: ArchiverError) -> None:
        self.failed.append(error.code)

    def task_ended(self, outcome: Outcome, age: timedelta | None) -> None:
        self.ended.append(outcome)
        self.ages.append(age)
