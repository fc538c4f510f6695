"""Bad neighbours on the real path, ledger and breakers: what is wrong with some tasks stops no others."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import pytest

from archiver.core.errors import (
    AccessRefused,
    AgentBlocked,
    ApiBusy,
    ArchiverError,
    BodyChanged,
    BodyLong,
    BodyShort,
    BodySlow,
    BucketMissing,
    ClockSkewed,
    KeyRefused,
    LinkSpent,
    NoCredit,
    ObjectTooLarge,
    OriginBusy,
    OriginFaulty,
    StoreBusy,
    StoreFull,
    StoreMisfit,
)
from archiver.core.misses import RouteMoved
from archiver.core.model import (
    Dependency,
    RecordInfo,
    TaskId,
)
from archiver.core.states import StemState, TaskState
from tests.fakes.downloader import Audio
from tests.fakes.time import NOW
from tests.fixtures.ledgers import pauses
from tests.worlds.path import Path, path_in

pytestmark = pytest.mark.long

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
CONNECTING = timedelta(seconds=0.2)


@pytest.fixture
def street(tmp_path: pathlib.Path) -> Iterator[Path]:
    """A path where the CDN takes a moment to answer."""
    with path_in(tmp_path) as street:
        street.downloader.before = lambda *_: street.forward(CONNECTING)
        yield street


def tried(street: Path) -> list[str]:
    """Tasks by their transfers, in order."""
    return [url.rpartition("/")[2].removesuffix(".mp3") for url in street.downloader.opened]


def leaps(street: Path, times: int, every: timedelta = timedelta(hours=2)) -> None:
    """Work for a moment so often."""
    for _ in range(times):
        street.now += every
        street.passes(timedelta(seconds=2))


def denies(street: Path, *keys: str, error: ArchiverError | None = None) -> list[str]:
    """Let the store refuse access to these keys alone, or answer with that error; return its refusals to come."""
    refusals: list[str] = []

    def before(method: str, key: str) -> None:
        if key in keys and method in ("put", "put_document"):
            refusals.append(key)
            raise error or AccessRefused("PutObject: 403 AccessDenied")

    street.store.before = before
    return refusals


def audio(name: str) -> Audio:
    return Audio(name.encode() * 100)


def dead() -> OriginBusy:
    return OriginBusy("connection refused")


@pytest.mark.parametrize("number", [9, 60])
def test_tasks_on_a_dead_host_keep_none_waiting_that_are_on_another(street: Path, number: int) -> None:
    good = [f"good-{n:04}" for n in range(40)]
    for n in range(number):
        street.lives(f"dead-{n:04}", "dead.example", dead(), deadline=NOW + DAY)
    for name in good:
        street.lives(name, "cdn.example", audio(name))
    took = street.passes(10 * MINUTE, good)
    assert street.archived(*good) == len(good)
    assert took < timedelta(seconds=30)
    [pause] = pauses(street.ledger)
    assert (pause.dependency, pause.host) == (Dependency.ORIGIN, "dead.example")


def test_tasks_on_a_dead_host_mixed_in_by_deadline_keep_none_waiting(street: Path) -> None:
    good = []
    for n in range(100):
        bad = n % 5 == 0
        name = f"{'dead' if bad else 'good'}-{n:04}"
        deadline = NOW + DAY + timedelta(minutes=(n * 37) % 100)
        street.lives(name, "dead.example" if bad else "cdn.example", dead() if bad else audio(name), deadline=deadline)
        good += [] if bad else [name]
    assert street.passes(10 * MINUTE, good) < MINUTE


def test_host_that_works_again_is_found_so_by_its_next_probe_and_all_that_waited_are_due(street: Path) -> None:
    waiting = [f"task-{n:04}" for n in range(60)]
    for name in waiting:
        street.lives(name, "cdn.example", dead(), deadline=NOW + DAY)
    street.passes(10 * MINUTE)
    for name in waiting:
        street.serves(name, audio(name))
    untried = [name for name in waiting if name not in tried(street)]
    assert len(untried) > 20, "an outage costs a probe now and then, not every task its tries"
    assert street.passes(10 * MINUTE, untried) < timedelta(seconds=31) + len(waiting) * CONNECTING
    assert pauses(street.ledger) == ()


def test_probes_of_a_dead_host_are_never_of_the_same_task_twice_while_others_wait(street: Path) -> None:
    for n in range(60):
        street.lives(f"task-{n:04}", "dead.example", dead(), deadline=NOW + DAY)
    street.passes(10 * MINUTE)
    probes = tried(street)[8:]
    assert len(probes) >= 10, "one in 30 s at least"
    assert all(one != other for one, other in pairwise(probes))
    assert len(set(probes)) > len(probes) / 2


@pytest.mark.parametrize("spent", [5, 30])
@pytest.mark.parametrize("dependency", [Dependency.ORIGIN, Dependency.STORE])
def test_pause_ends_at_once_though_the_most_urgent_tasks_have_spent_links(
    street: Path, spent: int, dependency: Dependency
) -> None:
    for n in range(spent):
        street.lives(f"spent-{n:04}", "cdn.example", LinkSpent(status=403), deadline=NOW + DAY)
    street.lives("good-0001", "cdn.example", audio("good"))
    for _ in range(8):
        street.breakers.failed(dependency, dead(), host="cdn.example")
    assert pauses(street.ledger)
    assert street.passes(40 * MINUTE, ["good-0001"]) < MINUTE
    assert pauses(street.ledger) == ()


def test_answer_of_any_kind_breaks_the_row_of_failures(street: Path) -> None:
    for n in range(16):
        street.lives(f"task-{n:04}", "cdn.example", dead() if n % 2 else LinkSpent(status=403))
    street.passes(MINUTE)
    assert street.events.of("dependency.paused") == []


@pytest.mark.parametrize("stems", [5, 9, 40])
def test_stems_of_one_task_pause_no_host_that_serves_others(street: Path, stems: int) -> None:
    bad = [street.serves(f"bad-{n}", dead(), stem=f"bad{n}", host="cdn.example") for n in range(stems)]
    street.lists(*bad, task="bad-0001")
    street.accept("bad-0001")
    street.passes(3 * MINUTE)
    assert len(tried(street)) > 2 * stems
    for n in range(10):
        street.lives(f"good-{n:04}", "cdn.example", audio("good"))
        assert street.passes(5 * MINUTE, [f"good-{n:04}"]) < timedelta(seconds=20)
        leaps(street, 1)
    assert street.events.of("dependency.paused") == []


@pytest.mark.parametrize("spent", [False, True])
def test_links_that_get_no_answer_pause_no_host_that_answers_about_the_last_file_it_gave(
    street: Path, *, spent: bool
) -> None:
    street.lives("good-0001", "cdn.example", audio("good"), *([LinkSpent(status=403)] if spent else []))
    street.passes(MINUTE, ["good-0001"])
    street.forward(10 * MINUTE)
    for n in range(20):
        street.lives(f"bad-{n:04}", "cdn.example", dead(), deadline=NOW + DAY)
    street.passes(MINUTE)
    assert len(set(tried(street))) == 21
    assert street.events.of("dependency.paused") == []


def test_file_that_is_listed_just_now_ends_the_pause_of_its_host_at_once(street: Path) -> None:
    for n in range(60):
        street.lives(f"bad-{n:04}", "cdn.example", dead(), deadline=NOW + DAY)
    street.passes(2 * MINUTE)
    assert pauses(street.ledger)
    for n in range(5):
        street.lists(street.serves(f"good-{n}", audio("good"), stem="vocal", host="cdn.example"), task=f"good-{n:04}")
        street.accept(f"good-{n:04}")
    assert street.passes(10 * MINUTE, [f"good-{n:04}" for n in range(5)]) < MINUTE


def test_stems_of_eight_tasks_do_pause_it(street: Path) -> None:
    for n in range(8):
        bad = [street.serves(f"bad-{n}-{m}", dead(), stem=f"bad{m}", host="dead.example") for m in range(3)]
        street.lists(*bad, task=f"bad-{n:04}")
        street.accept(f"bad-{n:04}")
    street.passes(MINUTE)
    assert [pause.host for pause in pauses(street.ledger)] == ["dead.example"]


def answer(street: Path, host: str, error: ArchiverError, many: int) -> list[str]:
    """Let so many tasks have a stem on the host that is answered so; their deadlines are near."""
    names = [f"bad-{n:04}" for n in range(many)]
    for name in names:
        street.lives(name, host, error, deadline=NOW + 3 * DAY)
    return names


FAULTY = [BodyShort("cut"), BodyLong("more"), BodyChanged("another"), BodySlow("slow"), OriginFaulty("500")]


@pytest.mark.parametrize("error", [FAULTY[0], FAULTY[-1]], ids=lambda error: error.code)
def test_links_of_a_good_host_that_are_answered_badly_pause_it_not(street: Path, error: ArchiverError) -> None:
    answer(street, "cdn.example", error, 20)
    for n in range(30):
        street.lives(f"good-{n:04}", "cdn.example", audio("good"))
        street.passes(timedelta(seconds=20), [f"good-{n:04}"])
        street.forward(timedelta(seconds=5))
    assert len(tried(street)) > 100
    assert street.events.of("dependency.paused") == []


@pytest.mark.parametrize("error", [FAULTY[0], FAULTY[-1], dead()], ids=lambda error: error.code)
def test_link_that_is_never_given_whole_is_refused_where_the_host_gives_others(
    street: Path, error: ArchiverError
) -> None:
    [name] = answer(street, "cdn.example", error, 1)
    for n in range(12):
        street.lives(f"good-{n:04}", "cdn.example", audio("good"))
        leaps(street, 2, MINUTE * 31)
    assert refused_stem(street, name)
    assert error.code in street.row(name).reason
    assert street.events.of("task.refused")
    tries = tried(street).count(name)
    leaps(street, 12)
    assert tried(street).count(name) > tries, "it is looked at again by itself"
    assert street.events.of("dependency.paused") == []


def test_link_that_is_never_given_whole_by_a_host_that_gives_none_is_not_refused(street: Path) -> None:
    [name] = answer(street, "cdn.example", BodyShort("cut"), 1)
    leaps(street, 24)
    assert not refused_stem(street, name)


def test_host_that_gives_nothing_whole_is_paused_until_it_gives_one_thing(street: Path) -> None:
    names = answer(street, "cut.example", BodyShort("cut"), 40)
    street.passes(5 * MINUTE)
    assert [pause.host for pause in pauses(street.ledger)] == ["cut.example"]
    street.serves(names[0], LinkSpent(status=403), host="cut.example")
    street.passes(MINUTE)
    assert pauses(street.ledger), "that it answers was never in doubt"
    street.lives("good-0001", "cut.example", audio("good"), deadline=NOW + 5 * DAY)
    assert street.passes(MINUTE, ["good-0001"]) <= timedelta(seconds=10), "who never failed there need not wait long"
    assert pauses(street.ledger) == ()


def test_pause_of_a_host_that_no_task_needs_any_more_ends(street: Path) -> None:
    for _ in range(8):
        street.breakers.failed(Dependency.ORIGIN, dead(), host="gone.example")
    leaps(street, 4, MINUTE - timedelta(seconds=2))
    assert pauses(street.ledger), "a task may be about to need it"
    leaps(street, 2, MINUTE - timedelta(seconds=2))
    assert pauses(street.ledger) == ()


# ---------------------------------------------------------------- blame


def refused_stem(street: Path, name: str) -> bool:
    return any(stem.state is StemState.REFUSED for stem in street.row(name).stems)


@pytest.mark.parametrize("key", ["p/bad-0001/vocal.mp3", "p/bad-0001/record-info.json", "p/bad-0001/manifest.json"])
def test_key_that_the_store_refuses_alone_keeps_none_waiting_and_is_refused_with_its_reason(
    street: Path, key: str
) -> None:
    good = [f"good-{n:04}" for n in range(20)]
    street.lives("bad-0001", "cdn.example", audio("bad"), deadline=NOW + DAY)
    refusals = denies(street, key)
    for name in good:
        street.lives(name, "cdn.example", audio(name))
    assert street.passes(5 * MINUTE, good) < MINUTE
    leaps(street, 12)
    assert "store.access_denied" in street.row("bad-0001").reason
    assert street.events.of("task.refused")
    assert len(refusals) <= 8, "it backs off"
    assert street.events.of("dependency.paused") == []


@pytest.mark.parametrize("error", [ObjectTooLarge("PutObject: 413"), StoreBusy("PutObject: 500 InternalError")])
@pytest.mark.parametrize("key", ["vocal.mp3", "record-info.json", "manifest.json"])
def test_key_that_the_store_never_takes_pauses_nothing_and_is_refused_with_its_reason(
    street: Path, key: str, error: ArchiverError
) -> None:
    bad, good = [f"bad-{n:04}" for n in range(3)], [f"good-{n:04}" for n in range(20)]
    for name in bad:
        street.lives(name, "cdn.example", audio(name), deadline=NOW + DAY)
    refusals = denies(street, *(f"p/{name}/{key}" for name in bad), error=error)
    for name in good:
        street.lives(name, "cdn.example", audio(name))
    assert street.passes(5 * MINUTE, good) < MINUTE
    leaps(street, 30)
    assert all(error.code in street.row(name).reason for name in bad)
    assert {event["task_id"] for event in street.events.of("task.refused")} == set(bad)
    assert len(refusals) <= 30 * len(bad), "it backs off"
    assert street.events.of("dependency.paused") == []


@pytest.mark.parametrize("number", [1, 30])
@pytest.mark.parametrize("error", [StoreFull("507"), ClockSkewed("403"), BucketMissing("404"), StoreMisfit("400")])
def test_keys_alone_that_are_refused_as_if_the_whole_store_did_keep_none_waiting(
    street: Path, error: ArchiverError, number: int
) -> None:
    bad, good = [f"bad-{n:04}" for n in range(number)], [f"good-{n:04}" for n in range(20)]
    for name in bad:
        street.lives(name, "cdn.example", audio(name), deadline=NOW + DAY)
    denies(street, *(f"p/{name}/vocal.mp3" for name in bad), error=error)
    street.passes(MINUTE)
    for name in good:
        street.lives(name, "cdn.example", audio(name))
    assert street.passes(5 * MINUTE, good) < MINUTE
    leaps(street, 6)
    assert all(refused_stem(street, name) and error.code in street.row(name).reason for name in bad)
    assert street.events.of("dependency.paused") == []


def test_store_that_is_busy_for_every_key_refuses_no_stem(street: Path) -> None:
    for n in range(3):
        street.lives(f"task-{n:04}", "cdn.example", audio("task"))
    street.store.fail("try_write", StoreBusy("503"), times=1000)
    denies(street, *(f"p/task-{n:04}/vocal.mp3" for n in range(3)), error=StoreBusy("503"))
    leaps(street, 30)
    assert not any(refused_stem(street, f"task-{n:04}") for n in range(3))


def test_paused_store_is_probed_by_a_trial_write_before_any_file_is_fetched_for_it(street: Path) -> None:
    street.store.fail("try_write", StoreBusy("503"), times=4)
    street.lives("good-0001", "cdn.example", audio("good"))
    for _ in range(8):
        street.breakers.failed(Dependency.STORE, StoreBusy("503"))
    assert [pause.dependency for pause in pauses(street.ledger)] == [Dependency.STORE]
    street.passes(MINUTE)
    assert tried(street) == []
    assert pauses(street.ledger)
    street.passes(2 * MINUTE, ["good-0001"])
    assert tried(street) == ["good-0001"]
    assert pauses(street.ledger) == ()


def test_store_that_refuses_every_key_is_paused_and_no_task_blamed(street: Path) -> None:
    for n in range(5):
        street.lives(f"task-{n:04}", "cdn.example", audio("task"))
    street.store.fail("try_write", AccessRefused("403"), times=1000)
    denies(street, *(f"p/task-{n:04}/vocal.mp3" for n in range(5)))
    street.passes(10 * MINUTE)
    assert pauses(street.ledger)
    assert not any(refused_stem(street, f"task-{n:04}") for n in range(5))
    denies(street)
    assert street.passes(10 * MINUTE, [f"task-{n:04}" for n in range(5)]) <= MINUTE


def queue(street: Path, name: str, *answers: RecordInfo | ArchiverError) -> None:
    street.accept(name)
    street.api.knows(TaskId(name), *answers)


def good_record(street: Path, name: str) -> RecordInfo:
    return street.lists(street.serves(name, audio(name), stem="vocal"), task=name)


@pytest.mark.parametrize(
    ("error", "number"),
    [
        *((error, number) for error in (KeyRefused("403"), ApiBusy("code 500"), NoCredit("402")) for number in (1, 30)),
        (ApiBusy("code 500"), 150),
        *((AgentBlocked("error code: 1010"), number) for number in (1, 30)),
        pytest.param(ApiBusy("code 500"), 300, marks=[pytest.mark.timeout(300), pytest.mark.slow]),
    ],
)
def test_ids_that_the_provider_refuses_alone_keep_none_waiting_and_end_after_a_day(
    street: Path, error: ArchiverError, number: int
) -> None:
    bad, good = [f"bad-{n:04}" for n in range(number)], [f"good-{n:04}" for n in range(20)]
    for name in bad:
        queue(street, name, error)
    street.now += timedelta(seconds=1)
    for name in good:
        queue(street, name, good_record(street, name))
    assert street.passes(5 * MINUTE, good) < MINUTE
    assert street.events.of("dependency.paused") == []
    street.passes(MINUTE)
    asked = len(street.api.fetched)
    leaps(street, 20)
    rows = [street.row(name) for name in bad]
    assert all(row.state is TaskState.FAILED and error.code in row.reason for row in rows)
    assert len(street.api.fetched) - asked < 40 * number, "they back off"


@pytest.mark.parametrize("error", [KeyRefused("403"), ApiBusy("code 500")])
def test_listed_task_whose_id_the_provider_goes_on_refusing_ends_visibly(street: Path, error: ArchiverError) -> None:
    """Its links are kept nowhere, so it must be asked about."""
    source = street.serves("bad-0001", OriginBusy("reset"), stem="vocal", query="?sig=1")
    queue(street, "bad-0001", street.lists(source, task="bad-0001"), error)
    queue(street, "good-0001", good_record(street, "good-0001"))
    street.passes(MINUTE, ["good-0001"])
    leaps(street, 24)
    row = street.row("bad-0001")
    assert row.state is TaskState.LISTED
    assert error.code in row.reason
    assert street.events.of("task.refused")
    assert street.events.of("dependency.paused") == []
    before = len(street.api.fetched)
    leaps(street, 24)
    assert len(street.api.fetched) - before < 40, "it is tried every six hours"


@pytest.mark.parametrize("error", [KeyRefused("401"), ApiBusy("503")])
def test_provider_that_refuses_every_id_is_paused_though_it_tells_the_credit(
    street: Path, error: ArchiverError
) -> None:
    queue(street, "good-0001", good_record(street, "good-0001"), error)
    street.passes(MINUTE, ["good-0001"])
    for n in range(20):
        queue(street, f"task-{n:04}", error)
    street.passes(MINUTE)
    assert [pause.dependency for pause in pauses(street.ledger)] == [Dependency.PROVIDER]


def test_kind_whose_path_is_gone_pauses_no_provider_that_tells_the_credit(street: Path) -> None:
    queue(street, "good-0001", good_record(street, "good-0001"), RouteMoved("HTTP 404"))
    street.passes(MINUTE, ["good-0001"])
    for n in range(20):
        queue(street, f"task-{n:04}", RouteMoved("HTTP 404"))
    street.passes(MINUTE)
    assert not pauses(street.ledger)


def test_path_that_is_gone_pauses_a_provider_that_does_not_tell_the_credit(street: Path) -> None:
    street.api.trouble = RouteMoved("HTTP 404")
    for n in range(20):
        queue(street, f"task-{n:04}")
    street.passes(MINUTE)
    assert [pause.dependency for pause in pauses(street.ledger)] == [Dependency.PROVIDER]
