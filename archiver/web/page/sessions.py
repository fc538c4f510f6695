"""The browsers that are let in: by a link that holds once or a lasting token, then by a cookie. Only hashes stay."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from archiver.ports.runtime import Clock

COOKIE = "__Host-stem-archive"
LASTS = timedelta(hours=12)
_MOST = 64


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Sessions:
    """Lets browsers in. Safe for many threads; forgets everything with the process.

    A further browser pushes out the oldest of 64.
    """

    def __init__(self, clock: Clock, lasting: str = "", made: Callable[[], str] = secrets.token_urlsafe) -> None:
        self._clock = clock
        self._made = made
        self._lasting = _hash(lasting) if lasting else None
        self._links: set[bytes] = set()
        self._sessions: OrderedDict[bytes, datetime] = OrderedDict()
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()

    def rely_on(self, lasting: str) -> None:
        """Let browsers in by this lasting token; where it is another than before, all must enter again."""
        new = _hash(lasting) if lasting else None
        with self._lock:
            if new != self._lasting:
                self._lasting = new
                self._sessions.clear()

    def link_token(self) -> str:
        """Return a new token that lets one browser in, once."""
        token = self._made()
        with self._lock:
            self._links.add(_hash(token))
        return token

    def enter(self, token: str) -> str | None:
        """Return the value of a new cookie for a token that is good; None for any other."""
        given = _hash(token)
        with self._lock:
            if given in self._links:
                self._links.discard(given)
            elif self._lasting is None or not hmac.compare_digest(given, self._lasting):
                return None
            cookie = self._made()
            self._sessions[_hash(cookie)] = self._clock() + LASTS
            if len(self._sessions) > _MOST:
                self._sessions.popitem(last=False)
            return cookie

    def form_token(self, cookie: str) -> str | None:
        """Return the token that forms of this cookie's browser must have; None for a cookie that lets nobody in."""
        given = _hash(cookie)
        with self._lock:
            until = self._sessions.get(given)
            now = self._clock()
            # A clock that was set back must not make a cookie last longer.
            if until is None or not until - LASTS <= now < until:
                self._sessions.pop(given, None)
                return None
        return hmac.new(self._key, given, hashlib.sha256).hexdigest()
