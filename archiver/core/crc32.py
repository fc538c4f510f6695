"""The CRC-32 of bytes whose parts are known. Pure."""

from __future__ import annotations

_MODULUS = 0xEDB88320
"""CRC-32's, less its highest term. The highest bit of a number is the coefficient of x**0."""
_ONE, _X = 1 << 31, 1 << 30


def joined(first: int, second: int, length: int) -> int:
    """Return the CRC-32 of two runs of bytes, one after the other, from theirs and the `length` of the second.

    A CRC is a polynomial modulo a fixed one, and what follows multiplies it by a power of x. (0 is that of no bytes.)
    """
    return _product(_power(8 * length), first) ^ second


def _power(exponent: int) -> int:
    """Return x to the power of `exponent`."""
    result, square = _ONE, _X
    while exponent:
        if exponent & 1:
            result = _product(square, result)
        square = _product(square, square)
        exponent >>= 1
    return result


def _product(left: int, right: int) -> int:
    product = 0
    while left:
        if left & _ONE:
            product ^= right
        left = left << 1 & 0xFFFFFFFF
        right = right >> 1 ^ (_MODULUS if right & 1 else 0)
    return product
