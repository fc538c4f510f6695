"""The path of one task, over a real ledger with a scripted provider, origin and bucket."""

from __future__ import annotations

import hashlib
import json
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from archiver.core.errors import (
    AccessRefused,
    ApiBusy,
    ArchiverError,
    BodyNotAudio,
    BodyTooLarge,
    KeyRefused,
    KeyTaken,
    LeaseLost,
    LinkSpent,
    OriginBusy,
    StoreBusy,
)
from archiver.core.model import (
    Archived,
    Dependency,
    Failed,
    Later,
    Lost,
    Missing,
    Outcome,
    Paused,
    Phase,
    Policy,
    RecordInfo,
    Refused,
    Stage,
    StemName,
    StemSource,
    TaskId,
    Yielded,
)
from archiver.core.records.document import document_of
from archiver.core.records.record import record_of
from archiver.core.refusals import ManifestTooLong
from archiver.core.states import StemState, TaskState
from archiver.core.transfer import Transfer
from archiver.service.deadlines import DeadlineWatch
from tests.fakes.downloader import Audio
from tests.fakes.time import NOW as START
from tests.fixtures.ledgers import no_claim, pause, pauses, release, retry
from tests.house import TransferThreads
from tests.worlds.path import TASK, Path, path_in

VOCAL, DRUMS = b"vocal" * 9000, b"drums" * 8000


@pytest.fixture
def world(tmp_path: pathlib.Path) -> Iterator[Path]:
    with closing(TransferThreads(4)) as pool, path_in(tmp_path, pool=pool) as world:
        world.accept(TASK)
        yield world


# ------------------------------------------------------------------ the main way


def test_task_with_audio_is_archived_with_objects_record_and_manifest(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL), world.serves("drums", DRUMS))
    assert world.go() == Archived()
    assert world.store.objects[f"p/{TASK}/vocal.mp3"] == VOCAL
    assert world.store.objects[f"p/{TASK}/drums.mp3"] == DRUMS
    assert world.store.objects[f"p/{TASK}/record-info.json"] == b'{"stems": 1}'
    assert world.manifest()["vocal"]["sha256"] == hashlib.sha256(VOCAL).hexdigest()
    assert world.task.state == "archived"
    assert world.logged("task.") == [("info", "task.listed"), ("info", "task.archived")]


def test_observer_sees_every_byte_stem_and_task(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL), world.serves("drums", DRUMS))
    world.go()
    assert world.watcher.bytes_in == len(VOCAL) + len(DRUMS)
    assert sorted(world.watcher.stored) == sorted([len(VOCAL), len(DRUMS)])
    assert world.watcher.ended == [Archived()]


def test_observer_sees_each_block_as_it_comes_and_no_buffer(world: Path) -> None:
    came: list[int] = []

    def comes(size: int) -> None:
        assert world.watcher.bytes_in == sum(came)
        came.append(size)

    world.lists(world.serves("vocal", Audio(VOCAL, blocks=4, comes=comes)))
    assert world.go() == Archived()
    assert len(came) >= 4
    assert world.watcher.bytes_in == len(VOCAL)


def test_manifest_is_written_after_every_stem_is_in_the_ledger(world: Path) -> None:
    seen: list[str] = []

    def note(step: str) -> None:
        if step == "document.put":
            seen.append(",".join(sorted(stem.state for stem in world.task.stems)))

    world.store.checkpoint = note
    world.lists(world.serves("vocal", VOCAL), world.serves("drums", DRUMS))
    world.go()
    assert seen == ["stored,stored", "stored,stored"]


def test_upload_in_parts_stands_in_the_ledger_under_our_name_as_long_as_it_is_open(world: Path) -> None:
    open_then: list[int] = []

    def note(step: str) -> None:
        if step == "multipart.completed":
            open_then.append(len(world.ledger.uploads.of_dead(lambda owner: owner != "me")))

    world.store.single_put_max = 1000
    world.store.checkpoint = note
    world.lists(world.serves("vocal", VOCAL))
    assert world.go() == Archived()
    assert open_then == [1]
    assert not world.ledger.uploads.of_dead(lambda owner: False)


def test_task_taken_up_again_with_stems_missing_asks_nobody_and_fetches_only_those(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL), world.serves("drums", OriginBusy("503"), DRUMS))
    outcome = world.go()
    assert isinstance(outcome, Later)
    assert outcome.fault
    world.now = outcome.at
    world.api.trouble = KeyRefused("401")
    assert world.go() == Archived()
    assert world.downloader.opened.count("https://cdn.example/vocal.mp3") == 1
    assert len(world.api.fetched) == 1


def test_stem_of_a_name_nobody_has_heard_of_is_archived_and_warned_about(world: Path) -> None:
    source = world.serves("kazoo", VOCAL)
    world.lists(StemSource(source.name, source.url, "kazooUrl", known=False))
    assert world.go() == Archived()
    assert [fields["stem"] for fields in world.events.of("stem.unknown_name")] == ["kazoo"]
    assert world.watcher.unknown == 1


def test_record_with_a_blemish_is_archived_and_the_blemish_logged(world: Path) -> None:
    record = world.lists(world.serves("vocal", VOCAL))
    world.api.knows(TaskId(TASK), replace(record, blemish="a broken character at byte 9"))
    assert world.go() == Archived()
    logged = world.events.of("record.blemished")
    assert [(fields["task_id"], fields["blemish"]) for fields in logged] == [(TASK, "a broken character at byte 9")]


def test_address_that_cannot_be_asked_for_is_refused_with_its_place_and_the_rest_is_stored(world: Path) -> None:
    relative = StemSource(StemName("bass"), "", "bassUrl", not_taken="a URL that names no host: /bass.mp3")
    world.lists(world.serves("vocal", VOCAL), relative)
    outcome = world.go_until(lambda outcome: not isinstance(outcome, Later))
    reason = "record.not_taken: a URL that names no host: /bass.mp3"
    assert isinstance(outcome, Refused)
    assert (outcome.reason, outcome.at is not None) == (reason, True)
    assert [each["field"] for each in world.events.of("record.not_taken")] == ["bassUrl"]
    bass, vocal = world.manifest()["bass"], world.manifest()["vocal"]
    assert (bass["state"], bass["field"], bass["reason"]) == ("refused", "bassUrl", reason)
    assert vocal["state"] == "stored"


def test_address_that_can_be_asked_for_later_is_had_without_an_operator(world: Path) -> None:
    vocal, bass = world.serves("vocal", VOCAL), world.serves("bass", DRUMS)
    world.lists(vocal, replace(bass, url="", not_taken="a URL that names no host: /bass.mp3"))
    refused = world.go_until(lambda outcome: isinstance(outcome, Refused))
    assert isinstance(refused, Refused)
    assert refused.at is not None
    world.now = refused.at
    world.lists(vocal, bass)
    assert world.go() == Archived()


def test_what_is_left_out_of_a_record_is_named_in_an_event_and_in_the_manifest(world: Path) -> None:
    data = {"response": {"imageUrl": "https://cdn.example/c.png?sig=SECRET"}}
    left_out = record_of(data).left_out
    record = world.lists(world.serves("vocal", VOCAL))
    world.api.knows(TaskId(TASK), replace(record, left_out=left_out, document=document_of(data)))
    assert world.go() == Archived()
    shown = "https://cdn.example/c.png"
    assert [each["reason"] for each in world.events.of("record.not_taken")] == [f"an image: {shown}"]
    manifest = json.loads(world.store.objects[f"p/{TASK}/manifest.json"])
    assert manifest["not_taken"] == [{"field": "imageUrl", "source_url": shown, "reason": "an image"}]


def test_observer_sees_each_failed_try_once_by_its_error(world: Path) -> None:
    world.lists(world.serves("vocal", OriginBusy("503"), VOCAL))
    outcome = world.go()
    assert isinstance(outcome, Later)
    world.store.fail("put", ZeroDivisionError("bug"))
    world.now = outcome.at
    again = world.go()
    assert isinstance(again, Later)
    world.now = again.at
    assert world.go() == Archived()
    assert world.watcher.failed == ["cdn.busy", "error"]


def test_observer_sees_once_the_error_that_pauses_a_dependency(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL))
    world.api.trouble = KeyRefused("401")
    assert isinstance(world.go(), Paused)
    assert world.watcher.failed == ["provider.key_refused"]


def test_observer_sees_how_old_a_task_is_once_the_provider_has_said_when_it_was_created(world: Path) -> None:
    world.api.trouble = ApiBusy("503")
    outcome = world.go()
    assert isinstance(outcome, Later)
    world.api.trouble = None
    world.lists(world.serves("vocal", VOCAL), created=START - timedelta(hours=1))
    world.now = outcome.at
    assert world.go() == Archived()
    assert world.watcher.ages == [None, timedelta(hours=1) + (outcome.at - START)]


def test_two_stems_with_equal_bytes_are_one_object_and_an_alias(world: Path) -> None:
    world.lists(*(world.serves(name, VOCAL) for name in ("fx", "brass", "synth")))
    assert world.go() == Archived()
    audio = [key for key in world.store.objects if key.endswith(".mp3")]
    assert len(audio) == 1
    [holder] = [name for name, stem in world.manifest().items() if stem["alias_of"] is None]
    assert [stem["alias_of"] for stem in world.manifest().values()].count(holder) == 2
    assert {stem["key"] for stem in world.manifest().values()} == set(audio)
    assert [fields["stem"] for fields in world.events.of("stem.stored")] == [holder]
    assert [fields["alias_of"] for fields in world.events.of("stem.aliased")] == [holder] * 2


def test_equal_bytes_whose_first_put_fails_are_stored_by_the_other(world: Path) -> None:
    world.store.fail("put", StoreBusy("503"))
    world.lists(world.serves("fx", VOCAL), world.serves("brass", VOCAL))
    world.go_until(lambda outcome: outcome == Archived())
    assert len([key for key in world.store.objects if key.endswith(".mp3")]) == 1


# ------------------------------------------------------------------ the provider is not ready


def test_pending_task_is_asked_again_ever_less_often_and_then_archived(world: Path) -> None:
    source = world.serves("vocal", VOCAL)
    done = RecordInfo(Phase.DONE, (source,), created_at=START, document="{}")
    world.api.knows(TASK, *[RecordInfo(Phase.PENDING, flag="PENDING")] * 3, done)
    waits = []
    while not isinstance(outcome := world.go(), Archived):
        assert isinstance(outcome, Later)
        assert not outcome.fault
        waits.append((outcome.at - world.now).total_seconds())
        world.now = outcome.at
    assert waits == [20, 40, 80]
    assert len(world.events.of("record.not_ready")) == 3
    assert world.events.of("task.later") == []


def test_record_that_lists_stems_while_pending_is_asked_again_for_more(world: Path) -> None:
    vocal, drums = world.serves("vocal", VOCAL), world.serves("drums", DRUMS)
    early = RecordInfo(Phase.PENDING, (vocal,), created_at=START, document="{}")
    full = RecordInfo(Phase.DONE, (vocal, drums), created_at=START, document="{}")
    world.api.knows(TASK, early, full)
    outcome = world.go()
    assert isinstance(outcome, Later)
    assert f"p/{TASK}/vocal.mp3" in world.store.objects
    assert f"p/{TASK}/manifest.json" not in world.store.objects
    world.now = outcome.at
    assert world.go() == Archived()
    assert set(world.manifest()) == {"vocal", "drums"}


def test_provider_that_gives_up_after_listing_stems_leaves_those_that_were_had(world: Path) -> None:
    early = RecordInfo(Phase.PENDING, (world.serves("vocal", VOCAL),), created_at=START, document="{}")
    world.api.knows(TASK, early, RecordInfo(Phase.FAILED, flag="GENERATE_AUDIO_FAILED"))
    outcome = world.go()
    assert isinstance(outcome, Later)
    world.now = outcome.at
    assert world.go() == Archived()
    assert set(world.manifest()) == {"vocal"}


def test_record_that_lists_nothing_any_more_once_all_is_stored_is_no_failed_try(world: Path) -> None:
    early = RecordInfo(Phase.PENDING, (world.serves("vocal", VOCAL),), created_at=START, document="{}")
    world.api.knows(TASK, early, RecordInfo(Phase.ABSENT))
    for _ in range(2):
        outcome = world.go()
        assert isinstance(outcome, Later)
        assert not outcome.fault
        world.now = outcome.at


def test_name_nobody_has_heard_of_is_warned_about_once_and_a_known_one_never(world: Path) -> None:
    kazoo, vocal = world.serves("kazoo", DRUMS), world.serves("vocal", VOCAL)
    odd = StemSource(kazoo.name, kazoo.url, kazoo.field, known=False)
    early = RecordInfo(Phase.PENDING, (odd, vocal), created_at=START, document="{}")
    world.api.knows(TASK, early, RecordInfo(Phase.DONE, (odd, vocal), created_at=START, document="{}"))
    world.go_until(lambda outcome: outcome == Archived())
    assert [fields["stem"] for fields in world.events.of("stem.unknown_name")] == ["kazoo"]


def test_task_is_taken_up_again_when_the_first_of_its_stems_is_due(world: Path) -> None:
    slow, soon = OriginBusy("503", retry_after=500), OriginBusy("503")
    world.lists(world.serves("bass", slow), world.serves("drums", soon), world.serves("vocal", slow))
    outcome = world.go()
    assert isinstance(outcome, Later)
    assert outcome.at == START + timedelta(seconds=5)


def test_record_that_stands_in_the_bucket_and_is_not_the_last_one_is_replaced(world: Path) -> None:
    world.store.objects[f"p/{TASK}/record-info.json"] = b'{"stems": 0}'
    world.lists(world.serves("vocal", VOCAL))
    assert world.go() == Archived()
    assert world.store.objects[f"p/{TASK}/record-info.json"] == b'{"stems": 1}'


def test_stem_of_a_listing_that_may_grow_is_tried_again_without_asking(world: Path) -> None:
    source = world.serves("vocal", OriginBusy("503"), VOCAL)
    world.api.knows(TASK, RecordInfo(Phase.PENDING, (source,), created_at=START, document="{}"))
    for _ in range(2):
        outcome = world.go()
        assert isinstance(outcome, Later)
        world.now = outcome.at
    assert f"p/{TASK}/vocal.mp3" in world.store.objects
    assert len(world.api.fetched) == 1


def test_unknown_id_is_waited_for_a_day_and_then_missing(world: Path) -> None:
    outcome = world.go_until(lambda outcome: isinstance(outcome, Missing), most=200)
    assert isinstance(outcome, Missing)
    assert world.now - START > timedelta(hours=24)
    assert world.task.state == "missing"
    assert world.logged("task.") == [("error", "task.missing")]


def test_failed_task_ends_failed_with_the_providers_words(world: Path) -> None:
    world.api.knows(TASK, RecordInfo(Phase.FAILED, flag="GENERATE_AUDIO_FAILED", error_code=500, error_message="no"))
    assert world.go() == Failed("GENERATE_AUDIO_FAILED 500: no")
    assert world.logged("task.") == [("error", "task.failed")]


# ------------------------------------------------------------------ things go wrong


@pytest.mark.parametrize(
    ("trouble", "dependency"),
    [(KeyRefused("401"), Dependency.PROVIDER), (AccessRefused("403"), Dependency.STORE)],
)
def test_refused_account_pauses_the_dependency_and_blames_no_task(
    world: Path, trouble: ArchiverError, dependency: Dependency
) -> None:
    world.lists(world.serves("vocal", VOCAL))
    if dependency is Dependency.PROVIDER:
        world.api.trouble = trouble
    else:
        world.store.fail("put", trouble)
        world.store.fail("try_write", trouble)
    outcome = world.go()
    assert isinstance(outcome, Paused)
    assert outcome.dependency is dependency
    assert outcome.hint
    assert world.logged("task.")[-1] == ("warning", "task.released")
    assert (world.task.attempts, world.task.asks) == (0, 0)
    assert all(stem.attempts == 0 for stem in world.task.stems)
    assert outcome.at is not None, "not the first to be due at the next probe"
    world.api.trouble, world.now = None, outcome.at
    assert world.go() == Archived()


def test_paused_store_that_takes_the_manifest_is_paused_no_more(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL))
    world.store.fail("put_document", AccessRefused("403"))
    world.store.fail("try_write", AccessRefused("403"))
    outcome = world.go()
    assert isinstance(outcome, Paused)
    assert outcome.at is not None
    world.now = outcome.at
    assert world.go() == Archived()
    assert not pauses(world.ledger)


def test_paused_store_lets_records_be_read_but_nothing_be_fetched(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL))
    world.breakers.trip(Paused(Dependency.STORE, "r", "h", lasting=True))
    assert world.go() == Yielded()
    assert world.task.state == "listed"
    assert world.downloader.opened == []


@pytest.mark.parametrize("dependency", [Dependency.ORIGIN, Dependency.PROVIDER])
def test_dependency_that_fails_again_and_again_is_paused(world: Path, dependency: Dependency) -> None:
    world.lists(world.serves("vocal", OriginBusy("503")))
    world.api.trouble = ApiBusy("502") if dependency is Dependency.PROVIDER else None
    for _ in range(8):
        assert not world.breakers.is_blocked(dependency, host="cdn.example")
        outcome = world.go()
        assert isinstance(outcome, Later)
        world.now = outcome.at
    assert world.breakers.is_blocked(dependency, host="cdn.example")


def test_spent_link_while_the_provider_is_paused_waits_and_is_not_held_against_the_stem(world: Path) -> None:
    world.lists(world.serves("vocal", OriginBusy("503"), LinkSpent(status=403)))
    outcome = world.go()
    assert isinstance(outcome, Later)
    world.now = outcome.at
    world.breakers.trip(Paused(Dependency.PROVIDER, "r", "h", lasting=True))
    outcome = world.go()
    assert isinstance(outcome, Later)
    assert "the provider is paused" in outcome.reason
    assert world.task.stems[0].gone == 0
    assert len(world.api.fetched) == 1


def test_busy_api_is_a_failed_try_with_growing_waits(world: Path) -> None:
    world.api.trouble = ApiBusy("502")
    waits = []
    for _ in range(4):
        outcome = world.go()
        assert isinstance(outcome, Later)
        assert outcome.fault
        waits.append((outcome.at - world.now).total_seconds())
        world.now = outcome.at
    assert waits == [5, 10, 20, 40]
    assert world.logged("task.") == [("info", "task.later")] * 4


def test_api_that_names_a_wait_is_not_asked_before(world: Path) -> None:
    world.api.trouble = ApiBusy("429", retry_after=120)
    outcome = world.go()
    assert isinstance(outcome, Later)
    assert outcome.at == START + timedelta(seconds=120)


def test_spent_link_is_refreshed_once_and_the_fresh_one_used(world: Path) -> None:
    old, new = world.serves("vocal", LinkSpent(status=403)), world.serves("fresh", VOCAL)
    fresh = StemSource(old.name, new.url, old.field)
    first = RecordInfo(Phase.DONE, (old,), created_at=START, document="{}")
    world.api.knows(TASK, first, RecordInfo(Phase.DONE, (fresh,), created_at=START, document="{}"))
    assert world.go() == Archived()
    assert len(world.api.fetched) == 2
    assert world.api.linked == []


def test_record_of_before_that_comes_once_more_after_a_move_brings_no_second_file(world: Path) -> None:
    old, new = world.serves("vocal", LinkSpent(status=403)), world.serves("fresh", VOCAL)
    drums = world.serves("drums", OriginBusy("503"), LinkSpent(status=403), DRUMS, DRUMS)
    before = RecordInfo(Phase.DONE, (old, drums), created_at=START, document="{}")
    after = replace(before, stems=(replace(old, url=new.url), drums))
    world.api.knows(TASK, before, after)
    outcome = world.go()
    assert isinstance(outcome, Later)
    world.now = outcome.at
    world.api.knows(TASK, before, after)
    assert world.go_until(lambda outcome: not isinstance(outcome, Later)) == Archived()
    assert [(stem.name, stem.state) for stem in world.task.stems] == [
        ("drums", StemState.STORED),
        ("vocal", StemState.STORED),
    ]


def test_many_spent_links_cost_one_refresh(world: Path) -> None:
    world.lists(*(world.serves(f"stem{n}", LinkSpent(status=410)) for n in range(8)))
    assert isinstance(world.go(), Later)
    assert len(world.api.fetched) == 2
    assert len(world.api.linked) == 8


def test_refresh_that_fails_is_asked_for_once_for_all_stems(world: Path) -> None:
    record = world.lists(*(world.serves(f"stem{n}", LinkSpent(status=410)) for n in range(8)))
    world.api.knows(TaskId(TASK), record, ApiBusy("502"))
    outcome = world.go()
    assert isinstance(outcome, Later)
    assert "502" in outcome.reason
    assert len(world.api.fetched) == 2
    assert [stem.gone for stem in world.task.stems] == [0] * 8, "the provider was not heard about any"


def test_link_rescue_is_tried_when_the_fresh_link_is_spent_too_and_its_link_is_kept_nowhere(world: Path) -> None:
    spent, rescued = world.serves("vocal", LinkSpent(status=404)), world.serves("rescue-secret", VOCAL)
    world.lists(spent)
    world.api.links = {spent.url: rescued.url}
    assert world.go() == Archived()
    kept = json.dumps([world.events.seen, str(world.task)], default=str) + str(world.store.objects)
    assert "rescue-secret" not in kept


def test_gone_stem_before_the_deadline_is_retried_and_after_it_is_lost_with_the_rest_saved(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL), world.serves("drums", LinkSpent(status=404)))
    world.now = START + timedelta(days=13, hours=12)
    outcome = world.go_until(lambda outcome: isinstance(outcome, Lost))
    assert isinstance(outcome, Lost)
    assert world.now >= START + timedelta(days=14)
    assert world.manifest()["vocal"]["state"] == "stored"
    assert world.manifest()["drums"]["state"] == "lost"
    assert world.task.state == "lost"
    assert world.logged("task.")[-1] == ("error", "task.lost")
    ends = [(level, event) for level, event in world.logged("stem.") if event in {"stem.retry", "stem.lost"}]
    assert set(ends[:-1]) == {("info", "stem.retry")}
    assert ends[-1] == ("error", "stem.lost")
    [lost] = world.events.of("stem.lost")
    assert ("fresh links" in str(lost["hint"]), "no longer be had" in str(lost["hint"])) == (False, True)


def test_task_near_its_deadline_raises_the_alarm_once_and_its_end_ends_it(world: Path) -> None:
    world.lists(world.serves("vocal", OriginBusy("503"), VOCAL))
    outcome = world.go()
    assert isinstance(outcome, Later)
    watch = DeadlineWatch(world.ledger.reports, world.clock, timedelta(days=2), world.events)
    watch()
    assert world.logged("deadline.at_risk") == []
    world.now = START + Policy().retention - timedelta(days=1)
    watch()
    watch()
    [alarm] = world.events.of("deadline.at_risk")
    assert (alarm["tasks"], alarm["first_task_id"]) == (1, TASK)
    assert world.go() == Archived()
    watch()
    assert world.logged("deadline.at_risk") == [("error", "deadline.at_risk"), ("info", "deadline.at_risk")]


def test_lost_stem_that_is_had_after_all_replaces_the_manifest(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL), world.serves("drums", LinkSpent(status=404)))
    world.now = START + timedelta(days=20)
    assert isinstance(world.go(), Lost)
    world.origin["https://cdn.example/drums.mp3"] = [Audio(DRUMS)]
    assert list(retry(world.ledger, [TASK], now=world.now)) == [TASK]
    assert world.go() == Archived()
    assert {stem["state"] for stem in world.manifest().values()} == {"stored"}


def test_timeouts_long_past_the_deadline_do_not_end_a_stem(world: Path) -> None:
    world.lists(world.serves("vocal", OriginBusy("timeout")))
    world.now = START + timedelta(days=40)
    for _ in range(30):
        outcome = world.go()
        assert isinstance(outcome, Later)
        world.now = outcome.at
    assert world.task.stems[0].state is StemState.WANTED


def test_body_that_is_no_audio_is_refused_after_some_tries_and_looked_at_again_slowly(world: Path) -> None:
    world.lists(world.serves("vocal", *[BodyNotAudio("HTML")] * 4, VOCAL), world.serves("drums", DRUMS))
    outcome = world.go_until(lambda outcome: isinstance(outcome, Refused))
    assert isinstance(outcome, Refused)
    assert len(world.events.of("stem.refused")) == 1
    assert world.manifest()["drums"]["state"] == "stored"
    assert world.manifest()["vocal"]["state"] == "refused"
    assert outcome.at is not None
    assert outcome.at - world.now == timedelta(hours=6)
    world.now = outcome.at
    assert isinstance(world.go(), Refused)
    world.now += timedelta(hours=6)
    assert world.go() == Archived()


@pytest.mark.parametrize("error", [BodyTooLarge("3 GiB"), KeyTaken("other bytes")])
def test_stem_that_only_an_operator_can_mend_waits_for_one(world: Path, error: ArchiverError) -> None:
    world.lists(world.serves("vocal", error, VOCAL))
    assert world.go() == Refused(f"{error.code}: {error}", None)
    assert world.logged("task.")[-1] == ("error", "task.refused")
    world.now += timedelta(days=1)
    assert no_claim(world.ledger, now=world.now)
    assert list(retry(world.ledger, [TASK], now=world.now)) == [TASK]
    assert world.go() == Archived()


def test_task_whose_manifest_would_be_too_long_is_shown_and_nothing_of_it_is_lost(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL))
    world.store.fail("put_document", ManifestTooLong("20001 files"))
    outcome = world.go()
    assert isinstance(outcome, Refused)
    assert outcome.reason == "manifest.too_long: 20001 files"
    assert outcome.at is not None
    assert (world.task.state, [row.state for row in world.task.stems]) == (TaskState.LISTED, [StemState.STORED])
    assert world.logged("task.")[-1] == ("error", "task.refused")
    world.now = outcome.at
    assert world.go() == Archived()


def test_record_that_no_longer_lists_a_task_keeps_the_stems_that_are_known(world: Path) -> None:
    listing = world.lists(world.serves("vocal", OriginBusy("503"), VOCAL, query="?sig=1"))
    world.api.knows(TASK, listing, RecordInfo(Phase.ABSENT), listing)
    world.go_until(lambda outcome: outcome == Archived())
    assert "sig=1" not in str(world.task) + json.dumps(world.events.seen, default=str)


def test_record_that_lists_nothing_any_more_is_a_failed_try_while_stems_are_wanted(world: Path) -> None:
    source = world.serves("vocal", OriginBusy("503"), query="?sig=1")
    world.api.knows(TASK, RecordInfo(Phase.DONE, (source,), document="{}"), RecordInfo(Phase.ABSENT))
    for _ in range(2):
        outcome = world.go()
        assert isinstance(outcome, Later)
        assert outcome.fault
        world.now = outcome.at
    assert world.task.attempts == 2


def test_stem_whose_link_is_given_no_more_is_refused_long_past_its_deadline_and_never_lost(world: Path) -> None:
    listing = world.lists(world.serves("vocal", OriginBusy("503"), VOCAL, query="?sig=1"))
    assert isinstance(world.go(), Later)
    world.api.knows(TASK, RecordInfo(Phase.ABSENT))
    world.now = START + timedelta(days=20)
    outcome = world.go_until(lambda outcome: not isinstance(outcome, Later))
    assert outcome == Refused("api.no_link: the provider no longer gives a link for this stem", None)
    assert world.task.stems[0].gone == 0
    world.api.knows(TASK, listing)
    assert list(retry(world.ledger, [TASK], now=world.now)) == [TASK]
    assert world.go() == Archived()


def test_stem_whose_link_is_given_no_more_for_a_while_is_had_without_an_operator(world: Path) -> None:
    listing = world.lists(world.serves("vocal", OriginBusy("503"), VOCAL, query="?sig=1"))
    assert isinstance(world.go(), Later)
    world.api.knows(TASK, RecordInfo(Phase.ABSENT))
    world.now = START + timedelta(days=13)
    outcome = world.go_until(lambda outcome: isinstance(outcome, Refused))
    assert isinstance(outcome, Refused)
    assert outcome.at is not None
    world.api.knows(TASK, listing)
    world.now = outcome.at
    assert world.go() == Archived()


def test_link_that_is_spent_and_listed_no_more_is_rescued(world: Path) -> None:
    vocal, drums = world.serves("vocal", LinkSpent(status=403), query="?sig=1"), world.serves("drums", DRUMS)
    rescued = world.serves("rescue", VOCAL)
    world.lists(vocal, drums)
    world.api.knows(TASK, *world.api.records[TASK], RecordInfo(Phase.DONE, (drums,), created_at=START, document="{}"))
    world.api.links = {vocal.url: rescued.url}
    assert world.go() == Archived()


def test_transfers_queue_up_by_the_deadline_of_their_task(world: Path) -> None:
    class Noting(TransferThreads):
        def submit(self, transfer: Transfer, work: Callable[[], None]) -> Future[None]:
            submitted.append(transfer)
            return super().submit(transfer, work)

    submitted: list[Transfer] = []
    world.lists(world.serves("vocal", VOCAL))
    claim = world.claim()
    with closing(Noting(1)) as pool:
        world.start(pool=pool).archiver.archive(claim)
    [transfer] = submitted
    assert transfer.deadline == START + Policy().retention
    assert (transfer.host, transfer.account, transfer.task) == ("cdn.example", "default", TASK)


def test_lease_that_was_lost_stops_the_work_and_writes_nothing(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL))
    claim = world.claim()
    world.now += timedelta(minutes=11)
    world.claim()
    with pytest.raises(LeaseLost):
        world.archiver.archive(claim)
    assert world.store.objects == {}


def test_cancelled_transfer_gives_the_task_back_untouched(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL))
    world.cancelled.set()
    assert world.go() == Yielded()
    assert world.store.objects == {}
    world.cancelled.clear()
    assert world.go() == Archived()


def test_transfer_that_is_cancelled_inside_the_body_stores_nothing(world: Path) -> None:
    def stopped() -> Audio:
        world.cancelled.set()
        return Audio(VOCAL)

    world.lists(world.serves("vocal", stopped, VOCAL))
    assert world.go() == Yielded()
    assert world.store.objects == {}
    assert world.task.stems[0].attempts == 0
    world.cancelled.clear()
    assert world.go() == Archived()


def test_bug_on_the_way_costs_a_try_and_is_logged(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL))
    world.store.fail("put", ZeroDivisionError("bug"))
    outcome = world.go()
    assert isinstance(outcome, Later)
    assert outcome.fault
    assert len(world.events.of("task.crashed")) == 1
    world.now = outcome.at
    assert world.go() == Archived()


def test_task_just_listed_gives_way_to_a_listed_one_with_an_earlier_deadline(world: Path) -> None:
    world.lists(world.serves("vocal", OriginBusy("503"), VOCAL))
    outcome = world.go()
    assert isinstance(outcome, Later)
    world.now = outcome.at
    later = TaskId("task-0002")
    world.accept(later)
    world.lists(world.serves("other", VOCAL), task=later, created=world.now)
    assert world.go(Stage.LIST) == Yielded()
    assert world.go() == Archived()
    assert world.task.state == "archived", "the earlier deadline went first"
    assert world.go() == Archived()


def test_task_whose_links_are_kept_nowhere_gives_way_once_and_not_in_circles(world: Path) -> None:
    world.lists(world.serves("vocal", OriginBusy("503"), VOCAL))
    outcome = world.go()
    assert isinstance(outcome, Later)
    world.now = outcome.at
    later = TaskId("task-0002")
    world.accept(later)
    world.lists(world.serves("other", DRUMS, query="?sig=1"), task=later, created=world.now)
    assert [world.go(Stage.LIST) for _ in range(2)] == [Yielded(), Archived()]


# ------------------------------------------------------------------ a process that slept past its lease, or died


class Killed(BaseException):
    """The process dies at a checkpoint."""


def test_manifest_of_a_sleeper_that_knows_less_does_not_replace_one_that_knows_more(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL), world.serves("drums", LinkSpent(status=404)))
    world.now = START + timedelta(days=20)

    def sleep(step: str) -> None:
        if step != "record.put":
            return
        world.store.checkpoint = lambda _: None
        world.now += timedelta(hours=1)
        world.origin["https://cdn.example/drums.mp3"] = [Audio(DRUMS)]
        retry(world.ledger, [TASK], now=world.now)
        assert world.go() == Archived()

    claim = world.claim()
    sleeper = world.start(checkpoint=sleep).archiver
    with pytest.raises(LeaseLost):
        sleeper.archive(claim)
    assert {stem["state"] for stem in world.manifest().values()} == {"stored"}


def test_object_stored_just_before_a_death_is_found_though_a_duplicate_came_first_this_time(world: Path) -> None:
    fx, brass = world.serves("fx", VOCAL), world.serves("brass", VOCAL)
    world.lists(fx, brass)

    def die(step: str) -> None:
        if step == "put.done":
            raise Killed

    world.store.checkpoint = die
    claim = world.claim()
    # One at a time: threads of a dead process store nothing more, those of this one would.
    with closing(TransferThreads(1)) as pool, pytest.raises(Killed):
        world.start(pool=pool).archiver.archive(claim)
    world.store.checkpoint = lambda _: None
    release(world.ledger, "me", now=world.now)
    [orphan] = world.store.objects
    first = fx if "fx" in orphan else brass
    world.origin[first.url] += [OriginBusy("503"), Audio(VOCAL)]
    world.go_until(lambda outcome: outcome == Archived())
    audio = {key for key in world.store.objects if key.endswith(".mp3")}
    assert {stem["key"] for stem in world.manifest().values()} == audio, "an object that no manifest names"


def test_provider_that_answers_ends_its_pause(world: Path) -> None:
    world.lists(world.serves("vocal", VOCAL))
    pause(world.ledger, Dependency.PROVIDER, reason="busy", hint="wait", now=world.now)
    world.breakers.reload()
    world.now += timedelta(minutes=1)
    assert world.go() == Archived()
    assert not pauses(world.ledger)


def test_stem_that_waits_for_its_duplicate_goes_on_when_that_fails(world: Path) -> None:
    world.lists(world.serves("fx", VOCAL), world.serves("brass", VOCAL))

    def fail_once_both_are_read(step: str) -> None:
        if step != "put.done":
            return
        world.store.checkpoint = lambda _: None
        bodies = world.downloader.bodies
        while len(bodies) < 2 or any(body.size < len(VOCAL) for body in bodies):
            time.sleep(0.01)
        time.sleep(0.1)  # the other is on its last step into the wait; where it is not, nothing is asked of it
        raise StoreBusy("503")

    world.store.checkpoint = fail_once_both_are_read
    outcomes: list[Outcome] = []
    going = threading.Thread(target=lambda: outcomes.append(world.go()), daemon=True)
    going.start()
    going.join(30)
    assert [type(outcome) for outcome in outcomes] == [Later]
    assert sorted(stem.state for stem in world.task.stems) == [StemState.STORED, StemState.WANTED]
