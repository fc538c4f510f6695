"""The messages of sd_notify(3) to systemd, and the feeding of its watchdog."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

_FEEDS_A_PERIOD = 3
"""Feeds within the time that the watchdog waits."""

_LONGEST_STATUS = 200
"""Characters of a status line; a datagram has its limits."""


class Systemd:
    """`ServiceManager` over the datagram socket that systemd names.

    `address` is NOTIFY_SOCKET: a path, or a name after `@` in the abstract namespace; without one nothing is sent.
    `watchdog` is the seconds of silence after which systemd ends the service, None for never. A message that cannot be
    sent is dropped.
    """

    def __init__(
        self, address: str | None, *, watchdog: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._watchdog = watchdog
        self._clock = clock
        self._fed: float | None = None
        self._status = ""

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> Systemd:
        """Read the environment that systemd gave to the process `pid`."""
        ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        microseconds = environ.get("WATCHDOG_USEC", "") if ours else ""
        watchdog = int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0
        return cls(environ.get("NOTIFY_SOCKET") or None, watchdog=watchdog or None)

    def ready(self) -> None:
        """Report that the service is at work, or back at it after `reloading`."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Report that the settings are being read again; `ready` must follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock() * 1e6)}")

    def stopping(self) -> None:
        """Report that the service is about to end."""
        self._send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Report that the start goes on, and may take so many seconds more."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def status(self, text: str) -> None:
        """Report in a few words what the service does; sends the same words once."""
        line = " ".join(text.split())[:_LONGEST_STATUS]
        if line != self._status:
            self._send(f"STATUS={line}")
        self._status = line

    def progress(self) -> None:
        """Feed the watchdog when it is time; may be called at any rate."""
        if self._watchdog is None:
            return
        now = self._clock()
        if self._fed is None or now - self._fed >= self._watchdog / _FEEDS_A_PERIOD:
            self._fed = now
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # A socket that nobody reads must not block the thread that would notice.
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), self._address)
