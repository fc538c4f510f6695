"""The bounds of a manifest: whoever writes one keeps to them, and what is read beyond them is broken. Pure."""

from __future__ import annotations

from typing import Final

LARGEST: Final = 16 << 20
"""Bytes; of a task with 200 stems it is 200 KB, and reading one takes 25 times its size of memory."""
RESERVE: Final = 4096
"""Bytes of them that a first manifest leaves to its successors, which name it."""
LARGE: Final = 1024 * 1024
"""Bytes of a manifest, beyond which one is read at a time: it takes many times its size of memory."""
MOST_STEMS: Final = 20_000
MOST_EVENTS: Final = 100_000
MOST_OTHERS: Final = 100_000
"""Parents, tracks and addresses that were not taken, each."""
