"""An archive of many tasks in a bucket and a ledger, faults planted in it, and `verify` over both."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from archiver.core.fixity import Fixity, Judged
from archiver.core.levels import Level
from archiver.core.manifest import seal_of
from archiver.core.manifest_read import read_manifest
from archiver.core.model import TaskId
from archiver.core.rebuilt import rebuilt
from archiver.ports.archive import Archive, FoundDocument, ListedObject, ObjectHead
from archiver.preservation.fetching import Fetching
from archiver.preservation.looking import Looking
from archiver.preservation.proving import Allowance, Proving
from archiver.preservation.verification import Verification
from tests.fakes.archive import FakeArchive, MemoryObject, etag_of
from tests.fakes.object_store import FakeStore
from tests.fixtures.archived import manifest, noise, stem_of
from tests.fixtures.ledgers import NOW, tid
from tests.house import BufferBudget, Ledger, trim_on
from tests.unit.preservation.rig import Unlimited

PREFIX = "p/"
RECORD = b'{"code":200,"data":{}}'


@dataclass(frozen=True)
class Aged(FakeArchive):
    """A bucket whose ETags are as noted where bytes have rotted since, and whose bodies are what `alter` makes."""

    etags: dict[str, str] = field(default_factory=dict)
    alter: Callable[[str, MemoryObject], MemoryObject] = lambda _, body: body

    def objects(self, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        for each in super().objects(prefix, after=after):
            yield replace(each, etag=self.etags.get(each.key, each.etag))

    def head(self, key: str) -> ObjectHead | None:
        head = super().head(key)
        return None if head is None else replace(head, etag=self.etags.get(key, head.etag))

    def document(self, key: str, *, limit: int) -> FoundDocument | None:
        found = super().document(key, limit=limit)
        return (
            None if found is None else replace(found, data=self.alter(key, MemoryObject(found.head, found.data)).data)
        )

    def open(self, key: str, *, offset: int = 0, etag: str = "") -> MemoryObject:
        body = self.alter(key, super().open(key, offset=offset))
        return replace(body, head=replace(body.head, etag=self.etags.get(key, body.head.etag)))


@dataclass
class Held:
    """A bucket and the ledger of what was archived into it."""

    ledger: Ledger
    store: FakeStore = field(default_factory=FakeStore)
    etags: dict[str, str] = field(default_factory=dict)
    alter: Callable[[str, MemoryObject], MemoryObject] = lambda _, body: body

    objects: dict[str, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.objects = self.store.objects

    def archive(self, tasks: int, stems: int = 12, size: int = 40) -> Held:
        """Archive so many tasks, in the bucket and in the ledger."""
        wholes = []
        for number in range(tasks):
            task, folder = tid(number), f"{PREFIX}{tid(number)}/"
            data = {f"s{each:02}": noise(size, 1000 * number + each) for each in range(stems)}
            told = [stem_of(name, each, key=f"{folder}{name}.mp3", etag=etag_of(each)) for name, each in data.items()]
            sealed = manifest(told, task=task, accepted_at="2026-03-01T12:00:00+00:00")
            self.objects.update({f"{folder}{name}.mp3": each for name, each in data.items()})
            self.objects |= {f"{folder}record-info.json": RECORD, f"{folder}manifest.json": sealed}
            wholes.append(rebuilt(read_manifest(sealed), folder))
        mark = self.ledger.rebuilds.begin(now=NOW)
        for first in range(0, tasks, 500):
            self.ledger.rebuilds.take(wholes[first : first + 500], mark, mark)
        self.ledger.rebuilds.end(mark)
        return self

    def trim(self) -> Held:
        """Trim all that was archived."""
        assert trim_on(self.ledger, self.store, lambda: NOW, PREFIX).run(NOW).left == 0
        return self

    @contextmanager
    def verification(self, level: Level, allowance: Allowance | None = None) -> Iterator[Verification]:
        archive = Aged(self.store, self.etags, self.alter)

        @contextmanager
        def fresh() -> Iterator[Archive]:
            yield archive

        fetching = Fetching(archive, BufferBudget(8 << 20), Unlimited(), lambda _: None)
        known, extra = self.ledger.objects, allowance or Allowance()
        looking = Looking(archive, known, Proving(fetching, fresh), PREFIX, level, extra)
        yield Verification(archive, known, looking, PREFIX, level, 4)

    def verify(self, level: Level, *ids: str, allowance: Allowance | None = None) -> list[Judged]:
        with self.verification(level, allowance) as work:
            return list(work.run([TaskId(each) for each in ids] or None))

    def verdicts(self, level: Level, *ids: str) -> dict[str, Fixity]:
        return {each.key.removeprefix(PREFIX): each.verdict for each in self.verify(level, *ids)}

    def resealed(self, key: str, change: Callable[[dict[str, Any]], object], *, seal: bool = True) -> None:
        """Put a manifest that was changed in the place of the one that stands there."""
        document = json.loads(self.objects[key])
        change(document)
        if seal:
            del document["seal"]
            document["seal"] = f"sha256:{seal_of(document)}"
        self.objects[key] = json.dumps(document).encode()

    def rot(self, key: str) -> None:
        """Flip a bit, unnoticed by the store."""
        self.etags.setdefault(key, etag_of(self.objects[key]))
        self.objects[key] = flipped(self.objects[key])


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


Planted = dict[str, Fixity]


def plant(held: Held, each: int, seed: int = 7) -> tuple[Planted, Planted]:
    """Plant `each` of the twelve kinds, one kind a task; return what is to be found by a read, and by a list."""
    tasks = sorted({key.split("/")[1] for key in held.objects})
    drawn = random.Random(seed).sample(tasks, each * len(_KINDS))
    read: Planted = {}
    listed: Planted = {}
    for number, task in enumerate(drawn):
        kind = _KINDS[number % len(_KINDS)]
        found, by_list = kind(held, f"{PREFIX}{task}/")
        read |= {key.removeprefix(PREFIX): verdict for key, verdict in found.items()}
        listed |= {key.removeprefix(PREFIX): verdict for key, verdict in (found if by_list else {}).items()}
    return read, listed


Kind = Callable[[Held, str], tuple[Planted, bool]]
_STEM = "s03.mp3"


def _gone(name: str, verdict: Fixity) -> Kind:
    def remove(held: Held, folder: str) -> tuple[Planted, bool]:
        del held.objects[folder + name]
        return {folder + name: verdict}, True

    return remove


def _folder_gone(held: Held, folder: str) -> tuple[Planted, bool]:
    found = {}
    for key in [key for key in held.objects if key.startswith(folder)]:
        del held.objects[key]
        sidecars = {"manifest.json": Fixity.MANIFEST_MISSING, "record-info.json": Fixity.RECORD_MISSING}
        found[key] = sidecars.get(key.removeprefix(folder), Fixity.MISSING)
    return found, True


def _rotten(held: Held, folder: str) -> tuple[Planted, bool]:
    held.rot(folder + _STEM)
    return {folder + _STEM: Fixity.MISMATCH}, False


def _cut(held: Held, folder: str) -> tuple[Planted, bool]:
    held.objects[folder + _STEM] = held.objects[folder + _STEM][:-1]
    return {folder + _STEM: Fixity.ALTERED}, True


def _put_again(held: Held, folder: str) -> tuple[Planted, bool]:
    held.etags[folder + _STEM] = "another-2"
    return {}, True


def _overwritten(held: Held, folder: str) -> tuple[Planted, bool]:
    held.objects[folder + _STEM] = flipped(held.objects[folder + _STEM])
    return {folder + _STEM: Fixity.MISMATCH}, True


def _unsealed(held: Held, folder: str) -> tuple[Planted, bool]:
    held.resealed(folder + "manifest.json", lambda document: document.update(reason="?"), seal=False)
    return {folder + "manifest.json": Fixity.MANIFEST_BROKEN}, False


def _unlike(held: Held, folder: str) -> tuple[Planted, bool]:
    held.resealed(folder + "manifest.json", lambda document: document["stems"][3].update(sha256="ab" * 32))
    return {folder + "manifest.json": Fixity.MANIFEST_DIFFERS}, False


def _foreign(held: Held, folder: str) -> tuple[Planted, bool]:
    held.objects[folder + "notes.txt"] = b"mine"
    return {folder + "notes.txt": Fixity.UNKNOWN}, True


_KINDS: tuple[Kind, ...] = (
    _gone(_STEM, Fixity.MISSING),
    _folder_gone,
    _gone("manifest.json", Fixity.MANIFEST_MISSING),
    _gone("record-info.json", Fixity.RECORD_MISSING),
    _rotten,
    _cut,
    _put_again,
    _overwritten,
    _unsealed,
    _unlike,
    _foreign,
    _gone("s05.mp3", Fixity.MISSING),  # behind a delete marker nobody can read it either; see the real bucket
)


def kinds_of_faults() -> tuple[Kind, ...]:
    """All kinds but the one that is no fault."""
    return tuple(kind for kind in _KINDS if kind is not _put_again)
