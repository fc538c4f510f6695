"""The meaning of an answer. Errors come in the HTTP status, in the body's `code`, or in both: both are judged.

Source: the provider's docs (the list of codes), and answers seen in public client code. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from archiver.adapters.provider.flavours import KIE, Flavour
from archiver.adapters.provider.wire import Answer
from archiver.core.errors import AgentBlocked, ApiBusy, ArchiverError, KeyRefused
from archiver.core.http import retry_after
from archiver.core.misses import RouteMoved
from archiver.core.records.blemished import charset_in
from archiver.core.records.envelope import MAX_ANSWER, Envelope, NotAnAnswer, read_envelope

_OK = 200
_NOT_FOUND = 404
_NO_SUCH_RECORD = frozenset((_NOT_FOUND, 422))
_FORBIDDEN = 403

_CLOUDFLARE = re.compile(rb"error code: ?1\d{3}|cloudflare|cf-error-details|attention required", re.IGNORECASE)


def opened(answer: Answer, most: int = MAX_ANSWER) -> Envelope | NotAnAnswer:
    """Return the provider's envelope, or the complaint about the body, which has at most so many bytes."""
    try:
        return read_envelope(answer.body, charset_in(answer.headers.get("content-type", "")), most)
    except NotAnAnswer as complaint:
        return complaint


def judge(
    answer: Answer,
    envelope: Envelope | NotAnAnswer,
    flavour: Flavour = KIE,
    absent: Collection[int | None] = _NO_SUCH_RECORD,
) -> Envelope | None:
    """Return the envelope of a good answer, or None when the provider knows no such record, by the codes `absent`.

    Raises ApiThrottled, ApiBusy or a ProviderPaused for all others.
    """
    status = answer.status
    code = None if isinstance(envelope, NotAnAnswer) else envelope.code
    if code is not None and code in flavour.by_code:
        raise _error(flavour.by_code[code], answer, envelope)
    if status in flavour.by_status:
        raise _error(flavour.by_status[status], answer, envelope)
    if status == _FORBIDDEN:
        raise _error(AgentBlocked if _CLOUDFLARE.search(answer.body) else KeyRefused, answer, envelope)
    if 300 <= status < 400:  # noqa: PLR2004  the class of redirects
        raise ApiBusy(f"HTTP {status}: the API redirects, which is not followed; look at provider.base_url")
    if isinstance(envelope, NotAnAnswer):
        raise _error(RouteMoved if status == _NOT_FOUND else ApiBusy, answer, envelope)
    if code is None and status == _NOT_FOUND:  # a framework's own JSON, not the provider's
        raise _error(RouteMoved, answer, envelope)
    if code is not None and code in absent and status in (_OK, code):
        return None
    if code != _OK or status != _OK:
        raise _error(ApiBusy, answer, envelope)
    return envelope


def _error(kind: type[ArchiverError], answer: Answer, envelope: Envelope | NotAnAnswer) -> ArchiverError:
    what = str(envelope) if isinstance(envelope, NotAnAnswer) else f"code {envelope.code}: {envelope.msg[:200]}"
    return kind(f"HTTP {answer.status}, {what}", retry_after=retry_after(answer.headers))
