"""Objects of ours that stand in the store with other bytes than we sent, though it had said yes."""

from __future__ import annotations

import threading
from collections import OrderedDict

MOST = 1000
"""Keys that are remembered; the oldest are forgotten."""


class DamagedObjects:
    """The ETag of each by its key, so that the next try replaces it, and nothing else. Safe to share among threads."""

    def __init__(self) -> None:
        self._etags: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, key: str, etag: str) -> None:
        """Remember the object that has this ETag."""
        with self._lock:
            self._etags[key] = etag
            while len(self._etags) > MOST:
                self._etags.popitem(last=False)

    def etag(self, key: str) -> str:
        """Return the ETag of the damaged object under `key`, empty where none is known."""
        return self._etags.get(key, "") if self._etags else ""

    def forget(self, key: str) -> None:
        """Know that the object under `key` is right."""
        if self._etags:
            with self._lock:
                self._etags.pop(key, None)
