"""The first of several addresses that answers (RFC 8305): families in turn, attempts side by side."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from itertools import zip_longest
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

Address = TypeVar("Address", bound=tuple[object, ...])
"""An address as the socket module takes it; its length tells the family."""

STAGGER = 0.25
"""Seconds after which the next address is tried beside those that have not answered yet."""
ADDRESSES_MAX = 32
"""Addresses of one name that are tried."""
_LAME_SECONDS = 60.0
"""How long an address that lost or failed goes after all others."""
_LOST_SECONDS = 600.0
"""The same of one that took a connection which then came to nothing."""
_LAME_MAX = 1000

_Outcome = tuple[socket.socket | None, BaseException | None]


def in_turn(addresses: Sequence[Address]) -> list[Address]:
    """Return each address once, families in turn; the first family and the order inside each are the resolver's."""
    families: dict[int, list[Address]] = {}
    for address in dict.fromkeys(addresses):
        families.setdefault(len(address), []).append(address)
    return [address for row in zip_longest(*families.values()) for address in row if address is not None]


class Racer(Generic[Address]):
    """Connects to the address that answers first; safe to share among threads.

    `connect` opens a connection to an address within so many seconds, or raises OSError; it is called in threads, side
    by side. Sockets of those that come later are closed. An address that lost is tried last for a minute.
    """

    def __init__(self, connect: Callable[[Address, float], socket.socket], clock: Callable[[], float]) -> None:
        self._connect = connect
        self._clock = clock
        self._lame: dict[Address, float] = {}
        self._won: WeakKeyDictionary[socket.socket, Address] = WeakKeyDictionary()

    def first(self, addresses: Sequence[Address], seconds: float) -> socket.socket:
        """Return a connection within `seconds`; raise the last OSError when no address gives one."""
        order = in_turn(addresses)
        if not order:
            raise OSError("no address")
        if len(order) == 1:
            return self._connect(order[0], seconds)
        now, lame = self._clock(), self._lame
        order.sort(key=lambda address: lame.get(address, now) > now)
        del order[ADDRESSES_MAX:]
        race = _Race(self._connect, order, seconds)
        try:
            sock = race.run()
            if race.winner is not None:
                self._won[sock] = race.winner
            return sock
        finally:
            self._remember(order[: race.begun], race.winner, now + _LAME_SECONDS)

    def lost(self, sock: socket.socket) -> None:
        """Try the address of a connection last for a while: it was won, and came to nothing, in TLS say."""
        address = self._won.get(sock)
        if address is not None:
            self._lame |= {address: self._clock() + _LOST_SECONDS}

    def _remember(self, begun: list[Address], winner: Address | None, until: float) -> None:
        if len(self._lame) > _LAME_MAX:
            self._lame = {}
        lame = self._lame
        lame |= {address: max(until, lame.get(address, until)) for address in begun if address != winner}
        if winner is not None and lame.get(winner, until) <= until:
            lame.pop(winner, None)


class _Race(Generic[Address]):
    """One name's attempts."""

    def __init__(
        self, connect: Callable[[Address, float], socket.socket], order: list[Address], seconds: float
    ) -> None:
        self._connect = connect
        self._order = order
        self._seconds = seconds
        self._stagger = min(STAGGER, seconds / (2 * len(order)))
        self._outcomes: SimpleQueue[tuple[Address, _Outcome]] = SimpleQueue()
        self._lock = threading.Lock()
        self._over = False
        self.begun = 0
        self.winner: Address | None = None

    def run(self) -> socket.socket:
        """Return the first connection; raise the last failure when there is none."""
        failure: BaseException = OSError("no address")
        ended = 0
        try:
            while ended < len(self._order):
                if self.begun < len(self._order):
                    self._begin(self._order[self.begun])
                address, (sock, error) = self._next()
                ended += error is not None
                failure = error or failure
                if sock is not None:
                    self.winner = address
                    return sock
                if error is not None and not isinstance(error, OSError):
                    break
            raise failure
        finally:
            self._end()

    def _begin(self, address: Address) -> None:
        left = self._seconds - self.begun * self._stagger
        self.begun += 1
        threading.Thread(target=self._try, args=(address, left), name="dial", daemon=True).start()

    def _next(self) -> tuple[Address, _Outcome]:
        """Return what came of an attempt; nothing of the first when it is time for the next attempt."""
        more = self.begun < len(self._order)
        try:
            return self._outcomes.get(timeout=self._stagger if more else None)
        except Empty:
            return self._order[0], (None, None)

    def _try(self, address: Address, seconds: float) -> None:
        sock, failure = None, None
        try:
            sock = self._connect(address, seconds)
        except BaseException as error:  # noqa: BLE001 - it is raised where the race is run
            failure = error
        with self._lock:
            if not self._over:
                self._outcomes.put((address, (sock, failure)))
                return
        if sock is not None:
            sock.close()

    def _end(self) -> None:
        """Close what else was opened, now and later."""
        with self._lock:
            self._over = True
        while not self._outcomes.empty():
            _, (sock, _) = self._outcomes.get()
            if sock is not None:
                sock.close()
