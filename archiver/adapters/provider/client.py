"""The client of one account: reads records, asks for fresh links, keeps to the rate limit, holds the key.

Source of every outside fact: the provider's docs, and answers recorded by public clients.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import httpx
import tenacity

from archiver.adapters.provider.limiter import RateLimiter
from archiver.adapters.provider.verdicts import judge, opened
from archiver.adapters.provider.wire import Endpoint, Wire
from archiver.core.errors import ApiBusy, ApiThrottled, ArchiverError, KeyRefused
from archiver.core.http import time_named
from archiver.core.misses import RouteMoved
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Phase, RecordInfo, TaskId
from archiver.core.named_task import ID_FIELDS
from archiver.core.records.envelope import MAX_ANSWER, Envelope, NotAnAnswer
from archiver.core.records.fields import id_of
from archiver.core.records.kinds.names import KindName
from archiver.core.records.kinds.table import KINDS
from archiver.core.records.record import record_of
from archiver.core.text import usable_url
from archiver.ports.runtime import Checkpoint, EventLog, Jitter, unobserved

DOWNLOAD_URL = "/api/v1/common/download-url"

WINDOW = 10.0
"""Seconds over which the provider counts requests."""

TRIES = 3
TOTAL = 30.0
"""Seconds that all tries of one call and the waits between them may take; waiting in line is not counted."""

FIRST_WAIT = 1.0
"""Seconds before the second try; doubles, spread by a quarter either way."""

LONGEST_COOL_DOWN = 300.0
"""Seconds that one answer can keep all threads from sending, whatever its Retry-After says."""

Answered = Callable[[str], None]

_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")


class KieApi:
    """`RecordApi` over HTTP.

    `api_key` is read at every request, so a rotated key file needs no restart. `limiter` is closed with the
    client. `timeout` is in seconds for one whole exchange. `answered` gets the result of each request: `ok`, or
    the error's code. `account` is its name in the log.
    Raises ValueError when the endpoint cannot be used. Checkpoint: `api.answered`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        api_key: Callable[[], str] | str,
        limiter: RateLimiter,
        timeout: float,
        jitter: Jitter,
        log: EventLog,
        clock: Callable[[], float] = time.monotonic,
        checkpoint: Checkpoint = unobserved,
        answered: Answered = lambda _: None,
        account: AccountName = DEFAULT_ACCOUNT,
    ) -> None:
        self._account = account
        self._timeout = timeout
        self._jitter = jitter
        self._log = log
        self._clock = clock
        self._checkpoint = checkpoint
        self._answered = answered
        self._limiter = limiter
        self._flavour = endpoint.flavour
        self._wire = Wire(endpoint, auth=_Bearer(api_key), clock=clock)

    def fetch(self, task_id: TaskId, *, kind: KindName = KindName.SEPARATION, first: bool = False) -> RecordInfo:
        """Read the record of a kind; an answer about another task raises ApiBusy. See RecordApi.

        A kind that the provider does not have is ABSENT without a request. Raises RouteMoved where its path is none.
        """
        row = KINDS[kind]
        if kind not in self._flavour.kinds:
            return RecordInfo(Phase.ABSENT, kind=kind)
        call = _Call("GET", row.path, params={row.parameter: task_id}, task_id=task_id, first=first)
        call.most, call.absent = row.max_answer, row.absent
        envelope = self._ask(call)
        if envelope is None:
            return replace(record_of(None, kind), answered_at=call.answered_at)
        data = envelope.data
        if isinstance(data, Mapping):
            for named in map(data.get, ID_FIELDS):
                # A database that looks ids up without regard to case answers with its own spelling.
                if named not in (None, "") and id_of(named).casefold() != task_id.casefold():
                    raise ApiBusy("the API answered about another task than it was asked for")
        return replace(record_of(data, kind), answered_at=call.answered_at, blemish=envelope.blemish)

    def fresh_link(self, url: str) -> str | None:
        """Ask for a link that lives 20 minutes (provider's docs). See RecordApi."""
        envelope = self._ask(_Call("POST", DOWNLOAD_URL, json={"url": url}))
        link = None if envelope is None else envelope.data
        if isinstance(link, Mapping):
            link = link.get("url") or link.get("downloadUrl")
        return usable_url(link) if isinstance(link, str) else None

    def credit(self, *, first: bool = False) -> float:
        """Read the account's credit, at the sibling providers' path where the first is unknown."""
        likely, other = self._flavour.credit
        try:
            envelope = self._ask(_Call("GET", likely, first=first))
        except RouteMoved:
            envelope = None
        if envelope is None:
            envelope = self._ask(_Call("GET", other, first=first))
        try:
            credit = float(envelope.data)  # type: ignore[union-attr, arg-type]  # whatever is no number raises
        except (AttributeError, TypeError, ValueError, OverflowError):
            raise ApiBusy("the API's answer names no credit") from None
        if not math.isfinite(credit):
            raise ApiBusy("the API's answer names no credit")
        return credit

    def budget(self) -> int:
        """Return how many requests may be sent at once now."""
        return self._limiter.left()

    def is_waited_for(self) -> bool:
        """Return whether a thread waits until it may send."""
        return self._limiter.is_waited_for()

    def is_full(self, *, first: bool) -> bool:
        """Return whether as many wait, of what goes `first` or of the rest, as can be sent soon."""
        return self._limiter.is_full(first=first)

    def next_in(self) -> float | None:
        """Return the seconds until whoever waits longest may send; None where nobody waits."""
        return self._limiter.next_in()

    def set_rate(self, requests_per_10s: int) -> None:
        """Keep to another rate from now on."""
        self._limiter.resize(requests_per_10s)

    def renew_trust(self) -> None:
        """Verify by the certificates of now on new connections; raises OSError, and all is as it was then."""
        self._wire.renew_trust()

    def close(self) -> None:
        """End every wait with ApiBusy and close all connections."""
        self._limiter.close()
        self._wire.close()

    def _ask(self, call: _Call) -> Envelope | None:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_worth_another_try),
            wait=self._wait_before_next,
            stop=call.is_spent,
            before_sleep=lambda state: self._log_retry(call, state),
            sleep=lambda seconds: self._rest(call, seconds),
            reraise=True,
        )
        envelope = retrying(self._try, call)
        self._checkpoint("api.answered")
        return envelope

    def _try(self, call: _Call) -> Envelope | None:
        call.status = call.code = None
        with self._limiter.permit(call.left, first=call.first), self._reported():
            began = self._clock()
            try:
                answer = self._wire.exchange(
                    call.method,
                    call.path,
                    params=call.params,
                    json=call.json,
                    seconds=min(self._timeout, call.left),
                    most=call.most,
                )
            finally:
                call.left -= self._clock() - began
        envelope = opened(answer, call.most)
        call.answered_at = time_named(answer.headers)
        call.status, call.code = answer.status, None if isinstance(envelope, NotAnAnswer) else envelope.code
        try:
            with self._reported():
                judged = judge(answer, envelope, self._flavour, call.absent)
        except ApiThrottled as error:
            seconds = WINDOW * (1 + self._jitter() / 4) if error.retry_after is None else error.retry_after
            self._limiter.cool_down(min(seconds, LONGEST_COOL_DOWN))
            raise
        self._answered("ok")
        return judged

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except ArchiverError as error:
            self._answered(error.code)
            raise

    def _wait_before_next(self, state: tenacity.RetryCallState) -> float:
        error = _error_of(state)
        backoff = FIRST_WAIT * 2.0 ** (state.attempt_number - 1) * (0.75 + self._jitter() / 2)
        cooling = self._limiter.cooling() if isinstance(error, ApiThrottled) else 0.0
        return max(backoff, cooling, error.retry_after or 0.0)

    def _rest(self, call: _Call, seconds: float) -> None:
        call.left -= seconds
        self._limiter.pause(seconds)

    def _log_retry(self, call: _Call, state: tenacity.RetryCallState) -> None:
        self._log.warning(
            "api.retry",
            task_id=call.task_id,
            account=self._account,
            path=call.path,
            attempt=state.attempt_number,
            status=call.status,
            code=call.code,
            wait_seconds=round(state.upcoming_sleep, 3),
            reason=str(_error_of(state)),
        )


@dataclass(slots=True)
class _Call:
    """One call with its tries."""

    method: str
    path: str
    params: Mapping[str, str] | None = None
    json: object = None
    task_id: TaskId | None = None
    first: bool = False
    most: int = MAX_ANSWER
    absent: Collection[int | None] = (404, 422)
    left: float = TOTAL
    status: int | None = None
    code: int | None = None
    answered_at: datetime | None = None

    def is_spent(self, state: tenacity.RetryCallState) -> bool:
        """Return whether there is no other try: too many, or the wait would outlast the call."""
        return state.attempt_number >= TRIES or state.upcoming_sleep >= self.left


def _is_worth_another_try(error: BaseException) -> bool:
    return isinstance(error, ApiBusy) and not isinstance(error, RouteMoved)


def _error_of(state: tenacity.RetryCallState) -> ApiBusy:
    error = None if state.outcome is None else state.outcome.exception()
    if not isinstance(error, ApiBusy):
        raise TypeError("only ApiBusy is tried again")
    return error


class _Bearer(httpx.Auth):
    """Puts the key into the Authorization header, the only place where it stands."""

    def __init__(self, api_key: Callable[[], str] | str) -> None:
        self._api_key = api_key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._key()}"
        yield request

    def _key(self) -> str:
        try:
            key = (self._api_key() if callable(self._api_key) else self._api_key).strip()
        except OSError as fault:
            raise KeyRefused(f"the API key cannot be read: {fault.strerror}") from None
        if not _HEADER_SAFE.fullmatch(key):
            raise KeyRefused("the API key is empty, or holds characters that no header can carry")
        return key
