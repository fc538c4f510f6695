"""The keys of a task's objects in the bucket. Golden-tested: they never change silently."""

from __future__ import annotations

from archiver.core.model import StemName, TaskId

PROBE_NAME = "stem-archiver-probe"
"""The name of the one object that is no task's; it stays there, since no right to delete is needed."""


def probe_key(prefix: str) -> str:
    """Return the key that is tried where no task is to be meant."""
    return f"{prefix}{PROBE_NAME}"


def multipart_probe_key(prefix: str) -> str:
    """Return the key that is tried for uploads in parts, where no task is to be meant."""
    return f"{probe_key(prefix)}-multipart"


def object_key(prefix: str, task_id: TaskId, stem: StemName, extension: str) -> str:
    """Return the key of a stem's object."""
    return f"{prefix}{task_id}/{stem}.{extension}"


def record_key(prefix: str, task_id: TaskId) -> str:
    """Return the key of the record as it came."""
    return f"{prefix}{task_id}/record-info.json"


def manifest_key(prefix: str, task_id: TaskId) -> str:
    """Return the key of the manifest, which is written last."""
    return f"{prefix}{task_id}/manifest.json"
