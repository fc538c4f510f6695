"""What a check finds is written down as it goes on, and what it finds mended is closed."""

from __future__ import annotations

import pytest

from archiver.core.fixity import Fixity, Judged
from archiver.core.fixity_faults import FixityFault
from archiver.core.levels import Level
from archiver.core.model import TaskId
from archiver.core.reading import ObjectCold
from archiver.preservation.fault_book import FaultBook
from tests.fakes.archive import MemoryObject
from tests.fakes.events import Events
from tests.fakes.time import Clock
from tests.fixtures.ledgers import tid
from tests.unit.preservation.held import PREFIX, Held, Kind, kinds_of_faults

STEM = f"{PREFIX}{tid(0)}/s03.mp3"
MANIFEST = f"{PREFIX}{tid(0)}/manifest.json"


def book(held: Held, level: Level, *ids: str, log: Events | None = None) -> FaultBook:
    def covers(fault: FixityFault) -> bool:
        return not ids or fault.task_id in ids

    return FaultBook(held.ledger.faults, level, Clock(), log, covers)


def verify(held: Held, level: Level, *ids: str, log: Events | None = None) -> FaultBook:
    made = book(held, level, *ids, log=log)
    with held.verification(level) as work:
        work.book = made
        list(work.run([TaskId(each) for each in ids] or None))
        made.close(is_whole=True)
    return made


def standing(held: Held) -> dict[str, Fixity]:
    return {fault.key.removeprefix(PREFIX): fault.kind for fault in held.ledger.faults.standing()}


@pytest.mark.parametrize("kind", kinds_of_faults())
def test_fault_of_each_kind_is_kept_and_closed_once_the_bucket_is_as_it_was(held: Held, kind: Kind) -> None:
    held.archive(2)
    objects, etags = dict(held.objects), dict(held.etags)
    planted, _ = kind(held, f"{PREFIX}{tid(0)}/")
    expected = {key.removeprefix(PREFIX): verdict for key, verdict in planted.items()}
    assert verify(held, Level.READ).noted == len(expected)
    assert standing(held) == expected
    assert verify(held, Level.READ).noted == 0
    held.objects.clear()
    held.objects.update(objects)
    held.etags.clear()
    held.etags.update(etags)
    assert verify(held, Level.READ).mended == len(expected)
    assert (standing(held), held.ledger.faults.counts()) == ({}, {})


def test_damage_is_closed_by_a_read_alone_and_a_manifest_by_a_look_into_it(held: Held) -> None:
    held.archive(1)
    whole = held.objects[STEM]
    held.rot(STEM)
    held.resealed(MANIFEST, lambda document: document.update(state="lost"))
    manifest = {f"{tid(0)}/manifest.json": Fixity.MANIFEST_DIFFERS}
    verify(held, Level.READ)
    assert standing(held) == manifest | {f"{tid(0)}/s03.mp3": Fixity.MISMATCH}
    held.objects[STEM] = whole
    for level in (Level.LIST, Level.HEAD):
        verify(held, level)
        assert standing(held) == manifest | {f"{tid(0)}/s03.mp3": Fixity.MISMATCH}
    verify(held, Level.READ)
    assert standing(held) == manifest
    held.resealed(MANIFEST, lambda document: document.update(state="archived"))
    verify(held, Level.LIST)
    assert standing(held) == manifest
    verify(held, Level.HEAD)
    assert standing(held) == {}


def test_bytes_that_a_listing_led_to_close_damage_too(held: Held) -> None:
    held.archive(1)
    whole = held.objects[STEM]
    held.rot(STEM)
    verify(held, Level.READ)
    held.objects[STEM] = whole
    held.etags[STEM] = "put-again"
    assert verify(held, Level.LIST).mended == 1


def test_check_of_some_tasks_leaves_the_faults_of_others_open(held: Held) -> None:
    held.archive(3)
    for number in range(3):
        held.objects[f"{PREFIX}{tid(number)}/x.txt"] = b"mine"
    verify(held, Level.LIST)
    for number in range(3):
        del held.objects[f"{PREFIX}{tid(number)}/x.txt"]
    verify(held, Level.LIST, tid(1))
    assert set(standing(held)) == {f"{tid(0)}/x.txt", f"{tid(2)}/x.txt"}


def test_check_that_is_broken_off_closes_only_what_it_saw(held: Held) -> None:
    held.archive(2)
    stray = f"{PREFIX}{tid(1)}/x.txt"
    lost = held.objects.pop(STEM)
    held.objects[stray] = b"mine"
    verify(held, Level.LIST)
    held.objects[STEM] = lost
    del held.objects[stray]
    made = book(held, Level.LIST)
    with held.verification(Level.LIST) as work:
        work.book = made
        list(work.run())
    made.close(is_whole=False)
    assert set(standing(held)) == {stray.removeprefix(PREFIX)}


@pytest.mark.parametrize("error", [ObjectCold("GLACIER"), None])
def test_damage_stays_open_while_the_object_cannot_be_read(held: Held, error: Exception | None) -> None:
    held.archive(1)
    held.rot(STEM)
    verify(held, Level.READ)
    given: list[bytes] = []

    def other_each_time(key: str, body: MemoryObject) -> MemoryObject:
        if key != STEM:
            return body
        if error is not None:
            raise error
        given.append(b"")
        return MemoryObject(body.head, bytes([len(given)]) + body.data[1:])

    held.alter = other_each_time
    verify(held, Level.READ)
    assert standing(held) == {f"{tid(0)}/s03.mp3": Fixity.MISMATCH}


def test_another_etag_does_not_make_less_of_damage_that_was_read(held: Held) -> None:
    held.ledger.faults.note([Judged("p/x", Fixity.MISMATCH, "t", "a", "b")], now=Clock().now)
    made = book(held, Level.LIST)
    made.judged(Judged("p/x", Fixity.ALTERED, "t"))
    made.close(is_whole=True)
    assert [fault.kind for fault in held.ledger.faults.standing()] == [Fixity.MISMATCH]


def test_each_fault_is_said_once_and_its_end_too(held: Held) -> None:
    held.archive(1)
    data = held.objects.pop(STEM)
    held.objects[f"{PREFIX}else"] = b"?"
    log = Events()
    for _ in range(2):
        verify(held, Level.LIST, log=log)
    [(level, _, said), (other, unknown, _)] = sorted(log.seen, key=lambda each: each[1])
    assert (level, said["key"], said["kind"], said["task_id"]) == ("error", STEM, "missing", tid(0))
    assert (other, unknown) == ("info", "fixity.unknown")
    held.objects[STEM] = data
    del held.objects[f"{PREFIX}else"]
    for _ in range(2):
        verify(held, Level.LIST, log=log)
    assert sorted(str(fields["kind"]) for fields in log.of("fixity.mended")) == ["missing", "unknown"]


def test_what_was_flushed_is_in_the_ledger_before_the_check_ends(held: Held) -> None:
    made = book(held, Level.LIST)
    made.judged(Judged("p/x", Fixity.MISSING, "t"))
    assert held.ledger.faults.standing() == []
    made.flush()
    assert [fault.key for fault in held.ledger.faults.standing()] == ["p/x"]
    made.keep([Judged("p/x", Fixity.OK), Judged("p/y", Fixity.MISSING, "t")])
    assert {fault.key for fault in held.ledger.faults.standing()} == {"p/x", "p/y"}
    for number in range(100):
        made.judged(Judged(f"p/{number}", Fixity.MISSING, "t"))
    assert len(held.ledger.faults.standing()) == 102
