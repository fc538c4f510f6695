"""Faults of the store: every answer that S3 and its kin give, before and after the object was made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import boto3

from tests.fakes.s3_proxy import (
    Action,
    drop_after,
    drop_before,
    emptied,
    flip_bit,
    hold,
    refuse,
    refuse_after,
    truncate,
    without,
)
from tests.fakes.scripted import Reply
from tests.faults.matrix import End, Fault
from tests.worlds.world import LARGE, PREFIX, SESSION_TOKEN, VICTIM, World

FOR_EVER = 1_000_000
_ONCE = timedelta(seconds=3)
"""Time for one try only, where a try costs real time."""
PUT, CREATE, PART = "PutObject", "CreateMultipartUpload", "UploadPart"
COMPLETE, ABORT, HEAD = "CompleteMultipartUpload", "AbortMultipartUpload", "HeadObject"


def on(
    operation: str, action: Action, *, times: int = FOR_EVER, key: str = "", nth: int = 1
) -> Callable[[World], None]:
    """Let requests of this operation be answered so."""

    def begin(world: World) -> None:
        world.proxy.on(operation, action, times=times, key=key, nth=nth)

    return begin


def both(*begins: Callable[[World], None]) -> Callable[[World], None]:
    def begin(world: World) -> None:
        for each in begins:
            each(world)

    return begin


def _s3(name: str, end: End, reason: str, begin: Callable[[World], None], **more: Any) -> Fault:  # noqa: ANN401 - Fault's own
    return Fault("S3", name, end, reason, begin, **more)


_retried = partial(_s3, end=End.RETRIED, reason="store.busy")
_saved = partial(_s3, end=End.ARCHIVED, reason="")
_paused = partial(_s3, end=End.PAUSED)
_large = partial(_s3, sizes=LARGE)


def _puts() -> Iterator[Fault]:
    slow_down = refuse(503, "SlowDown", headers=[("Retry-After", "2")])
    yield _retried("put: 500 InternalError", begin=on(PUT, refuse(500, "InternalError")))
    yield _retried("put: 503 SlowDown, Retry-After: 2", begin=on(PUT, slow_down))
    yield _saved("put: 503 SlowDown, twice", begin=on(PUT, slow_down, times=2))
    yield _retried("put: 409 ConditionalRequestConflict", begin=on(PUT, refuse(409, "ConditionalRequestConflict")))
    yield _retried("put: 409 OperationAborted", begin=on(PUT, refuse(409, "OperationAborted")))
    yield _saved("put: 412, an equal object stands there", begin=_equal_stands)
    yield _s3(
        "put: 412, a different object stands there", End.REFUSED, "store.key_taken", _other_stands, mend=_other_is_moved
    )
    yield _retried("put: 412, and nothing stands there", begin=on(PUT, refuse(412, "PreconditionFailed")))
    yield _retried("put: connection dropped before the object was made", begin=on(PUT, drop_before))
    yield _saved("put: connection dropped after the object was made", begin=on(PUT, drop_after, times=4))
    yield _saved("put: 500 after the object was made", begin=on(PUT, refuse_after(500, "InternalError"), times=4))
    yield _retried(
        "put: dropped after, and no look is possible",
        begin=both(on(PUT, drop_after), on(HEAD, refuse(500, "InternalError"))),
    )
    yield _retried("put: a bit flips on the way", begin=on(PUT, flip_bit), reason="store.corrupt")
    yield _saved("put: a bit flips once", begin=on(PUT, flip_bit, times=1))
    yield _retried("put: half of it arrives", begin=on(PUT, truncate))
    yield _retried("put: 200, and nothing is made", begin=on(PUT, lambda _: Reply(b"", 200, [("ETag", '"0"')])))
    yield _saved("put: 200 that names no checksum", begin=on(PUT, without("x-amz-checksum-sha256"), times=4))
    yield _saved("put: 200 without any header", begin=on(PUT, without("x-amz-checksum-sha256", "etag"), times=4))
    yield _saved("put: the answer is late, once", begin=on(PUT, hold(1.5), times=1))
    yield _retried("everything: silence", begin=_silent, lasts=_ONCE)
    yield _retried("everything: connection dropped", begin=on("*", drop_before))
    yield _retried("everything: an HTML page of a gateway", begin=on("*", _page(502)))
    yield _retried("everything: 200 with an HTML page", begin=on("*", _page(200)))


def _silent(world: World) -> None:
    world.store_timeout = 0.2
    on("*", hold(5))(world)


def _page(status: int) -> Action:
    return lambda _: Reply(b"<html>Bad gateway</html>", status, [("Content-Type", "text/html")])


def _equal_stands(world: World) -> None:
    for stem in world.sizes:
        world.put(f"{PREFIX}{VICTIM}/{stem}.mp3", world.source(VICTIM, stem))


def _other_stands(world: World) -> None:
    world.put(f"{PREFIX}{VICTIM}/vocal.mp3", b"not ours")


def _other_is_moved(world: World) -> None:
    world.delete(f"{PREFIX}{VICTIM}/vocal.mp3")


def _documents() -> Iterator[Fault]:
    manifest, record = "manifest.json", "record-info.json"
    yield _retried("manifest: 500 InternalError", begin=on(PUT, refuse(500, "InternalError"), key=manifest))
    yield _saved("manifest: connection dropped after it was made", begin=on(PUT, drop_after, key=manifest, times=2))
    yield _retried("manifest: a bit flips on the way", begin=on(PUT, flip_bit, key=manifest), reason="store.corrupt")
    yield _retried("record-info.json: 503 SlowDown", begin=on(PUT, refuse(503, "SlowDown"), key=record))
    yield _saved("manifest: one that is torn stands there", begin=_torn_manifest)


def _torn_manifest(world: World) -> None:
    world.put(f"{PREFIX}{VICTIM}/manifest.json", b'{"format": 1, "stems": [')


def _multiparts() -> Iterator[Fault]:
    retried = partial(_large, end=End.RETRIED, reason="store.busy")
    saved = partial(_large, end=End.ARCHIVED, reason="")
    error = refuse(500, "InternalError")
    yield retried("create: 500 InternalError", begin=on(CREATE, error))
    yield saved("create: connection dropped before", begin=on(CREATE, drop_before, times=1))
    yield saved("create: connection dropped after the upload was made", begin=on(CREATE, drop_after, times=1))
    yield retried("create: 200 with an empty body", begin=on(CREATE, emptied))
    yield retried("part: 500 InternalError", begin=on(PART, error))
    yield saved("part: connection dropped before", begin=on(PART, drop_before, times=1, nth=2))
    yield saved("part: connection dropped after it was kept", begin=on(PART, drop_after, times=1, nth=2))
    yield retried("part: a bit flips on the way", begin=on(PART, flip_bit), reason="store.")
    yield retried("part: half of it arrives", begin=on(PART, truncate))
    yield retried("part: 404 NoSuchUpload", begin=on(PART, refuse(404, "NoSuchUpload")))
    yield retried("part: 500, and the abort fails too", begin=both(on(PART, error), on(ABORT, error)))
    yield saved("complete: 500 before, once", begin=on(COMPLETE, error, times=1))
    yield retried("complete: 500 before", begin=on(COMPLETE, error))
    yield saved("complete: connection dropped before, once", begin=on(COMPLETE, drop_before, times=1))
    yield saved("complete: connection dropped after the object was made", begin=on(COMPLETE, drop_after, times=1))
    yield saved(
        "complete: 500 after the object was made", begin=on(COMPLETE, refuse_after(500, "InternalError"), times=1)
    )
    yield retried("complete: 200 with an error in its body", begin=on(COMPLETE, refuse(200, "InternalError")))
    yield saved(
        "complete: 200 with an error in its body, made all the same",
        begin=on(COMPLETE, refuse_after(200, "InternalError"), times=1),
    )
    yield retried("complete: 404 NoSuchUpload", begin=on(COMPLETE, refuse(404, "NoSuchUpload")))
    yield saved("complete: 412, an equal object stands there", begin=_equal_stands)
    yield _large(
        "complete: 412, a different object stands there",
        End.REFUSED,
        "store.key_taken",
        _other_stands,
        mend=_other_is_moved,
    )
    yield retried(
        "complete: 409 ConditionalRequestConflict", begin=on(COMPLETE, refuse(409, "ConditionalRequestConflict"))
    )
    yield retried("complete: 400 BadDigest", begin=on(COMPLETE, refuse(400, "BadDigest")), reason="store.corrupt")


def _account() -> Iterator[Fault]:
    denied, refused = "store.access_denied", "store.credentials_refused"
    yield _paused("404 NoSuchBucket", reason="store.no_bucket", begin=on("*", refuse(404, "NoSuchBucket")))
    yield _paused(
        "301 PermanentRedirect: another region",
        reason="store.wrong_region",
        begin=on("*", refuse(301, "PermanentRedirect")),
    )
    yield _paused("403 AccessDenied", reason=denied, begin=on("*", refuse(403, "AccessDenied")))
    yield _paused("403 AccessDenied on puts alone", reason=denied, begin=on(PUT, refuse(403, "AccessDenied")))
    yield _large("403 AccessDenied on multipart uploads", End.RETRIED, denied, on(CREATE, refuse(403, "AccessDenied")))
    yield _paused(
        "403 SignatureDoesNotMatch: a wrong secret",
        reason=refused,
        begin=_wrong_secret,
        mend=_right_credentials,
        restarts=True,
    )
    yield _paused(
        "403 InvalidAccessKeyId: an unknown key",
        reason=refused,
        begin=_wrong_key,
        mend=_right_credentials,
        restarts=True,
    )
    yield _paused("400 ExpiredToken", reason=refused, begin=_expired_token, mend=_right_credentials, restarts=True)
    yield _paused(
        "403 RequestTimeTooSkewed", reason="store.clock_skewed", begin=on("*", refuse(403, "RequestTimeTooSkewed"))
    )
    yield _paused("507 InsufficientStorage", reason="store.full", begin=on(PUT, refuse(507, "InsufficientStorage")))
    yield _paused("403 QuotaExceeded", reason="store.full", begin=on(PUT, refuse(403, "QuotaExceeded")))
    yield _paused(
        "501 NotImplemented for If-None-Match", reason="store.misfit", begin=on(PUT, refuse(501, "NotImplemented"))
    )
    yield _paused(
        "400 InvalidArgument: no such checksum", reason="store.misfit", begin=on(PUT, refuse(400, "InvalidArgument"))
    )


def _credentials(key: str, secret: str, token: str | None = None) -> boto3.session.Session:
    return boto3.session.Session(key, secret, token, region_name="us-east-1")


def _wrong_secret(world: World) -> None:
    world.session = _credentials(world.s3.access_key, "wrong-secret-0123456789")


def _wrong_key(world: World) -> None:
    world.session = _credentials("AKIAWRONGKEY00000000", world.s3.secret_key)


def _expired_token(world: World) -> None:
    world.session = _credentials(world.s3.access_key, world.s3.secret_key, SESSION_TOKEN)
    body = f"<Error><Code>ExpiredToken</Code><Message>expired: {SESSION_TOKEN}</Message></Error>"
    world.proxy.on("*", lambda _: Reply(body.encode(), 400, [("Content-Type", "application/xml")]), times=FOR_EVER)


def _right_credentials(world: World) -> None:
    world.session = None


FAULTS = (*_puts(), *_documents(), *_multiparts(), *_account())
