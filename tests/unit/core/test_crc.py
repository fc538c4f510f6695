from __future__ import annotations

import zlib
from collections.abc import Callable

import anycrc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.crc import CRC32, CRC64NVME, Crc

_crc64nvme: Callable[[bytes], int] = anycrc.Model("CRC64-NVME").calc

BOTH = pytest.mark.parametrize(
    ("crc", "of"), [(CRC32, zlib.crc32), (CRC64NVME, _crc64nvme)], ids=["CRC-32", "CRC-64/NVME"]
)


@BOTH
@given(first=st.binary(max_size=200), second=st.binary(max_size=200))
def test_joined_crc_is_that_of_both_one_after_the_other(
    crc: Crc, of: Callable[[bytes], int], first: bytes, second: bytes
) -> None:
    assert crc.joined(of(first), of(second), len(second)) == of(first + second)


@BOTH
def test_joined_crc_of_parts_as_large_as_they_are_in_use(crc: Crc, of: Callable[[bytes], int]) -> None:
    first, second = bytes(range(256)) * 7, b"stem" * (2 * 1024 * 1024) + b"!"
    assert crc.joined(of(first), of(second), len(second)) == of(first + second)
