"""THE path of one task: ask, list, fetch and store each stem, write the sidecars, finish.

Order of writes, never otherwise: object complete in the store, then the ledger's STORED, then the
manifest, then the task's end. A crash between any two repeats work and never claims work not done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from archiver.core.errors import ArchiverError, Interrupted, LeaseLost, LedgerFault
from archiver.core.model import (
    Archived,
    Claim,
    Failed,
    Later,
    Lost,
    Missing,
    Outcome,
    Paused,
    Refused,
    TaskId,
    Yielded,
)
from archiver.pipeline.attempt import TaskAttempt
from archiver.pipeline.context import TaskContext
from archiver.ports.runtime import EventLog


@dataclass(frozen=True, slots=True)
class Archiver:
    """Takes claims along the path. Holds no state of its own between two tasks; safe for many threads."""

    context: TaskContext

    def archive(self, claim: Claim) -> Outcome:
        """Take the task as far as it goes now, write the outcome down and return it; see `_archive`.

        What it was to probe, and brought no verdict on, is for the next to probe.
        """
        self.context.cores.gather()
        try:
            with self.context.watch.at_work(claim.task_id):
                return self._archive(claim)
        finally:
            self.context.outside.breakers.give_back(claim.task_id)

    def _archive(self, claim: Claim) -> Outcome:
        """Take the task as far as it goes now, write the outcome down and return it.

        Raises LeaseLost when another process took the task over, and LedgerFault. A bug on the way is
        logged and costs the task a try, never the service.
        """
        context, attempt = self.context, TaskAttempt(self.context, claim)
        try:
            outcome = attempt.run()
        except Interrupted:
            outcome = Yielded()
        except ArchiverError as error:
            context.observer.try_failed(error)
            outcome = attempt.outcome_of(error)
        except (LeaseLost, LedgerFault):
            raise
        except Exception as bug:
            context.log.exception("task.crashed", task_id=claim.task_id, error=repr(bug))
            fault = ArchiverError(f"a bug: {bug!r}")
            context.observer.try_failed(fault)
            outcome = attempt.outcome_of(fault)
        now = attempt.ended_at or context.clock()
        context.outside.progress.finish(claim, outcome, record=attempt.record, now=now)
        context.checkpoint("task.finished")
        context.observer.task_ended(outcome, attempt.age(now))
        _log_outcome(context.log, claim.task_id, outcome)
        return outcome


def _log_outcome(log: EventLog, task_id: TaskId, outcome: Outcome) -> None:
    match outcome:
        case Archived():
            log.info("task.archived", task_id=task_id)
        case Later(at=at, reason=reason, fault=fault):
            event = "task.later" if fault else "record.not_ready"
            log.info(event, task_id=task_id, reason=reason, again_at=at.isoformat())
        case Refused(reason=reason, at=again):
            log.error("task.refused", task_id=task_id, reason=reason, again_at=again and again.isoformat())
        case Lost(reason=reason):
            log.error("task.lost", task_id=task_id, reason=reason)
        case Failed(reason=reason):
            log.error("task.failed", task_id=task_id, reason=reason)
        case Missing(reason=reason):
            log.error("task.missing", task_id=task_id, reason=reason)
        case Paused(dependency=dependency, reason=reason):
            log.warning("task.released", task_id=task_id, paused=dependency.value, reason=reason)
        case Yielded():
            log.debug("task.released", task_id=task_id)
        case _:
            assert_never(outcome)
