"""Asking on: an id of which nobody said the kind is found among those kinds that are asked in turn."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from archiver.core.errors import ApiBusy, KeyRefused, LinkSpent, OriginBusy
from archiver.core.intake import Intake
from archiver.core.keys import Names
from archiver.core.misses import RouteMoved
from archiver.core.model import (
    Archived,
    Dependency,
    Later,
    Lost,
    Missing,
    Paused,
    Phase,
    Policy,
    RecordInfo,
    StemName,
    TaskId,
)
from archiver.core.records.kinds.names import AUTO, KindName
from archiver.core.said import Said
from tests.fakes.calls import unnoticed
from tests.fakes.downloader import Audio
from tests.fakes.time import NOW as START
from tests.fixtures.ledgers import accept, pauses, retry
from tests.worlds.path import TASK, Path, path_in

ID, BYTES = TaskId(TASK), b"vocal" * 9000
FILES = (("one", BYTES), ("two", BYTES[::-1]))


@pytest.fixture
def world(tmp_path: pathlib.Path) -> Iterator[Path]:
    with path_in(tmp_path) as world:
        world.accept(TASK)
        yield world


def answer(world: Path, kind: KindName, phase: Phase = Phase.DONE) -> RecordInfo:
    """Return the record of a task of that kind, with two files once it is done."""
    files = (world.serves("vocal", BYTES), world.serves("instrumental", BYTES[::-1])) if phase is Phase.DONE else ()
    return RecordInfo(phase, files, flag=phase.value, created_at=START, document='{"stems": 2}', kind=kind)


@pytest.mark.parametrize(("number", "kind"), [*enumerate(AUTO, start=1)])
def test_id_of_any_kind_that_is_asked_about_is_archived_and_its_kind_kept(
    world: Path, number: int, kind: KindName
) -> None:
    world.api.knows(ID, answer(world, kind), kind=kind)
    assert world.go() == Archived()
    assert world.api.asked == list(AUTO[:number])
    assert world.task.kind is kind
    assert [fields["kind"] for fields in world.events.of("record.fetched")] == [kind.value]


def test_kind_that_knew_the_id_is_asked_alone_from_then_on_while_it_is_pending_too(world: Path) -> None:
    pending = answer(world, KindName.JOBS, Phase.PENDING)
    world.api.knows(ID, pending, pending, answer(world, KindName.JOBS), kind=KindName.JOBS)
    world.go_until(lambda outcome: outcome == Archived())
    assert world.api.asked == [KindName.SEPARATION, KindName.JOBS, KindName.JOBS, KindName.JOBS]


def test_id_that_no_kind_knows_yet_is_asked_about_in_rounds_that_back_off_as_those_of_one_kind(world: Path) -> None:
    first = world.go()
    assert isinstance(first, Later)
    assert not first.fault
    assert "asked as separation, jobs or music" in first.reason
    world.now = first.at
    second = world.go()
    assert isinstance(second, Later)
    assert second.at - first.at == 2 * (first.at - START)
    assert world.api.asked == [*AUTO, *AUTO]
    assert {fields["kind"] for fields in world.events.of("record.fetched")} == {"auto"}


@pytest.mark.parametrize("busy", [KindName.SEPARATION, KindName.JOBS, KindName.MUSIC])
def test_error_of_the_api_ends_the_round_without_a_verdict(world: Path, busy: KindName) -> None:
    def fails(call: str, _about: str) -> None:
        if call == "fetch" and len(world.api.asked) == AUTO.index(busy):
            raise ApiBusy("HTTP 503")

    world.now += timedelta(days=2)
    world.go()
    world.now += timedelta(days=2)
    world.api.asked.clear()
    world.api.before = fails
    outcome = world.go()
    assert isinstance(outcome, Later)
    assert outcome.fault
    assert world.api.asked == list(AUTO[: AUTO.index(busy)])
    assert (world.task.state, world.task.kind) == ("queued", None)
    world.api.before = unnoticed
    world.now = outcome.at
    assert isinstance(world.go(), Missing)


@pytest.mark.parametrize("answers", [1, 2, 3])
def test_crash_behind_any_answer_of_a_round_only_repeats_it(world: Path, answers: int) -> None:
    world.api.knows(ID, answer(world, KindName.MUSIC), kind=KindName.MUSIC)

    def crash(step: str) -> None:
        if step == "record.fetched" and len(world.api.asked) == answers:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.start(checkpoint=crash).archiver.archive(world.claim())
    assert world.task.state == "queued"
    world.ledger.claims.release("me")
    world.api.asked.clear()
    assert world.go() == Archived()
    assert world.api.asked == list(AUTO)
    assert world.task.kind is KindName.MUSIC


def test_kind_that_a_line_names_is_asked_alone(world: Path) -> None:
    accept(world.ledger, Intake(ids=(ID,), said={ID: Said(KindName.WAV)}), now=START)
    world.api.knows(ID, answer(world, KindName.WAV), kind=KindName.WAV)
    assert world.go() == Archived()
    assert world.api.asked == [KindName.WAV]


def test_kind_that_a_callback_looks_like_is_asked_first_and_its_answer_decides(world: Path) -> None:
    hints = {ID: KindName.WAV}
    world.ledger.intakes.wake([ID], now=START, hints=hints)
    world.api.knows(ID, answer(world, KindName.JOBS), kind=KindName.JOBS)
    assert world.go() == Archived()
    assert world.api.asked == [KindName.WAV, KindName.SEPARATION, KindName.JOBS]
    assert world.task.kind is KindName.JOBS


def test_retry_of_a_missing_id_asks_all_kinds_anew_and_of_a_known_one_its_own(world: Path) -> None:
    world.go_until(lambda outcome: isinstance(outcome, Missing), most=300)
    retry(world.ledger, now=world.now)
    world.api.asked.clear()
    world.api.knows(ID, answer(world, KindName.JOBS, Phase.FAILED), kind=KindName.JOBS)
    world.go()
    assert world.api.asked == [KindName.SEPARATION, KindName.JOBS]
    assert world.task.state == "failed"
    retry(world.ledger, now=world.now)
    world.api.asked.clear()
    world.api.knows(ID, answer(world, KindName.JOBS), kind=KindName.JOBS)
    assert world.go() == Archived()
    assert world.api.asked == [KindName.JOBS]


@pytest.fixture
def moved(world: Path) -> None:
    """The path of separations, asked first in each round, is gone."""
    calls = 0

    def fails(call: str, _about: str) -> None:
        nonlocal calls
        calls += call == "fetch"
        if call == "fetch" and calls % len(AUTO) == 1:
            raise RouteMoved("HTTP 404")

    world.api.before = fails


@pytest.mark.usefixtures("moved")
def test_path_that_is_gone_keeps_no_other_kind_from_being_asked(world: Path) -> None:
    world.api.knows(ID, answer(world, KindName.JOBS), kind=KindName.JOBS)
    assert world.go() == Archived()
    assert world.api.asked == [KindName.JOBS]


@pytest.mark.usefixtures("moved")
def test_path_that_is_gone_says_nothing_of_an_id_that_no_other_kind_knows(world: Path) -> None:
    for _ in range(3):
        world.now += timedelta(days=2)
        outcome = world.go()
        assert isinstance(outcome, Later)
        assert outcome.reason.startswith("api.no_route: ")


@pytest.mark.long
def test_job_whose_file_is_gone_behind_its_urgency_is_lost_only_where_its_retention_is_over(world: Path) -> None:
    wav = world.serves("wav", LinkSpent("404", status=404))
    world.api.knows(ID, RecordInfo(Phase.DONE, (wav,), "success", START, kind=KindName.JOBS), kind=KindName.JOBS)
    outcome = world.go_until(lambda _: world.now > START + timedelta(days=13), most=500)
    assert isinstance(outcome, Later)
    assert world.task.deadline == START + timedelta(days=1)
    world.now = outcome.at
    assert isinstance(world.go_until(lambda outcome: isinstance(outcome, Lost), most=100), Lost)
    assert world.now >= START + timedelta(days=14)


def test_separation_that_lists_one_file_of_two_first_is_asked_again_and_archived_whole(world: Path) -> None:
    whole = answer(world, KindName.SEPARATION)
    world.api.knows(ID, replace(whole, stems=whole.stems[:1]), whole)
    patient = world.start(policy=Policy()).archiver
    first = patient.archive(world.claim())
    assert isinstance(first, Later)
    assert not first.fault
    world.now = first.at
    assert patient.archive(world.claim()) == Archived()
    assert {stem.name for stem in world.task.stems} == {"vocal", "instrumental"}


def test_separation_that_lists_one_file_of_two_for_good_is_archived_minutes_later(world: Path) -> None:
    whole = answer(world, KindName.SEPARATION)
    world.api.knows(ID, replace(whole, stems=whole.stems[:1]))
    patient = world.start(policy=Policy()).archiver
    while not isinstance(outcome := patient.archive(world.claim()), Archived):
        assert isinstance(outcome, Later)
        world.now = outcome.at
    assert timedelta(minutes=5) <= world.now - START <= timedelta(minutes=12)
    assert 3 <= len(world.api.asked) <= 8


def test_list_that_grew_in_front_loses_no_file(world: Path) -> None:
    """Files of a list are named by their place, and known by their address."""
    one, two = (replace(world.serves(name, body), name=StemName("result-01")) for name, body in FILES)
    late = replace(one, name=StemName("result-02"))
    growing = replace(answer(world, KindName.JOBS, Phase.PENDING), stems=(one,))
    whole = replace(answer(world, KindName.JOBS), stems=(two, late))
    world.api.knows(ID, growing, whole, kind=KindName.JOBS)
    world.go_until(lambda outcome: outcome == Archived())
    stems = {key: body for key, body in world.store.objects.items() if not key.endswith(".json")}
    assert stems == {f"p/{TASK}/result-01.mp3": BYTES, f"p/{TASK}/result-02.mp3": BYTES[::-1]}


def test_title_of_a_task_goes_into_its_manifest_and_into_the_metadata_of_each_object(world: Path) -> None:
    accept(world.ledger, Intake(ids=(ID,), said={ID: Said(KindName.JOBS, "Hafenlichter ♪", TaskId("parent-of-it"))}))
    world.api.knows(ID, answer(world, KindName.JOBS), kind=KindName.JOBS)
    assert world.go() == Archived()
    manifest = json.loads(world.store.objects[f"p/{TASK}/manifest.json"])
    assert [manifest[name] for name in ("kind", "title", "parent")] == ["jobs", "Hafenlichter ♪", "parent-of-it"]
    assert world.store.metadata[f"p/{TASK}/vocal.mp3"]["title"] == "Hafenlichter %E2%99%AA"


def test_task_whose_objects_begin_with_its_title_keeps_to_it_from_one_attempt_to_the_next(world: Path) -> None:
    accept(world.ledger, Intake(ids=(ID,), said={ID: Said(KindName.JOBS, "My Song")}))
    first, second = (world.serves(name, data) for name, data in (("vocal", BYTES), ("drums", BYTES[::-1])))
    record = replace(answer(world, KindName.JOBS, Phase.PENDING), stems=(first,))
    world.api.knows(ID, record, replace(record, phase=Phase.DONE, stems=(first, second)), kind=KindName.JOBS)
    later = world.start(names=Names.TITLE).archiver.archive(world.claim())
    assert isinstance(later, Later)
    world.now = later.at
    accept(world.ledger, Intake(ids=(ID,), said={ID: Said(None, "Another")}))
    assert world.start(names=Names.ID).archiver.archive(world.claim()) == Archived()
    keys = {f"p/{TASK}/My Song - {stem}.mp3" for stem in ("vocal", "drums")}
    assert keys < set(world.store.objects)
    assert {each["key"] for each in world.manifest().values()} == keys


def test_tags_and_model_of_a_record_stand_in_the_metadata_whether_it_was_just_read_or_is_kept(world: Path) -> None:
    accept(world.ledger, Intake(ids=(ID,), said={ID: Said(KindName.MUSIC)}))
    track = {"id": "6ad3e1b4-track", "tags": "pop", "modelName": "V5", "title": "T"}
    files = [world.serves(name, OriginBusy("503"), Audio(name.encode() * 900)) for name in ("a", "b")]
    tracks = [{**track, "audioUrl": each.url} for each in files]
    data = {"status": "SUCCESS", "createTime": 1764300000000, "response": {"sunoData": tracks}}
    world.api.knows(ID, data, kind=KindName.MUSIC)
    world.go_until(lambda outcome: outcome == Archived())
    assert len(world.api.fetched) == 1
    found = [each for key, each in world.store.metadata.items() if key.endswith(".mp3")]
    assert [(each["title"], each["tags"], each["model"]) for each in found] == 2 * [("T", "pop", "V5")]


@pytest.mark.parametrize("refused", [KindName.JOBS, KindName.MUSIC])
def test_key_that_is_refused_in_the_middle_of_a_round_pauses_the_account_and_blames_no_task(
    world: Path, refused: KindName
) -> None:
    def revoke(call: str, *_: object) -> None:
        if call == "fetch" and len(world.api.fetched) == AUTO.index(refused):
            world.api.trouble = KeyRefused("401")

    world.api.before = revoke
    outcome = world.go()
    assert isinstance(outcome, Paused)
    assert (outcome.dependency, world.task.attempts, world.task.reason) == (Dependency.PROVIDER, 0, "")


def test_id_that_is_refused_in_the_middle_of_a_round_while_the_key_is_good_waits_alone(world: Path) -> None:
    world.api.kinds[ID] = KindName.JOBS
    world.api.records[ID] = [KeyRefused("401")]
    outcome = world.go()
    assert isinstance(outcome, Later)
    assert outcome.fault
    assert pauses(world.ledger) == ()
