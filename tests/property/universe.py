"""A whole service with everything around it, in one thread and with time in our hands.

Real: the queue file, the ledger, the dispatcher's decisions, the circuit breakers, the path. Fake: the
provider's API, the CDN and the bucket, each of which can be made to fail, and to hold a truth that the
outcome is compared with.
"""

from __future__ import annotations

import itertools
import json
import pathlib
import re
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from archiver.core.errors import LinkSpent
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Policy, TaskId, task_id
from archiver.core.records.record import record_of
from archiver.service.housekeeping import Housekeeping
from archiver.service.intake import QueueIntake
from tests.fakes.downloader import Answer, Audio, Scripted
from tests.fakes.object_store import FakeStore
from tests.fakes.observer import Watcher
from tests.house import Ledger, QueueFile, ready_ledger_at
from tests.worlds.path import Path
from tests.worlds.path import Process as Service

POLICY = Policy()
SECOND = AccountName("second")
MEMORY = pathlib.Path("/dev/shm")
"""Where there is one: thousands of small ledgers would only be slowed by a disk."""

SIGNATURE, RESCUE, CALLBACK = "sig-QK71secret", "rescue-Zt93secret", "callback-Lw58secret"
SECRETS = (SIGNATURE, RESCUE, CALLBACK)
"""What stands in URLs, and must be found in nothing that is kept or said."""

MOST_CLAIMS = 60
"""More claims than that at one moment mean that something runs in circles."""


_ACCOUNT = re.compile(rb"account\W+(default|second)\b")


class Phase(StrEnum):
    """What the provider says of a song."""

    ABSENT = "absent"
    PENDING = "PENDING"
    SUCCESS = "SUCCESS"
    EXCEPTION = "CALLBACK_EXCEPTION"
    FAILED = "GENERATE_AUDIO_FAILED"


READY = (Phase.SUCCESS, Phase.EXCEPTION)


@dataclass(slots=True)
class Song:
    """One task as the provider and its CDN know it."""

    task_id: TaskId
    created: datetime
    stems: Mapping[str, bytes]
    """The truth: what each stem's object must be, from the first to the last listed."""
    signed: bool = False
    """Whether its URLs carry a secret."""
    phase: Phase = Phase.ABSENT
    listed: int = 0
    """How many of the stems the record names by now."""
    hidden: bool = False
    """The record is away for a while, though there was one."""
    generation: int = 0
    """Links of an earlier one are spent."""
    stale: bool = False
    """The record gives spent links the first time it is asked."""
    only_rescue: bool = False
    """The record's links are spent too; only the rescue link still works."""
    deleted: bool = False
    """The CDN has thrown the audio away, as it may after the retention."""

    def url(self, stem: str, *, generation: int | None = None) -> str:
        number = self.generation if generation is None else generation
        return f"https://cdn.example/{self.task_id}/{number}/{stem}.mp3" + (f"?X={SIGNATURE}" if self.signed else "")

    def rescue_url(self, stem: str) -> str:
        return f"https://rescue.example/{self.task_id}/{RESCUE}/{stem}.mp3?token={RESCUE}"

    def record(self, *, generation: int | None = None) -> Mapping[str, object] | None:
        """The `data` of record-info."""
        if self.phase is Phase.ABSENT or self.hidden:
            return None
        names = list(self.stems)[: self.listed]
        return {
            "taskId": self.task_id,
            "successFlag": self.phase.value,
            "createTime": int(self.created.timestamp() * 1000),
            "errorMessage": "it \x1b[31mfailed" if self.phase is Phase.FAILED else None,
            "callbackUrl": f"https://user.example/hook?token={CALLBACK}",
            "response": {f"{name}Url": self.url(name, generation=generation) for name in names} or None,
        }


class SeenStem(NamedTuple):
    """Columns of a stem."""

    name: str
    state: str
    attempts: int
    reason: str
    key: str | None
    size: int | None
    sha256: str | None


class SeenTask(NamedTuple):
    """Columns of a task; times in microseconds since 1970."""

    state: str
    deadline: int | None
    not_before: int | None
    attempts: int
    asks: int
    reason: str
    owner: str | None
    stems: tuple[SeenStem, ...]


class Cdn(dict[str, list[Scripted]]):
    """What each URL gives at its time; remembers when it said that audio is gone."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self._clock = clock
        self.trouble: Callable[[bytes], Answer] | None = None
        self.only: str = ""
        """The stem that the trouble is limited to; empty for all."""
        self.gone: dict[tuple[TaskId, str], datetime] = {}

    def serve(self, song: Song) -> None:
        for stem in song.stems:
            links = {song.url(stem, generation=-1): -1, song.url(stem): song.generation, song.rescue_url(stem): None}
            self |= {url: [partial(self._answer, song, stem, number)] for url, number in links.items()}

    def _answer(self, song: Song, stem: str, generation: int | None) -> Answer:
        answer = self._answer_now(song, stem, generation)
        if isinstance(answer, LinkSpent):
            self.gone[song.task_id, stem] = self._clock()
        return answer

    def _answer_now(self, song: Song, stem: str, generation: int | None) -> Answer:
        data = song.stems[stem]
        if song.deleted:
            return LinkSpent(status=404)
        if self.trouble is not None and self.only in ("", stem):
            return self.trouble(data)
        if generation is not None and (song.only_rescue or generation != song.generation):
            return LinkSpent(status=403)
        return Audio(data, announced=len(data) % 2 == 0)


class Killed(BaseException):
    """The process dies here; nothing of it runs on."""


class Uploads(set[tuple[str, str]]):
    """The bucket's open multipart uploads: a process that has died closes none."""

    def __init__(self, died: Callable[[], bool]) -> None:
        super().__init__()
        self._died = died

    def discard(self, upload: object) -> None:
        if self._died():
            raise Killed
        super().discard(upload)


@dataclass(slots=True)
class Fate:
    """What happens at the checkpoint that many steps ahead."""

    steps: int
    blow: Callable[[], None]


class Process(Service):
    """One running service, that may die and be started anew."""

    path: Universe

    def __init__(self, universe: Universe) -> None:
        self.fate: Fate | None = None
        self.dead = False
        super().__init__(
            universe,
            f"{next(universe.names):x}",
            jitter=universe.jitter,
            observer=Watcher(universe.checkpoint),
            checkpoint=universe.checkpoint,
        )
        self.take_in = QueueIntake(
            queue=QueueFile(str(universe.queue)),
            path=str(universe.queue),
            intakes=universe.ledger.intakes,
            clock=universe.clock,
            log=universe.events,
            checkpoint=universe.checkpoint,
            every=timedelta(),
        )

    def meets(self, step: str) -> None:
        """Called at every checkpoint."""
        if self.dead:
            raise Killed(step)
        if self.fate is not None:
            self.fate.steps -= 1
            if self.fate.steps <= 0:
                fate, self.fate = self.fate, None
                fate.blow()

    def die(self) -> None:
        self.dead = True
        raise Killed

    def work_once(self) -> bool:
        """Take one claim to its outcome; False when none is due."""
        return self.dispatcher.step()

    def work(self) -> None:
        """Work until nothing more is due at this moment."""
        for _ in range(MOST_CLAIMS):
            if not self.work_once():
                return
        raise AssertionError(f"{MOST_CLAIMS} claims at one moment and still something due: it runs in circles")

    def tick(self) -> None:
        """One round of the daemon's chores."""
        self.housekeeping()
        self.take_in()
        self.work()

    def housekeeping(self) -> None:
        """What the daemon does every half minute."""
        self.breakers.reload()
        self.dispatcher.renew()
        path = self.path
        sweep = Housekeeping(path.ledger.claims, path.ledger.uploads, path.store, path.alive, path.clock, path.events)
        sweep.free_leases()
        sweep.abort_uploads()


class Universe(Path):
    """Two services on one ledger, one queue file, one bucket, and the provider's songs."""

    def __init__(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="universe-", dir=MEMORY if MEMORY.is_dir() else None))
        self.queue = self.folder / "queue.txt"
        self.queue.touch()
        self.names = itertools.count(1)
        self.jitters = itertools.cycle((0.5, 0.0, 0.99))
        self.acting: Process | None = None
        self.cdn = Cdn(self.clock)
        store = FakeStore(single_put_max=1500, checkpoint=self.checkpoint)
        store.uploads = Uploads(lambda: self.acting is not None and self.acting.dead)
        super().__init__(self.open_ledger(), origin=self.cdn, store=store, accounts=[DEFAULT_ACCOUNT, SECOND])
        self.songs: dict[TaskId, Song] = {}
        self.written: set[TaskId] = set()
        """Every id that ever stood on a line of the queue file; the last may lack its newline."""
        self.named: defaultdict[TaskId, set[str]] = defaultdict(set)
        """The accounts that lines name, of each id."""
        self.accepted: set[TaskId] = set()
        self.troubles: dict[str, datetime] = {}
        """When each will be over."""
        self.processes = [Process(self), Process(self)]
        self._eye = sqlite3.connect(self.folder / "ledger.db", isolation_level=None)
        self._seen = (0, 0)

    def close(self) -> None:
        self._eye.close()
        self.ledger.close()
        shutil.rmtree(self.folder)

    def open_ledger(self) -> Ledger:
        return ready_ledger_at(f"sqlite:///{self.folder}/ledger.db", checkpoint=self.checkpoint)

    def jitter(self) -> float:
        return next(self.jitters)

    def alive(self, owner: str) -> bool:
        return owner in {process.owner for process in self.processes}

    def checkpoint(self, step: str) -> None:
        if self.acting is not None:
            self.acting.meets(step)

    # --- processes

    @contextmanager
    def acts(self, process: Process | None) -> Iterator[None]:
        """Whose code runs now, and so who meets the checkpoints."""
        before, self.acting = self.acting, process
        try:
            yield
        finally:
            self.acting = before

    def run(self, number: int, work: Callable[[Process], object], fate: Fate | None = None) -> bool:
        """Let a process work, until its fate; one that dies is started anew. True when it lived."""
        process = self.processes[number]
        process.fate = fate
        try:
            with self.acts(process):
                work(process)
        except Killed:
            self.restart(number)
            return False
        process.fate = None
        return True

    def restart(self, number: int) -> None:
        """The process is dead; the next one frees what it held."""
        self.processes[number] = Process(self)
        with self.acts(self.processes[number]):
            self.processes[number].housekeeping()

    # --- the queue

    def append(self, text: bytes) -> None:
        with self.queue.open("ab") as file:
            file.write(text)
        lines = self.queue.read_bytes().split(b"\n")
        self.written |= self.ids_on(lines)
        for line in lines:
            if (found := _id_on(line)) is not None and (account := _ACCOUNT.search(line)) is not None:
                self.named[found].add(account[1].decode())

    def whole_lines(self) -> set[TaskId]:
        """The ids on the lines of the queue file that are whole."""
        return self.ids_on(self.queue.read_bytes().split(b"\n")[:-1])

    def ids_on(self, lines: list[bytes]) -> set[TaskId]:
        return {found for line in lines if (found := _id_on(line)) is not None}

    # --- the provider

    def change(self, song: Song, **values: object) -> None:
        """Let the provider change its mind about a song."""
        for name, value in values.items():
            setattr(song, name, value)
        self.cdn.serve(song)
        answers = [record_of(song.record(generation=-1))] if song.stale else []
        self.api.knows(song.task_id, *answers, record_of(song.record()))
        rescued = [each for each in self.songs.values() if each.only_rescue]
        self.api.links = {each.url(stem): each.rescue_url(stem) for each in rescued for stem in each.stems}

    # --- time and trouble

    def elapses(self, span: timedelta) -> None:
        """Time goes by, and with it the troubles whose time it was."""
        self.now += span
        for what in [what for what, end in self.troubles.items() if end <= self.now]:
            self.mend(what)

    def ends_after(self, span: timedelta, what: str) -> None:
        self.troubles[what] = self.now + span

    def mend(self, *which: str) -> None:
        """The faults of the API, the CDN or the bucket (all of them, if none is named) are over."""
        for what in which or ("api", "account", "cdn", "s3"):
            self.troubles.pop(what, None)
            match what:
                case "account":
                    self.api.unknown.clear()
                case "api":
                    self.api.trouble = None
                case "cdn":
                    self.cdn.trouble = None
                case _:
                    self.store.failures.clear()

    # --- what there is to see

    def has_changed(self) -> bool:
        """Whether the ledger or the bucket was written to since the last call."""
        [version] = self._eye.execute("PRAGMA data_version").fetchone()
        before, self._seen = self._seen, (version, self.store.written.total())
        return before != self._seen

    def rows(self) -> dict[TaskId, SeenTask]:
        """Every task in the ledger's file, read past the ledger's own code."""
        stems: dict[str, list[SeenStem]] = {}
        for name, *columns in self._eye.execute(f"SELECT task_id, {', '.join(SeenStem._fields)} FROM stems"):
            stems.setdefault(name, []).append(SeenStem(*columns))
        tasks = self._eye.execute(f"SELECT task_id, {', '.join(SeenTask._fields[:-1])} FROM tasks")
        return {TaskId(name): SeenTask(*[*columns, tuple(stems.get(name, ()))]) for name, *columns in tasks}


def _id_on(line: bytes) -> TaskId | None:
    text = line.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        try:
            text = str(json.loads(text).get("taskId", ""))
        except ValueError:
            return None
    text = re.sub(r"\s+account=[A-Za-z0-9_-]{1,32}$", "", text)
    return task_id(text) if re.fullmatch(r"[A-Za-z0-9_-]{8,128}", text) else None
