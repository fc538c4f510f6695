"""The whole service against any sequence of events: lines, answers, outages, deaths, sleeps, time.

The oracles, after every step: no accepted id vanishes or is forgotten; what is stored equals its source;
manifests are sealed and true; nothing is stored that no manifest will name (but a duplicate, by who slept past
its lease); nothing is claimed before it is done; no planted secret is kept or said. At the end all faults
stop, and everything that can still be had must be archived within a bounded time; what is lost, the origin
called gone past its deadline.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import Phase as Phases
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from archiver.core import errors
from archiver.core.keys import multipart_probe_key, probe_key
from archiver.core.model import TaskId, task_id
from archiver.core.states import StemState, TaskState
from archiver.core.whole_task import Difference, differences
from tests.fakes.audio import mp3
from tests.fakes.downloader import Answer, Audio
from tests.fixtures.ledgers import retry
from tests.fixtures.manifest_schemas import checked
from tests.fixtures.profiles import examples
from tests.fixtures.states import OPEN
from tests.house import LEASE, ready_ledger_at, rebuild_on
from tests.property.universe import (
    POLICY,
    READY,
    SECOND,
    SECRETS,
    Fate,
    Phase,
    Process,
    SeenStem,
    SeenTask,
    Song,
    Universe,
)
from tests.worlds.path import PREFIX

MOST_SONGS = 20
FRESH = task_id("song-fresh")
NAMES = ("vocal", "drums", "bass")
POLL = timedelta(seconds=30)
STEPS = 2_500
LENGTH = 80
MANY_STEPS = int(os.environ.get("ARCHIVER_MACHINE_STEPS", "1000000"))
"""How long the slow run is."""
MANY_TASKS = int(os.environ.get("ARCHIVER_MACHINE_TASKS", "10000"))
"""Whose ledgers are rebuilt in the slow run."""

API_TROUBLES: Mapping[str, Callable[[], errors.ArchiverError]] = {
    "busy": lambda: errors.ApiBusy("502"),
    "throttled": lambda: errors.ApiThrottled("429", retry_after=90),
    "key": lambda: errors.KeyRefused("401"),
    "agent": lambda: errors.AgentBlocked("1010"),
    "disabled": lambda: errors.FeatureDisabled("505"),
    "credit": lambda: errors.NoCredit("402"),
    "maintenance": lambda: errors.Maintenance("455"),
}
CDN_TROUBLES: Mapping[str, Callable[[bytes], Answer]] = {
    "busy": lambda _: errors.OriginBusy("503"),
    "throttled": lambda _: errors.OriginBusy("429", retry_after=7200),
    "401": lambda _: errors.LinkSpent(status=401),
    "404": lambda _: errors.LinkSpent(status=404),
    "410": lambda _: errors.LinkSpent(status=410),
    "html": lambda _: errors.BodyNotAudio("text/html"),
    "empty": lambda _: errors.BodyEmpty(),
    "large": lambda _: errors.BodyTooLarge("3 GiB"),
    "private": lambda _: errors.AddressForbidden("10.0.0.1"),
    "short": lambda data: Audio(data, after=len(data) // 2, then=errors.BodyShort("cut")),
    "slow": lambda data: Audio(data, after=1, then=errors.BodySlow("stalled")),
    "long": lambda data: Audio(data, after=len(data), then=errors.BodyLong("more")),
    "changed": lambda data: Audio(data, after=len(data), then=errors.BodyChanged("another ETag")),
}
S3_TROUBLES: Mapping[str, tuple[Callable[[], errors.ArchiverError], bool]] = {
    "busy": (lambda: errors.StoreBusy("503"), False),
    "busy after the commit": (lambda: errors.StoreBusy("reset"), True),
    "corrupt": (lambda: errors.StoreCorrupt("BadDigest"), False),
    "denied": (lambda: errors.AccessRefused("403"), False),
    "no bucket": (lambda: errors.BucketMissing("404"), False),
    "skewed": (lambda: errors.ClockSkewed("403"), False),
    "full": (lambda: errors.StoreFull("507"), False),
    "misfit": (lambda: errors.StoreMisfit("501"), False),
    "taken": (lambda: errors.KeyTaken("another stands there"), False),
}
SPANS = [
    timedelta(seconds=1),
    POLL,
    timedelta(minutes=5),
    LEASE + timedelta(seconds=1),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=5),
]
BAD_LINES = [
    b"no id at all\n",
    b"{broken\n",
    b"\xff\xfe\x00\n",
    b"short\n",
    b'{"taskId": 7}\n',
    b"song-9999 account=no name\n",
    b"\x1b[31mred\x1b[0m\n",
]
GOOD_LINES = [
    "{}\n",
    " {} \r\n",
    '{{"taskId": "{}"}}\n',
    "{}",
    "\n{}\n",
    "{} account=second\n",
    '{{"taskId": "{}", "account": "second"}}\n',
    "{} account=default\n",
]
BLANK_LINES = [b"\n", b"# a comment\n", b"   \r\n"]

BODIES = st.sampled_from([(1, 1), (700, 1), (700, 2), (1501, 1), (1501, 2), (70_000, 1)])
"""Sizes and seeds; few, so that two stems of a song often have equal bytes."""
SONG = st.fixed_dictionaries(
    {
        "stems": st.dictionaries(st.sampled_from(NAMES), BODIES, min_size=2),
        "signed": st.booleans(),
        "days": st.integers(0, 13),
        "phase": st.sampled_from([*[Phase.SUCCESS] * 5, Phase.PENDING, *Phase]),
        "links": st.sampled_from(["good", "good", "stale", "only rescue", "dead"]),
    }
)
TURNS = st.sampled_from(["links change", "only rescue", "record hides", "record is back", "deleted"])
HAPPENINGS = st.sampled_from(["all are retried", "one is retried", "one is killed", "all start again"])
WHICH = st.integers(0, MOST_SONGS - 1)
"""A song, the newest for 0."""
SPAN = st.sampled_from(SPANS)


@dataclass(frozen=True)
class Episode:
    """A process works, and again after each of some spans; at a checkpoint it may die, or sleep for very long."""

    who: int
    spans: Sequence[timedelta]
    fate: str
    at: int
    nap: timedelta
    """Beyond the lease."""


EPISODE = st.builds(
    Episode,
    who=st.sampled_from([0, 1]),
    spans=st.lists(SPAN, max_size=1),
    fate=st.sampled_from(["lives", "dies", "sleeps", "sleeps while all are retried", "sleeps and dies"]),
    at=st.integers(1, 16),
    nap=SPAN,
)


class Machine(RuleBasedStateMachine):
    """See the module."""

    steps = 0
    events: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.universe = Universe()
        self.said = 0

    @initialize(songs=st.lists(SONG, min_size=1, max_size=4))
    def begin(self, songs: list[dict[str, Any]]) -> None:
        for drawn in songs:
            self.new_song(drawn, "{}\n", None)

    # --- the queue

    def may_append(self) -> bool:
        # The queue file promises to know a file again by its first KiB, so it is kept shorter.
        return self.universe.queue.stat().st_size < 800

    @precondition(lambda self: len(self.universe.songs) < MOST_SONGS and self.may_append())
    @rule(drawn=SONG, form=st.sampled_from(GOOD_LINES), episode=EPISODE)
    def new_song(self, drawn: dict[str, Any], form: str, episode: Episode | None) -> None:
        """A song of any kind, asked for in any way."""
        universe = self.universe
        name = task_id(f"song-{len(universe.songs):04}")
        truth = {stem: mp3(size, seed) for stem, (size, seed) in drawn["stems"].items()}
        created = universe.now - timedelta(days=drawn["days"])
        song = universe.songs[name] = Song(name, created, truth, signed=drawn["signed"])
        links = {"stale": drawn["links"] == "stale", "only_rescue": drawn["links"] == "only rescue"}
        universe.change(song, phase=drawn["phase"], listed=len(truth) if drawn["phase"] in READY else 0, **links)
        if drawn["links"] == "dead":
            self.delete(song)
        universe.append(form.format(name).encode())
        if episode is not None:
            self.work(episode)

    @precondition(may_append)
    @rule(which=WHICH, form=st.sampled_from(GOOD_LINES), junk=st.sampled_from(BAD_LINES + BLANK_LINES))
    def append(self, which: int, form: str, junk: bytes) -> None:
        """Something else than an id, and an id a second time."""
        self.universe.append(junk + form.format(self.song(which).task_id).encode())

    @rule(truncate=st.booleans(), keeps=st.booleans())
    def rotate(self, truncate: bool, keeps: bool) -> None:
        queue = self.universe.queue
        kept = queue.read_bytes() if keeps else b""
        if truncate:
            os.truncate(queue, 0)
            queue.write_bytes(kept)
            return
        fresh = queue.with_name("fresh")
        fresh.write_bytes(kept)
        fresh.replace(queue)

    @rule(episode=EPISODE)
    def take_in(self, episode: Episode) -> None:
        if self.run(episode, lambda process: process.take_in()):
            assert self.universe.whole_lines() <= self.universe.rows().keys(), "a line that was read is nowhere"

    # --- the provider

    def song(self, which: int) -> Song:
        songs = list(self.universe.songs.values())
        return songs[-1 - which % len(songs)]

    @rule(
        which=WHICH,
        to=st.sampled_from([Phase.PENDING, Phase.SUCCESS, Phase.EXCEPTION, Phase.FAILED]),
        listed=st.integers(0, 3),
        episode=EPISODE,
    )
    def song_goes_on(self, which: int, to: Phase, listed: int, episode: Episode) -> None:
        """It comes to be known, gets stems, is finished, fails; what is finished stays so."""
        song = self.song(which)
        bare_success = song.phase is Phase.SUCCESS and song.listed == 0
        if song.phase not in (Phase.ABSENT, Phase.PENDING) and not (bare_success and to is Phase.SUCCESS):
            return
        count = len(song.stems)
        if to is Phase.PENDING:
            count = max(song.listed, min(listed, count))
        if to is Phase.SUCCESS and listed == 0 and song.listed == 0:
            count = 0
        if to is Phase.FAILED:
            count = song.listed
        self.universe.change(song, phase=to, listed=count)
        self.work(episode)

    @rule(
        which=WHICH,
        turn=st.sampled_from(["links change", "only rescue", "record hides", "record is back", "deleted"]),
        episode=EPISODE,
    )
    def song_takes_a_turn(self, which: int, turn: str, episode: Episode) -> None:
        song = self.song(which)
        match turn:
            case "links change":
                self.universe.change(song, generation=song.generation + 1, only_rescue=False)
            case "only rescue":
                self.universe.change(song, only_rescue=True)
            case "record hides" | "record is back":
                self.universe.change(song, hidden=turn == "record hides")
            case _:
                self.delete(song)
        self.work(episode)

    def delete(self, song: Song) -> None:
        """The CDN throws the audio away, no sooner than it said."""
        self.universe.elapses(max(song.created + POLICY.retention - self.universe.now, timedelta()))
        self.universe.change(song, deleted=True)

    # --- trouble, for a while, and work under it

    @rule(kind=st.sampled_from(sorted(API_TROUBLES)), span=SPAN, episode=EPISODE)
    def api_fails(self, kind: str, span: timedelta, episode: Episode) -> None:
        self.universe.api.trouble = API_TROUBLES[kind]()
        self.universe.ends_after(span, "api")
        self.work(episode)

    @rule(span=SPAN, episode=EPISODE)
    def second_account_is_unset(self, span: timedelta, episode: Episode) -> None:
        self.universe.api.unknown.add(SECOND)
        self.universe.ends_after(span, "account")
        self.work(episode)

    @rule(kind=st.sampled_from(sorted(CDN_TROUBLES)), only=st.sampled_from(["", *NAMES]), span=SPAN, episode=EPISODE)
    def cdn_fails(self, kind: str, only: str, span: timedelta, episode: Episode) -> None:
        self.universe.cdn.trouble, self.universe.cdn.only = CDN_TROUBLES[kind], only
        self.universe.ends_after(span, "cdn")
        self.work(episode)

    @rule(
        kind=st.sampled_from(sorted(S3_TROUBLES)),
        method=st.sampled_from(["put", "put", "put_document", "abort"]),
        times=st.sampled_from([1, 2, 12, 10_000]),
        span=SPAN,
        episode=EPISODE,
    )
    def s3_fails(self, kind: str, method: str, times: int, span: timedelta, episode: Episode) -> None:
        error, after = S3_TROUBLES[kind]
        self.universe.store.fail(method, error(), times=times, after=after)
        self.universe.ends_after(span, "s3")
        self.work(episode)

    # --- the service

    @rule(episode=EPISODE)
    def work_once(self, episode: Episode) -> None:
        self.run(episode, Process.work_once)

    @rule(episode=EPISODE)
    def work(self, episode: Episode) -> None:
        self.run(episode, Process.tick)
        for span in episode.spans:
            self.universe.elapses(span)
            self.run(episode, Process.tick)

    def run(self, episode: Episode, work: Callable[[Process], object]) -> bool:
        """Let the process work to its fate; True when it lived."""
        universe = self.universe
        process, other = universe.processes[episode.who], universe.processes[1 - episode.who]

        def sleep() -> None:
            """Stop in the middle for longer than the lease, while the other goes on; then wake and write."""
            with universe.acts(None):
                universe.elapses(LEASE + episode.nap)
                if episode.fate == "sleeps while all are retried":
                    retry(universe.ledger, now=universe.now)
            with universe.acts(other):
                other.tick()
            if episode.fate == "sleeps and dies":
                process.die()

        blow = {"lives": None, "dies": process.die}.get(episode.fate, sleep)
        return universe.run(episode.who, work, None if blow is None else Fate(episode.at, blow))

    @rule(what=HAPPENINGS, which=WHICH, episode=EPISODE)
    def something_happens(self, what: str, which: int, episode: Episode) -> None:
        universe = self.universe
        match what:
            case "all start again":
                universe.ledger.close()
                universe.ledger = universe.open_ledger()
                for number in range(len(universe.processes)):
                    universe.restart(number)
            case "one is killed":
                universe.restart(episode.who)
            case "one is retried":
                retry(universe.ledger, [self.song(which).task_id], now=universe.now)
            case _:
                retry(universe.ledger, now=universe.now)
        self.work(episode)

    # --- the oracles

    @invariant()
    def every_oracle_holds(self) -> None:
        type(self).steps += 1
        universe = self.universe
        self.check_what_was_said()
        if not universe.has_changed():
            return
        rows = universe.rows()
        assert universe.accepted <= rows.keys(), "an accepted id vanished"
        assert rows.keys() <= universe.written, "an id came from nowhere"
        universe.accepted = set(rows)
        for name, row in rows.items():
            self.check_task(name, row)
        self.check_objects(rows)
        self.check_what_is_kept()

    def check_task(self, name: TaskId, row: SeenTask) -> None:
        states = {stem.state for stem in row.stems}
        if row.state in OPEN:
            assert row.not_before is not None or StemState.REFUSED in states, "nobody will take it up again"
            assert row.attempts + row.asks == 0 or row.reason or row.owner, "it waits without a reason"
        elif row.state != TaskState.ARCHIVED:
            assert row.reason, "it ended without a reason"
        if row.state not in OPEN:
            manifest = {entry["name"]: entry["state"] for entry in self.manifest(name).values()}
            assert manifest == {stem.name: stem.state for stem in row.stems}
        if row.state == TaskState.ARCHIVED:
            assert states == {StemState.STORED}
        for stem in row.stems:
            self.check_stem(name, row, stem)

    def check_stem(self, name: TaskId, row: SeenTask, stem: SeenStem) -> None:
        truth = self.universe.songs[name].stems[stem.name]
        if stem.state == StemState.STORED:
            assert stem.key is not None
            assert self.universe.store.objects[stem.key] == truth, "STORED, and is not"
            assert (stem.size, stem.sha256) == (len(truth), hashlib.sha256(truth).hexdigest())
        if stem.state in (StemState.LOST, StemState.REFUSED):
            assert stem.reason
        if stem.state == StemState.LOST:
            gone = self.universe.cdn.gone.get((name, stem.name))
            assert gone is not None, "lost, and the origin never said so"
            assert row.deadline is not None
            assert gone.timestamp() * 1e6 >= row.deadline, "lost before its deadline"

    def manifest(self, name: TaskId) -> dict[str, dict[str, Any]]:
        document = checked(self.universe.store.objects[f"{PREFIX}{name}/manifest.json"])
        assert document["task_id"] == name
        return {stem["name"]: stem for stem in document["stems"]}

    def check_objects(self, rows: Mapping[TaskId, SeenTask]) -> None:
        objects = self.universe.store.objects
        for key, data in objects.items():
            if key in (probe_key(PREFIX), multipart_probe_key(PREFIX)) or key.startswith(f"{PREFIX}_archive/"):
                continue
            folder, _, file = key.removeprefix(PREFIX).partition("/")
            name = TaskId(folder)
            if file == "manifest.json":
                self.check_manifest(name, rows[name])
            elif file != "record-info.json":
                self.check_audio(name, rows[name], key, data)
        for name, row in rows.items():
            assert row.state != TaskState.ARCHIVED or f"{PREFIX}{name}/record-info.json" in objects

    def check_manifest(self, name: TaskId, row: SeenTask) -> None:
        """What it says is stored is stored, and was written down before."""
        stems = {stem.name: stem for stem in row.stems}
        for entry in self.manifest(name).values():
            stem = stems[entry["name"]]
            if entry["state"] == StemState.STORED:
                assert stem.state == StemState.STORED, "in the manifest before the ledger"
                assert (entry["key"], entry["bytes"], entry["sha256"]) == (stem.key, stem.size, stem.sha256)

    def check_audio(self, name: TaskId, row: SeenTask, key: str, data: bytes) -> None:
        stem, dot, extension = key.rpartition("/")[2].partition(".")
        assert (dot, extension) == (".", "mp3")
        assert data == self.universe.songs[name].stems[stem], "not what its source is"
        assert self.universe.store.written[key] == 1, "an object was overwritten"
        if row.state in (TaskState.ARCHIVED, TaskState.LOST):
            entries = self.manifest(name)
            named = key in {entry.get("key") for entry in entries.values()}
            assert named or self.is_sleepers_duplicate(name, entries[stem]), "in no manifest"

    def is_sleepers_duplicate(self, name: TaskId, entry: Mapping[str, Any]) -> bool:
        """Whether a sleeper may have stored the stem's own object after others ended the task with an alias.

        No lease can hold back a put to the bucket, and nothing is deleted.
        """
        lost = any(event == "lease.lost" and said["task_id"] == name for _, event, said in self.universe.events.seen)
        return lost and entry.get("alias_of") is not None

    def check_what_is_kept(self) -> None:
        universe = self.universe
        kept = [path.read_bytes() for path in universe.folder.iterdir() if path.name.startswith("ledger.db")]
        kept += universe.store.objects.values()
        kept += [repr(universe.store.metadata).encode()]
        assert not any(secret.encode() in text for secret in SECRETS for text in kept), "a secret was kept"

    def check_what_was_said(self) -> None:
        events = self.universe.events.seen
        for level, name, fields in events[self.said :]:
            type(self).events[name] += 1
            assert not any(secret in repr(fields) for secret in SECRETS), "a secret was said"
            assert level != "exception", fields
        self.said = len(events)

    # --- the end

    def teardown(self) -> None:
        try:
            if sys.exception() is None:
                self.everything_ends_well()
        finally:
            self.universe.close()

    def everything_ends_well(self) -> None:
        """All faults stop, an operator looks in; then a fresh song is archived at once, and the rest soon."""
        universe = self.universe
        universe.mend()
        for song in universe.songs.values():
            phase = Phase.SUCCESS if song.phase is Phase.PENDING else song.phase
            listed = len(song.stems) if phase in READY else song.listed
            universe.change(song, phase=phase, listed=listed, hidden=False)
        universe.append(b"\n")
        retry(universe.ledger, now=universe.now)
        self.a_fresh_song_is_archived_within_two_polls()
        self.all_end_within_days()

    def the_bucket_alone_is_enough(self) -> None:
        """A ledger that is rebuilt from it is the one that there is, in every column that is no process's own."""
        universe = self.universe
        folder = universe.folder / "rebuilt"
        folder.mkdir()
        known = list(universe.ledger.rebuilds.page("", 10 * MOST_SONGS))
        with closing(ready_ledger_at(f"sqlite:///{folder}/ledger.db")) as ledger:
            found, totals = rebuild_on(ledger, universe.store.archive, lambda: universe.now, PREFIX).run()
            tasks = list(ledger.rebuilds.page("", 10 * MOST_SONGS))
        assert found.understood, found.named
        assert [each.task_id for each in tasks] == [each.task_id for each in known]
        unlike = [each for mine, theirs in zip(known, tasks, strict=True) for each in differences(mine, theirs)]
        unlike = [each for each in unlike if not self.is_named_by_a_line(each)]
        assert not unlike, unlike
        assert sum(totals.tasks.values()) == len(known)
        type(self).events["task.rebuilt"] += len(tasks)

    def is_named_by_a_line(self, difference: Difference) -> bool:
        """Whether it is an account that a line named for a task that had ended; the queue file is read again."""
        return difference.column == "account" and difference.ledger in self.universe.named[difference.task_id]

    def tick(self) -> None:
        for who in range(len(self.universe.processes)):
            assert self.universe.run(who, Process.tick)
        self.every_oracle_holds()

    def a_fresh_song_is_archived_within_two_polls(self) -> None:
        universe = self.universe
        song = Song(FRESH, universe.now, {"vocal": mp3(3000, 9)})
        universe.songs[FRESH] = song
        universe.change(song, phase=Phase.SUCCESS, listed=1)
        universe.append(f"{FRESH}\n".encode())
        self.tick()
        for _ in range(2):
            universe.elapses(POLL)
            self.tick()
        assert universe.rows()[FRESH].state == TaskState.ARCHIVED, universe.rows()[FRESH]

    def all_end_within_days(self) -> None:
        universe = self.universe
        for _ in range(12):
            if all(row.state not in OPEN for row in universe.rows().values()):
                break
            universe.elapses(timedelta(hours=7))
            self.tick()
        for name, row in universe.rows().items():
            assert row.state in self.possible_ends(name, row), row
        assert not universe.store.uploads

    def possible_ends(self, name: TaskId, row: SeenTask) -> set[TaskState]:
        song = self.universe.songs.get(name)
        if song is None or song.phase is Phase.ABSENT:
            return {TaskState.MISSING}
        if song.phase is Phase.FAILED and not row.stems:
            return {TaskState.FAILED}
        return {TaskState.ARCHIVED, TaskState.LOST} if song.deleted else {TaskState.ARCHIVED}


class RebuildMachine(Machine):
    """The same with more songs, whose ledger is compared with the bucket at the end: the oracles are Machine's."""

    @initialize(songs=st.lists(SONG, min_size=8, max_size=14))
    def begin(self, songs: list[dict[str, Any]]) -> None:
        super().begin(songs)

    def every_oracle_holds(self) -> None:
        self.check_what_was_said()

    def everything_ends_well(self) -> None:
        super().everything_ends_well()
        self.the_bucket_alone_is_enough()


def _run(machine: type[Machine], happened: Callable[[], int], enough: int, in_each: int) -> None:
    """Run examples until enough of that has happened, of which there is so much in each."""
    machine.steps = 0
    machine.events.clear()
    while (left := enough - happened()) > 0:
        # The same each time, and another one each round.
        seeded = seed(happened())(machine) if settings().derandomize else machine
        run_state_machine_as_test(
            seeded,
            settings=settings(
                max_examples=min(100, left // in_each + 1),
                stateful_step_count=LENGTH,
                database=None,
                phases=[Phases.generate, Phases.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )
    print(f"\n{machine.steps} steps, every oracle after each; what happened on the way:")
    print(", ".join(f"{count} {name}" for name, count in sorted(machine.events.items())))


def _steps() -> int:
    return Machine.steps


@pytest.mark.timeout(examples(900))
def test_whole_service_under_any_sequence_of_events_holds_every_oracle() -> None:
    _run(Machine, _steps, examples(STEPS), LENGTH)


@pytest.mark.slow
@pytest.mark.timeout(600 + MANY_TASKS)
def test_ledger_that_is_rebuilt_after_any_sequence_of_events_is_the_one_that_there_was() -> None:
    _run(RebuildMachine, lambda: RebuildMachine.events["task.rebuilt"], MANY_TASKS, 16)


@pytest.mark.slow
@pytest.mark.timeout(600 + MANY_STEPS / 20)
def test_whole_service_under_a_million_steps_holds_every_oracle() -> None:
    _run(Machine, _steps, MANY_STEPS, LENGTH)
