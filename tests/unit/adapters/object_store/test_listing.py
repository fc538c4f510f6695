"""One page of a listing: read as it is, and refused where it is none or hostile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.adapters.object_store.listing import Page, PageReader
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
        HEAD + b"<IsTruncated>true</IsTruncated>" + END,
        HEAD + b"<Prefix>&#0;</Prefix>" + END,
        b'<?xml version="1.0"?><!DOCTYPE ListBucketResult [<!ENTITY a "b">]><ListBucketResult/>',
        b'<?xml version="1.0"?><!DOCTYPE ListBucketResult SYSTEM "file:///etc/passwd"><ListBucketResult/>',
    ],
)
def test_what_is_no_page_or_a_hostile_one_is_refused(page: bytes) -> None:
    with pytest.raises(StoreStranger):
        read(page)


def test_a_page_of_16_mib_is_read_and_one_byte_more_is_refused_before_it_is_kept() -> None:
    piece = b"<Name>" + b"x" * (65_536 - 13) + b"</Name>"
    reader = PageReader()
    for part in (HEAD, *[piece] * 255):
        reader.feed(part)
    reader.feed((ENTRY + END).ljust(65_536 - len(HEAD)))
    assert len(reader.page().objects) == 1
    reader = PageReader()
    for part in (HEAD, *[piece] * 255, b" " * (65_536 - len(HEAD))):
        reader.feed(part)
    with pytest.raises(StoreStranger, match="endless"):
        reader.feed(b" ")


def test_elements_within_each_other_are_read_to_a_depth_of_16_and_refused_beyond() -> None:
    assert read(HEAD, b"<a>" * 15, b"</a>" * 15, ENTRY, END).objects
    with pytest.raises(StoreStranger):
        read(HEAD, b"<a>" * 16, b"</a>" * 16, ENTRY, END)


def test_a_size_of_19_digits_is_read_and_one_of_20_is_refused() -> None:
    def sized(digits: int) -> bytes:
        return HEAD + b"<Contents><Key>a</Key><Size>" + b"9" * digits + b"</Size></Contents>" + END

    assert read(sized(19)).objects[0].size == 10**19 - 1
    with pytest.raises(StoreStranger):
        read(sized(20))


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 20))
def test_damage_of_any_kind_ends_in_a_page_or_in_its_own_error(noise: bytes, at: int, length: int) -> None:
    whole = HEAD + ENTRY + FOLDER + END
    try:
        page = read(whole[: len(HEAD) + at] + noise + whole[len(HEAD) + at + length :])
    except StoreStranger:
        return
    assert all(each.size >= 0 for each in page.objects)
