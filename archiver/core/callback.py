"""The provider's callbacks: which task one names, of which kind it looks, and whether the provider signed it. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from archiver.core.model import TaskId
from archiver.core.named_task import task_named_in
from archiver.core.records.kinds.names import KindName

WINDOW = timedelta(minutes=5)
"""The largest difference between a callback's time and ours, either way."""

_TIMESTAMP = re.compile(r"[0-9]{1,11}", re.ASCII)


class Called(NamedTuple):
    """The message of a callback."""

    task_id: TaskId
    kind: KindName | None
    """The kind that it looks like, which is good for the first question alone; None where it looks like none."""


def read(body: bytes) -> Called:
    """Return what a callback says; raise ValueError, without echoing anything of it, where it names no task.

    Nothing else of the body is used: the signature does not cover it.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("broken JSON") from None
    return Called(task_named_in(document), _kind_of(document))


_KEYS = (
    (KindName.SEPARATION, {"vocalremovalinfo", "vocalseparationinfo"}),
    (KindName.WAV, {"audiowavurl"}),
    (KindName.MP4, {"videourl"}),
    (KindName.MIDI, {"instruments", "mididata"}),
    (KindName.COVER, {"images"}),
)
"""Keys of a callback's `data`, in lower case and without `_`, that one kind alone has."""


def _kind_of(document: object) -> KindName | None:
    data = document.get("data") if isinstance(document, Mapping) else None
    keys = _keys(data)
    if "state" in keys and keys & {"resultjson", "param", "model"}:
        return KindName.JOBS
    if "callbacktype" in keys and isinstance(data, Mapping):
        return _kind_of_items(data.get("data"))
    return next((kind for kind, its in _KEYS if keys & its), None)


def _kind_of_items(items: object) -> KindName | None:
    """Return the kind that sends such items: tracks have an id, texts have none."""
    found = [_keys(item) for item in items] if isinstance(items, list) else []
    if any("id" in keys for keys in found):
        return KindName.MUSIC
    return KindName.LYRICS if any("text" in keys for keys in found) else None


def _keys(value: object) -> set[str]:
    return {str(key).replace("_", "").lower() for key in value} if isinstance(value, Mapping) else set()


def signature_of(key: str, task: TaskId, timestamp: str) -> str:
    """Return the provider's signature of a callback for `task` at `timestamp` (unix seconds)."""
    digest = hmac.digest(key.encode("utf-8"), f"{task}.{timestamp}".encode("ascii"), hashlib.sha256)
    return base64.b64encode(digest).decode("ascii")


def is_genuine(key: str, task: TaskId, *, timestamp: str, signature: str, now: datetime) -> bool:
    """Return whether the provider signed this, within WINDOW of `now`; compares in constant time.

    Without a key nobody can have: whoever took callbacks away while the service listens for them removed it.
    """
    if not key or not _TIMESTAMP.fullmatch(timestamp):
        return False
    expected = signature_of(key, task, timestamp).encode("ascii")
    signed = hmac.compare_digest(expected, signature.encode("utf-8", "backslashreplace"))
    return signed and abs(now.timestamp() - int(timestamp)) <= WINDOW.total_seconds()
