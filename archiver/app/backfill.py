"""`backfill`: its ids, and its work from them to the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from archiver.adapters.queue_file import read_ids
from archiver.app.assembly import Parts
from archiver.core.errors import QueueUnreadable
from archiver.core.intake import Intake
from archiver.service.backfill import Backfill, BackfillOptions, BackfillResult, Enrolment, Standing, Verdict
from archiver.service.quarantine import QuarantineWatch
from archiver.service.shutdown import Shutdown, unless_asked

Progress = Callable[[Standing, timedelta | None], None]
"""Called several times a second with where the backfill stands, and the time to the nearest deadline."""


def intakes(file: str | None, queue: Path) -> Iterator[Intake]:
    """Yield the ids in batches; raise QueueUnreadable.

    Opened and closed by whoever reads, for where that is a thread nobody else may touch what it reads from: they
    would wait for it. Python itself would, at its end, for sys.stdin.
    """
    path = queue if file is None else Path(file)
    # Where nothing stands at standard input its number may by now be that of another file.
    if file == "-" and sys.stdin is None:
        raise QueueUnreadable("-", "standard input is closed", "write the ids into it, or name a file")
    try:
        stream = os.fdopen(os.dup(0), "rb") if file == "-" else path.open("rb")
    except OSError as error:
        raise QueueUnreadable(str(path), error.strerror or str(error), "name a file that can be read") from None
    with stream:
        yield from read_ids(stream, str(path))


def backfill(
    parts: Parts, batches: Iterable[Intake], options: BackfillOptions, shutdown: Shutdown, progress: Progress
) -> BackfillResult:
    """Take the ids in and work until each has ended; raise LedgerFault."""
    parts.heed(shutdown)
    owner, ledger, machine, log = parts.adapters.owner, parts.adapters.ledger, parts.machine, parts.log
    enrolment = Enrolment(owner, ledger.intakes, parts.dispatcher, machine.clock, log, machine.checkpoint)
    work = Backfill(
        owner=owner,
        reports=ledger.reports,
        pauses=ledger.pauses,
        dispatcher=parts.dispatcher,
        breakers=parts.breakers,
        shutdown=shutdown,
        options=options,
        clock=machine.clock,
        monotonic=machine.monotonic,
        set_back=parts.clock_set_back,
        give_up=parts.watch.give_up,
    )
    try:
        verdict = _worked(parts, enrolment, work, batches, shutdown, progress)
        result = work.result(verdict, enrolment.counts)
    finally:
        parts.release()
    done = result.work
    log.info(
        "backfill.finished",
        verdict=result.verdict.value,
        tasks=done.tasks,
        archived=done.archived,
        unfinished=sum(done.not_archived.values()),
    )
    return result


def _worked(
    parts: Parts,
    enrolment: Enrolment,
    work: Backfill,
    batches: Iterable[Intake],
    shutdown: Shutdown,
    progress: Progress,
) -> Verdict:
    """Take the ids in and work; nothing is under way any more once this returns."""
    ledger, machine, log, counts = parts.adapters.ledger, parts.machine, parts.log, enrolment.counts

    def report(standing: Standing) -> None:
        nearest = standing.left.nearest_deadline
        progress(standing, None if nearest is None else nearest - machine.clock())

    try:
        QuarantineWatch(ledger.reports, log)()
        unless_asked(lambda: enrolment.take(batches, work.options.limit), shutdown)
        log.info("backfill.started", tasks=counts.taken, already_archived=counts.already_archived)
        verdict = work.run(report)
        if not shutdown.asked:
            unless_asked(lambda: _sweep(parts), shutdown)
        return verdict
    finally:
        enrolment.close()
        parts.drain(shutdown)


def _sweep(parts: Parts) -> None:
    parts.housekeeping.abort_uploads()
    parts.abort_strays()
