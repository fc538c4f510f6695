"""Tasks that a subject failed are found and made due, a few of each, the first to be due first."""

from __future__ import annotations

from datetime import datetime

from archiver.core.model import Dependency, Later, Refused, Stage, Subject, TaskId, Yielded
from tests.fixtures.ledgers import (
    DAY,
    DEADLINE,
    LEASE,
    NOW,
    SECOND,
    claim,
    finish,
    lift,
    listed,
    pause,
    shown,
    stem_failed,
    tid,
)
from tests.house import Ledger

HOST = Subject.of(Dependency.ORIGIN, host="cdn.example")
OTHER = Subject.of(Dependency.ORIGIN, host="cdn")
STORE = Subject.of(Dependency.STORE)
PROVIDER = Subject.of(Dependency.PROVIDER)


def backed_off(ledger: Ledger, number: int, subject: Subject | None, *, hours: int) -> None:
    claim = listed(ledger, number, deadline=DEADLINE)
    again = NOW + hours * 3600 * SECOND
    stem_failed(ledger, claim, "vocal", reason="cdn.busy: refused", not_before=again)
    finish(ledger, claim, Later(again, "cdn.busy: refused", fault=True, failed_at=subject))


def forward(ledger: Ledger, *subjects: Subject, each: int = 2, but: list[TaskId] | None = None) -> list[TaskId]:
    """Bring forward what these failed, or any, of what is due in more than a minute."""
    soon = NOW + 60 * SECOND
    return [*ledger.pauses.bring_forward(subjects or None, now=NOW, after=soon, each=each, but=but or [])]


def wait(ledger: Ledger, number: int) -> datetime | None:
    return next(stem.not_before for stem in shown(ledger, number).stems if stem.name == "vocal")


def test_few_of_what_a_subject_failed_are_due_at_once_with_their_stems(ledger: Ledger) -> None:
    for number, hours in ((1, 3), (2, 1), (3, 2)):
        backed_off(ledger, number, HOST, hours=hours)
    assert forward(ledger, HOST) == [tid(2), tid(3)]
    assert [shown(ledger, number).not_before == NOW for number in (1, 2, 3)] == [False, True, True]
    assert [wait(ledger, number) is None for number in (1, 2, 3)] == [False, True, True]
    assert shown(ledger, 2).attempts == 1
    assert forward(ledger, HOST) == [tid(1)]
    assert forward(ledger, HOST) == []


def test_what_another_failed_or_nobody_is_known_to_have_or_is_due_soon_stays(ledger: Ledger) -> None:
    backed_off(ledger, 1, OTHER, hours=1)
    backed_off(ledger, 2, None, hours=1)
    backed_off(ledger, 3, HOST, hours=0)
    assert forward(ledger, HOST) == []
    assert forward(ledger, HOST, STORE, OTHER, but=[tid(1)]) == []
    assert forward(ledger, OTHER) == [tid(1)]


def test_without_a_subject_some_of_each_are_brought_forward(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        backed_off(ledger, number, HOST, hours=number)
    backed_off(ledger, 4, STORE, hours=4)
    backed_off(ledger, 5, None, hours=1)
    assert forward(ledger, each=1) == [tid(1), tid(4)]


def test_task_in_hand_is_left_to_whom_has_it(ledger: Ledger) -> None:
    backed_off(ledger, 1, HOST, hours=2)
    later = NOW + DAY / 2
    assert ledger.claims.claim(owner="us", now=later, lease=LEASE, stage=Stage.STORE) is not None
    assert forward(ledger, HOST) == []


def test_end_of_a_pause_changes_nothing_for_what_was_tried_and_backed_off(ledger: Ledger) -> None:
    backed_off(ledger, 1, STORE, hours=2)
    before = shown(ledger).not_before
    pause(ledger, Dependency.STORE)
    assert lift(ledger, Dependency.STORE)
    ledger.pauses.wake(STORE)
    assert shown(ledger).not_before == before


def test_subject_is_awaited_by_what_it_failed_and_what_waits_for_its_pause_until_that_ends(ledger: Ledger) -> None:
    backed_off(ledger, 1, HOST, hours=1)
    finish(ledger, listed(ledger, 2), Yielded(NOW + DAY, (OTHER, STORE)))
    asked = (HOST, OTHER, STORE, PROVIDER)
    assert [ledger.pauses.is_awaited(subject) for subject in asked] == [True, True, True, False]
    ledger.pauses.wake(STORE)
    assert [ledger.pauses.is_awaited(subject) for subject in asked] == [True, False, False, False]
    later = NOW + DAY
    [failed] = [each for _ in range(2) if (each := claim(ledger, now=later)).task_id == tid(1)]
    finish(ledger, failed, Refused("cdn.busy: refused", at=None), now=later)
    assert not ledger.pauses.is_awaited(HOST), "an operator is awaited"
