"""Calls of the provider's API that are tried again, and the rate limit they keep to."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from archiver.adapters.provider.client import KieApi
from archiver.core.errors import (
    ApiBusy,
    ApiThrottled,
    KeyRefused,
    ProviderPaused,
)
from archiver.core.model import Phase
from tests.fakes.events import Events
from tests.fakes.scripted import HttpServer, reply
from tests.fakes.time import Seconds
from tests.fixtures.record_api import BUSY, OTHER_TASK, PENDING, TASK
from tests.integration.provider.conftest import Make

# ---------------------------------------------------------------------- trying again


def test_fetch_when_busy_twice_comes_through_at_the_third_try(
    api: KieApi, provider: HttpServer, fake_time: Seconds, events: Events
) -> None:
    provider.says(BUSY, reply("<html>", status=503), reply(PENDING))
    assert api.fetch(TASK).phase is Phase.PENDING
    assert len(provider.requests) == 3
    assert fake_time.waits == [1.0, 2.0]
    retries = events.of("api.retry")
    assert [(each["attempt"], each["status"], each["code"], each["wait_seconds"]) for each in retries] == [
        (1, 200, 500, 1.0),
        (2, 503, None, 2.0),
    ]
    assert {each["task_id"] for each in retries} == {TASK}


def test_result_of_every_request_is_reported(make: Make, provider: HttpServer) -> None:
    results: list[str] = []
    api = make(answered=results.append)
    provider.says(reply("<h1>Bad gateway</h1>", status=502), reply({"code": 429, "msg": "slow down"}), reply(PENDING))
    api.fetch(TASK)
    provider.says(reply({"code": 401, "msg": "no"}))
    with pytest.raises(KeyRefused):
        api.fetch(TASK)
    assert results == ["api.busy", "api.throttled", "ok", "provider.key_refused"]
    api.close()
    with pytest.raises(ApiBusy):
        api.fetch(TASK)
    assert len(results) == 4, "what was never sent is not counted"


def test_budget_is_what_the_limit_leaves(make: Make) -> None:
    api = make(limit=3)
    assert api.budget() == 3
    api.fetch(TASK)
    assert api.budget() == 2


def test_fetch_when_busy_for_good_raises_after_three_tries(api: KieApi, provider: HttpServer) -> None:
    provider.says(BUSY)
    with pytest.raises(ApiBusy, match="code 500: Server Error"):
        api.fetch(TASK)
    assert len(provider.requests) == 3


@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_fetch_when_busy_spreads_the_waits(make: Make, provider: HttpServer, fake_time: Seconds, jitter: float) -> None:
    provider.says(BUSY)
    with pytest.raises(ApiBusy):
        make(jitter=lambda: jitter).fetch(TASK)
    assert fake_time.waits == pytest.approx([0.75 + jitter / 2, 1.5 + jitter])


@pytest.mark.parametrize("code", [401, 402, 403, 455, 505])
def test_fetch_when_paused_is_not_tried_again(api: KieApi, provider: HttpServer, code: int) -> None:
    provider.says(reply({"code": code, "msg": "no"}))
    with pytest.raises(ProviderPaused):
        api.fetch(TASK)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_fetch_when_told_to_retry_after_seconds_waits_them_out(
    api: KieApi, provider: HttpServer, fake_time: Seconds, status: int
) -> None:
    provider.says(reply({"code": status}, status=status, headers={"Retry-After": "7"}), reply(PENDING))
    api.fetch(TASK)
    assert sum(fake_time.waits) == 7


def test_fetch_when_told_to_retry_at_a_date_reckons_by_the_servers_clock(
    api: KieApi, provider: HttpServer, fake_time: Seconds
) -> None:
    dates = {"Date": "Tue, 04 Aug 2026 10:00:00 GMT", "Retry-After": "Tue, 04 Aug 2026 10:00:09 GMT"}
    provider.says(reply({"code": 429}, status=429, headers=dates), reply(PENDING))
    api.fetch(TASK)
    assert sum(fake_time.waits) == 9


@pytest.mark.parametrize("value", ["soon", "-5", "1e9", "Tue, 04 Aug 2026 10:00:09 GMT", ""])
def test_fetch_when_retry_after_says_nothing_backs_off_as_usual(
    api: KieApi, provider: HttpServer, fake_time: Seconds, value: str
) -> None:
    provider.says(reply({"code": 503}, status=503, headers={"Retry-After": value}), reply(PENDING))
    api.fetch(TASK)
    assert fake_time.waits == [1.0]


@pytest.mark.parametrize("value", ["31", "9" * 5000, "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"])
@pytest.mark.parametrize("status", [429, 503])
def test_fetch_when_told_to_wait_over_30_seconds_raises_at_once(
    api: KieApi, provider: HttpServer, fake_time: Seconds, status: int, value: str
) -> None:
    provider.says(reply({"code": status}, status=status, headers={"Retry-After": value}))
    with pytest.raises(ApiBusy) as caught:
        api.fetch(TASK)
    assert caught.value.retry_after == (31 if value == "31" else 366 * 86_400)
    assert len(provider.requests) == 1
    assert fake_time.waits == []


def test_fetch_when_waits_add_up_to_30_seconds_has_no_third_try(
    api: KieApi, provider: HttpServer, fake_time: Seconds
) -> None:
    provider.says(reply({"code": 503}, status=503, headers={"Retry-After": "16"}))
    with pytest.raises(ApiBusy):
        api.fetch(TASK)
    assert len(provider.requests) == 2
    assert sum(fake_time.waits) == 16


# ---------------------------------------------------------------------- the rate limit


def test_fetch_when_throttled_lets_a_whole_window_pass(api: KieApi, provider: HttpServer, fake_time: Seconds) -> None:
    provider.says(reply({"code": 429, "msg": "Rate limit exceeded"}), reply(PENDING))
    api.fetch(TASK)
    assert sum(fake_time.waits) == pytest.approx(11.25)


def test_fetch_when_another_task_was_throttled_slows_down_too(
    api: KieApi, provider: HttpServer, fake_time: Seconds
) -> None:
    provider.says(reply({"code": 429}, status=429, headers={"Retry-After": "31"}), reply(PENDING))
    with pytest.raises(ApiThrottled):
        api.fetch(TASK)
    fake_time.now += 11
    began = fake_time.now
    api.fetch(TASK)
    assert fake_time.now == pytest.approx(began + 20)


def test_fetch_when_the_cool_down_is_long_raises_without_a_request(
    api: KieApi, provider: HttpServer, fake_time: Seconds
) -> None:
    provider.says(reply({"code": 429}, status=429, headers={"Retry-After": "100000"}), reply(PENDING))
    with pytest.raises(ApiThrottled) as first:
        api.fetch(TASK)
    with pytest.raises(ApiThrottled) as second:
        api.fetch(OTHER_TASK)
    assert (first.value.retry_after, second.value.retry_after) == (100_000, 300)
    assert len(provider.requests) == 1
    fake_time.now += 300
    assert api.fetch(TASK).phase is Phase.PENDING


def test_every_try_takes_a_permit(make: Make, provider: HttpServer, fake_time: Seconds) -> None:
    api = make(limit=2)
    began = fake_time.now
    provider.says(BUSY, reply(PENDING))
    api.fetch(TASK)
    assert fake_time.now == began + 1
    api.fetch(TASK)
    assert fake_time.now == began + 10
    api.fetch(TASK)
    assert fake_time.now == began + 11


def test_close_when_a_retry_waits_ends_it_at_once(make: Make, provider: HttpServer) -> None:
    provider.says(reply({"code": 503}, status=503, headers={"Retry-After": "25"}))
    api = make(clock=time.monotonic, wait=threading.Condition.wait)
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(api.fetch, TASK)
        time.sleep(0.3)
        began = time.monotonic()
        api.close()
        with pytest.raises(ApiBusy, match="closed"):
            fetching.result(5)
    assert time.monotonic() - began < 2
