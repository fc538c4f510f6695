"""The provider's API over real sockets: every answer it is known to give, and those it should not."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pytest

from archiver.adapters.provider import KieApi
from archiver.adapters.provider.pace import LocalSlots
from archiver.core.errors import (
    AgentBlocked,
    ApiBusy,
    ApiThrottled,
    ArchiverError,
    FeatureDisabled,
    KeyRefused,
    Maintenance,
    NoCredit,
    ProviderPaused,
)
from archiver.core.model import Phase, TaskId
from archiver.core.records.envelope import record_of
from tests import FIXTURES
from tests.fakes.events import Events
from tests.fakes.provider import Reply, Request, ScriptedProvider, reply

KEY = "sk-PLANTED-api-key-0123456789"
TASK = TaskId("3e63b4cc88d52611159371f6af5571e7")
OTHER_TASK = TaskId("e649edb7abfd759285bd41a47a634b10")
EXAMPLES: list[dict[str, Any]] = json.loads((FIXTURES / "record-info-examples.json").read_text(encoding="utf-8"))
PENDING = {"code": 200, "msg": "success", "data": {"taskId": TASK, "successFlag": "PENDING"}}


class FakeTime:
    """A clock that only waits move."""

    def __init__(self) -> None:
        self.now = 50_000.0
        self.waits: list[float] = []

    def clock(self) -> float:
        return self.now

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        del condition
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(lambda _: reply(PENDING)) as provider:
        yield provider


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def events() -> Events:
    return Events()


Make = Callable[..., KieApi]


@pytest.fixture
def make(provider: ScriptedProvider, fake_time: FakeTime, events: Events) -> Iterator[Make]:
    """Build clients on fake time, unless told otherwise."""
    made: list[KieApi] = []

    def make(limit: int = 1000, **changes: Any) -> KieApi:  # noqa: ANN401  any argument of KieApi
        plain: dict[str, Any] = {
            "base_url": provider.url,
            "api_key": KEY,
            "user_agent": "stem-archiver/test",
            "slots": LocalSlots(limit, 10, clock=changes.get("clock", fake_time.clock)),
            "timeout": 5.0,
            "jitter": lambda: 0.5,
            "log": events,
            "allow_http": True,
            "clock": fake_time.clock,
            "wait": fake_time.wait,
        }
        made.append(KieApi(**(plain | changes)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def api(make: Make) -> KieApi:
    return make()


@pytest.fixture
def hurried(make: Make) -> KieApi:
    """A client on real time that gives an exchange half a second, and does not wait between tries."""
    return make(timeout=0.5, clock=time.monotonic, wait=lambda *_: None, jitter=lambda: -1.5)


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


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: str(each["name"]))
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip+chunked"])
def test_fetch_when_the_provider_answers_so_reads_it_so(
    api: KieApi, provider: ScriptedProvider, example: dict[str, Any], *, packed: bool
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
    api: KieApi, provider: ScriptedProvider, answer: Reply, expected: type[ArchiverError]
) -> None:
    provider.says(answer)
    with pytest.raises(ArchiverError) as caught:
        api.fetch(TASK)
    assert isinstance(caught.value, expected)
    assert isinstance(caught.value, ApiThrottled) == (expected is ApiThrottled)


@pytest.mark.parametrize("answer", [{"code": 404, "msg": "no"}, {"code": 422, "msg": "recordInfo is null"}])
@pytest.mark.parametrize("in_status", [False, True])
def test_fetch_when_the_record_does_not_exist_is_absent_in_either_layer(
    api: KieApi, provider: ScriptedProvider, answer: dict[str, Any], *, in_status: bool
) -> None:
    provider.says(reply(answer, status=answer["code"] if in_status else 200))
    assert api.fetch(TASK).phase is Phase.ABSENT


@pytest.mark.parametrize("field", ["taskId", "task_id"])
@pytest.mark.parametrize("told", [OTHER_TASK, 7, ["x"], TASK.upper()])
def test_fetch_when_the_answer_is_about_another_task_is_busy(
    api: KieApi, provider: ScriptedProvider, field: str, told: object
) -> None:
    provider.says(reply({"code": 200, "data": {field: told, "response": {"vocalUrl": "https://a.example/b.mp3"}}}))
    with pytest.raises(ApiBusy, match="another task"):
        api.fetch(TASK)


def test_fetch_when_the_answer_names_no_task_is_read(api: KieApi, provider: ScriptedProvider) -> None:
    provider.says(reply({"code": 200, "data": {"response": {"vocalUrl": "https://a.example/b.mp3"}}}))
    assert len(api.fetch(TASK).stems) == 1


def test_fetch_sends_one_get_with_our_agent_and_the_key_in_its_header_only(
    api: KieApi, provider: ScriptedProvider
) -> None:
    api.fetch(TASK)
    (request,) = provider.requests
    assert (request.method, request.target) == ("GET", f"/api/v1/vocal-removal/record-info?taskId={TASK}")
    assert request.headers["user-agent"] == "stem-archiver/test"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["accept-encoding"] == "gzip"
    assert request.body == b""


def test_fetch_when_the_base_url_has_a_path_asks_below_it(make: Make, provider: ScriptedProvider) -> None:
    make(base_url=provider.url + "/gateway/").fetch(TASK)
    assert provider.requests[0].target.startswith("/gateway/api/v1/vocal-removal/record-info?")


def test_fetch_when_answered_passes_the_checkpoint(make: Make) -> None:
    steps: list[str] = []
    make(checkpoint=steps.append).fetch(TASK)
    assert steps == ["api.answered"]


# ---------------------------------------------------------------------- bodies and connections


def test_fetch_when_the_answer_has_neither_length_nor_chunks_reads_to_the_end(
    api: KieApi, provider: ScriptedProvider
) -> None:
    raw = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(PENDING).encode()
    provider.says(Reply(raw, keep=False))
    assert api.fetch(TASK).phase is Phase.PENDING


@pytest.mark.parametrize(
    "answer",
    [
        reply(PENDING, cut=3),
        reply(PENDING, chunked=True, cut=3),
        reply(PENDING, chunked=True, packed=True, cut=60),
        reply(gzip.compress(json.dumps(PENDING).encode(), mtime=0)[:-9], headers={"Content-Encoding": "gzip"}),
        reply(json.dumps(PENDING).encode(), headers={"Content-Encoding": "gzip"}),
        reply(PENDING, headers={"Content-Encoding": "br"}),
        reply(PENDING, headers={"Content-Encoding": "gzip, gzip"}),
        Reply(b"", keep=False),
        Reply(b"SSH-2.0-OpenSSH_9.2\r\n", keep=False),
        Reply(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, keep=False),
    ],
    ids=str,
)
def test_fetch_when_the_answer_is_broken_is_busy(hurried: KieApi, provider: ScriptedProvider, answer: Reply) -> None:
    provider.says(answer)
    with pytest.raises(ApiBusy):
        hurried.fetch(TASK)


@pytest.mark.parametrize("chunked", [False, True])
def test_fetch_when_the_answer_is_over_1_mib_is_busy(api: KieApi, provider: ScriptedProvider, *, chunked: bool) -> None:
    filled = json.dumps(PENDING).encode().ljust(1 << 20)
    provider.says(reply(filled, chunked=chunked))
    assert api.fetch(TASK).phase is Phase.PENDING
    provider.says(reply(filled + b" ", chunked=chunked))
    with pytest.raises(ApiBusy, match="larger than 1048576"):
        api.fetch(TASK)


def test_fetch_when_the_answer_is_a_gzip_bomb_does_not_unpack_it(api: KieApi, provider: ScriptedProvider) -> None:
    bomb = gzip.compress(bytes(64 << 20))
    provider.says(reply(bomb, headers={"Content-Encoding": "gzip"}))
    tracemalloc.start()
    with pytest.raises(ApiBusy, match="larger than"):
        api.fetch(TASK)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 << 20


@pytest.mark.parametrize(
    "answer",
    [
        reply(PENDING, delay=60),
        reply(PENDING, dribble=0.05),
        Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b" " * 99, dribble=0.05),
    ],
    ids=["silence", "head by the byte", "body by the byte"],
)
def test_fetch_when_the_answer_does_not_end_gives_up_in_time(
    hurried: KieApi, provider: ScriptedProvider, answer: Reply
) -> None:
    provider.says(answer)
    began = time.monotonic()
    with pytest.raises(ApiBusy, match="Timeout"):
        hurried.fetch(TASK)
    assert 1.4 < time.monotonic() - began < 3
    assert len(provider.requests) == 3


def test_fetch_when_nobody_listens_is_busy(make: Make, fake_time: FakeTime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(ApiBusy, match="ConnectError"):
        make(base_url=f"http://127.0.0.1:{port}").fetch(TASK)
    assert len(fake_time.waits) == 2


def test_fetch_when_a_kept_connection_was_dropped_connects_anew(api: KieApi, provider: ScriptedProvider) -> None:
    provider.says(Reply(reply(PENDING).raw, keep=False))
    for _ in range(3):
        assert api.fetch(TASK).phase is Phase.PENDING


def test_fetch_when_the_other_side_speaks_no_tls_never_shows_it_the_key(make: Make) -> None:
    with Eavesdropper() as ear:
        with pytest.raises(ApiBusy):
            make(base_url=f"https://127.0.0.1:{ear.port}", allow_http=False, timeout=0.3).fetch(TASK)
        heard = ear.heard()
    assert heard
    assert KEY.encode() not in heard


# ---------------------------------------------------------------------- where the key goes


class Eavesdropper:
    """A port that takes whatever it is sent and says nothing."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._heard = bytearray()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def heard(self) -> bytes:
        return bytes(self._heard)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                try:
                    while piece := connection.recv(65536):
                        self._heard += piece
                except OSError:
                    continue

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_fetch_when_redirected_does_not_follow(api: KieApi, provider: ScriptedProvider, status: int) -> None:
    with Eavesdropper() as ear:
        target = f"http://127.0.0.1:{ear.port}/api/v1/vocal-removal/record-info"
        provider.says(reply(PENDING, status=status, headers={"Location": target}))
        with pytest.raises(ApiBusy, match=r"provider\.base_url"):
            api.fetch(TASK)
        time.sleep(0.05)
        assert ear.heard() == b""


def test_fetch_through_a_proxy_shows_it_only_the_host(make: Make, provider: ScriptedProvider) -> None:
    provider.says(reply("no such host", status=502))
    api = make(base_url="https://api.example.com", allow_http=False, proxy=provider.url.replace("//", "//u:PLANTED@"))
    with pytest.raises(ApiBusy) as caught:
        api.fetch(TASK)
    assert {(each.method, each.target) for each in provider.requests} == {("CONNECT", "api.example.com:443")}
    assert all("bearer" not in str(each.headers).lower() for each in provider.requests)
    assert "PLANTED" not in "".join(traceback.format_exception(caught.value))


def test_proxy_in_the_environment_is_not_used(
    make: Make, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    make().fetch(TASK)
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("base_url", "allow_http"),
    [
        ("http://api.kie.ai", False),
        ("ftp://api.kie.ai", True),
        ("api.kie.ai", True),
        ("", True),
        ("https://", True),
        ("https://user:PLANTED@api.kie.ai", True),
        ("https://api.kie.ai?x=PLANTED", True),
        ("https://api.kie.ai#PLANTED", True),
        ("https://api.kie.ai:port", True),
    ],
)
def test_client_when_the_base_url_cannot_be_used_is_not_built(make: Make, base_url: str, *, allow_http: bool) -> None:
    with pytest.raises(ValueError, match="base URL") as caught:
        make(base_url=base_url, allow_http=allow_http)
    assert "PLANTED" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "nonsense", "http://u:PLANTED@127.0.0.1:port"])
def test_client_when_the_proxy_cannot_be_used_is_not_built(make: Make, proxy: str) -> None:
    with pytest.raises(ValueError, match="proxy") as caught:
        make(proxy=proxy)
    assert "PLANTED" not in str(caught.value)


@pytest.mark.parametrize("user_agent", ["a\nX-Evil: 1", "café"])
def test_client_when_the_agent_cannot_be_sent_is_not_built(make: Make, user_agent: str) -> None:
    with pytest.raises(ValueError, match="User-Agent"):
        make(user_agent=user_agent)


def test_key_when_rotated_is_used_at_the_next_request(make: Make, provider: ScriptedProvider) -> None:
    keys = iter(["first-key-1", "second-key-2\n"])
    api = make(api_key=lambda: next(keys))
    api.fetch(TASK)
    api.fetch(TASK)
    assert [each.headers["authorization"] for each in provider.requests] == [
        "Bearer first-key-1",
        "Bearer second-key-2",
    ]


@pytest.mark.parametrize("key", ["", "  \n", "PLANTED\nX-Evil: 1", "PLANTED\x00", "PLANTED\u00e9", "PLAN TED"])
def test_key_when_no_header_can_carry_it_is_refused_unshown(make: Make, provider: ScriptedProvider, key: str) -> None:
    with pytest.raises(KeyRefused) as caught:
        make(api_key=key).fetch(TASK)
    assert "PLAN" not in "".join(traceback.format_exception(caught.value))
    assert provider.requests == []


def test_key_when_its_file_cannot_be_read_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(KeyRefused, match="No such file"):
        make(api_key=(tmp_path / "absent").read_text).fetch(TASK)


def test_key_when_an_answer_repeats_it_is_masked(api: KieApi, provider: ScriptedProvider) -> None:
    provider.says(reply({"code": 401, "msg": f"nobody knows {KEY}", "data": None}))
    with pytest.raises(KeyRefused) as refused:
        api.fetch(TASK)
    assert str(refused.value).endswith("nobody knows ***")
    provider.says(reply({"code": 200, "msg": "success", "data": {"taskId": TASK, "errorMessage": KEY}}))
    record = api.fetch(TASK)
    assert record.error_message == "***"
    assert KEY not in record.document


def test_key_shows_in_no_repr_error_or_event(
    make: Make, provider: ScriptedProvider, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    api = make()
    shown = [repr(api), str(vars(api))]
    echo = {"code": 500, "msg": "cannot fetch https://x.example/a?token=PLANTED-query\x1b[31m"}
    for answer in (reply(echo), reply(PENDING, cut=2), reply("<html>"), reply("", status=401), Reply(b"", keep=False)):
        provider.says(answer)
        with pytest.raises(ArchiverError) as caught:
            api.fetch(TASK)
        shown.append("".join(traceback.format_exception(caught.value)))
    shown += [repr(events.seen), caplog.text]
    assert "api.retry" in "".join(shown)
    for secret in (KEY, "PLANTED", "\x1b"):
        assert secret not in "".join(shown)


# ---------------------------------------------------------------------- trying again

BUSY = reply({"code": 500, "msg": "Server Error"})


def test_fetch_when_busy_twice_comes_through_at_the_third_try(
    api: KieApi, provider: ScriptedProvider, fake_time: FakeTime, events: Events
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


def test_every_request_is_told_by_what_came_of_it(make: Make, provider: ScriptedProvider) -> None:
    told: list[str] = []
    api = make(answered=told.append)
    provider.says(reply("<h1>Bad gateway</h1>", status=502), reply({"code": 429, "msg": "slow down"}), reply(PENDING))
    api.fetch(TASK)
    provider.says(reply({"code": 401, "msg": "no"}))
    with pytest.raises(KeyRefused):
        api.fetch(TASK)
    assert told == ["api.busy", "api.throttled", "ok", "provider.key_refused"]
    api.close()
    with pytest.raises(ApiBusy):
        api.fetch(TASK)
    assert len(told) == 4, "what was never sent is not counted"


def test_budget_is_what_the_pace_leaves(make: Make) -> None:
    api = make(limit=3)
    assert api.budget() == 3
    api.fetch(TASK)
    assert api.budget() == 2


def test_fetch_when_busy_for_good_raises_after_three_tries(api: KieApi, provider: ScriptedProvider) -> None:
    provider.says(BUSY)
    with pytest.raises(ApiBusy, match="code 500: Server Error"):
        api.fetch(TASK)
    assert len(provider.requests) == 3


@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_fetch_when_busy_spreads_the_waits(
    make: Make, provider: ScriptedProvider, fake_time: FakeTime, jitter: float
) -> None:
    provider.says(BUSY)
    with pytest.raises(ApiBusy):
        make(jitter=lambda: jitter).fetch(TASK)
    assert fake_time.waits == pytest.approx([0.75 + jitter / 2, 1.5 + jitter])


@pytest.mark.parametrize("code", [401, 402, 403, 455, 505])
def test_fetch_when_paused_is_not_tried_again(api: KieApi, provider: ScriptedProvider, code: int) -> None:
    provider.says(reply({"code": code, "msg": "no"}))
    with pytest.raises(ProviderPaused):
        api.fetch(TASK)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_fetch_when_told_to_retry_after_seconds_waits_them_out(
    api: KieApi, provider: ScriptedProvider, fake_time: FakeTime, status: int
) -> None:
    provider.says(reply({"code": status}, status=status, headers={"Retry-After": "7"}), reply(PENDING))
    api.fetch(TASK)
    assert sum(fake_time.waits) == 7


def test_fetch_when_told_to_retry_at_a_date_reckons_by_the_servers_clock(
    api: KieApi, provider: ScriptedProvider, fake_time: FakeTime
) -> None:
    dates = {"Date": "Tue, 04 Aug 2026 10:00:00 GMT", "Retry-After": "Tue, 04 Aug 2026 10:00:09 GMT"}
    provider.says(reply({"code": 429}, status=429, headers=dates), reply(PENDING))
    api.fetch(TASK)
    assert sum(fake_time.waits) == 9


@pytest.mark.parametrize("value", ["soon", "-5", "1e9", "9" * 5000, "Tue, 04 Aug 2026 10:00:09 GMT", ""])
def test_fetch_when_retry_after_says_nothing_backs_off_as_usual(
    api: KieApi, provider: ScriptedProvider, fake_time: FakeTime, value: str
) -> None:
    provider.says(reply({"code": 503}, status=503, headers={"Retry-After": value}), reply(PENDING))
    api.fetch(TASK)
    assert fake_time.waits == [1.0]


@pytest.mark.parametrize("status", [429, 503])
def test_fetch_when_told_to_wait_over_30_seconds_raises_at_once(
    api: KieApi, provider: ScriptedProvider, fake_time: FakeTime, status: int
) -> None:
    provider.says(reply({"code": status}, status=status, headers={"Retry-After": "31"}))
    with pytest.raises(ApiBusy) as caught:
        api.fetch(TASK)
    assert caught.value.retry_after == 31
    assert len(provider.requests) == 1
    assert fake_time.waits == []


def test_fetch_when_waits_add_up_to_30_seconds_has_no_third_try(
    api: KieApi, provider: ScriptedProvider, fake_time: FakeTime
) -> None:
    provider.says(reply({"code": 503}, status=503, headers={"Retry-After": "16"}))
    with pytest.raises(ApiBusy):
        api.fetch(TASK)
    assert len(provider.requests) == 2
    assert sum(fake_time.waits) == 16


# ---------------------------------------------------------------------- the pace


def test_fetch_when_throttled_lets_a_whole_window_pass(
    api: KieApi, provider: ScriptedProvider, fake_time: FakeTime
) -> None:
    provider.says(reply({"code": 429, "msg": "Rate limit exceeded"}), reply(PENDING))
    api.fetch(TASK)
    assert sum(fake_time.waits) == pytest.approx(11.25)


def test_fetch_when_another_task_was_throttled_slows_down_too(
    api: KieApi, provider: ScriptedProvider, fake_time: FakeTime
) -> None:
    provider.says(reply({"code": 429}, status=429, headers={"Retry-After": "31"}), reply(PENDING))
    with pytest.raises(ApiThrottled):
        api.fetch(TASK)
    fake_time.now += 11
    began = fake_time.now
    api.fetch(TASK)
    assert fake_time.now == pytest.approx(began + 20)


def test_fetch_when_the_cool_down_is_long_raises_without_a_request(
    api: KieApi, provider: ScriptedProvider, fake_time: FakeTime
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


def test_every_try_takes_a_slot(make: Make, provider: ScriptedProvider, fake_time: FakeTime) -> None:
    api = make(limit=2)
    began = fake_time.now
    provider.says(BUSY, reply(PENDING))
    api.fetch(TASK)
    assert fake_time.now == began + 1
    api.fetch(TASK)
    assert fake_time.now == began + 10
    api.fetch(TASK)
    assert fake_time.now == began + 11


def test_close_when_a_retry_waits_ends_it_at_once(make: Make, provider: ScriptedProvider) -> None:
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
    api: KieApi, provider: ScriptedProvider, data: object, expected: str | None
) -> None:
    provider.says(reply({"code": 200, "msg": "success", "data": data}))
    assert api.fresh_link("https://file.example/s/old.mp3?x=1") == expected
    (request,) = provider.requests
    assert (request.method, request.target) == ("POST", "/api/v1/common/download-url")
    assert json.loads(request.body) == {"url": "https://file.example/s/old.mp3?x=1"}


def test_fresh_link_when_the_url_is_refused_is_none(api: KieApi, provider: ScriptedProvider) -> None:
    provider.says(reply({"code": 422, "msg": "url is wrong", "data": None}))
    assert api.fresh_link("https://file.example/s/old.mp3") is None


def test_fresh_link_when_busy_logs_neither_link(api: KieApi, provider: ScriptedProvider, events: Events) -> None:
    provider.says(BUSY)
    with pytest.raises(ApiBusy):
        api.fresh_link("https://file.example/PLANTED.mp3?x=PLANTED")
    assert len(events.of("api.retry")) == 2
    assert "PLANTED" not in repr(events.seen)


@pytest.mark.parametrize("data", [5916.25, "5916.25"])
def test_credit_when_answered_is_a_number(api: KieApi, provider: ScriptedProvider, data: object) -> None:
    provider.says(reply({"code": 200, "msg": "success", "data": data}))
    assert api.credit() == 5916.25
    assert provider.requests[0].target == "/api/v1/chat/credit"


@pytest.mark.parametrize(
    "nowhere", [reply("<h1>Not Found</h1>", status=404), reply({"code": 404}), reply({"code": 404}, status=404)]
)
def test_credit_when_the_path_is_unknown_asks_where_the_siblings_keep_it(
    api: KieApi, provider: ScriptedProvider, nowhere: Reply
) -> None:
    provider.says(nowhere, reply({"code": 200, "data": 1025.6}))
    assert api.credit() == 1025.6
    assert [each.target for each in provider.requests] == ["/api/v1/chat/credit", "/api/v1/generate/credit"]


@pytest.mark.parametrize(
    "answer", [{"code": 200, "data": "NaN"}, {"code": 200, "data": {}}, {"code": 200}, {"code": 404}]
)
def test_credit_when_no_number_comes_is_busy(api: KieApi, provider: ScriptedProvider, answer: object) -> None:
    provider.says(reply(answer))
    with pytest.raises(ApiBusy):
        api.credit()


def test_credit_when_the_key_is_bad_is_refused(api: KieApi, provider: ScriptedProvider) -> None:
    provider.says(reply({"code": 401, "msg": "no"}))
    with pytest.raises(KeyRefused):
        api.credit()


def test_client_when_used_by_many_threads_gives_each_its_own_answer(make: Make, provider: ScriptedProvider) -> None:
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
