"""The CRC of bytes whose parts are known. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Crc:
    """A CRC that is computed from the lowest bit on, begins with ones and ends inverted, as CRC-32 does.

    It is a polynomial modulo a fixed one; the highest bit of a number is the coefficient of x**0.
    """

    bits: int
    modulus: int
    """The fixed polynomial, less its highest term."""

    def joined(self, first: int, second: int, length: int) -> int:
        """Return that of two runs of bytes, one after the other, from theirs and the `length` of the second.

        What follows multiplies the first by a power of x. (0 is that of no bytes.)
        """
        return self._product(self._power(8 * length), first) ^ second

    def _power(self, exponent: int) -> int:
        """Return x to the power of `exponent`."""
        result = 1 << self.bits - 1
        square = result >> 1
        while exponent:
            if exponent & 1:
                result = self._product(square, result)
            square = self._product(square, square)
            exponent >>= 1
        return result

    def _product(self, left: int, right: int) -> int:
        one, all_ones, product = 1 << self.bits - 1, (1 << self.bits) - 1, 0
        while left:
            if left & one:
                product ^= right
            left = left << 1 & all_ones
            right = right >> 1 ^ (self.modulus if right & 1 else 0)
        return product


CRC32: Final = Crc(32, 0xEDB88320)
CRC64NVME: Final = Crc(64, 0x9A6C9329AC4BC9B5)
"""As the NVM Express NVM Command Set Specification 1.0 has it (5.2.1.3.4), its polynomial's bits in reverse."""
