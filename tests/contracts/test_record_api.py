"""What every `RecordApi` must do: the real client and the fake pass the same suite."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import pytest

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
from archiver.core.model import Phase, RecordInfo, TaskId
from archiver.core.records.kinds.names import KindName
from archiver.core.records.kinds.table import KINDS
from archiver.core.records.record import record_of
from archiver.ports.provider import RecordApi
from tests.fakes.record_api import FakeApi
from tests.fakes.scripted import HttpServer, Reply, Request, reply
from tests.house import kie_api

TASK = TaskId("3e63b4cc88d52611159371f6af5571e7")
OTHER_TASK = TaskId("e649edb7abfd759285bd41a47a634b10")
PENDING = {"taskId": TASK, "successFlag": "PENDING", "createTime": 1753782854000}
DONE = {
    "taskId": TASK,
    "successFlag": "SUCCESS",
    "createTime": 1753782854000,
    "response": {"vocalUrl": "https://cdn.example/v.mp3", "instrumentalUrl": "https://cdn.example/i.mp3"},
}


class World(Protocol):
    """The provider as a test sets it up."""

    api: RecordApi

    def knows(self, task_id: TaskId, *data: Mapping[str, object], kind: KindName = KindName.SEPARATION) -> None: ...
    def links(self, url: str, link: str) -> None: ...
    def credit(self, balance: float) -> None: ...
    def breaks(self, error: type[ArchiverError]) -> None: ...
    def mends(self) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.fake = FakeApi()
        self.api: RecordApi = self.fake

    def knows(self, task_id: TaskId, *data: Mapping[str, object], kind: KindName = KindName.SEPARATION) -> None:
        self.fake.knows(task_id, *data, kind=kind)

    def links(self, url: str, link: str) -> None:
        self.fake.links[url] = link

    def credit(self, balance: float) -> None:
        self.fake.balance = balance

    def breaks(self, error: type[ArchiverError]) -> None:
        self.fake.trouble = error()

    def mends(self) -> None:
        self.fake.trouble = None


TROUBLES: Mapping[type[ArchiverError], Reply] = {
    ApiBusy: reply({"code": 500, "msg": "Server Error"}, status=500),
    ApiThrottled: reply({"code": 429}, status=429, headers={"Retry-After": "0"}),
    KeyRefused: reply({"code": 401}),
    NoCredit: reply({"code": 402}),
    Maintenance: reply({"code": 455}),
    FeatureDisabled: reply({"code": 505}),
    AgentBlocked: reply("error code: 1010", status=403),
}


@dataclass(slots=True)
class RealWorld:
    api: RecordApi
    records: dict[tuple[str, str], list[Mapping[str, object]]] = field(default_factory=dict)
    """By the path of their kind, and their id."""
    fresh: dict[str, str] = field(default_factory=dict)
    balance: float = 0.0
    trouble: Reply | None = None

    def knows(self, task_id: TaskId, *data: Mapping[str, object], kind: KindName = KindName.SEPARATION) -> None:
        self.records[KINDS[kind].path, task_id] = list(data)

    def links(self, url: str, link: str) -> None:
        self.fresh[url] = link

    def credit(self, balance: float) -> None:
        self.balance = balance

    def breaks(self, error: type[ArchiverError]) -> None:
        self.trouble = TROUBLES[error]

    def mends(self) -> None:
        self.trouble = None

    def answer(self, request: Request) -> Reply:
        if self.trouble is not None:
            return self.trouble
        target = urlsplit(request.target)
        if target.path == "/api/v1/chat/credit":
            return reply({"code": 200, "data": self.balance})
        if target.path == "/api/v1/common/download-url":
            link = self.fresh.get(json.loads(request.body)["url"])
            return reply({"code": 200 if link else 422, "msg": "url is wrong", "data": link})
        script = self.records.get((target.path, parse_qs(target.query)["taskId"][0]))
        if script is None:
            new = target.path == KINDS[KindName.JOBS].path
            return reply({"code": 422, "msg": "recordInfo is null"} if new else {"code": 200, "data": None})
        return reply({"code": 200, "data": script.pop(0) if len(script) > 1 else script[0]})


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    with (
        HttpServer() as provider,
        closing(
            kie_api(
                provider.url,
                jitter=lambda: -1.5,  # makes the waits between tries 0
                clock=time.monotonic,
                wait=threading.Condition.wait,
            )
        ) as api,
    ):
        real = RealWorld(api)
        provider.answer = real.answer
        yield real


def test_fetch_when_the_task_is_unknown_is_absent(world: World) -> None:
    world.knows(OTHER_TASK, DONE)
    assert world.api.fetch(TASK) == RecordInfo(Phase.ABSENT)


def test_fetch_when_the_task_is_known_reads_its_record(world: World) -> None:
    world.knows(TASK, DONE)
    assert world.api.fetch(TASK) == record_of(DONE)
    assert world.api.fetch(TASK) == record_of(DONE)


@pytest.mark.parametrize("kind", KindName)
def test_fetch_of_a_kind_reads_its_record_as_its_kind_and_no_other_knows_the_id(world: World, kind: KindName) -> None:
    data = {"taskId": TASK, "state": "success", "successFlag": 2, "response": {"resultUrls": ["https://cdn.example/1"]}}
    world.knows(TASK, data, kind=kind)
    for asked in KindName:
        record = world.api.fetch(TASK, kind=asked)
        assert record == (record_of(data, kind) if asked is kind else RecordInfo(Phase.ABSENT, kind=asked))


def test_fetch_when_the_task_moves_on_tells_each_state(world: World) -> None:
    world.knows(TASK, PENDING, DONE)
    assert [world.api.fetch(TASK).phase for _ in range(3)] == [Phase.PENDING, Phase.DONE, Phase.DONE]


@pytest.mark.parametrize("error", TROUBLES, ids=lambda each: each.__name__)
def test_every_call_when_the_provider_is_in_trouble_raises_it_until_mended(
    world: World, error: type[ArchiverError]
) -> None:
    world.knows(TASK, DONE)
    world.breaks(error)
    for call in (
        lambda: world.api.fetch(TASK),
        lambda: world.api.fresh_link("https://cdn.example/v.mp3"),
        world.api.credit,
    ):
        with pytest.raises(ArchiverError) as caught:
            call()
        assert type(caught.value) is error
    world.mends()
    assert world.api.fetch(TASK).phase is Phase.DONE


def test_fresh_link_when_the_url_is_known_gives_its_link(world: World) -> None:
    world.links("https://cdn.example/v.mp3", "https://tmp.example/v?sig=1")
    assert world.api.fresh_link("https://cdn.example/v.mp3") == "https://tmp.example/v?sig=1"


def test_fresh_link_when_the_url_is_unknown_is_none(world: World) -> None:
    assert world.api.fresh_link("https://elsewhere.example/v.mp3") is None


def test_credit_gives_the_balance(world: World) -> None:
    world.credit(5916.25)
    assert world.api.credit() == 5916.25
