"""Faults of the provider's API: every answer of its docs, and what networks make of answers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.fakes.scripted import DROP, Reply, reply
from tests.faults.matrix import End, Fault, nothing
from tests.worlds.world import API_KEY, BOT_TOKEN, World, envelope

ECHO = f"no such key: Bearer {API_KEY}, see https://api.example/keys?key={API_KEY}"
"""What a careless server might tell us back."""
PAGE = f"<html><head><title>502</title></head><body>Bad gateway for {ECHO}</body></html>"
DAY = timedelta(days=1)
HOUR = 3600.0


def says(answer: Reply) -> Callable[[World], None]:
    """Let every request be answered so."""

    def begin(world: World) -> None:
        world.api_fault = lambda _: answer

    return begin


def record(change: Callable[[dict[str, Any]], object]) -> Callable[[World], None]:
    """Let record-info's data be changed so."""

    def begin(world: World) -> None:
        world.record_fault = change

    return begin


def with_fields(**fields: object) -> Callable[[World], None]:
    return record(lambda data: data | fields)


def _body(code: int, msg: str = ECHO) -> Callable[[World], None]:
    return says(envelope(code, msg))


def _http(status: int, msg: str = ECHO, **headers: str) -> Callable[[World], None]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return says(reply({"code": status, "msg": msg, "data": None}, status=status, headers=named))


def _text(status: int, text: str = PAGE) -> Callable[[World], None]:
    return says(reply(text, status=status))


def _api(name: str, end: End, reason: str, begin: Callable[[World], None], **more: Any) -> Fault:  # noqa: ANN401 - Fault's own
    return Fault("API", name, end, reason, begin, **more)


def _account() -> Iterator[Fault]:
    refused = ("provider.key_refused", "provider.agent_blocked", "provider.no_credit", "provider.maintenance")
    key, agent, credit, maintenance = refused
    yield _api("401 in the body of a 200", End.PAUSED, key, _body(401))
    yield _api("401 in both layers", End.PAUSED, key, _http(401))
    yield _api("401 that is no JSON", End.PAUSED, key, _text(401))
    yield _api("402 in the body: no credit", End.PAUSED, credit, _body(402))
    yield _api("402 in both layers: no credit", End.PAUSED, credit, _http(402))
    yield _api("403 `error code: 1010`: the agent is banned", End.PAUSED, agent, _text(403, "error code: 1010"))
    yield _api("403 in the body: the key's IP list", End.PAUSED, key, _body(403))
    yield _api("403 JSON: the key's IP list", End.PAUSED, key, _http(403))
    yield _api("455 in the body: maintenance", End.PAUSED, maintenance, _body(455))
    yield _api("455 in both layers: maintenance", End.PAUSED, maintenance, _http(455))
    yield _api("505 in the body: the feature is disabled", End.PAUSED, "provider.feature_disabled", _body(505))


def _busy() -> Iterator[Fault]:
    busy, throttled = "api.busy", "api.throttled"
    for code in (408, 451, 500, 501, 531):
        yield _api(f"{code} in the body of a 200", End.RETRIED, busy, _body(code))
    for status in (408, 500, 501, 503):
        yield _api(f"{status} in both layers", End.RETRIED, busy, _http(status))
    yield _api("502 with an HTML page", End.RETRIED, busy, _text(502))
    yield _api("503 with an HTML page", End.RETRIED, busy, _text(503))
    yield _api("404 with an HTML page: a wrong path", End.RETRIED, "api.no_route", _text(404))
    for code in (405, 429, 430, 433):
        yield _api(f"{code} in the body: slow down", End.RETRIED, throttled, _body(code))
    yield _api("429 in both layers, without Retry-After", End.RETRIED, throttled, _http(429))
    yield _api("429 in both layers, Retry-After: 20", End.RETRIED, throttled, _http(429, Retry_After="20"))
    yield _api("redirect to another host", End.RETRIED, busy, _http(302, location="https://elsewhere.example/"))


def _odd_bodies() -> Iterator[Fault]:
    busy = "api.busy"
    good = json.dumps({"code": 200, "msg": "success", "data": None})
    bomb = Reply(raw=_packed(gzip.compress(bytes(16 << 20))))
    padded = record(lambda data: data | {"padding": "x" * (2 << 20)})
    yield _api("JSON cut short", End.RETRIED, busy, says(reply(good[:-9].encode())))
    yield _api("connection closed before the announced end", End.RETRIED, busy, says(reply(good.encode(), cut=9)))
    yield _api("JSON, but a list", End.RETRIED, busy, says(reply([{"code": 200}])))
    yield _api("empty 200", End.RETRIED, busy, says(reply(b"")))
    yield _api("2 MB of JSON", End.RETRIED, busy, padded)
    yield _api("gzip bomb: 16 MiB in 16 kB", End.RETRIED, busy, says(bomb))
    yield _api("gzip cut short", End.RETRIED, busy, says(Reply(raw=_packed(gzip.compress(good.encode())[:-12]))))
    yield _api("answer about another task", End.RETRIED, busy, with_fields(taskId="another-task-0001"))


def _packed(content: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def _network() -> Iterator[Fault]:
    busy, quick = "api.busy", {"provider": {"timeout": "300ms"}}
    slowly = replace(envelope(200), drip=0.05)
    yield _api("connection closed without an answer", End.RETRIED, busy, says(DROP))
    yield _api("reset without an answer", End.RETRIED, busy, says(Reply(raw=b"", reset=True)))
    yield _api(
        "reset in mid-answer",
        End.RETRIED,
        busy,
        says(replace(envelope(200, data="x" * 500), reset=True, raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")),
    )
    yield _api("silence", End.RETRIED, busy, says(replace(envelope(200), delay=60)), settings=quick, lasts=_ONCE)
    yield _api("one byte at a time", End.RETRIED, busy, says(slowly), settings=quick, lasts=_ONCE)
    for which, what in (("wrong", "certificate of another host"), ("expired", "certificate that has expired")):
        yield _api(what, End.RETRIED, busy, certified(which), mend=certified("good"), tls=True)
    yield _api("not HTTP", End.RETRIED, busy, says(Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n", hang_up=True)))
    yield _api(
        "name that does not exist",
        End.RETRIED,
        busy,
        nothing,
        settings={"provider": {"base_url": "https://api.invalid"}},
        mend=lambda world: world.settings.pop("provider"),
        restarts=True,
        lasts=_ONCE,
    )


def certified(which: str) -> Callable[[World], None]:
    """Let the API show this certificate."""

    def change(world: World) -> None:
        world.api.tls = world.certificates[which]

    return change


_ONCE = timedelta(seconds=3)
"""Time for one try only, where a try costs real time."""


def _records() -> Iterator[Fault]:
    yield _api("`data: null`, then the record", End.WAITED, "does not know", record(lambda _: None))
    yield _api(
        "`data: null` for 25 hours",
        End.MISSING,
        "does not know",
        record(lambda _: None),
        lasts=25 * DAY / 24,
        step=5 * HOUR,
    )
    yield _api("404 in both layers: no such record", End.WAITED, "does not know", _http(404))
    yield _api("422 in the body: no such record", End.WAITED, "does not know", _body(422))
    yield _api("PENDING, then SUCCESS", End.WAITED, "not ready", with_fields(**_PENDING))
    yield _api("PENDING for 17 days", End.FAILED, "never finished", _pending_since_now, lasts=17 * DAY, step=72 * HOUR)
    yield _api("PENDING with an error, then SUCCESS", End.WAITED, "413", with_fields(**_PENDING_ERROR))
    yield _api(
        "PENDING with an error for 25 hours",
        End.FAILED,
        "413",
        with_fields(**_PENDING_ERROR),
        lasts=25 * DAY / 24,
        step=5 * HOUR,
    )
    yield _api("SUCCESS without URLs, then with", End.WAITED, "lists no audio", with_fields(response=None))
    yield _api(
        "SUCCESS without URLs for 25 hours",
        End.FAILED,
        "lists no audio",
        with_fields(response={}),
        lasts=25 * DAY / 24,
        step=5 * HOUR,
    )
    yield _api("SUCCESS with stems still missing", End.WAITED, "more stems", with_fields(successFlag="FIRST_SUCCESS"))
    yield _api("CALLBACK_EXCEPTION with URLs", End.ARCHIVED, "", with_fields(successFlag="CALLBACK_EXCEPTION"))
    yield _api(
        "CALLBACK_EXCEPTION without URLs, then with",
        End.WAITED,
        "lists no audio",
        with_fields(successFlag="CALLBACK_EXCEPTION", response=None),
    )
    yield _api(
        "a flag nobody has heard of", End.WAITED, "not ready", with_fields(**_PENDING | {"successFlag": "REHEATING"})
    )
    yield _api("data is a text", End.WAITED, "not ready", record(lambda _: "soon"))
    for flag in ("CREATE_TASK_FAILED", "GENERATE_AUDIO_FAILED", "SENSITIVE_WORD_ERROR"):
        yield _api(flag, End.FAILED, flag, with_fields(successFlag=flag, errorCode=500, response=None))


_PENDING: dict[str, object] = {"successFlag": "PENDING", "response": None, "completeTime": None, "errorMessage": None}
_PENDING_ERROR = _PENDING | {
    "errorCode": 413,
    "errorMessage": f"cannot fetch https://api.telegram.org/file/{BOT_TOKEN}/a.mp3",
}


def _pending_since_now(world: World) -> None:
    world.created_at = world.time.at
    with_fields(**_PENDING)(world)


FAULTS = (*_account(), *_busy(), *_odd_bodies(), *_network(), *_records())
