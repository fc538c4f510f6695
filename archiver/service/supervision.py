"""Supervision: whoever started the daemon learns how it fares, and may ask it to read the settings again."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field

from archiver.ports.runtime import EventLog, ServiceManager
from archiver.service.liveness import Liveness


class Hangup:
    """The operator's wish that the settings be read again: SIGHUP. Without locks, as Shutdown."""

    def __init__(self) -> None:
        self._asked = False
        self._followers: list[Callable[[], None]] = []

    def also(self, follower: Callable[[], None]) -> None:
        """Call `follower`, too, each time the wish is taken."""
        self._followers.append(follower)

    def ask(self) -> None:
        """Take note of the wish."""
        self._asked = True

    def taken(self) -> bool:
        """Return whether there was such a wish since the last call."""
        if not self._asked:
            return False
        self._asked = False
        for follower in self._followers:
            follower()
        return True

    @contextmanager
    def on_signal(self) -> Iterator[None]:
        """Take SIGHUP for such a wish while this lasts."""
        before = signal.signal(signal.SIGHUP, lambda _number, _frame: self.ask())
        # One that came since the start was kept until now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)


@dataclass(slots=True)
class Supervision:
    """Reports to the service manager, and reloads the settings on SIGHUP."""

    manager: ServiceManager
    liveness: Liveness
    """While no loop of it is late, and only then, the manager is shown progress."""
    status: Callable[[], str]
    """Says in a few words what the daemon does now."""
    hangup: Hangup
    reload: Callable[[], None]
    log: EventLog
    _stalled: AbstractSet[str] = field(default=frozenset(), init=False)

    def attend(self) -> None:
        """Do what SIGHUP asked for, and report how things stand; call it several times a second."""
        if self.hangup.taken():
            self.manager.reloading()
            self.reload()
            self.manager.ready()
        self.liveness.give_up()
        late = self.liveness.late()
        if fresh := late.keys() - self._stalled:
            silent = {name: round(late[name]) for name in sorted(fresh)}
            self.log.error("daemon.stalled", loops=sorted(fresh), silent_seconds=silent)
        if self._stalled and not late:
            self.log.info("daemon.recovered", loops=sorted(self._stalled))
        self._stalled = frozenset(late)
        self.manager.status(f"stalled: {', '.join(sorted(late))}" if late else self.status())
        if not late:
            self.manager.progress()
