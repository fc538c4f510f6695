"""Questions to a store whose answers are verdicts: a refusal is one, a disturbance is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from archiver.adapters.object_store.calls import Answer, Labels, S3Calls
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Absent, Conflict, NoETag
from archiver.adapters.object_store.retries import Retries
from archiver.core.errors import (
    AccessRefused,
    ArchiverError,
    CredentialsMissing,
    CredentialsRefused,
    StoreCorrupt,
    StoreMisfit,
)
from archiver.ports.runtime import Clock

PROBE = Content.of(b"stem-archiver writes this object when it proves what a store can do. It may be deleted.\n")
LABELS = Labels("text/plain")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asking:
    """Calls that are tried again while the store is busy; what refuses all of them alike is raised."""

    calls: S3Calls
    retries: Retries
    clock: Clock

    def surely(self, call: Callable[[], T]) -> T:
        """Return what is needed of every store; raise what keeps it from answering."""
        return self.retries.call(call)

    def refusal(self, call: Callable[[], object], *, wrong: bool = False) -> ArchiverError | None:
        """Return what refused the call, None where it was taken; `wrong`: bytes that do not match are expected.

        Raises StoreBusy and StorePaused for what is no verdict on this operation.
        """
        final = (Absent, Conflict, NoETag, StoreCorrupt) if wrong else (Absent, Conflict, NoETag)
        try:
            self.retries.call(call, final=final)
        except (CredentialsMissing, CredentialsRefused):
            raise
        except (Absent, Conflict, NoETag, StoreMisfit, AccessRefused) as error:
            return error
        except StoreCorrupt as error:
            if not wrong:
                raise
            return error
        return None

    def head(self, key: str) -> Answer:
        """Return what HeadObject says, with or without an ETag."""
        return self.surely(lambda: self.calls.head(key, bare=True))

    def sha256(self, key: str) -> str:
        """Return the SHA-256 of the object that stands there."""
        return self.surely(lambda: self.calls.sha256(key, ""))

    def put_small(self, key: str) -> None:
        """Write the probe's object, over whatever stands there."""
        self.surely(lambda: self.calls.put(key, PROBE, LABELS))
