"""Places of workers beside what is held up: for whom they are."""

from __future__ import annotations

from archiver.pipeline.places import Places


def test_half_of_the_places_beside_what_is_held_up_are_not_for_storing() -> None:
    places = Places(8)
    assert [places.may_store(storing) for storing in (7, 8)] == [True, False], "as many as there are workers"
    places.slow = 3
    assert (places.count, places.may_store(9), places.may_store(10)) == (11, True, False)
    places.slow = 40
    assert (places.count, places.may_store(11), places.may_store(12)) == (16, True, False)


def test_every_second_is_the_latest_while_half_of_the_workers_are_held_up_or_may_be() -> None:
    places = Places(8)
    places.slow = 3
    assert not any(places.takes_latest(eases=False) for _ in range(4))
    assert sum(places.takes_latest(eases=True) for _ in range(4)) == 2
    places.slow = 4
    assert sum(places.takes_latest(eases=False) for _ in range(4)) == 2
