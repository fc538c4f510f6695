"""The provider's callbacks: which task one names, and whether the provider signed it. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import datetime, timedelta

from archiver.core.model import TaskId
from archiver.core.named_task import task_named_in

WINDOW = timedelta(minutes=5)
"""The largest difference between a callback's time and ours, either way."""

_TIMESTAMP = re.compile(r"[0-9]{1,11}", re.ASCII)


def task_of(body: bytes) -> TaskId:
    """Return the task that a callback names; raise ValueError, without echoing anything of it, where it names none.

    Nothing else of the body is used: the signature does not cover it.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("broken JSON") from None
    return task_named_in(document)


def signature_of(key: str, task: TaskId, timestamp: str) -> str:
    """Return the provider's signature of a callback for `task` at `timestamp` (unix seconds)."""
    digest = hmac.digest(key.encode("utf-8"), f"{task}.{timestamp}".encode("ascii"), hashlib.sha256)
    return base64.b64encode(digest).decode("ascii")


def is_genuine(key: str, task: TaskId, *, timestamp: str, signature: str, now: datetime) -> bool:
    """Return whether the provider signed this, within WINDOW of `now`; compares in constant time."""
    if not _TIMESTAMP.fullmatch(timestamp):
        return False
    expected = signature_of(key, task, timestamp).encode("ascii")
    signed = hmac.compare_digest(expected, signature.encode("utf-8", "backslashreplace"))
    return signed and abs(now.timestamp() - int(timestamp)) <= WINDOW.total_seconds()
