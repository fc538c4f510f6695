"""`backfill`: its ids, and its work from them to the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from archiver.adapters.queue_file import read_ids
from archiver.app.assembly import Parts
from archiver.app.rotation import FileWatch, Reload, Rotation, renewals, was_overlooked
from archiver.app.tunables import tunables
from archiver.core.intake import Intake
from archiver.ports.work import QueueUnreadable
from archiver.service.backfill import Backfill, BackfillOptions, BackfillResult, Enrolment, Standing, Verdict
from archiver.service.quarantine import QuarantineWatch
from archiver.service.shutdown import Shutdown, unless_asked
from archiver.service.supervision import Hangup
from archiver.settings import Settings


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whoever looks on while a backfill works."""

    update: Callable[[Standing], None] = lambda _: None
    """Called several times a second with where it stands."""
    stopping: Callable[[], None] = lambda: None
    """Called once where the process was asked to end, before what is under way is waited for."""


NOBODY = Viewer()


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


def rotation_of(parts: Parts, hangup: Hangup, files: FileWatch, read: Callable[[], Settings]) -> Rotation:
    """Return what lets settings, keys, credentials and certificates change while a backfill is at work."""
    renewed = renewals(parts.adapters)
    if was_overlooked(parts.settings, read):
        hangup.ask()
    return Rotation(hangup, files, Reload(parts.settings, read, tunables(parts), parts.log, renewed))


def backfill(
    parts: Parts,
    batches: Iterable[Intake],
    options: BackfillOptions,
    shutdown: Shutdown,
    viewer: Viewer = NOBODY,
    rotate: Callable[[], None] = lambda: None,
) -> BackfillResult:
    """Take the ids in and work until each has ended; raise LedgerFault. See `rotation_of` for `rotate`."""
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
        rotate=rotate,
    )
    try:
        verdict = _worked(parts, enrolment, work, batches, shutdown, viewer)
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
    viewer: Viewer,
) -> Verdict:
    """Take the ids in and work; nothing is under way any more once this returns."""
    ledger, log, counts = parts.adapters.ledger, parts.log, enrolment.counts

    try:
        QuarantineWatch(ledger.reports, log)()
        unless_asked(lambda: enrolment.take(batches, work.options.limit), shutdown)
        log.info("backfill.started", tasks=counts.taken, already_archived=counts.already_archived)
        verdict = work.run(viewer.update)
        if not shutdown.asked:
            unless_asked(lambda: _sweep(parts), shutdown)
        return verdict
    finally:
        if shutdown.asked:
            viewer.stopping()
        enrolment.close()
        parts.drain(shutdown)


def _sweep(parts: Parts) -> None:
    parts.housekeeping.abort_uploads()
    parts.abort_strays()
