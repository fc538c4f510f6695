"""The queue of jobs: procrastinate, in a schema of its own beside the ledger's tables on PostgreSQL."""

from archiver.adapters.jobs.engine import SILENT_AFTER, Procrastinate, counts

__all__ = ["SILENT_AFTER", "Procrastinate", "counts"]
