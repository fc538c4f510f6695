"""The parts that every attempt works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from archiver.core.exclusion import Exclusion
from archiver.core.keys import Names
from archiver.core.model import Policy
from archiver.pipeline.breakers import Breakers
from archiver.pipeline.kept import KeptTransfers
from archiver.pipeline.schemas import Schemas
from archiver.pipeline.second_look import SecondLook
from archiver.ports.adoption import Adoptions, Folders
from archiver.ports.ledger import Progress, Uploads
from archiver.ports.provider import Accounts
from archiver.ports.runtime import (
    UNWATCHED,
    AnyCore,
    Checkpoint,
    Clock,
    Cores,
    EventLog,
    Jitter,
    Observer,
    Watch,
    unobserved,
)
from archiver.ports.store import ObjectStore
from archiver.ports.transfer import Downloader, TransferPool


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket as it is read, and the ledger's side of what is taken from there."""

    folders: Folders
    adoptions: Adoptions


@dataclass(frozen=True, slots=True)
class Outside:
    """The four outside things of the path, and its two guards."""

    accounts: Accounts
    downloader: Downloader
    store: ObjectStore
    progress: Progress
    uploads: Uploads
    breakers: Breakers
    pool: TransferPool
    bucket: Bucket | None = None
    """None: nothing is looked for there."""
    ensure_proof: Callable[[], None] = lambda: None
    """Sees to it that the store is known; raises StoreBusy or StorePaused."""


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The outside things, and how the path is set."""

    outside: Outside
    owner: str
    prefix: str
    policy: Policy
    version: str
    clock: Clock
    jitter: Jitter
    log: EventLog
    observer: Observer
    look: SecondLook
    cancelled: Callable[[], bool] = lambda: False
    is_best_effort: Callable[[], bool] = lambda: False
    """Returns True where create-only writes rest on a look before them."""
    checkpoint: Checkpoint = unobserved
    watch: Watch = UNWATCHED
    cores: Cores = field(default_factory=AnyCore)
    kept: KeptTransfers = field(default_factory=KeptTransfers)
    exclusion: Exclusion = field(default_factory=Exclusion)
    names: Names = Names.ID
    schemas: Schemas = field(default_factory=Schemas)
