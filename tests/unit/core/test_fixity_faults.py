"""A fault is closed only by a check that looked as closely as the one that found it must have."""

from __future__ import annotations

from itertools import product

import pytest

from archiver.core.fixity import FAULTS, Fixity, Judged
from archiver.core.fixity_faults import FixityFault, is_mended, is_of_slice, is_worse, level_for
from archiver.core.levels import Level
from archiver.core.slices import slice_of
from tests.fixtures.ledgers import NOW


def fault(kind: Fixity) -> FixityFault:
    return FixityFault("k", kind, "t", NOW, "", "")


@pytest.mark.parametrize(("kind", "level"), list(product(sorted(FAULTS), Level)))
def test_sound_object_closes_a_fault_from_the_level_on_that_finds_its_kind(kind: Fixity, level: Level) -> None:
    levels = list(Level)
    closes = levels.index(level) >= levels.index(level_for(kind))
    assert is_mended(fault(kind), Judged("k", Fixity.OK), level) is closes
    assert is_mended(fault(kind), Judged("k", Fixity.OK, proven=True), Level.READ)


@pytest.mark.parametrize("verdict", [*sorted(FAULTS), Fixity.UNREAD])
def test_what_was_not_read_or_is_at_fault_closes_nothing(verdict: Fixity) -> None:
    assert not any(is_mended(fault(kind), Judged("k", verdict, proven=True), Level.READ) for kind in FAULTS)


def test_cold_object_is_there_and_no_more_is_known_of_it() -> None:
    closed = {kind for kind in FAULTS if is_mended(fault(kind), Judged("k", Fixity.COLD), Level.READ)}
    assert closed == {Fixity.MISSING, Fixity.RECORD_MISSING, Fixity.MANIFEST_MISSING}


def test_bytes_that_were_read_close_damage_also_where_a_listing_led_to_them() -> None:
    assert is_mended(fault(Fixity.MISMATCH), Judged("k", Fixity.OK, proven=True), Level.LIST)


def test_walk_through_a_slice_covers_its_own_tasks_but_for_what_only_a_listing_shows() -> None:
    covered = {kind for kind in FAULTS if is_of_slice(fault(kind), slice_of("t"))}
    assert covered == FAULTS - {Fixity.UNKNOWN, Fixity.RECORD_MISSING}
    assert not any(is_of_slice(fault(kind), slice_of("t") + 1) for kind in FAULTS)


def test_damage_that_was_read_is_not_made_less_of_by_another_etag() -> None:
    worse = {(kind, verdict) for kind in FAULTS for verdict in Fixity if is_worse(fault(kind), Judged("k", verdict))}
    assert worse == {(Fixity.MISMATCH, Fixity.ALTERED)}
