"""Archives to look at and listen to: a real ledger, and a bucket in memory that can be slow, cut, and refuse."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from archiver.core.intake import Intake
from archiver.core.manifest import seal_of
from archiver.core.model import Archived, Lost, Receipt, Stage, StemName, TaskId, task_id
from archiver.core.said import Said
from archiver.core.states import StemEvent
from archiver.ports.archive import FoundDocument, ListedObject, ObjectBody, ObjectHead
from archiver.settings import Settings
from archiver.settings.model import Ledger as LedgerSettings
from archiver.settings.model import Page, Queue, Store
from tests.fakes.archive import FakeArchive, etag_of
from tests.fakes.object_store import FakeStore
from tests.fixtures.ledgers import finish, record, stem_failed
from tests.house import Ledger

PREFIX = "stems/"
MADE = datetime(2026, 11, 7, 9, 12, 3, tzinfo=UTC)


@dataclass
class Bucket:
    """`BrowsedArchive` over a bucket in memory; `trouble` is what befalls whoever reads audio."""

    store: FakeStore = field(default_factory=FakeStore)
    refusal: Exception | None = None
    cut_at: int | None = None
    """Bytes after which every body breaks off."""
    wait: float = 0.0
    """Seconds that each piece takes."""
    spans: list[tuple[str, int, int]] = field(default_factory=list)
    closed: int = 0
    lies: dict[str, bytes] = field(default_factory=dict)
    """Bytes that are given in the place of others."""
    gives_by: Callable[[str], str] | None = None
    """Makes links to keys, where those of the fake do not suffice."""

    def calm(self) -> None:
        """Begin anew, without trouble and with nothing counted."""
        self.refusal, self.cut_at, self.wait, self.closed = None, None, 0.0, 0
        self.spans.clear()

    @property
    def inner(self) -> FakeArchive:
        return self.store.archive

    def folders(self, prefix: str, *, after: str = "") -> Iterator[str]:
        return self.inner.folders(prefix, after=after)

    def objects(self, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        return self.inner.objects(prefix, after=after)

    def document(self, key: str, *, limit: int) -> FoundDocument | None:
        return self.inner.document(key, limit=limit)

    def head(self, key: str) -> ObjectHead | None:
        return self.inner.head(key)

    def link(self, key: str, *, name: str, seconds: int) -> str:
        return self.gives_by(key) if self.gives_by else self.inner.link(key, name=name, seconds=seconds)

    def open(self, key: str, *, offset: int = 0, etag: str = "") -> ObjectBody:
        body = self.inner.open(key, offset=offset, etag=etag)
        body.data = self.lies.get(key, body.data)
        return self._troubled(body)

    def span(self, key: str, begin: int, end: int, *, etag: str) -> ObjectBody:
        self.spans.append((key, begin, end))
        return self._troubled(self.inner.span(key, begin, end, etag=etag))

    def _troubled(self, body: ObjectBody) -> ObjectBody:
        if self.refusal is not None:
            raise self.refusal
        return Troubled(self, body)


@dataclass
class Troubled:
    """A body that comes as its bucket is told."""

    bucket: Bucket
    inner: ObjectBody
    came: int = 0

    @property
    def head(self) -> ObjectHead:
        return self.inner.head

    def readinto(self, view: memoryview) -> int:
        if self.bucket.refusal is not None:
            raise self.bucket.refusal
        if self.bucket.wait:
            time.sleep(self.bucket.wait)
        most = len(view) if self.bucket.cut_at is None else min(len(view), self.bucket.cut_at - self.came)
        if most <= 0:
            return 0
        size = self.inner.readinto(view[:most])
        self.came += size
        return size

    def close(self) -> None:
        self.bucket.closed += 1
        self.inner.close()


def settings_of(folder: Path, audio: Literal["proxy", "presigned"] = "proxy", cache: int = 0) -> Settings:
    """Return settings for a ledger in `folder`, and a page on a free port, which measures no audio without a cache."""
    return Settings(
        ledger=LedgerSettings(url=f"sqlite:///{folder}/ledger.db"),
        queue=Queue(path=folder / "queue.txt"),
        store=Store(bucket="my-stems", prefix=PREFIX),
        page=Page(listen="127.0.0.1:0", audio=audio, cache=cache),
    )


def lay(
    ledger: Ledger,
    bucket: Bucket,
    task: str,
    stems: Mapping[str, bytes],
    *,
    title: str = "",
    lost: str = "",
    waiting: str = "",
) -> TaskId:
    """Archive a task: objects, receipts, manifest and record; `lost` is the name of a stem that is gone."""
    mine = task_id(task)
    intake = Intake(ids=(mine,), said={mine: Said(title=title)} if title else {})
    ledger.intakes.take_in(intake, source="queue.txt", now=MADE)
    claim = ledger.claims.claim_task(mine, owner="us", now=MADE, lease=timedelta(hours=1), stages=[Stage.LIST])
    assert claim is not None
    names = [*stems, *filter(None, [lost, waiting])]
    deadline = MADE + timedelta(days=14)
    claim = ledger.progress.listed(claim, record(*names), deadline, settled=True, now=MADE + timedelta(seconds=41))
    rows = []
    for number, (name, data) in enumerate(stems.items()):
        key = f"{PREFIX}{mine}/{name}.mp3"
        bucket.store.objects[key], bucket.store.content_types[key] = data, "audio/mpeg"
        digest, at = hashlib.sha256(data).hexdigest(), MADE + timedelta(seconds=60 + 20 * number)
        receipt = Receipt(key, len(data), digest, etag_of(data), "audio/mpeg", at)
        ledger.progress.stored(claim, {StemName(name): receipt})
        rows.append({"name": name, "state": "stored", "path": f"{name}.mp3", "bytes": len(data), "sha256": digest})
    if lost:
        late = deadline + timedelta(hours=3)
        why = "gone (410), three times past the deadline"
        stem_failed(ledger, claim, lost, event=StemEvent.GONE, reason=why, gone=True, now=late)
        finish(ledger, claim, Lost(why), now=late)
    elif not waiting:
        finish(ledger, claim, Archived(), now=MADE + timedelta(minutes=5))
    _documents(bucket, mine, rows, "lost" if lost else "archived")
    return mine


def _documents(bucket: Bucket, task: TaskId, rows: list[dict[str, object]], state: str) -> None:
    document = {"format": 2, "task_id": task, "state": state, "stems": rows, "written_at": MADE.isoformat()}
    sealed = json.dumps({**document, "seal": f"sha256:{seal_of(document)}"}).encode()
    bucket.store.objects[f"{PREFIX}{task}/manifest.json"] = sealed
    bucket.store.objects[f"{PREFIX}{task}/record-info.json"] = (
        b'{"code": 200, "data": {"taskId": "%s"}}' % task.encode()
    )
