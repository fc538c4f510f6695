"""Telling people and watchers outside: batched, at a measured pace, and never in the way of the archive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from archiver.core.redaction import Cleaner
from archiver.ports.runtime import Clock, EventLog

TOLD: Mapping[str, str] = MappingProxyType(
    {
        "task.lost": "audio is lost",
        "deadline.at_risk": "tasks near or past their deadline",
        "deadline.forecast": "stems that expire before they are reached, at the present pace",
        "dependency.paused": "paused",
        "dependency.resumed": "works again",
        "dependency.held": "paused by the operator",
        "dependency.released": "no longer paused by the operator",
        "daemon.stalled": "the service makes no progress",
        "daemon.recovered": "the service makes progress again",
        "ledger.fault": "the ledger cannot be used, and the service stops",
    }
)
"""The events that people are told of, in their words."""

LINES_MAX = 50
"""How many events one message holds; the rest is only counted."""

Tell = Callable[[str, Mapping[str, object]], None]


class ToldLog:
    """An EventLog that also hands every event to `tell`, which must return at once and never raise."""

    def __init__(self, to: EventLog, tell: Tell) -> None:
        self._to = to
        self._tell = tell

    def debug(self, event: str, **fields: object) -> None:
        """Log and tell."""
        self._to.debug(event, **fields)
        self._tell(event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Log and tell."""
        self._to.info(event, **fields)
        self._tell(event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log and tell."""
        self._to.warning(event, **fields)
        self._tell(event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log and tell."""
        self._to.error(event, **fields)
        self._tell(event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """Log and tell."""
        self._to.exception(event, **fields)
        self._tell(event, fields)


class Courier:
    """Runs one errand at a time in a thread of its own, so that whoever sends it never waits."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None

    def offer(self, errand: Callable[[], None]) -> bool:
        """Begin the errand and return True, or False while the last one is not done."""
        if self._thread is not None and self._thread.is_alive():
            return False
        self._thread = threading.Thread(target=errand, name=self._name, daemon=True)
        self._thread.start()
        return True

    def wait(self, seconds: float) -> None:
        """Wait for the errand under way, so long at most."""
        if self._thread is not None:
            self._thread.join(seconds)


class Notices:
    """Gathers what TOLD names and sends one message in `min_interval` at most.

    What could not be sent is sent with the next; a dependency that stays paused is told once.
    """

    def __init__(
        self,
        *,
        send: Callable[[str, str], bool],
        cleaner: Cleaner,
        clock: Clock,
        min_interval: timedelta,
        log: EventLog,
    ) -> None:
        self._send = send
        self._cleaner = cleaner
        self._clock = clock
        self._min_interval = min_interval
        self._log = log
        self._courier = Courier("notices")
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._dropped = 0
        self._stands: dict[object, str] = {}
        self._sent_at: datetime | None = None
        self._failing = False

    def tell(self, event: str, fields: Mapping[str, object]) -> None:
        """Note an event, if it is one that people are told of; returns at once."""
        if event not in TOLD:
            return
        line = self._line(event, fields)
        with self._lock:
            if dependency := fields.get("dependency"):
                subject = dependency, fields.get("account")
                if self._stands.get(subject) == event:
                    return
                self._stands[subject] = event
            self._add([line])

    def _line(self, event: str, fields: Mapping[str, object]) -> str:
        said = ", ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        return self._cleaner.text(f"{self._clock():%Y-%m-%d %H:%M:%S} UTC {event}: {TOLD[event]}; {said}")

    def _add(self, lines: list[str]) -> None:
        room = LINES_MAX - len(self._lines)
        self._lines += lines[:room]
        self._dropped += len(lines[room:])

    def flush(self) -> None:
        """Send what has gathered, if it is time; call it every second or so. Never waits."""
        now = self._clock()
        waited = self._sent_at is None or abs(now - self._sent_at) >= self._min_interval
        if self._lines and waited and self._courier.offer(self._deliver):
            self._sent_at = now

    def close(self, patience: float) -> None:
        """Send what is left without regard to the pace; takes `patience` seconds at most for each of two messages."""
        self._courier.wait(patience)
        if self._lines and self._courier.offer(self._deliver):
            self._courier.wait(patience)

    def _deliver(self) -> None:
        with self._lock:
            lines, dropped = self._lines, self._dropped
            self._lines, self._dropped = [], 0
        more = [f"and {dropped} more: see the log"] if dropped else []
        sent = self._send("stem-archiver", "\n".join([*lines, *more]))
        if not sent:
            with self._lock:
                later, self._lines = self._lines, []
                self._dropped += dropped
                self._add(lines + later)
            if not self._failing:
                self._log.warning("notify.failed", events=len(lines) + dropped)
        self._failing = not sent


@dataclass(slots=True)
class Heartbeat:
    """Tells a dead man's switch that all is well; to be called after a sweep that worked."""

    ping: Callable[[], str]
    """Pings and returns an empty text, or what went wrong, without the URL."""
    late: Callable[[], Mapping[str, float]]
    """The loops that make no progress."""
    log: EventLog
    _courier: Courier = field(default_factory=lambda: Courier("heartbeat"), init=False)
    _failing: bool = field(default=False, init=False)

    def __call__(self) -> None:
        """Ping, unless a loop is late; never waits."""
        if not self.late():
            self._courier.offer(self._ping)

    def _ping(self) -> None:
        wrong = self.ping()
        if wrong and not self._failing:
            self.log.warning("heartbeat.failed", reason=wrong)
        self._failing = bool(wrong)
