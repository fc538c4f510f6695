"""What a rebuild of many tasks takes, on a bucket whose manifests are made as they are asked for."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from archiver.core.manifest import seal_of
from archiver.ports.archive import FoundDocument, ListedObject, ObjectBody, ObjectHead
from tests.fixtures.ledgers import tid
from tests.house import ready_ledger_at, rebuild_on

TASKS = int(os.environ.get("ARCHIVER_REBUILD_TASKS", "20000"))
STEMS = 12
AT = "2026-03-01T12:00:00+00:00"
PAGE = 1000


class MadeUp:
    """An archive of so many archived tasks of twelve stems, with an event for each."""

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self.lists = self.gets = 0
        self.seconds = 0.0
        """CPU that making them up took."""

    def folders(self, prefix: str, *, after: str = "") -> Iterator[str]:
        del prefix
        ids = iter([tid(number) for number in range(self.tasks) if tid(number) > after])
        while page := list(islice(ids, PAGE)):
            self.lists += 1
            yield from page

    def objects(self, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        del prefix, after
        self.lists += 1
        return iter(())

    def document(self, key: str, *, limit: int) -> FoundDocument | None:
        del limit
        self.gets += 1
        began = time.thread_time()
        data = manifest(key.split("/")[1])
        self.seconds += time.thread_time() - began
        return FoundDocument(data, ObjectHead(len(data), "etag"))

    def head(self, key: str) -> ObjectHead | None:
        raise AssertionError(key)

    def open(self, key: str, *, offset: int = 0, etag: str = "") -> ObjectBody:
        raise AssertionError(key, offset, etag)


def manifest(task: str) -> bytes:
    return manifest_of(task, {f"stem-{number:02}": (5_000_000 + number, f"{number:064x}") for number in range(STEMS)})


def manifest_of(task: str, files: Mapping[str, tuple[int, str]]) -> bytes:
    """Return the manifest of an archived task with those stems, each of a size and a SHA-256."""
    stems = [
        {
            "name": name,
            "state": "stored",
            "field": f"stem{number}Url",
            "source_url": f"https://cdn.example/{task}/{number}.mp3",
            "duration_seconds": 180.0,
            "path": f"{name}.mp3",
            "key": f"p/{task}/{name}.mp3",
            "bytes": size,
            "sha256": sha256,
            "etag": f"{number:032x}",
            "content_type": "audio/mpeg",
            "stored_at": AT,
            "alias_of": None,
            "url_cut": False,
            "attempts": 0,
            "gone": 0,
            "not_before": None,
        }
        for number, (name, (size, sha256)) in enumerate(files.items())
    ]
    words = {"event": "stored", "before": "wanted", "after": "stored"}
    events: list[dict[str, object]] = [
        {"type": None, "at": AT, "stem": stem["name"], **words, "detail": {}} for stem in stems
    ]
    times = dict.fromkeys(("accepted_at", "created_at", "deadline", "ended_at", "written_at", "first_asked_at"), AT)
    about = {"account": "default", "source": "queue", "flag": "SUCCESS", "reason": "", "previous": None}
    document = {"format": 2, "task_id": task, "state": "archived", **about, **times, "stems": stems, "events": events}
    return json.dumps({**document, "seal": f"sha256:{seal_of(document)}"}).encode()


def memory(field: str) -> float:
    """MB, by the kernel."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:")]
    return int(line.split()[1]) / 1024


@pytest.mark.slow
@pytest.mark.timeout(60 + TASKS / 20)
def test_rebuild_of_many_tasks_takes_what_it_is_said_to(tmp_path: Path) -> None:
    archive = MadeUp(TASKS)
    with closing(ready_ledger_at(f"sqlite:///{tmp_path}/ledger.db")) as ledger:
        Path("/proc/self/clear_refs").write_text("5")
        before, began, cpu = memory("VmRSS"), time.monotonic(), time.process_time()
        found, totals = rebuild_on(ledger, archive, lambda: datetime.now(UTC)).run()
        seconds, spent = time.monotonic() - began, time.process_time() - cpu - archive.seconds
        peak = memory("VmHWM") - before
    assert (found.folders, totals.tasks, totals.stems["stored"]) == (TASKS, {"archived": TASKS}, STEMS * TASKS)
    assert archive.gets == TASKS
    assert archive.lists <= TASKS / PAGE + 3
    assert peak < 150
    print(
        f"\n{TASKS} tasks of {STEMS} stems: {seconds:.1f} s, "
        f"{spent:.1f} s of CPU ({1000 * spent / TASKS:.2f} ms a task), "
        f"without GETs and without {archive.seconds:.1f} s that made the manifests; {peak:.0f} MB more at most, "
        f"{archive.lists} listings, {archive.gets} GETs"
    )
