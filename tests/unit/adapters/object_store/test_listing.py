"""One page of a listing: read as it is, and refused where it is none or hostile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.adapters.object_store.listing import DEPTH_MAX, PAGE_MAX, Page, PageReader
from archiver.core.misses import StoreStranger
from archiver.ports.archive import ListedObject

HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
ENTRY = (
    b"<Contents><Key>p/a+b%2F%3C</Key><LastModified>2026-11-27T00:00:00Z</LastModified><ETag>&quot;e1&quot;</ETag>"
    b"<Size>7</Size><Owner><ID>Key</ID></Owner><StorageClass>GLACIER</StorageClass></Contents>"
)
FOLDER = b"<CommonPrefixes><Prefix>p/x%C3%A9/</Prefix></CommonPrefixes>"
END = b"</ListBucketResult>"


def read(*pieces: bytes) -> Page:
    reader = PageReader()
    for piece in pieces:
        reader.feed(piece)
    return reader.page()


def test_a_page_is_the_same_in_whatever_pieces_it_comes() -> None:
    whole = HEAD + b"<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>" + ENTRY + FOLDER
    whole += b"<NextContinuationToken>a=/&amp;</NextContinuationToken>" + END
    expected = Page([ListedObject("p/a b/<", 7, "e1", "GLACIER")], ["p/xé/"], "a=/&")
    assert read(whole) == expected
    assert read(*(whole[at : at + 1] for at in range(len(whole)))) == expected


def test_keys_are_taken_as_they_stand_where_the_store_does_not_encode_them() -> None:
    assert read(HEAD, ENTRY, FOLDER, END) == Page([ListedObject("p/a+b%2F%3C", 7, "e1", "GLACIER")], ["p/x%C3%A9/"])


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"<html><body>hello</body></html>",
        HEAD,
        HEAD + b"<Contents><Size>7</Size></Contents>" + END,
        HEAD + b"<Contents><Key>a</Key></Contents>" + END,
        HEAD + b"<Contents><Key>a</Key><Size>-1</Size></Contents>" + END,
        HEAD + b"<Contents><Key>a</Key><Size>" + b"9" * 40 + b"</Size></Contents>" + END,
        HEAD + b"<IsTruncated>true</IsTruncated>" + END,
        HEAD + b"<a>" * DEPTH_MAX + b"</a>" * DEPTH_MAX + END,
        HEAD + b"<Prefix>&#0;</Prefix>" + END,
        b'<?xml version="1.0"?><!DOCTYPE ListBucketResult [<!ENTITY a "b">]><ListBucketResult/>',
        b'<?xml version="1.0"?><!DOCTYPE ListBucketResult SYSTEM "file:///etc/passwd"><ListBucketResult/>',
    ],
)
def test_what_is_no_page_or_a_hostile_one_is_refused(page: bytes) -> None:
    with pytest.raises(StoreStranger):
        read(page)


def test_an_endless_page_is_refused_before_it_is_kept() -> None:
    reader = PageReader()
    reader.feed(HEAD)
    for _ in range(PAGE_MAX // 65_536 - 1):
        reader.feed(b"<Name>" + b"x" * (65_536 - 13) + b"</Name>")
    with pytest.raises(StoreStranger, match="endless"):
        reader.feed(b" " * 65_536)


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 20))
def test_damage_of_any_kind_ends_in_a_page_or_in_its_own_error(noise: bytes, at: int, length: int) -> None:
    whole = HEAD + ENTRY + FOLDER + END
    try:
        page = read(whole[: len(HEAD) + at] + noise + whole[len(HEAD) + at + length :])
    except StoreStranger:
        return
    assert all(each.size >= 0 for each in page.objects)
