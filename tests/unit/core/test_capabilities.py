"""What a store cannot do is said with what follows, and what was proven survives the ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.capabilities import Capabilities, CreateOnly, Listing, Multipart, gaps, is_best_effort

ANY = st.builds(
    Capabilities,
    **{name: st.booleans() for name, kind in Capabilities.__annotations__.items() if kind == "bool"},
    multipart=st.sampled_from(Multipart),
    listing=st.sampled_from(Listing),
)


@given(ANY)
def test_capabilities_come_back_from_json_as_they_were(known: Capabilities) -> None:
    assert Capabilities.of_json(known.as_json()) == known


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"create_only": true}', Capabilities().as_json()[:-1]])
def test_json_of_another_version_is_not_taken(text: str) -> None:
    assert Capabilities.of_json(text) is None


@pytest.mark.parametrize("demand", CreateOnly)
def test_a_store_like_amazons_has_no_gap(demand: CreateOnly) -> None:
    assert gaps(Capabilities(), demand) == []
    assert not is_best_effort(Capabilities(), demand)


@pytest.mark.parametrize(
    ("lacks", "subject"),
    [
        ({"create_only": False}, "create-only"),
        ({"create_only_multipart": False}, "create-only in parts"),
        ({"multipart": Multipart.NONE}, "multipart"),
        ({"multipart": Multipart.PLAIN}, "checksum of parts"),
        ({"checks_whole": False}, "checksum of parts"),
        ({"checks_sha256": False}, "checksum"),
        ({"echoes": True}, "checksum"),
        ({"names_etag": False}, "ETag"),
        ({"replaces": False}, "replacement"),
        ({"listing": Listing.KEY}, "open uploads"),
        ({"listing": Listing.NONE}, "open uploads"),
    ],
)
def test_each_thing_that_a_store_lacks_is_a_gap_with_what_follows(lacks: dict[str, object], subject: str) -> None:
    known = replace(Capabilities(), **lacks)  # type: ignore[arg-type] # a row of a table
    for demand in CreateOnly:
        found = {gap.subject: gap for gap in gaps(known, demand)}
        assert found[subject].follows


def test_only_best_effort_is_told_where_the_store_overwrites() -> None:
    careless = replace(Capabilities(), create_only=False)
    assert is_best_effort(careless, CreateOnly.BEST_EFFORT)
    assert not is_best_effort(careless, CreateOnly.REQUIRED)
    assert "best-effort:" in gaps(careless, CreateOnly.BEST_EFFORT)[0].follows
    assert "nothing is written" in gaps(careless, CreateOnly.REQUIRED)[0].follows


@given(ANY)
def test_a_large_file_never_goes_in_parts_where_its_completion_might_overwrite(known: Capabilities) -> None:
    if known.multipart is Multipart.NONE or not known.create_only_multipart:
        assert known.large_as_one(CreateOnly.REQUIRED)
    assert known.large_as_one(CreateOnly.BEST_EFFORT) == (known.multipart is Multipart.NONE)
