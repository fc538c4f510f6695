from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from archiver.core.errors import LeaseLost
from archiver.core.intake import Cursor, Intake, Reject
from archiver.core.model import (
    DEFAULT_ACCOUNT,
    AccountName,
    Archived,
    Dependency,
    Later,
    Missing,
    Phase,
    RecordInfo,
    TaskId,
)
from archiver.core.records.facts import Facts, Parent, Track
from archiver.core.records.kinds.names import KindName
from archiver.core.reports import Family, TaskQuery
from archiver.core.said import Said
from archiver.core.states import IllegalMove, TaskState
from tests.fixtures.ledgers import (
    DAY,
    LEASE,
    NOW,
    accept,
    claim,
    finish,
    listed,
    open_work,
    overview,
    pause,
    pauses,
    receipt,
    record,
    relisted,
    retry,
    rows,
    shown,
    stored,
    take_in,
    tid,
)
from tests.house import Ledger


def test_take_in_returns_new_ids_once_and_in_the_order_they_came(ledger: Ledger) -> None:
    take_in(ledger, 5)
    assert take_in(ledger, 9, 5, 2, 9, 7) == [tid(9), tid(2), tid(7)]


def test_take_in_of_more_than_one_chunk_returns_all_in_order(ledger: Ledger) -> None:
    numbers = [*range(2500, 0, -1)]
    assert take_in(ledger, *numbers) == [tid(number) for number in numbers]
    assert take_in(ledger, *numbers) == []


def test_take_in_of_a_known_id_leaves_it_as_it_was(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal")
    before = shown(ledger)
    assert take_in(ledger, 1, now=NOW + DAY) == []
    assert shown(ledger) == before
    stored(ledger, mine, mine.stems[0].name, receipt())
    finish(ledger, mine, Archived())
    assert take_in(ledger, 1, now=NOW + DAY) == []
    assert shown(ledger).state is TaskState.ARCHIVED


def of_account(number: int, name: str) -> Intake:
    return Intake(ids=(tid(number),), accounts={tid(number): AccountName(name)})


def test_take_in_keeps_the_account_that_is_named_and_the_claim_has_it(ledger: Ledger) -> None:
    accept(ledger, of_account(1, "second"))
    take_in(ledger, 2)
    assert [shown(ledger, number).account for number in (1, 2)] == ["second", DEFAULT_ACCOUNT]
    assert {mine.task_id: mine.account for mine in (claim(ledger), claim(ledger))} == {
        tid(1): "second",
        tid(2): DEFAULT_ACCOUNT,
    }


def test_take_in_of_a_known_id_without_an_account_leaves_it_with_the_one_it_has(ledger: Ledger) -> None:
    accept(ledger, of_account(1, "second"))
    before = shown(ledger)
    take_in(ledger, 1, now=NOW + DAY)
    accept(ledger, of_account(1, "second"), now=NOW + DAY)
    assert shown(ledger) == before


def test_take_in_of_a_known_id_with_another_account_begins_anew_with_that(ledger: Ledger) -> None:
    take_in(ledger, 1)
    absent = Later(NOW + DAY, "unknown so far")
    finish(ledger, claim(ledger), absent, record=RecordInfo(Phase.ABSENT))
    assert accept(ledger, of_account(1, "second")) == []
    moved = shown(ledger)
    assert (moved.account, moved.not_before, moved.first_asked_at, moved.asks) == ("second", NOW, None, 0)
    accept(ledger, of_account(1, "default"))
    assert shown(ledger).account == DEFAULT_ACCOUNT


def test_take_in_of_an_id_that_is_being_asked_about_with_another_account_ends_the_lease(ledger: Ledger) -> None:
    take_in(ledger, 1)
    mine = claim(ledger)
    accept(ledger, of_account(1, "second"))
    with pytest.raises(LeaseLost):
        finish(ledger, mine, Missing("unknown to the first"), record=RecordInfo(Phase.ABSENT))
    assert claim(ledger).account == "second"


def of_kind(number: int, kind: KindName | None, title: str = "", parent: TaskId | None = None) -> Intake:
    return Intake(ids=(tid(number),), said={tid(number): Said(kind, title, parent)})


def test_take_in_keeps_kind_title_and_parent_and_the_claim_has_them(ledger: Ledger) -> None:
    accept(ledger, of_kind(1, KindName.WAV, "Harbour Lights", tid(9)))
    take_in(ledger, 2)
    assert [(row.kind, row.title, row.family.parents) for row in (shown(ledger, 1), shown(ledger, 2))] == [
        (KindName.WAV, "Harbour Lights", (tid(9),)),
        (None, "", ()),
    ]
    claims = {mine.task_id: (mine.kind, mine.title, mine.parent) for mine in (claim(ledger), claim(ledger))}
    assert claims == {tid(1): (KindName.WAV, "Harbour Lights", tid(9)), tid(2): (None, "", None)}
    assert ledger.intakes.kinds([tid(1), tid(2), tid(3)]) == {tid(1): KindName.WAV}


def test_task_is_found_by_a_part_of_its_title_in_any_case(ledger: Ledger) -> None:
    accept(ledger, of_kind(1, None, "Harbour Lights"))
    take_in(ledger, 2)
    found = ledger.reports.newest(TaskQuery(text="harbour l"), now=NOW, at_risk=DAY)
    assert [(each.task_id, each.title, each.kind) for each in found] == [(tid(1), "Harbour Lights", None)]


def test_family_is_shown_from_both_ends_also_where_only_a_track_is_named(ledger: Ledger) -> None:
    """A WAV names the track that it was made from; only the archived music task tells whose track that is."""
    accept(ledger, of_kind(1, KindName.MUSIC))
    accept(ledger, of_kind(2, KindName.WAV))
    accept(ledger, of_kind(3, KindName.COVER, "", tid(1)))
    answers = {
        tid(1): (KindName.MUSIC, Facts(tracks=(Track("track-one"),))),
        tid(2): (KindName.WAV, Facts(parents=(Parent("track-one", "musicId"),))),
    }
    for mine in (claim(ledger), claim(ledger)):
        kind, facts = answers[mine.task_id]
        relisted(ledger, mine, replace(record("vocal"), kind=kind, facts=facts))
    assert shown(ledger, 1).family == Family((), (tid(2), tid(3)))
    assert shown(ledger, 2).family == Family((tid(1),), ())
    assert shown(ledger, 3).family == Family((tid(1),), ())


def test_take_in_of_a_known_id_with_its_first_kind_begins_anew_with_that_and_another_changes_nothing(
    ledger: Ledger,
) -> None:
    take_in(ledger, 1)
    finish(ledger, claim(ledger), Later(NOW + DAY, "unknown so far"), record=RecordInfo(Phase.ABSENT))
    assert shown(ledger).kind is None
    assert accept(ledger, of_kind(1, KindName.MIDI)) == []
    named = shown(ledger)
    assert (named.kind, named.not_before, named.first_asked_at, named.asks) == (KindName.MIDI, NOW, None, 0)
    finish(ledger, claim(ledger), Later(NOW + DAY, "unknown so far"), record=RecordInfo(Phase.ABSENT))
    before = shown(ledger)
    accept(ledger, of_kind(1, KindName.WAV), now=NOW + DAY)
    assert shown(ledger) == before
    accept(ledger, of_kind(1, None, "Another", tid(8)), now=NOW + DAY)
    assert shown(ledger) == replace(before, title="Another", family=Family((tid(8),)))


def test_take_in_of_an_id_that_is_being_asked_about_with_its_first_kind_ends_the_lease(ledger: Ledger) -> None:
    take_in(ledger, 1)
    mine = claim(ledger)
    accept(ledger, of_kind(1, KindName.WAV))
    with pytest.raises(LeaseLost):
        finish(ledger, mine, Missing("no kind knows it"), record=RecordInfo(Phase.ABSENT))
    assert claim(ledger).kind is KindName.WAV


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.DONE])
def test_kind_of_the_first_answer_that_knows_the_task_is_kept(ledger: Ledger, phase: Phase) -> None:
    take_in(ledger, 1)
    for kind, phase_of_it in ((KindName.SEPARATION, Phase.ABSENT), (KindName.JOBS, phase), (KindName.MUSIC, phase)):
        answer = RecordInfo(phase_of_it, kind=kind)
        finish(ledger, claim(ledger), Later(NOW, "not yet"), record=answer)
    assert shown(ledger).kind is KindName.JOBS
    assert claim(ledger).kind is KindName.JOBS


def test_retry_of_what_no_kind_of_its_name_knew_lets_its_kind_be_found_out(ledger: Ledger) -> None:
    accept(ledger, of_kind(1, KindName.WAV))
    finish(ledger, claim(ledger), Missing("unknown"), record=RecordInfo(Phase.ABSENT, kind=KindName.WAV))
    retry(ledger)
    assert claim(ledger).kind is None


def test_take_in_that_moves_the_last_task_of_an_account_ends_its_pause(ledger: Ledger) -> None:
    second, third = AccountName("second"), AccountName("third")
    accept(ledger, of_account(1, second))
    accept(ledger, of_account(2, second))
    pause(ledger, Dependency.PROVIDER, second, reason="unknown", lasting=True)
    others = [pause(ledger, Dependency.PROVIDER, reason="401", lasting=True)]
    accept(ledger, of_account(1, third))
    assert len(pauses(ledger)) == 2
    accept(ledger, of_account(2, third))
    assert list(pauses(ledger)) == others


def test_take_in_of_a_listed_id_with_another_account_keeps_all_else_and_the_lease(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal")
    before = shown(ledger)
    accept(ledger, of_account(1, "second"), now=NOW + DAY)
    assert shown(ledger) == replace(before, account=AccountName("second"))
    stored(ledger, mine, mine.stems[0].name, receipt())
    finish(ledger, mine, Archived())
    assert shown(ledger).state is TaskState.ARCHIVED


def test_cursor_with_the_largest_inode_and_device_comes_back_as_it_went_in(ledger: Ledger) -> None:
    cursor = Cursor("q.txt", device=2**64 - 1, inode=2**64 - 2, head="ab" * 32, head_size=512, offset=7)
    assert ledger.intakes.cursor("q.txt") is None
    accept(ledger, Intake(cursor=cursor))
    assert ledger.intakes.cursor("q.txt") == cursor
    moved = Cursor("q.txt", device=1, inode=2, head="", head_size=0, offset=0)
    accept(ledger, Intake(cursor=moved))
    assert ledger.intakes.cursor("q.txt") == moved
    assert ledger.intakes.cursor("other.txt") is None


def test_rejects_read_again_are_kept_once(ledger: Ledger) -> None:
    first = Reject("q.txt", 0, "junk", "not a task id")
    second = Reject("q.txt", 5, "junk", "not a task id")
    accept(ledger, Intake(rejects=(first, second, first)))
    accept(ledger, Intake(rejects=(first,), restarted="truncated"), now=NOW + DAY)
    seen = overview(ledger)
    assert seen.rejected_lines == 2
    assert seen.rejects == (first, second)


def test_overview_shows_the_last_20_rejects_in_the_order_they_came(ledger: Ledger) -> None:
    lines = tuple(Reject("q.txt", number, "junk", "bad") for number in range(30))
    accept(ledger, Intake(rejects=lines))
    seen = overview(ledger)
    assert seen.rejected_lines == 30
    assert seen.rejects == lines[10:]


def test_take_in_that_fails_writes_neither_ids_nor_cursor(ledger: Ledger) -> None:
    beyond = Cursor("q.txt", 1, 2, "", 0, offset=2**70)
    with pytest.raises((OverflowError, IllegalMove)):
        accept(ledger, Intake(ids=(tid(1),), cursor=beyond))
    assert ledger.intakes.known([tid(1)]) == {}
    assert ledger.intakes.cursor("q.txt") is None


def test_known_over_many_ids_returns_only_those_on_record(ledger: Ledger) -> None:
    take_in(ledger, *range(1200))
    asked = [tid(number) for number in range(1000, 2400)]
    assert ledger.intakes.known(asked) == {tid(number): TaskState.QUEUED for number in range(1000, 1200)}


def test_enlist_streams_and_takes_an_id_twice(ledger: Ledger) -> None:
    take_in(ledger, *range(1500))
    ledger.intakes.enlist("us", (tid(number % 1200) for number in range(2400)))
    assert open_work(ledger, "us").tasks == 1200
    assert open_work(ledger).tasks == 1500
    assert open_work(ledger, "them").tasks == 0


def test_enlist_of_a_slow_iterable_lets_others_write_meanwhile(ledger: Ledger) -> None:
    def slowly() -> Iterator[str]:
        for number in range(600):
            if number == 550:
                take_in(ledger, 1)
            yield tid(number)

    ledger.intakes.enlist("us", slowly())  # type: ignore[arg-type]
    assert claim(ledger).task_id == tid(1)


def test_claim_with_enlisted_only_leaves_what_others_queued(ledger: Ledger) -> None:
    take_in(ledger, 1, 2)
    ledger.intakes.enlist("us", [tid(2)])
    ledger.intakes.enlist("them", [tid(1)])
    mine = ledger.claims.claim(owner="us", now=NOW, lease=LEASE, enlisted_only=True)
    assert mine is not None
    assert mine.task_id == tid(2)
    assert ledger.claims.claim(owner="us", now=NOW, lease=LEASE, enlisted_only=True) is None


def test_times_are_kept_to_the_microsecond_as_whole_numbers(ledger: Ledger, ledger_url: str) -> None:
    take_in(ledger, 1)
    assert shown(ledger).accepted_at == NOW
    assert rows(ledger_url, "SELECT accepted_at FROM tasks") == [(1_786_017_600_123_456,)]
