"""The provider's API over real sockets: every answer it is known to give, and those it should not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from archiver.adapters.provider.client import KieApi
from archiver.adapters.provider.flavours import SUNOAPI, flavour_of
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
from archiver.core.misses import RouteMoved
from archiver.core.model import Phase, RecordInfo, TaskId
from archiver.core.records.kinds.names import KindName
from archiver.core.records.kinds.table import KINDS
from archiver.core.records.record import record_of
from tests.fakes.events import Events
from tests.fakes.scripted import HttpServer, Reply, Request, reply
from tests.fixtures.record_api import BUSY, EXAMPLES, OTHER_TASK, TASK
from tests.fixtures.record_kinds import KIND_EXAMPLES, KindExample
from tests.house import API_KEY
from tests.integration.provider.conftest import Make

# ---------------------------------------------------------------------- what answers mean

READINGS: Mapping[str, Phase | type[ArchiverError]] = {
    "success_separate_vocal": Phase.DONE,
    "success_separate_vocal_old": Phase.DONE,
    "success_split_stem": Phase.DONE,
    "success_split_stem_advanced": Phase.DONE,
    "pending": Phase.PENDING,
    "pending_but_error_set": Phase.PENDING,
    "create_task_failed": Phase.FAILED,
    "generate_audio_failed": Phase.FAILED,
    "callback_exception_with_urls": Phase.DONE,
    "callback_exception_no_urls": Phase.DONE,
    "success_without_urls": Phase.DONE,
    "sensitive_word_error": Phase.FAILED,
    "unknown_task_id": Phase.ABSENT,
    "unknown_task_id_jobs_api": Phase.ABSENT,
    "unauthorized_401_body": KeyRefused,
    "unauthorized_401_http": KeyRefused,
    "insufficient_credits_402": NoCredit,
    "cloudflare_ua_block_403": AgentBlocked,
    "not_found_404": Phase.ABSENT,
    "validation_422": Phase.ABSENT,
    "rate_limited_429_http": ApiThrottled,
    "rate_limited_429_body": ApiThrottled,
    "sub_key_limit_433": ApiThrottled,
    "fetch_451": ApiBusy,
    "maintenance_455": Maintenance,
    "server_error_500_http": ApiBusy,
    "server_error_500_body": ApiBusy,
    "feature_disabled_505": FeatureDisabled,
}


def test_examples_all_have_an_expected_reading() -> None:
    assert {each["name"] for each in EXAMPLES} == set(READINGS)


def test_answer_in_the_charset_of_its_head_is_read_and_its_blemish_named(provider: HttpServer, api: KieApi) -> None:
    body = '{"code": 200, "data": {"successFlag": "PENDING", "errorMessage": "表"}}'.encode("shift_jis")
    head = {"Content-Type": "application/json; charset=Shift_JIS"}
    provider.says(reply(body, headers=head))
    record = api.fetch(TASK)
    assert (record.error_message, record.blemish) == ("表", "characters in shift_jis")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: str(each["name"]))
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip+chunked"])
def test_fetch_when_the_provider_answers_so_reads_it_so(
    api: KieApi, provider: HttpServer, example: dict[str, Any], *, packed: bool
) -> None:
    body = example["body"]
    provider.says(reply(body, status=example["http_status"], chunked=packed, packed=packed))
    data = body.get("data") if isinstance(body, dict) else None
    task = TaskId(data["taskId"]) if data else TASK
    expected = READINGS[example["name"]]
    if isinstance(expected, Phase):
        record = api.fetch(task)
        assert record.phase is expected
        assert record == record_of(data)
    else:
        with pytest.raises(ArchiverError) as caught:
            api.fetch(task)
        assert type(caught.value) is expected


READ_BY_THEIR_CODE: Mapping[str, Phase | type[ArchiverError]] = {
    "jobs_unknown_task": Phase.ABSENT,
    "jobs_unauthorised": KeyRefused,
    "legacy_unknown_task": Phase.ABSENT,
}


@pytest.mark.parametrize(
    "example", [each for each in KIND_EXAMPLES if not each.name.startswith("callback_")], ids=lambda each: each.name
)
def test_fetch_of_each_kind_asks_its_path_and_reads_its_record(
    api: KieApi, provider: HttpServer, example: KindExample
) -> None:
    provider.says(reply(example.body))
    data = example.body.get("data")
    task = TaskId(data["taskId"]) if data else TASK
    expected = READ_BY_THEIR_CODE.get(example.name)
    if expected is None or isinstance(expected, Phase):
        record = api.fetch(task, kind=example.kind)
        assert record == record_of(data, example.kind)
        assert expected in (None, record.phase)
    else:
        with pytest.raises(expected):
            api.fetch(task, kind=example.kind)
    assert provider.requests[0].target == f"{KINDS[example.kind].path}?taskId={task}"


@pytest.mark.parametrize(
    "answer",
    [
        reply({"code": 200, "data": None}),
        reply({"code": 422, "msg": "recordInfo is null"}),
        reply({"code": 404, "msg": "Task not found"}),
        reply({"code": 422, "msg": "recordInfo is null"}, status=422),
        reply({"code": 404, "msg": "Task not found"}, status=404),
    ],
)
@pytest.mark.parametrize("kind", [KindName.JOBS, KindName.MUSIC])
def test_kind_that_does_not_know_the_id_says_so(
    api: KieApi, provider: HttpServer, answer: Reply, kind: KindName
) -> None:
    provider.says(answer)
    assert api.fetch(TASK, kind=kind) == RecordInfo(Phase.ABSENT, kind=kind)


@pytest.mark.parametrize(
    "answer",
    [
        reply("<html>Not Found</html>", status=404),
        reply("", status=404),
        reply({"timestamp": 1, "status": 404, "error": "Not Found", "path": "/api"}, status=404),
    ],
)
def test_path_that_is_none_is_no_word_about_the_id_and_is_not_asked_again(
    api: KieApi, provider: HttpServer, answer: Reply
) -> None:
    provider.says(answer)
    with pytest.raises(RouteMoved):
        api.fetch(TASK, kind=KindName.MUSIC)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("kind", [KindName.MIDI, KindName.MUSIC])
def test_answer_may_be_as_long_as_its_kind_allows(api: KieApi, provider: HttpServer, kind: KindName) -> None:
    notes = [{"pitch": 36, "start": 0.5, "end": 1.0, "velocity": 1}] * 30_000
    body = {"code": 200, "data": {"successFlag": 1, "midiData": {"instruments": [{"name": "Drums", "notes": notes}]}}}
    provider.says(reply(body, packed=True))
    if kind is KindName.MIDI:
        assert [stem.written_as for stem in api.fetch(TASK, kind=kind).stems] == ["json", "mid"]
    else:
        with pytest.raises(ApiBusy, match="larger than 1048576 bytes"):
            api.fetch(TASK, kind=kind)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply({"code": 405, "msg": "rate"}), ApiThrottled),
        (reply({"code": 405, "msg": "rate"}, status=405), ApiThrottled),
        (reply("", status=430), ApiThrottled),
        (reply({"code": 430, "msg": "rate"}), ApiThrottled),
        (reply({"code": 429, "msg": "insufficient credits"}), NoCredit),
        (reply({"code": 429, "msg": "insufficient credits"}, status=429), NoCredit),
        (reply({"code": 455, "msg": "maintenance"}), Maintenance),
    ],
)
def test_codes_of_sunoapi_have_its_meaning(
    make: Make, provider: HttpServer, answer: Reply, expected: type[ArchiverError]
) -> None:
    provider.says(answer)
    with pytest.raises(expected):
        make(flavour=SUNOAPI).fetch(TASK)


def test_sunoapi_is_not_asked_for_kinds_that_it_does_not_have(make: Make, provider: HttpServer) -> None:
    provider.says(reply({"code": 200, "data": None}))
    api = make(flavour=SUNOAPI)
    assert {api.fetch(TASK, kind=kind).phase for kind in KindName} == {Phase.ABSENT}
    asked = {request.target.partition("?")[0] for request in provider.requests}
    assert asked == {KINDS[kind].path for kind in SUNOAPI.kinds}
    assert KindName.JOBS not in SUNOAPI.kinds


@pytest.mark.parametrize(
    ("base_url", "flavour"),
    [
        ("https://api.kie.ai", "kie"),
        ("https://api.sunoapi.org", "sunoapi"),
        ("https://sunoapi.org:8443", "sunoapi"),
        ("https://api.api.box", "sunoapi"),
        ("https://notsunoapi.org", "kie"),
        ("http://127.0.0.1:8080", "kie"),
    ],
)
def test_flavour_is_found_by_the_host(base_url: str, flavour: str) -> None:
    assert flavour_of(base_url) == flavour


def test_credit_of_sunoapi_is_asked_for_at_its_own_path(make: Make, provider: HttpServer) -> None:
    provider.says(reply({"code": 200, "data": 1025.6}))
    assert make(flavour=SUNOAPI).credit() == 1025.6
    assert [request.target for request in provider.requests] == ["/api/v1/generate/credit"]


CLOUDFLARE_PAGE = (
    "<html><title>Attention Required! | Cloudflare</title><body>Sorry, you have been blocked</body></html>"
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply("", status=401), KeyRefused),
        (reply({"code": 200, "data": {}}, status=401), KeyRefused),
        (reply({"code": 401, "msg": "no"}, status=500), KeyRefused),
        (reply({"code": 403, "msg": "IP not in the whitelist"}), KeyRefused),
        (reply({"code": 403, "msg": "no"}, status=403), KeyRefused),
        (reply("<html>Forbidden by the office's proxy</html>", status=403), KeyRefused),
        (reply(CLOUDFLARE_PAGE, status=403), AgentBlocked),
        (reply({"code": 402, "msg": "Credits insufficient"}, status=402), NoCredit),
        (reply("", status=402), NoCredit),
        (reply({"code": 455, "msg": "maintenance"}, status=455), Maintenance),
        (reply({"code": 505, "msg": "disabled"}, status=505), FeatureDisabled),
        (reply("HTTP Version Not Supported", status=505), ApiBusy),
        (reply({"code": 430, "msg": "call frequency too high"}), ApiThrottled),
        (reply({"code": 405, "msg": "call frequency too high"}), ApiThrottled),
        (reply("<h1>Method Not Allowed</h1>", status=405), ApiBusy),
        (reply("error code: 1015", status=429), ApiThrottled),
        (reply({"code": 200, "data": None}, status=500), ApiBusy),
        (reply("<h1>Bad gateway</h1>", status=502), ApiBusy),
        (reply("<h1>Not Found</h1>", status=404), ApiBusy),
        (reply({"code": 200, "data": None}, status=404), ApiBusy),
        (reply({"code": 500, "data": None}, status=404), ApiBusy),
        (reply({"code": 422, "data": None}, status=500), ApiBusy),
        (reply({"code": 408, "msg": "upstream"}), ApiBusy),
        (reply({"code": 501, "msg": "failed"}), ApiBusy),
        (reply({"code": 409, "msg": "conflict"}), ApiBusy),
        (reply({"code": 531, "msg": "refunded"}), ApiBusy),
        (reply({"code": 400, "msg": "what"}, status=400), ApiBusy),
        (reply({"msg": "no code"}), ApiBusy),
        (reply("<html>welcome</html>"), ApiBusy),
        (reply(""), ApiBusy),
        (reply(b"[1]"), ApiBusy),
        (reply(b'{"code":200,"data":{"taskI'), ApiBusy),
        (reply(b"", status=204), ApiBusy),
    ],
    ids=str,
)
def test_fetch_when_the_answer_is_odd_names_the_error(
    api: KieApi, provider: HttpServer, answer: Reply, expected: type[ArchiverError]
) -> None:
    provider.says(answer)
    with pytest.raises(ArchiverError) as caught:
        api.fetch(TASK)
    assert isinstance(caught.value, expected)
    assert isinstance(caught.value, ApiThrottled) == (expected is ApiThrottled)


@pytest.mark.parametrize("answer", [{"code": 404, "msg": "no"}, {"code": 422, "msg": "recordInfo is null"}])
@pytest.mark.parametrize("in_status", [False, True])
def test_fetch_when_the_record_does_not_exist_is_absent_in_either_layer(
    api: KieApi, provider: HttpServer, answer: dict[str, Any], *, in_status: bool
) -> None:
    provider.says(reply(answer, status=answer["code"] if in_status else 200))
    assert api.fetch(TASK).phase is Phase.ABSENT


@pytest.mark.parametrize("field", ["taskId", "task_id"])
@pytest.mark.parametrize("other", [OTHER_TASK, 7, ["x"], TASK[1:]])
def test_fetch_when_the_answer_is_about_another_task_is_busy(
    api: KieApi, provider: HttpServer, field: str, other: object
) -> None:
    provider.says(reply({"code": 200, "data": {field: other, "response": {"vocalUrl": "https://a.example/b.mp3"}}}))
    with pytest.raises(ApiBusy, match="another task"):
        api.fetch(TASK)


@pytest.mark.parametrize(
    ("asked", "told"), [(TASK, TASK.upper()), (TASK.upper(), TASK), (TaskId("12345678"), 12345678)]
)
def test_fetch_when_the_answer_spells_the_id_otherwise_is_read(
    api: KieApi, provider: HttpServer, asked: TaskId, told: object
) -> None:
    provider.says(reply({"code": 200, "data": {"taskId": told, "response": {"vocalUrl": "https://a.example/b.mp3"}}}))
    assert len(api.fetch(asked).stems) == 1


def test_fetch_when_the_answer_names_no_task_is_read(api: KieApi, provider: HttpServer) -> None:
    provider.says(reply({"code": 200, "data": {"response": {"vocalUrl": "https://a.example/b.mp3"}}}))
    assert len(api.fetch(TASK).stems) == 1


@pytest.mark.parametrize("data", [None, {"taskId": TASK, "successFlag": "PENDING"}])
@pytest.mark.parametrize(
    ("date", "answered_at"),
    [
        ("Sun, 01 Nov 2026 12:00:00 GMT", datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ("yesterday", None),
        (None, None),
        ("Thu, 01 Jan 1970 00:00:05 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
    ],
)
def test_fetch_names_the_time_that_the_provider_says_it_is(
    api: KieApi, provider: HttpServer, data: object, date: str | None, answered_at: datetime | None
) -> None:
    provider.says(reply({"code": 200, "data": data}, headers={} if date is None else {"Date": date}))
    assert api.fetch(TASK).answered_at == answered_at


def test_fetch_sends_one_get_with_our_agent_and_the_key_in_its_header_only(api: KieApi, provider: HttpServer) -> None:
    api.fetch(TASK)
    (request,) = provider.requests
    assert (request.method, request.target) == ("GET", f"/api/v1/vocal-removal/record-info?taskId={TASK}")
    assert request.headers["user-agent"] == "stem-archiver/test"
    assert request.headers["authorization"] == f"Bearer {API_KEY}"
    assert request.headers["accept-encoding"] == "gzip"
    assert request.body == b""


def test_fetch_when_the_base_url_has_a_path_asks_below_it(make: Make, provider: HttpServer) -> None:
    make(base_url=provider.url + "/gateway/").fetch(TASK)
    assert provider.requests[0].target.startswith("/gateway/api/v1/vocal-removal/record-info?")


def test_fetch_when_answered_passes_the_checkpoint(make: Make) -> None:
    steps: list[str] = []
    make(checkpoint=steps.append).fetch(TASK)
    assert steps == ["api.answered"]


# ---------------------------------------------------------------------- links and credit


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("https://tmp.example/a.mp3?sig=1", "https://tmp.example/a.mp3?sig=1"),
        ("https://tmp.example/a b.mp3", "https://tmp.example/a%20b.mp3"),
        ({"url": "https://tmp.example/b"}, "https://tmp.example/b"),
        ({"downloadUrl": "https://tmp.example/c"}, "https://tmp.example/c"),
        ("file:///etc/passwd", None),
        ("javascript:alert(1)", None),
        ("", None),
        (None, None),
        (7, None),
        ({"url": 7}, None),
        ([], None),
    ],
)
def test_fresh_link_when_answered_gives_only_http_links(
    api: KieApi, provider: HttpServer, data: object, expected: str | None
) -> None:
    provider.says(reply({"code": 200, "msg": "success", "data": data}))
    assert api.fresh_link("https://file.example/s/old.mp3?x=1") == expected
    (request,) = provider.requests
    assert (request.method, request.target) == ("POST", "/api/v1/common/download-url")
    assert json.loads(request.body) == {"url": "https://file.example/s/old.mp3?x=1"}


def test_fresh_link_when_the_url_is_refused_is_none(api: KieApi, provider: HttpServer) -> None:
    provider.says(reply({"code": 422, "msg": "url is wrong", "data": None}))
    assert api.fresh_link("https://file.example/s/old.mp3") is None


def test_fresh_link_when_busy_logs_neither_link(api: KieApi, provider: HttpServer, events: Events) -> None:
    provider.says(BUSY)
    with pytest.raises(ApiBusy):
        api.fresh_link("https://file.example/PLANTED.mp3?x=PLANTED")
    assert len(events.of("api.retry")) == 2
    assert "PLANTED" not in repr(events.seen)


@pytest.mark.parametrize("data", [5916.25, "5916.25"])
def test_credit_when_answered_is_a_number(api: KieApi, provider: HttpServer, data: object) -> None:
    provider.says(reply({"code": 200, "msg": "success", "data": data}))
    assert api.credit() == 5916.25
    assert provider.requests[0].target == "/api/v1/chat/credit"


@pytest.mark.parametrize(
    "nowhere", [reply("<h1>Not Found</h1>", status=404), reply({"code": 404}), reply({"code": 404}, status=404)]
)
def test_credit_when_the_path_is_unknown_asks_where_the_siblings_keep_it(
    api: KieApi, provider: HttpServer, nowhere: Reply
) -> None:
    provider.says(nowhere, reply({"code": 200, "data": 1025.6}))
    assert api.credit() == 1025.6
    assert [each.target for each in provider.requests] == ["/api/v1/chat/credit", "/api/v1/generate/credit"]


@pytest.mark.parametrize(
    "answer", [{"code": 200, "data": "NaN"}, {"code": 200, "data": {}}, {"code": 200}, {"code": 404}]
)
def test_credit_when_no_number_comes_is_busy(api: KieApi, provider: HttpServer, answer: object) -> None:
    provider.says(reply(answer))
    with pytest.raises(ApiBusy):
        api.credit()


def test_credit_when_the_key_is_bad_is_refused(api: KieApi, provider: HttpServer) -> None:
    provider.says(reply({"code": 401, "msg": "no"}))
    with pytest.raises(KeyRefused):
        api.credit()


def test_client_when_used_by_many_threads_gives_each_its_own_answer(make: Make, provider: HttpServer) -> None:
    def answer_by_id(request: Request) -> Reply:
        task = request.target.rpartition("=")[2]
        return reply({"code": 200, "data": {"taskId": task, "successFlag": "PENDING", "errorMessage": task}})

    provider.answer = answer_by_id
    tasks = [TaskId(f"task-{number:08}") for number in range(200)]
    with (
        closing(make(clock=time.monotonic, wait=threading.Condition.wait)) as api,
        ThreadPoolExecutor(8) as pool,
    ):
        assert [each.error_message for each in pool.map(api.fetch, tasks)] == tasks
