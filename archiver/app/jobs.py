"""The queue of jobs beside a ledger on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.app.extras import extra
from archiver.app.ledger import on_server
from archiver.core.reports import JobCounts
from archiver.settings import Settings

if TYPE_CHECKING:
    from archiver.adapters.jobs import Procrastinate


def open_jobs(settings: Settings) -> Procrastinate:
    """Return the queue of jobs, made or upgraded where needed; raise LedgerFault or SettingsFault."""
    with extra("ledger.url", "cluster"):
        from archiver.adapters.jobs import Procrastinate  # noqa: PLC0415 - an extra
    return Procrastinate.open(settings.ledger.url)


def migrate_jobs(settings: Settings) -> None:
    """Make or upgrade the queue of jobs, where there is one; raise LedgerFault or SettingsFault."""
    if on_server(settings):
        open_jobs(settings).close()


def job_counts(settings: Settings) -> JobCounts | None:
    """Return the counts of jobs and workers; None where no jobs are queued. Raises LedgerFault."""
    if not on_server(settings):
        return None
    with extra("ledger.url", "cluster"):
        from archiver.adapters.jobs import counts  # noqa: PLC0415 - an extra
    return counts(settings.ledger.url)
