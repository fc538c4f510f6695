"""A record that is read again: no file takes the name of another, and nothing that was listed is lost for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.model import Phase, Receipt, RecordInfo, StemName, StemRow, StemSource
from archiver.core.records.again import identity_of, named_as_before
from archiver.core.reports import Moved
from archiver.core.states import StemEvent, StemState
from archiver.core.text import INLINE
from tests.fakes.time import NOW

PLACED = "response.resultUrls[0]"
RECEIPT = Receipt("k", 1, "", "e", "text/plain", NOW)


def url_of(number: int) -> str:
    return f"https://cdn.example/{number}.mp3"


def source(name: str, url: str, field: str = PLACED) -> StemSource:
    return StemSource(StemName(name), f"{url}?token=1", field)


def text(name: str, content: str) -> StemSource:
    return StemSource(StemName(name), "", "response.data[0].text", content=content, written_as="txt")


def row(each: StemSource, state: StemState = StemState.STORED, gone: int = 0) -> StemRow:
    shown = identity_of(each)
    return StemRow(each.name, state, shown if each.url else "", shown, each.field, gone=gone)


def again(
    sources: Sequence[StemSource],
    rows: Sequence[StemRow],
    phase: Phase = Phase.DONE,
    *,
    links_spent: bool = False,
    history: Callable[[], Sequence[Moved]] = tuple,
) -> list[str]:
    record = named_as_before(RecordInfo(phase, tuple(sources)), rows, links_spent=links_spent, history=history)
    assert [replace(each, name=before.name) for each, before in zip(record.stems, sources, strict=True)] == [*sources]
    return [each.name for each in record.stems]


def listed(*numbers: int) -> list[StemSource]:
    return [source(f"result-{place:02}", url_of(number)) for place, number in enumerate(numbers, 1)]


def rows_of(*numbers: int, state: StemState = StemState.STORED) -> list[StemRow]:
    return [row(each, state) for each in listed(*numbers)]


def test_list_in_another_order_renames_nothing() -> None:
    assert again(listed(2, 1), rows_of(1, 2)) == ["result-02", "result-01"]


def test_file_that_came_before_a_known_one_takes_a_name_that_is_free() -> None:
    assert again(listed(9, 1), rows_of(1)) == ["result-02", "result-01"]


@pytest.mark.parametrize("state", StemState)
def test_file_in_the_place_of_another_in_a_list_has_a_name_of_its_own(state: StemState) -> None:
    assert again(listed(1, 3), rows_of(1, 2, state=state)) == ["result-01", "result-03"]


def test_file_at_the_end_passes_the_name_of_one_that_was_replaced() -> None:
    names = again(listed(1, 3, 4), [*rows_of(1, 2), row(source("result-03", url_of(3)))])
    assert names == ["result-01", "result-03", "result-04"]


def test_new_address_of_a_field_is_another_file_once_the_first_is_stored() -> None:
    moved = source("vocal", url_of(2), "vocalUrl")
    before = source("vocal", url_of(1), "vocalUrl")
    [name] = again([moved], [row(before)])
    assert name.startswith("vocal_")
    assert again([moved], [row(before), row(replace(moved, name=StemName(name)))]) == [name]


@pytest.mark.parametrize("state", [StemState.WANTED, StemState.REFUSED])
def test_new_address_of_a_field_whose_file_is_not_stored_is_where_it_moved(state: StemState) -> None:
    before = row(source("vocal", url_of(1), "vocalUrl"), state)
    assert again([source("vocal", url_of(2), "vocalUrl")], [before]) == ["vocal"]


def test_new_address_in_a_list_is_where_it_moved_once_the_links_are_spent() -> None:
    rows = rows_of(1, 2, state=StemState.WANTED)
    assert again(listed(3, 4), rows, links_spent=True) == ["result-01", "result-02"]
    assert again(listed(3, 4), rows) == ["result-03", "result-04"]


def test_address_that_could_not_be_asked_for_is_had_by_its_field_once_it_can() -> None:
    refused = StemSource(StemName("drums"), "", "drumsUrl", not_taken="a URL that names no host: /drums.mp3")
    assert again([source("drums", url_of(1), "drumsUrl")], [row(refused, StemState.REFUSED)]) == ["drums"]


def test_record_that_is_not_final_may_still_replace_its_files() -> None:
    assert again(listed(1, 3), rows_of(1, 2), Phase.PENDING) == ["result-01", "result-02"]
    assert again(listed(9, 1), rows_of(1), Phase.PENDING) == ["result-02", "result-01"]


def test_texts_in_another_order_keep_their_names_and_another_text_has_its_own() -> None:
    rows = [row(text("lyrics-01", "la")), row(text("lyrics-02", "na"), StemState.WANTED)]
    assert again([text("lyrics-01", "na"), text("lyrics-02", "la")], rows) == ["lyrics-02", "lyrics-01"]
    assert again([text("lyrics-01", "la"), text("lyrics-02", "oh")], rows) == ["lyrics-01", "lyrics-03"]


def test_text_whose_hash_only_its_receipt_tells_is_known_by_it() -> None:
    known = row(text("lyrics-01", "la"))
    receipt = replace(RECEIPT, sha256=known.url_shown.removeprefix(INLINE))
    assert again([text("lyrics-02", "la")], [replace(known, url_shown="", receipt=receipt)]) == ["lyrics-01"]


def test_files_that_only_their_queries_tell_apart_are_fetched_again_where_they_became_more() -> None:
    before = [row(source("result-01", url_of(1)))]
    names = again(listed(1, 1), before)
    assert not set(names) & {"result-01"}
    assert again(listed(1, 1), [*before, *(row(source(name, url_of(1))) for name in names)]) == [
        "result-01",
        "result-02",
    ]


def moved(before: StemRow) -> Moved:
    return Moved(NOW, before.name, StemEvent.MOVED.value, before.state, before.state, {"from": before.url_shown})


@pytest.mark.parametrize("state", StemState)
def test_file_that_is_named_by_its_address_of_before_once_more_is_known(state: StemState) -> None:
    before, after = source("vocal", url_of(1), "vocalUrl"), source("vocal", url_of(2), "vocalUrl")
    rows = [row(after, state)]
    assert again([before], rows, history=lambda: [moved(row(before))]) == ["vocal"]


def test_address_of_before_beside_that_of_now_is_another_file() -> None:
    rows, past = rows_of(2), [moved(row(listed(1)[0]))]
    assert again(listed(2, 1), rows, history=lambda: past) == ["result-01", "result-02"]
    assert again(listed(1, 2), rows, history=lambda: past) == ["result-02", "result-01"]


def test_address_of_before_that_two_files_had_is_the_one_that_bears_its_name() -> None:
    past = [moved(row(replace(listed(1)[0], name=StemName(f"result-{place:02}")))) for place in (1, 2)]
    assert again([source("result-02", url_of(1))], rows_of(7, 8), history=lambda: past) == ["result-02"]


def test_history_is_not_asked_for_where_all_addresses_are_known() -> None:
    def unasked() -> list[Moved]:
        raise AssertionError

    assert again(listed(2, 1), rows_of(1, 2), history=unasked) == ["result-02", "result-01"]
    assert again(listed(1), [], history=unasked) == ["result-01"]


@given(numbers=st.lists(st.integers(0, 3), min_size=1, max_size=8), stored_at=st.integers(0, 7), data=st.data())
def test_file_of_a_field_however_it_moved_is_one_file_when_any_of_its_addresses_returns(
    numbers: list[int], stored_at: int, data: st.DataObject
) -> None:
    kept: list[StemRow] = []
    past: list[Moved] = []
    for turn, number in enumerate(numbers):
        each = source("vocal", url_of(number), "vocalUrl")
        assert again([each], kept, history=lambda: past) == ["vocal"]
        if kept and kept[0].url_shown != url_of(number):
            past.append(moved(kept[0]))
        kept = [row(each, StemState.STORED if turn == stored_at else StemState.WANTED)]
        if turn == stored_at:
            break
    ever = data.draw(st.lists(st.sampled_from([kept[0].url_shown, *(str(line.detail["from"]) for line in past)])))
    for url in ever:
        assert again([source("vocal", url, "vocalUrl")], kept, history=lambda: past) == ["vocal"]


FILES = st.lists(st.integers(0, 9), unique=True, max_size=6)


@given(answers=st.lists(st.tuples(FILES, st.booleans(), st.booleans()), min_size=1, max_size=6), stores=st.randoms())
def test_whatever_grows_moves_or_is_replaced_each_file_ever_seen_at_last_is_stored_or_named(
    answers: list[tuple[list[int], bool, bool]], stores: object
) -> None:
    """As the ledger does: a name that is new becomes a row, and what is not stored follows its source."""
    rows: dict[str, StemRow] = {}
    history: list[Moved] = []
    seen: set[str] = set()
    for numbers, is_text, is_final in sorted(answers, key=lambda answer: answer[2]):
        made = [
            text(f"x-{place:02}", str(number)) if is_text else each
            for place, (number, each) in enumerate(zip(numbers, listed(*numbers), strict=True), 1)
        ]
        phase = Phase.DONE if is_final else Phase.PENDING
        found = named_as_before(RecordInfo(phase, tuple(made)), [*rows.values()], history=lambda: history).stems
        assert len({each.name for each in found}) == len(made)
        for each in found:
            before = rows.get(each.name)
            if before is None or before.state is not StemState.STORED:
                state = stores.choice([StemState.WANTED, StemState.STORED])  # type: ignore[attr-defined]
                rows[each.name] = row(each, state)
                if is_final and before is not None and before.url_shown != identity_of(each):
                    history.append(moved(before))
        if is_final:
            seen |= {identity_of(each) for each in made}
            assert seen <= {each.url_shown for each in rows.values()}
