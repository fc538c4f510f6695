from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from archiver.core.crc32 import joined


@given(first=st.binary(max_size=200), second=st.binary(max_size=200))
def test_joined_crc_is_that_of_both_one_after_the_other(first: bytes, second: bytes) -> None:
    assert joined(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


def test_joined_crc_of_parts_as_large_as_they_are_in_use() -> None:
    first, second = bytes(range(256)) * 7, b"stem" * (2 * 1024 * 1024) + b"!"
    assert joined(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)
