from __future__ import annotations

from datetime import timedelta

import pytest

from archiver.core.errors import LeaseLost
from archiver.core.intake import Intake
from archiver.core.model import (
    DEFAULT_ACCOUNT,
    AccountName,
    Archived,
    Dependency,
    Failed,
    Later,
    Lost,
    Missing,
    Paused,
    Refused,
    Stage,
    StemName,
    Subject,
    Yielded,
)
from archiver.core.reports import EnlistedWork, OpenWork
from archiver.core.states import StemEvent, StemState, TaskState
from tests.fixtures.ledgers import (
    DAY,
    DEADLINE,
    LEASE,
    NOW,
    SECOND,
    accept,
    claim,
    events,
    finish,
    hold,
    lift,
    listed,
    no_claim,
    open_work,
    overview,
    pause,
    pauses,
    receipt,
    record,
    release,
    relisted,
    retry,
    shown,
    stem_failed,
    stored,
    take_in,
    tid,
)
from tests.house import Ledger

MINUTE = timedelta(minutes=1)
VOCAL, BASS = StemName("vocal"), StemName("bass")


def _lose(ledger: Ledger, number: int = 1) -> None:
    mine = listed(ledger, number)
    stored(ledger, mine)
    stem_failed(ledger, mine, BASS, event=StemEvent.GONE, reason="410", gone=True)
    finish(ledger, mine, Lost("bass (410)"))


def _refuse(ledger: Ledger, number: int = 1) -> None:
    mine = listed(ledger, number)
    stem_failed(ledger, mine, BASS, event=StemEvent.REFUSED, reason="html")
    stored(ledger, mine)
    finish(ledger, mine, Refused("html"))


# --- retry


def test_retry_of_a_lost_task_asks_afresh_and_keeps_what_is_stored(ledger: Ledger) -> None:
    _lose(ledger)
    later = NOW + DAY
    assert retry(ledger, [tid(1)], now=later) == [tid(1)]
    row = shown(ledger)
    assert (row.state, row.ended_at, row.not_before, row.reason) == (TaskState.QUEUED, None, later, "")
    assert (row.asks, row.attempts, row.deadline) == (0, 0, DEADLINE)
    rows = {stem.name: stem for stem in row.stems}
    assert rows[VOCAL].state is StemState.STORED
    assert (rows[BASS].state, rows[BASS].gone, rows[BASS].attempts) == (StemState.WANTED, 0, 0)
    assert events(ledger)[-2:] == [(BASS, "retried"), (None, "retried")]
    mine = claim(ledger, now=later, stage=Stage.LIST)
    mine = relisted(ledger, mine, record("vocal", "bass"), now=later)
    stored(ledger, mine, BASS)
    finish(ledger, mine, Archived(), now=later)


@pytest.mark.parametrize("outcome", [Failed("no audio"), Missing("unknown")])
def test_retry_of_a_failed_or_missing_task_starts_its_age_anew(ledger: Ledger, outcome: Failed | Missing) -> None:
    take_in(ledger, 1)
    finish(ledger, claim(ledger), Later(NOW, "x"))
    finish(ledger, claim(ledger), outcome)
    assert retry(ledger, [tid(1)], now=NOW + 30 * DAY) == [tid(1)]
    mine = claim(ledger, now=NOW + 30 * DAY)
    assert (mine.state, mine.first_asked_at, mine.asks) == (TaskState.QUEUED, None, 0)


def test_retry_of_a_listed_task_wants_its_refused_stems_again(ledger: Ledger) -> None:
    _refuse(ledger)
    assert no_claim(ledger)
    assert retry(ledger) == [tid(1)]
    mine = claim(ledger, stage=Stage.STORE)
    assert {stem.name: stem.state for stem in mine.stems} == {VOCAL: StemState.STORED, BASS: StemState.WANTED}
    assert events(ledger)[-2:] == [(BASS, "retried"), (None, "retried")]


def test_retry_takes_a_task_from_whoever_works_on_it_with_the_old_view(ledger: Ledger) -> None:
    mine = listed(ledger)
    stem_failed(ledger, mine, BASS, event=StemEvent.REFUSED, reason="html")
    retry(ledger, [tid(1)])
    with pytest.raises(LeaseLost):
        finish(ledger, mine, Refused("html"))
    assert claim(ledger).task_id == tid(1)


def test_retry_of_all_takes_everything_stuck_and_nothing_else(ledger: Ledger) -> None:
    _lose(ledger, 1)
    _refuse(ledger, 2)
    take_in(ledger, 3)
    finish(ledger, claim(ledger), Failed("x"))
    take_in(ledger, 4)
    finish(ledger, claim(ledger), Missing("x"))
    take_in(ledger, 5)
    finish(ledger, claim(ledger), Later(NOW + DAY, "x"))
    archived = listed(ledger, 6, "vocal")
    stored(ledger, archived)
    finish(ledger, archived, Archived())
    listed(ledger, 7)
    untouched = {number: shown(ledger, number) for number in (5, 6, 7)}
    assert set(retry(ledger)) == {tid(1), tid(2), tid(3), tid(4)}
    assert {number: shown(ledger, number) for number in (5, 6, 7)} == untouched
    assert retry(ledger) == []


def test_retry_of_named_tasks_leaves_the_others_and_passes_over_unknown_ones(ledger: Ledger) -> None:
    _lose(ledger, 1)
    _lose(ledger, 2)
    assert retry(ledger, [tid(2), tid(9), tid(2)]) == [tid(2)]
    assert shown(ledger, 1).state is TaskState.LOST
    assert retry(ledger, []) == []


# --- show and status


def test_show_of_an_unknown_id_is_none(ledger: Ledger) -> None:
    assert ledger.reports.show(tid(1)) is None


def test_overview_of_an_empty_ledger_counts_nought_of_everything(ledger: Ledger) -> None:
    seen = overview(ledger)
    assert seen.tasks == dict.fromkeys(TaskState, 0)
    assert seen.stems == dict.fromkeys(StemState, 0)
    assert (seen.bytes_stored, seen.due, seen.working, seen.at_risk_count, seen.rejected_lines) == (0, 0, 0, 0, 0)
    assert (seen.next_due, seen.nearest_deadline, seen.last_archived_at) == (None, None, None)


def test_overview_counts_by_state_and_says_what_is_due_and_worked_on(ledger: Ledger) -> None:
    _lose(ledger, 1)
    _refuse(ledger, 2)
    archived = listed(ledger, 3, "vocal")
    stored(ledger, archived, VOCAL, receipt(size=50))
    finish(ledger, archived, Archived(), now=NOW + SECOND)
    take_in(ledger, 4, 5, 6)
    claim(ledger)
    finish(ledger, claim(ledger), Later(NOW + DAY, "x"))
    seen = overview(ledger)
    assert seen.tasks == dict.fromkeys(TaskState, 0) | {
        TaskState.LOST: 1,
        TaskState.LISTED: 1,
        TaskState.ARCHIVED: 1,
        TaskState.QUEUED: 3,
    }
    assert seen.stems == {StemState.WANTED: 0, StemState.STORED: 3, StemState.REFUSED: 1, StemState.LOST: 1}
    assert seen.bytes_stored == 2050
    assert (seen.working, seen.due, seen.next_due) == (1, 1, NOW + DAY)
    assert seen.nearest_deadline == DEADLINE
    assert seen.last_archived_at == NOW + SECOND
    later = overview(ledger, now=NOW + LEASE)
    assert (later.working, later.due) == (0, 2), "the lease ran out"


def test_at_risk_lists_open_tasks_with_a_stem_missing_the_nearest_first(ledger: Ledger) -> None:
    for number in range(25):
        listed(ledger, number, deadline=NOW + timedelta(hours=number))
    far = listed(ledger, 90, deadline=NOW + 10 * DAY)
    stored = listed(ledger, 91, "vocal", deadline=NOW)
    ledger.progress.stored(stored, {VOCAL: receipt()})
    stem_failed(ledger, far, BASS, reason="cdn.busy")
    seen = overview(ledger, at_risk=2 * DAY)
    assert seen.at_risk_count == 25
    assert [task.task_id for task in seen.at_risk] == [tid(number) for number in range(20)]
    assert seen.at_risk[0].missing_stems == 2
    assert seen.nearest_deadline == NOW
    (last,) = overview(ledger, now=NOW + 9 * DAY, at_risk=2 * DAY).at_risk[20:] or (None,)
    assert last is None
    all_seen = overview(ledger, now=NOW + 9 * DAY, at_risk=2 * DAY)
    assert all_seen.at_risk_count == 26


def test_at_risk_gives_the_stems_reason_where_the_task_has_none(ledger: Ledger) -> None:
    mine = listed(ledger)
    stem_failed(ledger, mine, BASS, reason="cdn.busy")
    (risk,) = overview(ledger, at_risk=30 * DAY).at_risk
    assert (risk.reason, risk.missing_stems) == ("cdn.busy", 2)


# --- a backfill's view


def test_enlisted_counts_what_was_enlisted_and_names_what_is_not_archived(ledger: Ledger) -> None:
    _lose(ledger, 1)
    archived = listed(ledger, 2, "vocal")
    stored(ledger, archived)
    finish(ledger, archived, Archived())
    take_in(ledger, 3, 4)
    ledger.intakes.enlist("us", [tid(1), tid(2), tid(3)])
    work = ledger.reports.enlisted("us", limit=10)
    assert [(row.task_id, row.history) for row in work.unfinished] == [(tid(3), ()), (tid(1), ())]
    assert [stem.name for stem in work.unfinished[1].stems] == [BASS, VOCAL]
    assert (work.tasks, work.archived) == (3, 1)
    assert work.not_archived == {TaskState.QUEUED: 1, TaskState.LOST: 1}
    assert [row.task_id for row in ledger.reports.enlisted("us", limit=1).unfinished] == [tid(3)]
    assert ledger.reports.enlisted("us", limit=1).states == ledger.reports.enlisted("us", limit=0).states == work.states
    assert ledger.reports.enlisted("them", limit=10) == EnlistedWork(dict.fromkeys(TaskState, 0))


def test_enlisting_tells_which_ids_are_new_to_the_list(ledger: Ledger) -> None:
    assert set(ledger.intakes.enlist("us", [tid(1), tid(1), tid(2)])) == {tid(1), tid(2)}
    assert set(ledger.intakes.enlist("us", [tid(2), tid(3)])) == {tid(3)}
    assert set(ledger.intakes.enlist("them", [tid(2)])) == {tid(2)}


def test_resting_are_tasks_that_have_ended_or_wait_for_the_operator(ledger: Ledger) -> None:
    _lose(ledger, 1)
    archived = listed(ledger, 2, "vocal")
    stored(ledger, archived)
    finish(ledger, archived, Archived())
    _refuse(ledger, 3)
    take_in(ledger, 4, 5)
    finish(ledger, claim(ledger), Later(NOW + DAY, "not ready"))
    assert set(ledger.intakes.resting([tid(number) for number in range(1, 9)])) == {tid(1), tid(2), tid(3)}


def test_open_work_tells_waiting_for_the_provider_from_failed_tries(ledger: Ledger) -> None:
    assert open_work(ledger) == OpenWork(0, None, None, None)
    take_in(ledger, 1, 2, 3)
    assert open_work(ledger) == OpenWork(3, NOW, None, None)
    finish(ledger, claim(ledger), Later(NOW + DAY, "not ready"))
    finish(ledger, claim(ledger), Later(NOW + 2 * DAY, "busy", fault=True))
    finish(ledger, claim(ledger), Later(NOW + 3 * DAY, "busy", fault=True))
    assert open_work(ledger) == OpenWork(3, NOW + 2 * DAY, NOW + DAY, None, pending=1)
    ledger.intakes.enlist("us", [tid(3)])
    assert open_work(ledger, "us") == OpenWork(1, NOW + 3 * DAY, None, None)
    mine = claim(ledger, now=NOW + DAY)
    relisted(ledger, mine, record("vocal"), now=NOW + DAY)
    assert open_work(ledger) == OpenWork(3, NOW + DAY, None, DEADLINE), "once listed, nothing is waited for"


# --- pauses


def test_pause_doubles_with_every_failed_probe_from_5_to_30_seconds(ledger: Ledger) -> None:
    now, waits = NOW, []
    for _ in range(9):
        paused = pause(ledger, Dependency.PROVIDER, reason="401", hint="key", lasting=True, now=now)
        waits.append((paused.next_probe - now).total_seconds())
        now = paused.next_probe
    assert waits == [5, 10, 20, 30, 30, 30, 30, 30, 30]
    assert (paused.since, paused.probes) == (NOW, 8)
    assert pauses(ledger) == (paused,)


def test_a_straggler_before_the_next_probe_does_not_lengthen_the_pause(ledger: Ledger) -> None:
    first = pause(ledger, Dependency.STORE, reason="403", hint="grant", lasting=True)
    second = pause(ledger, Dependency.STORE, reason="no bucket", hint="create", lasting=True, now=NOW + SECOND)
    assert (second.next_probe, second.probes, second.since) == (first.next_probe, 0, NOW)
    assert second.reason == "no bucket"


THEIRS = AccountName("second")


def test_pauses_of_two_hosts_are_apart_and_the_end_of_one_makes_due_what_waits_for_it(ledger: Ledger) -> None:
    here, there = (Subject.of(Dependency.ORIGIN, host=host) for host in ("a.example", "b.example"))
    for subject in (here, there):
        ledger.pauses.pause(Dependency.ORIGIN, host=subject.host, reason="r", hint="h", lasting=False, now=NOW)
    for number, subjects in ((1, (here,)), (2, (there,)), (3, (there, here))):
        finish(ledger, listed(ledger, number), Yielded(NOW + DAY, subjects))
    assert no_claim(ledger)
    assert [str(pause.subject) for pause in pauses(ledger)] == ["origin (host a.example)", "origin (host b.example)"]
    assert ledger.pauses.resume(Dependency.ORIGIN, host="a.example")
    assert {claim(ledger).task_id for _ in range(2)} == {tid(1), tid(3)}
    assert no_claim(ledger)
    assert lift(ledger, Dependency.ORIGIN)
    assert claim(ledger).task_id == tid(2)


def test_task_that_waits_for_a_pause_is_due_at_its_own_time_too(ledger: Ledger) -> None:
    pause(ledger, Dependency.STORE, reason="r", hint="h")
    finish(ledger, listed(ledger), Paused(Dependency.STORE, "r", "h", lasting=False, at=NOW + MINUTE))
    assert no_claim(ledger, now=NOW + MINUTE - SECOND)
    assert claim(ledger, now=NOW + MINUTE).task_id == tid(1)


def test_pauses_of_two_accounts_are_apart_and_resume_ends_one(ledger: Ledger) -> None:
    first = pause(ledger, Dependency.PROVIDER, reason="401", hint="key", lasting=True)
    other = pause(ledger, Dependency.PROVIDER, THEIRS, reason="402", hint="top up")
    assert (str(first.subject), str(other.subject)) == ("provider", "provider (account second)")
    assert pauses(ledger) == overview(ledger).pauses == (first, other)
    again = pause(ledger, Dependency.PROVIDER, THEIRS, reason="402", hint="top up", now=other.next_probe)
    assert (first.probes, again.probes) == (0, 1)
    assert ledger.pauses.resume(Dependency.PROVIDER)
    assert pauses(ledger) == (again,)
    assert ledger.pauses.resume(Dependency.PROVIDER, THEIRS)
    assert not ledger.pauses.resume(Dependency.PROVIDER, THEIRS)


def test_hold_is_for_every_account_and_lift_ends_the_pauses_of_all(ledger: Ledger) -> None:
    pause(ledger, Dependency.PROVIDER, THEIRS, reason="402")
    held = hold(ledger, Dependency.PROVIDER)
    assert pause(ledger, Dependency.PROVIDER, THEIRS, reason="401", lasting=True) == held
    assert not ledger.pauses.resume(Dependency.PROVIDER, THEIRS)
    assert pauses(ledger) == (held,)
    assert lift(ledger, Dependency.PROVIDER)
    pause(ledger, Dependency.PROVIDER, reason="401", lasting=True)
    pause(ledger, Dependency.PROVIDER, THEIRS, reason="401", lasting=True)
    assert lift(ledger, Dependency.PROVIDER)
    assert pauses(ledger) == ()


def test_open_work_does_not_wait_for_what_blocked_accounts_must_be_asked(ledger: Ledger) -> None:
    accept(ledger, Intake(ids=(tid(1),), accounts={tid(1): THEIRS}))
    waits = open_work(ledger)
    assert (waits.tasks, waits.next_retry) == (1, NOW)
    blocked = open_work(ledger, None, [THEIRS])
    assert (blocked.tasks, blocked.next_retry, blocked.next_ask) == (1, None, None)
    assert open_work(ledger, None, [DEFAULT_ACCOUNT]) == waits


def test_pauses_of_two_dependencies_are_apart_and_resume_ends_one(ledger: Ledger) -> None:
    provider = pause(ledger, Dependency.PROVIDER, reason="455")
    store = pause(ledger, Dependency.STORE, reason="403", lasting=True)
    assert overview(ledger).pauses == (provider, store)
    assert ledger.pauses.resume(Dependency.PROVIDER)
    assert not ledger.pauses.resume(Dependency.PROVIDER)
    assert pauses(ledger) == (store,)
    again = pause(ledger, Dependency.PROVIDER, reason="455", now=NOW + DAY)
    assert (again.since, again.probes) == (NOW + DAY, 0)


def test_what_the_operator_holds_is_changed_by_no_refusal_and_ended_by_no_success(ledger: Ledger) -> None:
    pause(ledger, Dependency.STORE, reason="403", hint="grant", lasting=True)
    held = hold(ledger, Dependency.STORE, now=NOW + SECOND)
    assert (held.held, held.lasting, held.since) == (True, True, NOW + SECOND)
    assert pause(ledger, Dependency.STORE, reason="404", now=NOW + DAY) == held
    assert not ledger.pauses.resume(Dependency.STORE)
    assert pauses(ledger) == overview(ledger).pauses == (held,)
    assert lift(ledger, Dependency.STORE)
    assert not lift(ledger, Dependency.STORE)
    assert pauses(ledger) == ()


def test_lift_of_what_is_over_ends_neither_one_held_for_longer_nor_one_that_nobody_holds(ledger: Ledger) -> None:
    for_a_day = hold(ledger, Dependency.STORE, until=NOW + DAY)
    for_ever = hold(ledger, Dependency.PROVIDER)
    refused = pause(ledger, Dependency.ORIGIN, reason="503")
    for dependency in Dependency:
        assert not lift(ledger, dependency, over_at=NOW + DAY - SECOND)
    assert set(pauses(ledger)) == {for_a_day, for_ever, refused}
    assert [name for name in Dependency if lift(ledger, name, over_at=NOW + DAY)] == [Dependency.STORE]


# --- multiparts


def test_keys_that_uploads_were_set_out_to_are_named_once_until_they_are_forgotten(ledger: Ledger) -> None:
    for owner, key in (("dead", "stems/a"), ("living", "stems/a"), ("dead", "stems/b")):
        ledger.uploads.opening(owner, key, now=NOW)
    ledger.uploads.opened("dead", "stems/c", "u1", now=NOW)
    assert sorted(ledger.uploads.keys()) == ["stems/a", "stems/b"]
    assert ledger.uploads.of_dead(lambda owner: owner != "dead") == [("stems/c", "u1")]
    ledger.uploads.forget(["stems/a", "stems/c"])
    assert list(ledger.uploads.keys()) == ["stems/b"]
    assert ledger.uploads.of_dead(lambda owner: owner != "dead") == [("stems/c", "u1")]


def test_uploads_of_the_dead_are_named_until_they_are_struck_out(ledger: Ledger) -> None:
    ledger.uploads.opened("dead", "stems/b", "u2", now=NOW + SECOND)
    ledger.uploads.opened("dead", "stems/a", "u1", now=NOW)
    ledger.uploads.opened("dead", "stems/a", "u1", now=NOW)
    ledger.uploads.opened("living", "stems/a", "u3", now=NOW)
    release(ledger, "dead")
    asked: list[str] = []

    def alive(owner: str) -> bool:
        asked.append(owner)
        return owner == "living"

    assert ledger.uploads.of_dead(alive) == [("stems/a", "u1"), ("stems/b", "u2")]
    assert sorted(asked) == ["dead", "living"], "each owner is asked about once"
    ledger.uploads.closed("stems/a", "u1")
    ledger.uploads.closed("stems/a", "never-opened")
    assert ledger.uploads.of_dead(alive) == [("stems/b", "u2")]


def test_wake_makes_due_what_waits_for_that_subject_and_nothing_else(ledger: Ledger) -> None:
    accept(ledger, Intake(ids=(tid(1), tid(2)), accounts={tid(2): AccountName("band")}))
    for number, account in ((1, DEFAULT_ACCOUNT), (2, AccountName("band"))):
        refused = Paused(Dependency.PROVIDER, "401", "a hint", lasting=True, account=account, at=NOW + MINUTE)
        finish(ledger, claim(ledger), refused)
        assert shown(ledger, number).not_before == NOW + MINUTE
    ledger.pauses.wake(Subject.of(Dependency.PROVIDER))
    assert claim(ledger).task_id == tid(1)
    no_claim(ledger)
