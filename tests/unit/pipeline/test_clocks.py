"""A wall clock that was wrong once ends nothing: real time is the provider's, and that of the steady clock."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from archiver.core.errors import ApiBusy, BodyNotAudio, LinkSpent, OriginBusy, StoreBusy
from archiver.core.model import (
    DEFAULT_ACCOUNT,
    Archived,
    Failed,
    Later,
    Lost,
    Missing,
    Outcome,
    Phase,
    Policy,
    RecordInfo,
    Refused,
    TaskId,
)
from archiver.core.plan import TRIES_OF_ONE
from archiver.core.states import TaskState
from tests.fakes.time import NOW
from tests.worlds.path import TASK, Path, path_in

pytestmark = pytest.mark.long

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
VOCAL = b"vocal" * 9000
PENDING, ABSENT = RecordInfo(Phase.PENDING, created_at=NOW), RecordInfo(Phase.ABSENT)
AHEAD = [timedelta(hours=1), 2 * DAY, 20 * DAY, 70 * DAY]


@pytest.fixture(params=["dated", "undated"])
def world(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A path whose provider tells the time with its answers, or does not."""
    with path_in(tmp_path) as path:
        if request.param == "undated":
            path.api.date = None
        yield path


def one_wrong_look(world: Path, wrong_by: timedelta) -> Outcome:
    """Take the task along while the clock is wrong, and set it right again."""
    world.wrong_by = wrong_by
    outcome = world.go()
    world.wrong_by = timedelta()
    return outcome


def retry_now(world: Path) -> None:
    """Have the task due, as its lookup times are not what is asked here."""
    world.now = max(world.now, (world.task.not_before or world.now) - world.wrong_by)


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("answer", [PENDING, ABSENT, RecordInfo(Phase.DONE), RecordInfo(Phase.PENDING, error_code=500)])
@pytest.mark.parametrize("asked_before", [False, True])
def test_one_look_with_the_clock_ahead_ends_no_task(
    world: Path, answer: RecordInfo, ahead: timedelta, asked_before: bool
) -> None:
    world.accept(TASK)
    world.api.knows(TASK, answer)
    if asked_before:
        assert isinstance(world.go(), Later)
        retry_now(world)
    assert isinstance(one_wrong_look(world, ahead), Later)


@pytest.mark.parametrize("ahead", AHEAD)
def test_link_that_answers_403_once_with_the_clock_ahead_loses_no_stem(world: Path, ahead: timedelta) -> None:
    world.accept(TASK)
    world.lists(world.serves("vocal", LinkSpent("403", status=403), LinkSpent("403", status=403), VOCAL))
    assert isinstance(one_wrong_look(world, ahead), Later)
    assert [stem.gone for stem in world.task.stems] == [0] or world.api.date is None
    retry_now(world)
    assert world.go() == Archived()


@pytest.mark.parametrize("ahead", AHEAD)
def test_page_in_place_of_audio_with_the_clock_ahead_is_still_looked_at_again(world: Path, ahead: timedelta) -> None:
    world.accept(TASK)
    world.lists(world.serves("vocal", *3 * [BodyNotAudio("<html>")], VOCAL))
    for _ in range(2):
        assert isinstance(world.go(), Later)
        retry_now(world)
    outcome = one_wrong_look(world, ahead)
    assert isinstance(outcome, Refused)
    assert outcome.at is not None


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("at", ["store", "provider"])
def test_one_that_is_refused_alone_while_the_clock_is_ahead_is_still_tried_again(
    world: Path, at: str, ahead: timedelta
) -> None:
    world.accept(TASK, "other-0001")
    world.lists(world.serves("other", VOCAL), task="other-0001")
    source = world.serves("vocal", VOCAL if at == "store" else OriginBusy("reset"), query="?sig=1")
    record = world.lists(source)
    if at == "store":
        world.store.before = lambda method, key: busy() if method == "put" and TASK in key else None
    while not world.archived("other-0001"):
        world.go()
    world.api.knows(TASK, *([record] if at == "store" else [record, ApiBusy("500")]))
    outcome: Outcome | None = None
    while not isinstance(outcome, Refused):
        world.breakers.evidence.answered(DEFAULT_ACCOUNT, TaskId("other-0001"))
        retry_now(world)
        attempts = max([world.task.attempts, *(stem.attempts for stem in world.task.stems)])
        assert attempts < TRIES_OF_ONE, outcome
        outcome = one_wrong_look(world, ahead) if attempts + 1 == TRIES_OF_ONE else world.go()
    assert outcome.at is not None


def busy() -> None:
    raise StoreBusy("PutObject: 500")


@pytest.mark.parametrize("ahead", AHEAD)
def test_stems_listed_while_pending_are_not_all_for_a_clock_that_is_ahead(world: Path, ahead: timedelta) -> None:
    world.accept(TASK)
    world.lists(world.serves("vocal", VOCAL), phase=Phase.PENDING)
    assert isinstance(one_wrong_look(world, ahead), Later)
    world.lists(world.serves("vocal", VOCAL), world.serves("drums", VOCAL[:1000]))
    retry_now(world)
    assert world.go() == Archived()
    assert sorted(world.manifest()) == ["drums", "vocal"]


@pytest.mark.parametrize("answer", [ABSENT, PENDING, ApiBusy("502")])
def test_first_ask_before_the_clock_was_set_does_not_age_the_task(world: Path, answer: RecordInfo | ApiBusy) -> None:
    world.wrong_by = datetime(2020, 1, 1, tzinfo=NOW.tzinfo) - NOW
    world.accept(TASK)
    world.api.knows(TASK, answer)
    outcome = world.go()
    for _ in range(6):
        assert isinstance(outcome, Later)
        world.wrong_by = timedelta()
        world.now += timedelta(seconds=20)
        retry_now(world)
        outcome = world.go()
    assert isinstance(outcome, Later)


def test_first_403_after_the_clock_was_set_loses_no_stem_accepted_before_it(world: Path) -> None:
    world.wrong_by = datetime(2020, 1, 1, tzinfo=NOW.tzinfo) - NOW
    world.accept(TASK)
    world.wrong_by = timedelta()
    world.lists(world.serves("vocal", *4 * [LinkSpent("403", status=403)], VOCAL))
    assert isinstance(world.go(), Later)
    assert world.task.deadline == NOW + Policy().retention
    world.forward(HOUR)
    assert isinstance(world.go(), Later)


# ------------------------------------------------------------------ what has ended still ends


@pytest.mark.parametrize(
    ("answer", "after", "end"),
    [(ABSENT, DAY + HOUR, Missing), (PENDING, 17 * DAY, Failed), (RecordInfo(Phase.DONE), DAY + HOUR, Failed)],
)
def test_task_ends_by_its_age_at_the_second_look_a_day_after_the_first(
    world: Path, answer: RecordInfo, after: timedelta, end: type[Outcome]
) -> None:
    world.accept(TASK)
    world.api.knows(TASK, answer)
    assert isinstance(world.go(), Later)
    world.forward(after)
    assert isinstance(world.go(), end)


def test_gone_link_past_its_grace_loses_the_stem_at_once_where_the_provider_tells_the_time(world: Path) -> None:
    world.accept(TASK)
    world.lists(world.serves("vocal", LinkSpent("403", status=403)))
    world.forward(17 * DAY)
    outcome = world.go()
    if world.api.date is None:
        assert isinstance(outcome, Later)
        world.forward(DAY + HOUR)
        outcome = world.go()
    assert isinstance(outcome, Lost)
    assert world.task.state is TaskState.LOST


def test_gone_answers_count_from_the_deadline_on(world: Path) -> None:
    world.accept(TASK)
    world.lists(world.serves("vocal", LinkSpent("403", status=403)))
    for _ in range(5):
        assert isinstance(world.go(), Later)
        retry_now(world)
    assert [stem.gone for stem in world.task.stems] == [0]
    world.now = NOW + Policy().retention
    assert isinstance(world.go(), Later)
    assert [stem.gone for stem in world.task.stems] == [1]
