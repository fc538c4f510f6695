"""The permits of requests to the provider that processes on several machines share, as rows in PostgreSQL.

Only the server's clock counts. Each use of a permit is two short transactions; nobody waits for a lock.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeVar

from sqlalchemy import Connection, text

from archiver.core.errors import LedgerFault
from archiver.ports.provider import NoPermit
from archiver.ports.runtime import Jitter

T = TypeVar("T")

GRACE = 5.0
"""Seconds that may pass between asking for a permit and sending; whoever got it later gives it back unused."""

SHORTEST_WAIT = 0.05
"""Seconds after which a look is worth it where another has just locked the permit that is free."""

SPREAD = 0.1
"""Seconds over which those who wait for the same permit are spread."""

FARTHEST_COOL_DOWN = 600.0
"""Seconds; one that ends later was written down before the server's clock was set back."""


class Transact(Protocol):
    """Does work in one transaction; raises LedgerFault when the database cannot be used."""

    def __call__(self, work: Callable[[Connection], T], /) -> T:
        """Return what `work` returns, once it is committed."""


class SharedPermits:
    """`Permits` of one account, for all processes on the same database.

    Each is free at a time that is written down: a lease while a request is out, which a process that
    dies leaves to run out, and `window` seconds after the answer else. `longest` is how many seconds one
    request may take. The limit is that of whoever said so last, which each does at its first look after it
    started or was told another.
    """

    def __init__(
        self,
        transact: Transact,
        *,
        account: str,
        limit: int,
        window: float,
        longest: float,
        jitter: Jitter,
        clock: Callable[[], float],
    ) -> None:
        self._transact = transact
        self._jitter = jitter
        self._clock = clock
        self._asked: Mapping[str, object] = {
            "account": account,
            "window": _microseconds(window),
            "lease": _microseconds(GRACE + longest + window),
        }
        self._new_limit: int | None = limit

    def take(self) -> str | NoPermit:
        """Take a permit under a lease, or say when it is worth looking again."""
        holder, began = secrets.token_hex(16), self._clock()

        def work(db: Connection) -> NoPermit | None:
            taken = db.execute(_TAKE, {**self._asked, "holder": holder}).first()
            return None if taken is not None else self._look(db)

        found = self._with_limit(work)
        if found is not None:
            return found
        if self._clock() - began > GRACE:
            self.give_back(holder)
            return NoPermit(0.0)
        return holder

    def _look(self, db: Connection) -> NoPermit:
        db.execute(_MEND_PERMITS, self._asked)
        db.execute(_MEND_COOL_DOWN, {**self._asked, "farthest": _microseconds(FARTHEST_COOL_DOWN)})
        rest, cooling = db.execute(_LOOK, self._asked).one()
        seconds = max(_seconds(rest), _seconds(cooling), SHORTEST_WAIT) + SPREAD * self._jitter()
        return NoPermit(seconds, _seconds(cooling))

    def give_back(self, permit: str) -> None:
        """Let it rest. Where that cannot be written down, its lease runs out by itself."""
        with suppress(LedgerFault):
            self._transact(lambda db: db.execute(_GIVE_BACK, {**self._asked, "holder": permit}))

    def cool_down(self, seconds: float) -> None:
        """Let nobody have a permit for so many seconds."""
        self._with_limit(lambda db: db.execute(_COOL, {**self._asked, "seconds": _microseconds(seconds)}))

    def resize(self, limit: int) -> None:
        """Have another number of permits, for all who share them from our next look on; those that are out count."""
        self._new_limit = limit

    def _with_limit(self, work: Callable[[Connection], T]) -> T:
        """Do the work, before it what `resize` left to do."""
        limit = self._new_limit

        def both(db: Connection) -> T:
            if limit is not None:
                db.execute(_SET_LIMIT, {**self._asked, "requests": limit})
                db.execute(_ADD_PERMITS, {**self._asked, "requests": limit})
            return work(db)

        done = self._transact(both)
        if self._new_limit == limit:
            self._new_limit = None
        return done

    def left(self) -> int:
        """Count those that are free; none where the database cannot be used."""
        try:
            return self._with_limit(lambda db: int(db.execute(_LEFT, self._asked).scalar_one()))
        except LedgerFault:
            return 0


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _seconds(microseconds: int | None) -> float:
    return (microseconds or 0) / 1e6


_NOW = "CAST(1000000 * extract(epoch FROM clock_timestamp()) AS bigint)"

# Of a limit that was lowered, the permits above it that are still out or at rest take up as many below it.
_USABLE = f"""moment AS MATERIALIZED (SELECT {_NOW} AS now),
    pace AS MATERIALIZED (SELECT requests, cool_until FROM paces WHERE account = :account),
    usable AS MATERIALIZED (SELECT max(requests) - count(number) AS upto FROM pace CROSS JOIN moment
        LEFT JOIN pace_slots ON account = :account AND number > requests AND free_at > now)"""  # noqa: S608 - our own words

_FREE = """FROM pace_slots CROSS JOIN moment CROSS JOIN pace CROSS JOIN usable
    WHERE account = :account AND number <= upto AND free_at <= now AND cool_until <= now"""

_TAKE = text(f"""WITH {_USABLE},
    found AS MATERIALIZED (
        SELECT number {_FREE} ORDER BY free_at, number LIMIT 1 FOR UPDATE OF pace_slots SKIP LOCKED)
    UPDATE pace_slots SET free_at = now + :lease, holder = :holder FROM found CROSS JOIN moment
    WHERE account = :account AND pace_slots.number = found.number
    RETURNING pace_slots.number""")  # noqa: S608 - our own words

_LEFT = text(f"WITH {_USABLE} SELECT count(*) {_FREE}")

# One that is out can be free a window from now at the earliest, long before its lease ends.
_LOOK = text(f"""WITH {_USABLE}
    SELECT min(greatest(0, least(free_at - now, CASE WHEN holder IS NULL THEN free_at - now ELSE :window END))),
        greatest(0, max(cool_until) - max(now))
    FROM moment CROSS JOIN pace CROSS JOIN usable
    LEFT JOIN pace_slots ON account = :account AND (number <= upto OR (number > requests AND free_at > now))""")  # noqa: S608 - our own words

_GIVE_BACK = text(f"""UPDATE pace_slots SET free_at = {_NOW} + :window, holder = NULL
    WHERE account = :account AND holder = :holder""")  # noqa: S608 - our own words

_COOL = text(f"UPDATE paces SET cool_until = greatest(cool_until, {_NOW} + :seconds) WHERE account = :account")  # noqa: S608 - our own words

_SET_LIMIT = text("""INSERT INTO paces (account, requests, cool_until) VALUES (:account, :requests, 0)
    ON CONFLICT (account) DO UPDATE SET requests = excluded.requests""")

_ADD_PERMITS = text("""INSERT INTO pace_slots (account, number, free_at)
    SELECT :account, number, 0 FROM generate_series(1, :requests) AS number ON CONFLICT DO NOTHING""")

# No permit is ever taken for longer than a lease: what is free later was written before the clock was set back.
_MEND_PERMITS = text(f"""UPDATE pace_slots SET free_at = {_NOW} + :window
    WHERE account = :account AND free_at > {_NOW} + :lease""")  # noqa: S608 - our own words

_MEND_COOL_DOWN = text(f"UPDATE paces SET cool_until = 0 WHERE account = :account AND cool_until > {_NOW} + :farthest")  # noqa: S608 - our own words
