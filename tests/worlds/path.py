"""The pure path on fakes: the real ledger, breakers, archiver and dispatcher in one thread, and time in our hands.

The provider, the CDN and the bucket are played by `tests/fakes`: each may be scripted for good and bad.
"""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from archiver.core.intake import Intake
from archiver.core.model import (
    DEFAULT_ACCOUNT,
    AccountName,
    Claim,
    Later,
    Outcome,
    Phase,
    RecordInfo,
    Stage,
    StemName,
    StemSource,
    TaskId,
    Yielded,
)
from archiver.core.reports import TaskRow
from archiver.core.states import TaskState
from archiver.ports.runtime import UNWATCHED, Jitter, Watch
from archiver.ports.transfer import TransferPool
from tests.fakes.archive import FakeArchive
from tests.fakes.downloader import Audio, FakeDownloader, Scripted
from tests.fakes.events import Events
from tests.fakes.object_store import FakeStore
from tests.fakes.observer import Watcher
from tests.fakes.record_api import FakeApi
from tests.fakes.time import NOW
from tests.fakes.transfers import Inline
from tests.fixtures.ledgers import accept, finish, relisted
from tests.fixtures.manifest_schemas import checked
from tests.house import (
    LEASE,
    Crowd,
    DispatchContext,
    EnoughWait,
    Ledger,
    archiver_on,
    breakers_on,
    context_on,
    dispatcher_on,
    middle,
    no_crowd,
    none_wait,
    ready_ledger_at,
)

TASK = TaskId("task-0001")
CDN = "cdn.example"
PREFIX = "p/"


class Process:
    """One running service on a path: its name, and all that it holds in memory."""

    def __init__(
        self,
        path: Path,
        owner: str = "me",
        **changes: Any,  # noqa: ANN401 - any further argument of an archiver
    ) -> None:
        self.owner = owner
        self.path = path
        self.breakers = breakers_on(path.ledger, path.clock, path.events, path.accounts)
        given: dict[str, Any] = {"observer": path.watcher, "pool": path.pool, "cancelled": path.cancelled.is_set}
        given |= {"jitter": path.jitter, "api": path.api, "downloader": path.downloader, "store": path.store}
        given |= {"owner": owner, "prefix": PREFIX, "steady": path.steady, "watch": path.watch}
        given["archive"] = FakeArchive(path.store)
        self.archiver = archiver_on(path.ledger, self.breakers, path.clock, path.events, **(given | changes))
        given = {"workers": path.workers, "lease": path.lease, "crowd": path.crowd, "enough_wait": path.enough_wait}
        self.dispatcher = dispatcher_on(self.context(owner, **given), self.archiver.archive)

    def context(self, owner: str, **changes: Any) -> DispatchContext:  # noqa: ANN401 - any argument of `context_on`
        """Return what this process's dispatchers share."""
        return context_on(self.path.ledger, self.breakers, self.path.clock, self.path.events, owner=owner, **changes)


@dataclass
class Path:
    """One process, `me`, on a ledger, and everything outside that can break."""

    ledger: Ledger
    now: datetime = NOW
    """The true time; the provider tells it, too."""
    wrong_by: timedelta = timedelta()
    """By how much the wall clock is ahead of it."""
    lease: timedelta = LEASE
    workers: int = 1
    accounts: Collection[AccountName] = (DEFAULT_ACCOUNT,)
    jitter: Jitter = middle
    crowd: Crowd = no_crowd
    enough_wait: EnoughWait = none_wait
    pool: TransferPool = field(default_factory=Inline)
    api: FakeApi = field(default_factory=FakeApi)
    store: FakeStore = field(default_factory=FakeStore)
    origin: dict[str, list[Scripted]] = field(default_factory=dict)
    """What the CDN answers, by URL."""
    events: Events = field(default_factory=Events)
    watcher: Watcher = field(default_factory=Watcher)
    cancelled: threading.Event = field(default_factory=threading.Event)
    watch: Watch = UNWATCHED

    def __post_init__(self) -> None:
        self.api.date = lambda: self.now
        self.downloader = FakeDownloader(self.origin)
        self.me = self.start()
        self.breakers, self.archiver, self.dispatcher = self.me.breakers, self.me.archiver, self.me.dispatcher

    def clock(self) -> datetime:
        """The wall clock."""
        return self.now + self.wrong_by

    def steady(self) -> float:
        return self.now.timestamp()

    def forward(self, span: timedelta) -> None:
        """Let time pass, as a call that takes so long does."""
        self.now += span

    def start(self, **changes: Any) -> Process:  # noqa: ANN401 - any argument of an archiver
        """Start another process under the same name."""
        return Process(self, **changes)

    # --- what there is

    def accept(self, *ids: str) -> None:
        accept(self.ledger, Intake(ids=tuple(map(TaskId, ids))), now=self.clock())

    def serves(
        self, name: str, *answers: Scripted | bytes, stem: str = "", host: str = CDN, query: str = ""
    ) -> StemSource:
        """Let the CDN answer so about the file `name`, the last for ever; return it as a stem, of the same name."""
        url, stem = f"https://{host}/{name}.mp3{query}", stem or name
        self.origin[url] = [Audio(each) if isinstance(each, bytes) else each for each in answers]
        return StemSource(StemName(stem), url, f"{stem}Url")

    def lists(
        self, *sources: StemSource, task: str = TASK, phase: Phase = Phase.DONE, created: datetime | None = NOW
    ) -> RecordInfo:
        """Let the provider list these stems of the task; return its record."""
        record = RecordInfo(phase, sources, flag="F", created_at=created, document='{"stems": 1}')
        self.api.knows(TaskId(task), record)
        return record

    def lives(self, name: str, host: str, *answers: Scripted, deadline: datetime = NOW + timedelta(days=10)) -> None:
        """Let a task be listed already, with one stem on `host` that answers so."""
        self.accept(name)
        claim = self.ledger.claims.claim(owner="setup", now=self.clock(), lease=LEASE, stage=Stage.LIST)
        assert claim is not None
        record = self.lists(self.serves(name, *answers, stem="vocal", host=host), task=name)
        finish(
            self.ledger, relisted(self.ledger, claim, record, deadline, now=self.clock()), Yielded(), now=self.clock()
        )

    # --- what is done

    def claim(self, stage: Stage | None = None) -> Claim:
        claim = self.ledger.claims.claim(owner="me", now=self.clock(), lease=LEASE, stage=stage)
        assert claim is not None, "nothing is due"
        return claim

    def go(self, stage: Stage | None = None) -> Outcome:
        """Take the task that is due along the path."""
        return self.archiver.archive(self.claim(stage))

    def go_until(self, done: Callable[[Outcome], bool], *, most: int = 50) -> Outcome:
        """Take the task up as often as it asks to be, jumping to the time it asks for."""
        for _ in range(most):
            outcome = self.go()
            if done(outcome):
                return outcome
            assert isinstance(outcome, Later), outcome
            self.now = outcome.at
        raise AssertionError(f"still not there after {most} tries: {outcome}")

    def passes(self, span: timedelta, until_archived: Iterable[str] = ()) -> timedelta:
        """Work for so long, or until these are archived; return how long it was."""
        began, left = self.now, set(until_archived)
        while self.now < began + span:
            self.breakers.reload()
            while self.dispatcher.step():
                pass
            left = {name for name in left if not self.archived(name)}
            if until_archived and not left:
                break
            self.now += timedelta(seconds=1)
        return self.now - began

    # --- what there is to see

    def row(self, name: str) -> TaskRow:
        row = self.ledger.reports.show(TaskId(name))
        assert row is not None
        return row

    @property
    def task(self) -> TaskRow:
        return self.row(TASK)

    def archived(self, *names: str) -> int:
        return sum(self.row(name).state is TaskState.ARCHIVED for name in names)

    def logged(self, prefix: str) -> list[tuple[str, str]]:
        """Level and name of each event whose name begins so, in order."""
        return [(level, event) for level, event, _ in self.events.seen if event.startswith(prefix)]

    def manifest(self, name: str = TASK) -> dict[str, dict[str, Any]]:
        document = checked(self.store.objects[f"{PREFIX}{name}/manifest.json"])
        assert document["task_id"] == name
        return {stem["name"]: stem for stem in document["stems"]}


@contextmanager
def path_in(folder: pathlib.Path, **changes: Any) -> Iterator[Path]:  # noqa: ANN401 - any field of the path
    """Build a path whose ledger is in the folder."""
    with closing(ready_ledger_at(f"sqlite:///{folder}/ledger.db")) as ledger:
        yield Path(ledger, **changes)
