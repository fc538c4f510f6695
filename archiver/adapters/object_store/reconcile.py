"""A lost answer is reconciled by looking: equal is success, different is KeyTaken, nothing is another try."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

from archiver.adapters.object_store.calls import Answer, S3Calls, stored_object
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.damaged import DamagedObjects
from archiver.adapters.object_store.faults import Absent, Conflict, Damaged
from archiver.adapters.object_store.retries import Retries
from archiver.core.capabilities import Capabilities, CreateOnly
from archiver.core.errors import (
    AccessRefused,
    ArchiverError,
    CredentialsMissing,
    CredentialsRefused,
    KeyHidden,
    KeyTaken,
    StoreBusy,
)
from archiver.core.model import StoredObject
from archiver.core.refusals import ObjectDamaged
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


Send = Callable[[Mapping[str, str]], Answer]
"""One try at the write, under a condition; returns what the store's yes says."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Brings one create-only write to a known end, by what the store was proven to do."""

    calls: S3Calls
    retries: Retries
    checkpoint: Checkpoint
    damaged: DamagedObjects
    known: Capabilities
    demand: CreateOnly

    def write(self, key: str, content: Content, send: Send, *, in_parts: bool = False) -> StoredObject:
        """Call `send` until it, or a look at the key, proves that `content` stands there.

        What it did is never guessed: after every answer that is no proof, and after none, the store is asked what
        stands under the key. The answer to a whole object may be proof; after an upload `in_parts` there is always
        a look, and a damaged one is for the next upload to replace.
        """
        final = (Absent, Damaged) if in_parts else (Absent,)
        guarded = self.known.create_only_multipart if in_parts else self.known.create_only
        yes: set[str] = set()
        return self.retries.call(
            lambda: self._write_once(_Write(key, content, send, in_parts, guarded, yes)), final=final
        )

    def _write_once(self, write: _Write) -> StoredObject:
        key, content = write.key, write.content
        if not write.guarded and (stored := self._look(write)):
            return stored
        fault = StoreBusy(f"{key}: the store said yes, but shows no such object")
        try:
            answer = write.send(self._condition(write))
            if not write.in_parts and content.named_by(answer, self.known):
                self.damaged.forget(key)
                return stored_object(key, content, answer)
            write.yes.add(str(answer.get("ETag") or ""))
        except StoreBusy as error:
            fault = error
        try:
            with hidden(key) if isinstance(fault, Conflict) else nullcontext():
                if stored := self._look(write):
                    return stored
        except StoreBusy as error:
            fault = error
        raise fault

    def _condition(self, write: _Write) -> Mapping[str, str]:
        if self._mends(write) and (etag := self.damaged.etag(write.key)):
            return {"IfMatch": etag}
        return _CREATE if write.guarded else {}

    def _mends(self, write: _Write) -> bool:
        """Return whether an object of ours that was damaged can be replaced, and no other in its place."""
        return write.guarded and self.known.create_only and self.known.replaces

    def look(self, key: str, content: Content) -> StoredObject | None:
        """Return what stands under `key` if it is `content`, None if nothing does.

        Raises KeyTaken if another object does, Damaged or ObjectDamaged if the store had said yes to ours.
        """
        return self._look(_Write(key, content, _unsent, in_parts=True, guarded=True, yes=set()))

    def _look(self, write: _Write) -> StoredObject | None:
        key, content = write.key, write.content
        answer, same = self.compared(key, content)
        if answer is None:
            return None
        if not same:
            raise self._trouble(write, answer)
        self.damaged.forget(key)
        return stored_object(key, content, answer)

    def compared(self, key: str, content: Content) -> tuple[Answer | None, bool]:
        """Return what is said of the object under `key`, None where there is none, and whether it is `content`."""
        self.checkpoint("head.checking")
        try:
            answer = self.calls.head(key, bare=not self.known.names_etag)
        except Absent:
            return None, False
        same = content.named_by(answer, self.known)
        if same is None:
            same = self.calls.sha256(key, answer.get("ETag") or "") == content.sha256
        if same:
            self.checkpoint("head.checked")
        return answer, same

    def _trouble(self, write: _Write, answer: Answer) -> ArchiverError:
        """Tell somebody else's object from ours that was damaged, and replace only what is ours for certain.

        One that another process sent in parts is known by how it began, which is not certain enough for that.
        """
        key, etag, content = write.key, str(answer.get("ETag") or ""), write.content
        theirs = f"{answer['ContentLength']} bytes, ETag {etag or 'none'}; ours has {content.size} bytes"
        ours = content.is_meant_by(answer) or (bool(etag) and etag in {*write.yes, self.damaged.etag(key)})
        if not (ours or write.yes or content.begins_as(answer)):
            return KeyTaken(f"{key}: another object stands there ({theirs})")
        found = f"{key}: the store took our bytes, and shows others ({theirs})"
        if not (ours and etag):
            return ObjectDamaged(found)
        self.damaged.note(key, etag)
        return Damaged(f"{found}; they are replaced") if self._mends(write) else ObjectDamaged(found)


_CREATE: Mapping[str, str] = {"IfNoneMatch": "*"}


def _unsent(condition: Mapping[str, str]) -> Answer:
    raise AssertionError(f"nothing is sent to look ({condition})")


class _Write(NamedTuple):
    """One write, over all its tries."""

    key: str
    content: Content
    send: Send
    in_parts: bool
    guarded: bool
    """True where the store itself refuses to overwrite; else a look goes before."""
    yes: set[str]
    """ETags that the store's own yes named."""
