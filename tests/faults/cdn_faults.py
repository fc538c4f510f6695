"""Faults of the CDN: what origins, caches and networks do to a body on its way."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from tests.fakes.relay import HttpProxy
from tests.fakes.scripted import DROP, Reply, Request
from tests.faults.matrix import End, Fault
from tests.worlds.world import (
    CDN,
    ELSEWHERE,
    INSIDE,
    PROXY_PASSWORD,
    RESCUE_TOKEN,
    SIGNED_QUERY,
    USERINFO,
    VICTIM,
    CdnFault,
    World,
    envelope,
)

PAGE = f"<!DOCTYPE html><html><body>no such file: https://{CDN}/vocal.mp3?sig={SIGNED_QUERY}</body></html>".encode()
STRONG = (("ETag", '"v1"'),)
QUICK = {"download": {"read_timeout": "300ms"}}
_ONCE = timedelta(seconds=3)
"""Time for one try only, where a try costs real time."""
Answer = Callable[[bytes], Reply]


def serves(answer: Answer) -> Callable[[World], None]:
    """Let every GET be answered so, given the bytes that stand there."""
    return _faulty(lambda _, body: answer(body))


def _faulty(fault: CdnFault) -> Callable[[World], None]:
    def begin(world: World) -> None:
        world.cdn_fault = fault

    return begin


def first(*answers: Answer) -> Callable[[World], None]:
    """Let the first GETs of each stem be answered so, and all later ones well."""

    def begin(world: World) -> None:
        left: dict[str, list[Answer]] = {}

        def fault(request: Request, body: bytes) -> Reply | None:
            script = left.setdefault(request.target, list(answers))
            return script.pop(0)(body) if script else None

        world.cdn_fault = fault

    return begin


def resumed(later: Callable[[bytes, int], Reply]) -> Callable[[World], None]:
    """Cut the first answer to each stem in its middle; answer each resume so, given the body and the position."""

    def begin(world: World) -> None:
        def fault(request: Request, body: bytes) -> Reply | None:
            wanted = request.headers.get("range")
            if wanted is None:
                return Reply(body, headers=STRONG, cut=len(body) // 2)
            return later(body, int(wanted.removeprefix("bytes=").partition("-")[0]))

        world.cdn_fault = fault

    return begin


def status(code: int, text: bytes = PAGE, **headers: str) -> Callable[[World], None]:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return serves(lambda _: Reply(text, code, named))


def redirect(location: str, code: int = 302) -> Callable[[World], None]:
    return serves(lambda _: Reply(status=code, headers=(("Location", location),)))


def _cdn(name: str, end: End, reason: str, begin: Callable[[World], None], **more: Any) -> Fault:  # noqa: ANN401 - Fault's own
    return Fault("CDN", name, end, reason, begin, **more)


_retried = partial(_cdn, end=End.RETRIED)
_saved = partial(_cdn, end=End.ARCHIVED, reason="")
_refused = partial(_cdn, end=End.REFUSED)


def _lengths() -> Iterator[Fault]:
    short, long = "cdn.short_body", "cdn.long_body"
    yield _retried(
        "body short of its Content-Length, again and again", reason=short, begin=serves(lambda b: Reply(b, cut=9999))
    )
    yield _retried(
        "chunked body without its last chunk",
        reason=short,
        begin=serves(lambda b: Reply(b, framing="chunked", cut=9999)),
    )
    yield _retried("body without any framing, short each time", reason="cdn", begin=_shorter_each_time)
    yield _saved("body without any framing, whole", begin=serves(lambda b: Reply(b, framing="close")))
    yield _saved(
        "HTTP/1.0 without Content-Length", begin=serves(lambda b: Reply(b, framing="close", version="HTTP/1.0"))
    )
    yield _saved("HTTP/1.0 with Content-Length", begin=serves(lambda b: Reply(b, version="HTTP/1.0", close=True)))
    yield _saved(
        "one short answer without framing, then whole ones", begin=first(lambda b: Reply(b[:9999], framing="close"))
    )
    yield _retried(
        "more bytes than the Content-Length says",
        reason=long,
        begin=serves(lambda b: Reply(b, announced=len(b) - 500, hang_up=True)),
    )
    yield _retried(
        "two Content-Lengths", reason="cdn.busy", begin=serves(lambda b: Reply(b, headers=(("Content-Length", "9"),)))
    )
    yield _refused(
        "longer than download.max_stem_bytes",
        reason="cdn.too_large",
        begin=_nothing,
        settings=_SMALL,
        mend=_any_size,
        restarts=True,
    )
    yield _refused(
        "endless, without a length",
        reason="cdn.too_large",
        begin=serves(lambda b: Reply(b, framing="chunked")),
        settings=_SMALL,
        mend=_any_size,
        restarts=True,
    )


_SMALL = {"download": {"max_stem_bytes": 20_000}}


def _nothing(_: World) -> None:
    pass


def _any_size(world: World) -> None:
    del world.settings["download"]


def _shorter_each_time(world: World) -> None:
    sizes = iter(range(20_000, 0, -7))
    world.cdn_fault = lambda _, body: Reply(body[: next(sizes)], framing="close")


def _cuts() -> Iterator[Fault]:
    cut_once = resumed(_rest)
    short, changed = "cdn.short_body", "cdn.body_changed"
    yield _saved("cut in mid-body, strong ETag", begin=cut_once, after=_has_resumed)
    yield _saved(
        "reset in mid-body, strong ETag",
        begin=first(lambda b: Reply(b, headers=STRONG, cut=9999, reset=True)),
        after=_has_resumed,
    )
    yield _saved(
        "cut in mid-body of a large stem, in mid-upload",
        begin=cut_once,
        after=_has_resumed,
        sizes={"vocal": (5 << 20) + 300_000, "instrumental": 30_000},
    )
    yield _retried(
        "reset in mid-body, no validator", reason="cdn", begin=serves(lambda b: Reply(b, cut=9999, reset=True))
    )
    yield _retried(
        "cut, weak ETag", reason=short, begin=serves(lambda b: Reply(b, headers=(("ETag", 'W/"v1"'),), cut=9999))
    )
    yield _retried("resume: another ETag", reason=changed, begin=resumed(lambda b, at: _rest(b, at, tag='"v2"')))
    yield _retried(
        "resume: no ETag any more",
        reason=changed,
        begin=resumed(lambda b, at: replace(_rest(b, at), headers=_rest(b, at).headers[:1])),
    )
    yield _retried(
        "resume: another range than asked for", reason=changed, begin=resumed(lambda b, at: _rest(b, at + 1))
    )
    yield _retried(
        "resume: the range of a longer whole", reason=changed, begin=resumed(lambda b, at: _rest(b + b"more", at))
    )
    yield _retried("resume: 200 with the whole", reason=changed, begin=resumed(lambda b, _: Reply(b, headers=STRONG)))
    yield _retried(
        "resume: 416",
        reason=changed,
        begin=resumed(lambda b, _: Reply(status=416, headers=(("Content-Range", f"bytes */{len(b)}"),))),
    )
    yield _retried(
        "resume: right range, other bytes in gzip",
        reason=changed,
        begin=resumed(
            lambda b, at: replace(_rest(b, at), headers=(*_rest(b, at).headers, ("Content-Encoding", "gzip")))
        ),
    )


def _rest(body: bytes, at: int, tag: str = '"v1"') -> Reply:
    span = f"bytes {at}-{len(body) - 1}/{len(body)}"
    return Reply(body[at:], 206, (("Content-Range", span), ("ETag", tag)))


def _has_resumed(world: World) -> None:
    ranges = [request.headers for request in world.cdn_seen if "range" in request.headers]
    assert ranges, "the transfer began anew"
    assert {each["if-range"] for each in ranges} == {'"v1"'}


def _slow() -> Iterator[Fault]:
    slow, busy = "cdn.slow_body", "cdn.busy"
    yield _retried(
        "silence in mid-body", reason=slow, begin=serves(lambda b: Reply(b, stall=9999)), settings=QUICK, lasts=_ONCE
    )
    yield _retried(
        "silence before the head",
        reason=busy,
        begin=serves(lambda _: Reply(raw=b"", stall=0)),
        settings=QUICK,
        lasts=_ONCE,
    )
    yield _retried(
        "one byte at a time", reason=slow, begin=_dripping, mend=lambda world: world.time.run_at(1), lasts=_ONCE
    )


def _dripping(world: World) -> None:
    def fault(_: Request, body: bytes) -> Reply:
        world.time.run_at(1000)
        return Reply(body, drip=0.02)

    world.cdn_fault = fault


def _statuses() -> Iterator[Fault]:
    busy, spent = "cdn.busy", "cdn.link_spent"
    for code in (204, 400, 429, 500, 503):
        yield _retried(f"{code}", reason=busy, begin=status(code))
    yield _retried("429, Retry-After: 30", reason=busy, begin=status(429, Retry_After="30"))
    yield _retried("206 though no range was asked for", reason="cdn.body_changed", begin=serves(lambda b: _rest(b, 1)))
    yield _retried(
        "403 `error code: 1010`: the agent is banned",
        reason="cdn.client_blocked",
        begin=status(403, b"error code: 1010"),
    )
    for code in (401, 403, 404, 410):
        yield _retried(f"{code}, no fresh link and no rescue", reason=spent, begin=_spent(code), after=_asked_for_links)
    yield _saved("403, then a fresh link", begin=_fresh_link)
    yield _saved("404, then the rescue link of download-url", begin=_only_rescue, after=_was_rescued)
    yield _retried("404, and the rescue link answers 403", reason=spent, begin=status(404), after=_asked_for_links)
    yield _retried("404, and download-url answers 500", reason="api.busy", begin=_no_rescue(envelope(500)))
    yield _retried(
        "404, and download-url answers HTML",
        reason="api.busy",
        begin=_no_rescue(replace(envelope(200), raw=b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")),
    )
    yield _retried("404, and download-url answers 401", reason="provider.key_refused", begin=_no_rescue(envelope(401)))
    yield _cdn(
        "404 from 20 days after the task on", End.LOST, "cdn.link_spent", _expired, lasts=timedelta(minutes=5), step=5
    )


def _spent(code: int) -> Callable[[World], None]:
    def begin(world: World) -> None:
        status(code)(world)
        _no_rescue(envelope(422, "url is wrong"), code)(world)

    return begin


def _no_rescue(answer: Any, code: int = 404) -> Callable[[World], None]:  # noqa: ANN401 - a Reply
    def begin(world: World) -> None:
        status(code)(world)
        world.api_fault = lambda request: answer if request.target.endswith("/download-url") else None

    return begin


def _expired(world: World) -> None:
    world.created_at = world.time.at - timedelta(days=20)
    _spent(404)(world)


def _fresh_link(world: World) -> None:
    """Let links work only once the record was asked for a second time."""
    world.cdn_fault = lambda _, __: None if world.asked[VICTIM] > 1 else Reply(PAGE, 403)


def _only_rescue(world: World) -> None:
    world.cdn_fault = lambda request, _: None if RESCUE_TOKEN in request.target else Reply(PAGE, 404)


def _was_rescued(world: World) -> None:
    assert world.rescues == len(world.sizes)


def _asked_for_links(world: World) -> None:
    tries = len([request for request in world.cdn_seen if request.target.startswith(f"/{VICTIM}/vocal")])
    assert world.asked[VICTIM] <= 2 * tries, "links are asked for in a tight loop"


def _bodies() -> Iterator[Fault]:
    not_audio = "cdn.not_audio"
    yield _retried("HTML with 200, once or twice", reason=not_audio, begin=status(200))
    yield _refused("HTML with 200, again and again", reason=not_audio, begin=status(200), lasts=timedelta(minutes=1))
    yield _refused("JSON with 200", reason=not_audio, begin=status(200, b'{"code": 404}'), lasts=timedelta(minutes=1))
    yield _refused(
        "XML with 200",
        reason=not_audio,
        begin=status(200, b"<?xml version='1.0'?><Error/>"),
        lasts=timedelta(minutes=1),
    )
    yield _refused("empty 200", reason="cdn.empty_body", begin=status(200, b""), lasts=timedelta(minutes=1))
    yield _refused(
        "HTML of audio's type and name",
        reason=not_audio,
        begin=status(200, content_type="audio/mpeg"),
        lasts=timedelta(minutes=1),
    )
    yield _retried(
        "gzip though identity was asked for",
        reason="cdn.busy",
        begin=serves(lambda b: Reply(gzip.compress(b, 1), headers=(("Content-Encoding", "gzip"),))),
    )
    yield _saved(
        "audio called application/octet-stream",
        begin=serves(lambda b: Reply(b, headers=(("Content-Type", "application/octet-stream"),))),
    )
    yield _retried(
        "not HTTP", reason="cdn.busy", begin=serves(lambda _: Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n", hang_up=True))
    )
    yield _retried("connection closed without an answer", reason="cdn.busy", begin=serves(lambda _: DROP))


def _ways() -> Iterator[Fault]:
    forbidden, busy = "cdn.address_forbidden", "cdn.busy"
    yield _retried(
        "redirects in a circle", reason=busy, begin=redirect(f"http://{CDN}/{VICTIM}/vocal.mp3?sig={SIGNED_QUERY}")
    )
    yield _retried("redirect without a Location", reason=busy, begin=status(302))
    yield _saved("redirect to another public host", begin=_elsewhere)
    yield _refused(
        "redirect to a private address",
        reason=forbidden,
        begin=redirect("http://169.254.169.254/latest/meta-data"),
        lasts=timedelta(minutes=1),
    )
    yield _refused(
        "redirect to a name with a private address",
        reason=forbidden,
        begin=redirect(f"http://{INSIDE}/"),
        lasts=timedelta(minutes=1),
    )
    yield _retried("redirect from https to http", reason=forbidden, begin=redirect(f"http://{ELSEWHERE}/"), tls=True)
    yield _refused(
        "redirect to a URL with a password",
        reason=forbidden,
        begin=redirect(f"http://user:{USERINFO}@{ELSEWHERE}/"),
        lasts=timedelta(minutes=1),
    )
    yield _retried("redirect to a file", reason=forbidden, begin=redirect("file:///etc/passwd"))
    yield _refused(
        "the name leads to a private address",
        reason=forbidden,
        begin=_named("127.0.0.1"),
        mend=_named(_PUBLIC),
        lasts=timedelta(minutes=1),
    )
    yield _retried("the name does not exist", reason="cannot resolve", begin=_unnamed, mend=_named(_PUBLIC))
    yield _retried(
        "certificate of another host",
        reason="certificate",
        begin=_with_certificate("wrong"),
        mend=_with_certificate("good"),
        tls=True,
    )
    yield _retried(
        "certificate that has expired",
        reason="certificate",
        begin=_with_certificate("expired"),
        mend=_with_certificate("good"),
        tls=True,
    )
    yield _retried(
        "plain text where TLS is spoken",
        reason=busy,
        begin=_with_certificate("none"),
        settings={"download": {"connect_timeout": "300ms"}},
        lasts=_ONCE,
        mend=_with_certificate("good"),
        tls=True,
    )
    yield _retried("the proxy refuses our password", reason="api.busy", begin=_behind_proxy)


_PUBLIC = "93.184.216.34"


def _behind_proxy(world: World) -> None:
    """Let everything but S3 go through a proxy that does not take our password, until it is mended."""
    credentials = f"user:{PROXY_PASSWORD}"
    proxy = world.later.enter_context(
        HttpProxy(routes={"": world.cdn.port, "127.0.0.1": world.api.port}, credentials="nobody:nothing")
    )
    world.settings["download"] = {"proxy": f"http://{credentials}@127.0.0.1:{proxy.port}"}
    world.repairs.append(lambda: setattr(proxy, "credentials", credentials))


def _elsewhere(world: World) -> None:
    def fault(request: Request, body: bytes) -> Reply | None:
        moved = request.headers["host"] == ELSEWHERE
        return None if moved else Reply(status=307, headers=(("Location", f"http://{ELSEWHERE}{request.target}"),))

    world.cdn_fault = fault


def _named(address: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.names[CDN] = address

    return change


def _unnamed(world: World) -> None:
    del world.names[CDN]


def _with_certificate(which: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.cdn.tls = world.certificates[which]

    return change


FAULTS = (*_lengths(), *_cuts(), *_slow(), *_statuses(), *_bodies(), *_ways())
