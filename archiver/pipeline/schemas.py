"""The JSON Schemas of manifests, which stand beside them in the bucket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from archiver.core.errors import ArchiverError
from archiver.core.keys import schema_key
from archiver.ports.store import ObjectStore


class Schemas:
    """Puts them once a process, by the number of the format. Safe for many threads."""

    def __init__(self, read: Callable[[], Mapping[int, bytes]] = dict) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._tried = False

    def put(self, store: ObjectStore, prefix: str) -> None:
        """Put each that does not stand there yet, at the first call; a store that takes none stops nothing."""
        with self._lock:
            tried, self._tried = self._tried, True
        if tried:
            return
        with suppress(ArchiverError):
            for number, schema in self._read().items():
                store.put_document(schema_key(prefix, number), schema, same=lambda _: True)
