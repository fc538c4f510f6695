"""Alerts for people and watchers outside: batched, not too often, and never in the way of the archive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from archiver.core.redaction import Cleaner
from archiver.ports.runtime import Clock, EventLog

ALERTS: Mapping[str, str] = MappingProxyType(
    {
        "task.lost": "audio is lost",
        "deadline.at_risk": "tasks near or past their deadline",
        "deadline.forecast": "stems that expire before they are reached, at the present pace",
        "fixity.fault": "an object of the archive is lost or damaged",
        "task.quarantined": "the service died while at this task, more than once",
        "dependency.paused": "paused",
        "dependency.resumed": "works again",
        "dependency.held": "paused by the operator",
        "dependency.released": "no longer paused by the operator",
        "daemon.stalled": "the service makes no progress",
        "daemon.recovered": "the service makes progress again",
        "ledger.fault": "the ledger cannot be used, and the service stops",
    }
)
"""The events that people are alerted to, in their words."""

LINES_MAX = 50
"""The most events that one message holds; the rest is only counted."""


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


class Alerts:
    """Gathers the events that people are alerted to, in their words.

    A dependency that stays paused is one alert. Safe to share between threads.
    """

    def __init__(self, cleaner: Cleaner, clock: Clock) -> None:
        self._cleaner = cleaner
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._dropped = 0
        self._stands: dict[object, str] = {}

    @property
    def waiting(self) -> int:
        """The number of events that wait to be sent, LINES_MAX at most."""
        return len(self._lines)

    def notify(self, event: str, fields: Mapping[str, object]) -> None:
        """Note an event, if it is one that people are alerted to; return at once."""
        if event not in ALERTS:
            return
        line = self._line(event, fields)
        with self._lock:
            if dependency := fields.get("dependency"):
                subject = dependency, fields.get("account")
                if self._stands.get(subject) == event:
                    return
                self._stands[subject] = event
            self._add([line])

    def take(self) -> tuple[list[str], int]:
        """Return the lines that have gathered, and how many more were dropped; gather anew."""
        with self._lock:
            taken = self._lines, self._dropped
            self._lines, self._dropped = [], 0
        return taken

    def give_back(self, lines: list[str], dropped: int) -> None:
        """Put back, before those that came later, what could not be sent."""
        with self._lock:
            later, self._lines = self._lines, []
            self._dropped += dropped
            self._add(lines + later)

    def _line(self, event: str, fields: Mapping[str, object]) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        return self._cleaner.text(f"{self._clock():%Y-%m-%d %H:%M:%S} UTC {event}: {ALERTS[event]}; {shown}")

    def _add(self, lines: list[str]) -> None:
        room = LINES_MAX - len(self._lines)
        self._lines += lines[:room]
        self._dropped += len(lines[room:])


class AlertDelivery:
    """Sends the alerts that have gathered, one message in `min_interval` at most.

    Alerts that could not be sent are sent with the next.
    """

    def __init__(
        self,
        alerts: Alerts,
        *,
        send: Callable[[str, str], bool],
        clock: Clock,
        min_interval: timedelta,
        log: EventLog,
    ) -> None:
        self._alerts = alerts
        self._send = send
        self._clock = clock
        self._min_interval = min_interval
        self._log = log
        self._courier = Courier("notices")
        self._sent_at: datetime | None = None
        self._failing = False

    def flush(self) -> None:
        """Send what has gathered, if it is time; call it every second or so. Never waits."""
        now = self._clock()
        waited = self._sent_at is None or abs(now - self._sent_at) >= self._min_interval
        if self._alerts.waiting and waited and self._courier.offer(self._deliver):
            self._sent_at = now

    def close(self, patience: float) -> None:
        """Send what is left, however soon; take `patience` seconds at most for each of two messages."""
        self._courier.wait(patience)
        if self._alerts.waiting and self._courier.offer(self._deliver):
            self._courier.wait(patience)

    def _deliver(self) -> None:
        lines, dropped = self._alerts.take()
        more = [f"and {dropped} more: see the log"] if dropped else []
        sent = self._send("stem-archiver", "\n".join([*lines, *more]))
        if not sent:
            self._alerts.give_back(lines, dropped)
            if not self._failing:
                self._log.warning("notify.failed", events=len(lines) + dropped)
        self._failing = not sent


@dataclass(slots=True)
class Heartbeat:
    """Shows a dead man's switch that all is well; call it after a sweep that worked."""

    ping: Callable[[], str]
    """Pings and returns an empty text, or the fault, without the URL."""
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
