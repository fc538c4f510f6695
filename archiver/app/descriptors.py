"""How many files and connections the process may have open."""

from __future__ import annotations

import resource
from collections.abc import Callable

from archiver.ports.runtime import EventLog

_OPEN_MAX = 10_240
"""The most that macOS allows, where its hard limit says more or that there is none."""


def raise_limit(
    log: EventLog,
    *,
    read: Callable[[int], tuple[int, int]] = resource.getrlimit,
    write: Callable[[int, tuple[int, int]], None] = resource.setrlimit,
) -> None:
    """Raise the limit of open descriptors to the most that is allowed to this process."""
    soft, hard = read(resource.RLIMIT_NOFILE)
    for most in (hard, _OPEN_MAX):
        if _is_more(most, than=soft):
            try:
                write(resource.RLIMIT_NOFILE, (most, hard))
            except (ValueError, OSError):
                continue
            log.debug("descriptors.raised", before=soft, now=most)
            return


def _is_more(limit: int, *, than: int) -> bool:
    return than != resource.RLIM_INFINITY and (limit == resource.RLIM_INFINITY or limit > than)
