"""Rounds of verification: in which slice a task is, who walks through one, and how far."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from archiver.core.errors import LeaseLost
from archiver.core.fixity import Fixity
from archiver.core.levels import Level
from archiver.core.model import TaskId
from archiver.core.slices import LISTING, SLICES, Checked, Course, Place, Round, SliceLease, slice_of
from archiver.core.walks import WalkSums
from tests.contracts.test_ledger_rebuilds import drawn
from tests.fixtures.ledgers import DAY, LEASE, NOW, SECOND, checked, listed, receipt, stored, take_in, tid
from tests.house import Ledger

SOME = Checked(2, 900, {Fixity.OK: 1, Fixity.MISSING: 1})


def take(
    ledger: Ledger,
    round_: Round | None = None,
    *,
    course: Course = Course.READ,
    owner: str = "us",
    now: datetime = NOW,
    listing: bool = False,
) -> SliceLease | None:
    return ledger.rounds.take(course, owner=owner, now=now, lease=LEASE, round_=round_, listing=listing)


def taken(ledger: Ledger, round_: Round | None = None, *, owner: str = "us", now: datetime = NOW) -> SliceLease:
    found = take(ledger, round_, owner=owner, now=now)
    assert found is not None
    return found


def end_all_but(ledger: Ledger, round_: Round, numbers: set[int]) -> None:
    """Let all slices of a round but these be ended, past the port: 4,096 of them take their time."""
    with ledger.db.write() as db:
        others = ", ".join(map(str, numbers))
        db.exec_driver_sql(f"UPDATE slices SET round = {round_.number}, ended_at = 1 WHERE number NOT IN ({others})")


def test_task_is_in_the_slice_of_its_id_however_it_came(ledger: Ledger) -> None:
    mark = ledger.rebuilds.begin(now=NOW)
    ledger.rebuilds.take(drawn(3), mark, mark)
    ledger.rebuilds.end(mark)
    take_in(ledger, *range(1, 600))
    with ledger.db.read() as db:
        found = {row.task_id: row.slice for row in db.exec_driver_sql("SELECT task_id, slice FROM tasks")}
    assert len(found) == 602
    assert found == {task: slice_of(task) for task in found}
    assert slice_of(tid(1)) == 237


def test_slice_gives_its_tasks_by_their_ids_bytes_from_any_on(ledger: Ledger) -> None:
    take_in(ledger, *range(600))
    number = slice_of(tid(7))
    its = sorted(tid(each) for each in range(600) if slice_of(tid(each)) == number)
    assert [task.task_id for task in ledger.objects.known_of_slice(number)] == its
    assert [task.task_id for task in ledger.objects.known_of_slice(number, begin=its[-1])] == its[-1:]
    assert list(ledger.objects.known_of_slice(number, begin="z")) == []
    assert [task.task_id for task in ledger.objects.all_known(after=tid(597))] == [tid(598), tid(599)]


def test_round_is_begun_once_and_the_next_after_its_end(ledger: Ledger) -> None:
    assert ledger.rounds.newest(Course.LIST) is None
    begun = ledger.rounds.begin(Course.LIST, now=NOW)
    assert begun == Round(Course.LIST, 1, NOW)
    assert ledger.rounds.begin(Course.LIST, now=NOW + DAY) == ledger.rounds.newest(Course.LIST) == begun
    assert ledger.rounds.left(begun) == 1
    assert not ledger.rounds.end(begun, now=NOW)
    walk = take(ledger, begun, course=Course.LIST, listing=True)
    assert walk is not None
    assert (walk.number, walk.round) == (LISTING, 1)
    assert not ledger.rounds.end(begun, now=NOW)
    ledger.rounds.finish(walk, SOME, now=NOW)
    assert ledger.rounds.end(begun, now=NOW + SECOND)
    assert not ledger.rounds.end(begun, now=NOW + SECOND)
    assert ledger.rounds.newest(Course.LIST) == Round(Course.LIST, 1, NOW, NOW + SECOND)
    assert ledger.rounds.begin(Course.LIST, now=NOW + DAY) == Round(Course.LIST, 2, NOW + DAY)
    assert ledger.rounds.newest(Course.READ) is None


def test_slice_is_one_workers_at_a_time_and_each_comes_once_a_round(ledger: Ledger) -> None:
    round_ = ledger.rounds.begin(Course.READ, now=NOW)
    end_all_but(ledger, round_, {LISTING, 3, 4, 5})
    held = [taken(ledger, round_, owner=owner) for owner in ("us", "them", "us")]
    assert [each.number for each in held] == [3, 4, 5]
    assert take(ledger, round_) is None
    assert ledger.rounds.left(round_) == 4
    for each in held:
        ledger.rounds.finish(each, SOME, now=NOW + SECOND)
    assert take(ledger, round_) is None
    assert ledger.rounds.left(round_) == 1
    assert checked(ledger, round_) == Checked(6, 2700, {Fixity.OK: 3, Fixity.MISSING: 3})


def test_slice_that_was_left_is_gone_on_with_where_it_was(ledger: Ledger) -> None:
    round_ = ledger.rounds.begin(Course.READ, now=NOW)
    held = ledger.rounds.note(taken(ledger, round_), Place(tid(1), "k"), SOME)
    assert (held.place, held.checked) == (Place(tid(1), "k"), SOME)
    assert checked(ledger, round_) == SOME
    ledger.rounds.release("us")
    again = taken(ledger, round_, owner="them", now=NOW + DAY)
    assert (again.number, again.place, again.checked, again.begun_at) == (held.number, held.place, SOME, NOW)
    assert again.token != held.token


@pytest.mark.parametrize("late", [LEASE, -DAY])
def test_lease_that_ran_out_or_lies_too_far_ahead_is_anothers_to_take(ledger: Ledger, late: timedelta) -> None:
    round_ = ledger.rounds.begin(Course.READ, now=NOW)
    held = taken(ledger, round_)
    other = taken(ledger, round_, owner="them", now=NOW + late)
    assert other.number == held.number
    for refused in (
        lambda: ledger.rounds.note(held, Place("a", "b"), SOME),
        lambda: ledger.rounds.finish(held, SOME, now=NOW),
    ):
        with pytest.raises(LeaseLost):
            refused()
    assert checked(ledger, round_) == Checked()
    ledger.rounds.note(other, Place("a", "b"), SOME)


def test_lease_that_is_renewed_stays(ledger: Ledger) -> None:
    round_ = ledger.rounds.begin(Course.READ, now=NOW)
    held = taken(ledger, round_)
    ledger.rounds.renew("us", now=NOW + LEASE, lease=LEASE)
    assert taken(ledger, round_, owner="them", now=NOW + LEASE).number != held.number
    ledger.rounds.note(held, Place("a", "b"), SOME)


def test_leases_of_the_dead_are_free_at_once(ledger: Ledger) -> None:
    round_ = ledger.rounds.begin(Course.READ, now=NOW)
    dead, unknown = taken(ledger, round_, owner="dead"), taken(ledger, round_, owner="elsewhere")
    ledger.rounds.release_dead({"dead": False, "elsewhere": None}.get)
    assert taken(ledger, round_).number == dead.number
    ledger.rounds.note(unknown, Place("a", "b"), SOME)


def test_slice_checked_longest_ago_goes_first(ledger: Ledger) -> None:
    ledger.rounds.begin(Course.READ, now=NOW)
    never = [taken(ledger) for _ in range(3)]
    for held, at in zip(never, (NOW + DAY, NOW, NOW + 2 * DAY), strict=True):
        ledger.rounds.finish(held, SOME, now=at)
    end_all_but(ledger, Round(Course.READ, 1, NOW), {LISTING, 0, 1, 2, 9})
    later = NOW + 3 * DAY
    with ledger.db.write() as db:
        db.exec_driver_sql("DELETE FROM slices WHERE ended_at = 1")
    assert [taken(ledger, now=later).number for _ in range(4)] == [9, 1, 0, 2]
    assert take(ledger, now=later) is None


def test_round_takes_again_what_was_done_before_it_began(ledger: Ledger) -> None:
    half = ledger.rounds.note(taken(ledger), Place("a", "b"), SOME)
    ledger.rounds.release("us")
    whole = taken(ledger, owner="them")
    assert (whole.number, whole.place) == (half.number, half.place)
    ledger.rounds.release("them")
    round_ = ledger.rounds.begin(Course.READ, now=NOW + DAY)
    anew = taken(ledger, round_, now=NOW + DAY)
    assert (anew.number, anew.place, anew.checked, anew.begun_at) == (half.number, Place(), Checked(), NOW + DAY)
    ledger.rounds.finish(anew, SOME, now=NOW + DAY)
    joined = taken(ledger, now=NOW + DAY)
    ledger.rounds.finish(joined, SOME, now=NOW + DAY)
    assert ledger.rounds.left(round_) == SLICES + 1 - 2


def test_end_of_a_slice_is_never_later_than_now(ledger: Ledger) -> None:
    """A clock that ran ahead must not hide a slice for as long as it was ahead."""
    ledger.rounds.finish(held := taken(ledger), SOME, now=NOW + 999 * DAY)
    [ended] = [each.ended_at for each in ledger.rounds.standings(Course.READ, now=NOW) if each.number == held.number]
    assert ended == NOW
    taken(ledger)
    [ended] = [each.ended_at for each in ledger.rounds.standings(Course.READ, now=NOW + DAY) if each.ended_at]
    assert ended == NOW


def test_slice_with_an_object_that_was_not_read_is_done_but_not_checked(ledger: Ledger) -> None:
    round_ = ledger.rounds.begin(Course.READ, now=NOW)
    ledger.rounds.finish(held := taken(ledger, round_), SOME, now=NOW)
    later = ledger.rounds.take(Course.READ, owner="us", now=NOW + DAY, lease=LEASE)
    assert later is not None
    ledger.rounds.finish(later, Checked(1, 9, {Fixity.UNREAD: 1}), now=NOW + DAY)
    found = {each.number: each for each in ledger.rounds.standings(Course.READ, now=NOW + DAY)}
    assert (found[held.number].ended_at, found[later.number].ended_at) == (NOW, None)
    assert (later.number, found[later.number].is_under_way) == (held.number + 1, False)
    assert ledger.rounds.left(round_) == SLICES + 1 - 2


def test_standings_tell_of_every_slice(ledger: Ledger) -> None:
    assert ledger.rounds.standings(Course.READ, now=NOW) == []
    ledger.rounds.finish(taken(ledger), SOME, now=NOW)
    taken(ledger)
    found = ledger.rounds.standings(Course.READ, now=NOW)
    assert [each.number for each in found] == list(range(SLICES))
    assert [(each.ended_at, each.is_under_way, each.checked) for each in found[:3]] == [
        (NOW, False, SOME),
        (None, True, Checked()),
        (None, False, Checked()),
    ]


def test_since_when_all_is_to_be_read_is_kept_until_it_is_no_more(ledger: Ledger) -> None:
    assert ledger.rounds.keep_since(None) is None
    assert ledger.rounds.keep_since(NOW) == ledger.rounds.keep_since(NOW + DAY) == NOW
    assert ledger.rounds.keep_since(NOW - DAY) == NOW - DAY  # the clock was ahead
    assert ledger.rounds.keep_since(None) is None
    assert ledger.rounds.kept_since() is None
    assert ledger.rounds.keep_since(NOW + DAY) == NOW + DAY
    assert ledger.rounds.kept_since() == NOW + DAY


def test_etag_that_an_object_has_now_is_noted_unless_another_came_meanwhile(ledger: Ledger) -> None:
    claim = listed(ledger, 1, "vocal")
    proof = receipt("vocal")
    stored(ledger, claim, "vocal", proof)
    task = TaskId(tid(1))
    assert not ledger.objects.note_etag(task, proof.key, before="other", now="new")
    assert ledger.objects.note_etag(task, proof.key, before=proof.etag, now="new")
    known = ledger.objects.known(task)
    assert known is not None
    assert [stem.etag for stem in known.stems] == ["new"]


SUMS = WalkSums({Fixity.OK: 3, Fixity.MISSING: 1}, 2, 5, 900, 1, ("task-nobody",))


def test_walk_that_was_noted_is_taken_from_there_by_whoever_comes_next(ledger: Ledger) -> None:
    walk = ledger.walks.take(Level.READ, "s", now=NOW, within=DAY)
    assert (walk.place, walk.sums, walk.reported, walk.begun_at) == ("", WalkSums(), WalkSums(), NOW)
    assert ledger.walks.note(walk, tid(7), SUMS, now=NOW + SECOND).place == tid(7)
    again = ledger.walks.take(Level.READ, "s", now=NOW + DAY, within=DAY)
    assert (again.place, again.sums, again.reported, again.begun_at) == (tid(7), SUMS, WalkSums(), NOW)
    with pytest.raises(LeaseLost):
        ledger.walks.note(walk, tid(9), SUMS, now=NOW)
    ledger.walks.end(walk)
    ledger.walks.report(walk)
    ledger.walks.report(again)
    third = ledger.walks.take(Level.READ, "s", now=NOW + DAY, within=DAY)
    assert (third.place, third.reported) == (tid(7), SUMS)
    ledger.walks.end(third)
    assert ledger.walks.take(Level.READ, "s", now=NOW, within=DAY).place == ""


def test_walk_is_of_its_level_and_selection_and_forgotten_once_it_is_old_or_to_begin_anew(ledger: Ledger) -> None:
    for level in Level:
        ledger.walks.note(ledger.walks.take(level, "s", now=NOW, within=DAY), level.value, SUMS, now=NOW)
    assert ledger.walks.take(Level.LIST, "other", now=NOW, within=DAY).place == ""
    assert [ledger.walks.take(level, "s", now=NOW, within=DAY).place for level in Level] == [*Level]
    anew = ledger.walks.take(Level.HEAD, "s", now=NOW + SECOND, within=DAY, anew=True)
    assert (anew.place, anew.sums, anew.begun_at) == ("", WalkSums(), NOW + SECOND)
    assert ledger.walks.take(Level.READ, "s", now=NOW + DAY, within=DAY).place == ""
    with ledger.db.read() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM walks").scalar() == 2
