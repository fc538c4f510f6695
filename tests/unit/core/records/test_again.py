from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archiver.core.model import StemName, StemRow, StemSource
from archiver.core.records.again import named_as_before
from archiver.core.states import StemState


def row(name: str, url: str) -> StemRow:
    return StemRow(StemName(name), StemState.WANTED, url, url, field="f")


def source(name: str, url: str) -> StemSource:
    return StemSource(StemName(name), f"{url}?token=1", "f")


def url_of(number: int) -> str:
    return f"https://cdn.example/{number}.mp3"


def test_list_in_another_order_renames_nothing() -> None:
    rows = [row("result-01", url_of(1)), row("result-02", url_of(2))]
    again = named_as_before([source("result-01", url_of(2)), source("result-02", url_of(1))], rows)
    assert [(each.name, each.url) for each in again] == [
        ("result-02", f"{url_of(2)}?token=1"),
        ("result-01", f"{url_of(1)}?token=1"),
    ]


def test_file_that_came_before_a_known_one_takes_a_name_that_is_free() -> None:
    again = named_as_before(
        [source("result-01", url_of(9)), source("result-02", url_of(1))], [row("result-01", url_of(1))]
    )
    assert [each.name for each in again] == ["result-02", "result-01"]


def test_new_address_under_the_known_name_stays_the_same_file() -> None:
    """The provider moved it; nothing in the record has the address it had."""
    again = named_as_before([source("vocal", url_of(2))], [row("vocal", url_of(1))])
    assert [each.name for each in again] == ["vocal"]


@given(before=st.lists(st.integers(0, 9), unique=True), now=st.lists(st.integers(0, 9)))
def test_whatever_is_listed_again_names_are_unique_and_known_files_keep_theirs(
    before: list[int], now: list[int]
) -> None:
    rows = [row(f"result-{place:02}", url_of(number)) for place, number in enumerate(before)]
    again = named_as_before([source(f"result-{place:02}", url_of(number)) for place, number in enumerate(now)], rows)
    assert [each.url for each in again] == [f"{url_of(number)}?token=1" for number in now]
    assert len({each.name for each in again}) == len(now)
    kept = {each.url_shown: each.name for each in rows}
    for number, each in zip(now, again, strict=True):
        if number in before and now.count(number) == 1:
            assert each.name == kept[url_of(number)]
