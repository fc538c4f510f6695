"""The ways by which work comes in and is given out: the queue file, and the queue of jobs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from archiver.core.due import Due
from archiver.core.errors import LedgerFault
from archiver.core.intake import Cursor, Intake
from archiver.core.model import Stage, TaskId


class QueueUnreadable(Exception):
    """The queue file cannot be read or appended to. Carries a hint."""

    def __init__(self, path: str, why: str, hint: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path, self.hint = path, hint


class Queue(Protocol):
    """The queue file: an append-only inbox that is never rewritten."""

    def read(self, cursor: Cursor | None, *, final: bool = False) -> Intake:
        """Read what was appended since `cursor`, in bounded batches; raise QueueUnreadable.

        A last line without its newline waits; with `final` it counts, and the cursor stays before it.
        """

    def stamp(self) -> object:
        """Return what differs from before once something was appended; costs one call of the system."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of jobs: its stage, and whether its tasks were tried, or asked about, before."""

    stage: Stage
    again: bool


class Jobs(Protocol):
    """The queue between those who take ids in and the workers: one job is one attempt at one task.

    The ledger alone knows the work that is left: a job that is lost, doubled or out of date costs a look
    into it, never a task. All methods raise LedgerFault when the queue's database cannot be used.
    """

    def defer(self, tasks: Sequence[Due], *, now: datetime) -> int:
        """Queue a job for each task that has none waiting, by urgency; return how many.

        A task's `not_before` holds: a later one is scheduled, and one scheduled too late brought forward.
        """

    def rescue(self) -> Sequence[TaskId]:
        """Put back the jobs of workers that are gone; return their tasks."""


class JobHandler(Protocol):
    """Does the jobs that an engine takes. Its methods are called from several threads and never raise."""

    def wants(self) -> Sequence[Collection[JobKind]]:
        """Return the kinds of which jobs may be taken now, in groups, the preferred first; none: begin nothing.

        Of the first group that has any the most urgent is taken.
        """

    def begins(self, task_id: TaskId, kind: JobKind) -> None:
        """Take note that a job was taken; `work` follows."""

    def work(self, task_id: TaskId, stage: Stage) -> None:
        """Do the job; when this returns it is done with, whatever came of it."""

    def idles(self) -> None:
        """Take note that the engine lives, and found no job to take."""


class Engine(Jobs, Protocol):
    """The worker's side of the queue."""

    @property
    def fault(self) -> LedgerFault | None:
        """The reason why no job is taken any more; None while work goes on."""

    def start(self, handler: JobHandler, *, at_once: int) -> None:
        """Take jobs for `handler`, so many at once, until `stop`."""

    def stop(self) -> None:
        """Take no more jobs; returns at once, those taken are finished."""
