"""A lost answer is reconciled by looking: equal is success, different is KeyTaken, nothing is another try."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from archiver.adapters.object_store.calls import S3Calls, stored_object
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Absent, Conflict
from archiver.adapters.object_store.retries import Retries
from archiver.core.capabilities import Capabilities
from archiver.core.errors import AccessRefused, CredentialsMissing, CredentialsRefused, KeyHidden, KeyTaken, StoreBusy
from archiver.core.model import StoredObject
from archiver.ports.runtime import Checkpoint


@contextmanager
def hidden(key: str) -> Iterator[None]:
    """Take a refusal to show the object under a key that is taken for what it is."""
    try:
        yield
    except (CredentialsMissing, CredentialsRefused):
        raise
    except AccessRefused as error:
        raise KeyHidden(f"{key}: an object that we may not look at stands there ({error})") from None


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Brings one create-only write to a known end."""

    calls: S3Calls
    retries: Retries
    checkpoint: Checkpoint

    def write(self, key: str, content: Content, send: Callable[[], StoredObject | None]) -> StoredObject:
        """Call `send` until it, or a look at the key, proves that `content` stands there.

        `send` returns the object when its answer alone is proof. What it did is never guessed: after
        every other answer, and after none, the store is asked what stands under the key.
        """
        return self.retries.call(lambda: self._write_once(key, content, send))

    def _write_once(self, key: str, content: Content, send: Callable[[], StoredObject | None]) -> StoredObject:
        fault = StoreBusy(f"{key}: the store said yes, but shows no such object")
        try:
            if stored := send():
                return stored
        except StoreBusy as error:
            fault = error
        try:
            with hidden(key) if isinstance(fault, Conflict) else nullcontext():
                if stored := self.look(key, content):
                    return stored
        except StoreBusy as error:
            fault = error
        raise fault

    def look(self, key: str, content: Content) -> StoredObject | None:
        """Return what stands under `key` if it is `content`, None if nothing does; raise KeyTaken if another."""
        self.checkpoint("head.checking")
        try:
            answer = self.calls.head(key)
        except Absent:
            return None
        same = content.named_by(answer, Capabilities())
        if same is None:
            same = self.calls.sha256(key, answer["ETag"]) == content.sha256
        if not same:
            theirs = f"{answer['ContentLength']} bytes, ETag {answer['ETag']}"
            raise KeyTaken(f"{key}: another object stands there ({theirs}; ours has {content.size} bytes)")
        self.checkpoint("head.checked")
        return stored_object(key, content, answer)
