"""How many files and connections the process may have open."""

from __future__ import annotations

import resource

from archiver.ports.runtime import EventLog

_OPEN_MAX = 10_240
"""What macOS allows where its hard limit says more, or that there is none."""


def raise_limit(log: EventLog) -> None:
    """Raise the limit of open descriptors to the most that is allowed to this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    for most in (hard, _OPEN_MAX):
        if soft != resource.RLIM_INFINITY and (most == resource.RLIM_INFINITY or most > soft):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            except (ValueError, OSError):
                continue
            log.debug("descriptors.raised", before=soft, now=most)
            return
