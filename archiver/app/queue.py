"""The queue file, as the settings name it."""

from __future__ import annotations

from archiver.adapters.queue_file import QueueFile
from archiver.app.clock import utc_now
from archiver.settings import Settings


def rotate_queue(settings: Settings) -> str:
    """Put a new, empty file in the place of the queue file; return the old one's path. Raises QueueUnreadable."""
    return QueueFile(str(settings.queue.path)).rotate(utc_now())
