"""The queue file: an append-only inbox of task ids that is never rewritten by us."""

from archiver.adapters.queue_file.file import QueueFile
from archiver.adapters.queue_file.lines import DEFAULT_SIZE_LIMITS, SizeLimits, read_ids

__all__ = ["DEFAULT_SIZE_LIMITS", "QueueFile", "SizeLimits", "read_ids"]
