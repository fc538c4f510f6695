"""The meaning of an answer. Errors come in the HTTP status, in the body's `code`, or in both: both are judged.

Source: the provider's docs (the list of codes), and answers seen in public client code. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from archiver.adapters.provider.wire import Answer
from archiver.core.errors import (
    AgentBlocked,
    ApiBusy,
    ApiThrottled,
    ArchiverError,
    FeatureDisabled,
    KeyRefused,
    Maintenance,
    NoCredit,
)
from archiver.core.http import retry_after
from archiver.core.records.blemished import charset_in
from archiver.core.records.envelope import Envelope, NotAnAnswer, read_envelope

_OK = 200
_NOT_FOUND = 404
_NO_SUCH_RECORD = (_NOT_FOUND, 422)
_FORBIDDEN = 403

_BY_STATUS: Mapping[int, type[ArchiverError]] = {
    401: KeyRefused,
    402: NoCredit,
    429: ApiThrottled,
    455: Maintenance,
}

# 405 and 505 have other meanings as an HTTP status: a wrong path, a proxy's complaint.
_BY_CODE: Mapping[int, type[ArchiverError]] = {
    **_BY_STATUS,
    _FORBIDDEN: KeyRefused,
    405: ApiThrottled,
    430: ApiThrottled,
    433: ApiThrottled,
    505: FeatureDisabled,
}

_CLOUDFLARE = re.compile(rb"error code: ?1\d{3}|cloudflare|cf-error-details|attention required", re.IGNORECASE)


class NoSuchPath(ApiBusy):
    """404 without the provider's envelope: this origin does not know the endpoint."""


def opened(answer: Answer) -> Envelope | NotAnAnswer:
    """Return the provider's envelope, or the complaint about the body."""
    try:
        return read_envelope(answer.body, charset_in(answer.headers.get("content-type", "")))
    except NotAnAnswer as complaint:
        return complaint


def judge(answer: Answer, envelope: Envelope | NotAnAnswer) -> Envelope | None:
    """Return the envelope of a good answer, or None when the provider knows no such record.

    Raises ApiThrottled, ApiBusy or a ProviderPaused for all others.
    """
    status = answer.status
    code = None if isinstance(envelope, NotAnAnswer) else envelope.code
    if code is not None and code in _BY_CODE:
        raise _error(_BY_CODE[code], answer, envelope)
    if status in _BY_STATUS:
        raise _error(_BY_STATUS[status], answer, envelope)
    if status == _FORBIDDEN:
        raise _error(AgentBlocked if _CLOUDFLARE.search(answer.body) else KeyRefused, answer, envelope)
    if 300 <= status < 400:  # noqa: PLR2004  the class of redirects
        raise ApiBusy(f"HTTP {status}: the API redirects, which is not followed; look at provider.base_url")
    if isinstance(envelope, NotAnAnswer):
        raise _error(NoSuchPath if status == _NOT_FOUND else ApiBusy, answer, envelope)
    if code in _NO_SUCH_RECORD and status in (_OK, code):
        return None
    if code != _OK or status != _OK:
        raise _error(ApiBusy, answer, envelope)
    return envelope


def _error(kind: type[ArchiverError], answer: Answer, envelope: Envelope | NotAnAnswer) -> ArchiverError:
    what = str(envelope) if isinstance(envelope, NotAnAnswer) else f"code {envelope.code}: {envelope.msg[:200]}"
    return kind(f"HTTP {answer.status}, {what}", retry_after=retry_after(answer.headers))
