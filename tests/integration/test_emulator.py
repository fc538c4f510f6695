import hashlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from mutagen.mp3 import MP3

from archiver.core.model import Phase
from archiver.core.records.kinds.names import KindName
from archiver.core.records.kinds.table import KINDS
from archiver.core.records.record import record_of
from archiver.demo.audio import EmulatedStem
from archiver.demo.emulator import API_KEY, Emulator
from archiver.demo.kinds import KINDS_EMULATED, names_of
from archiver.demo.others import files_of_others, written_of
from archiver.demo.records import FLAT_STEMS, STEMS_OF, Answers, EmulatedTask, Kind
from tests.fakes.serving import port_of
from tests.fakes.time import Clock

AUDIO = {name: EmulatedStem(2000, name) for name in (*FLAT_STEMS, "origin")}
RECORD_INFO = "/api/v1/vocal-removal/record-info"
DOWNLOAD_URL = "/api/v1/common/download-url"
Json = Any  # what json.loads gives; the tests say what they expect of it
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def emulator(clock: Clock) -> Iterator[Emulator]:
    with Emulator(AUDIO, clock=clock) as emulator:
        yield emulator


@pytest.fixture
def api(emulator: Emulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    with httpx.Client(base_url=emulator.base_url, headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
def cdn() -> Iterator[httpx.Client]:
    with httpx.Client(headers={"Accept-Encoding": "identity"}, trust_env=False) as client:
        yield client


def record(api: httpx.Client, task_id: str) -> Json:
    body = api.get(RECORD_INFO, params={"taskId": task_id}).json()
    assert (body["code"], body["msg"]) == (200, "success")
    return body["data"]


def vocal_url(api: httpx.Client, emulator: Emulator, *, link_status: int | None = None) -> str:
    emulator.add(EmulatedTask(task_id="t" * 32, link_status=link_status))
    return str(record(api, "t" * 32)["response"]["vocalUrl"])


def documented() -> Mapping[str, set[str]]:
    """Name the fields of the bodies in the provider's docs."""
    data = {
        "taskId", "musicId", "callbackUrl", "musicIndex", "completeTime", "response",
        "successFlag", "createTime", "errorCode", "errorMessage",
    }  # fmt: skip
    flat = {
        "instrumentalUrl", "vocalUrl", "backingVocalsUrl", "drumsUrl", "bassUrl", "guitarUrl", "pianoUrl",
        "keyboardUrl", "percussionUrl", "stringsUrl", "synthUrl", "fxUrl", "brassUrl", "woodwindsUrl",
    }  # fmt: skip
    return {"data": data, "flat": flat, "response": {"id", "originUrl", "originData"} | flat}


# --- record-info


@pytest.mark.parametrize("kind", STEMS_OF)
def test_record_of_a_success_has_exactly_the_documented_fields(
    emulator: Emulator, api: httpx.Client, clock: Clock, kind: Kind
) -> None:
    emulator.add(EmulatedTask(task_id="task-success", kind=kind, ready_after=timedelta(seconds=83)))
    clock.forward(seconds=83)

    data = record(api, "task-success")

    assert set(data) == documented()["data"]
    assert set(data["response"]) == documented()["response"]
    assert data["successFlag"] == "SUCCESS"
    assert data["createTime"] == int(NOON.timestamp() * 1000)
    assert data["completeTime"] == data["createTime"] + 83_000
    assert data["errorCode"] is None
    assert data["errorMessage"] is None
    assert data["response"]["originUrl"] is None


def answer_of(api: httpx.Client, kind: KindName, task_id: str) -> Json:
    return dict(api.get(KINDS[kind].path, params={"taskId": task_id}).json())


def test_every_kind_is_emulated() -> None:
    assert set(KindName) == KINDS_EMULATED


@pytest.mark.parametrize("kind", sorted(KINDS_EMULATED))
def test_record_of_each_kind_is_read_as_that_kind_and_its_files_served(
    emulator: Emulator, api: httpx.Client, cdn: httpx.Client, kind: KindName
) -> None:
    two = {"vocal": b"v" * 50} if kind is KindName.WAV else {"vocal": b"v" * 50, "instrumental": b"i" * 60}
    stems = files_of_others().get(kind, two)
    task = EmulatedTask(task_id="task-of-a-kind", of=kind, stems=stems, duration=9.0)
    emulator.add(task)
    record = record_of(answer_of(api, kind, task.task_id)["data"], kind)
    assert record.phase is Phase.DONE
    assert record.created_at == (None if kind in {KindName.LYRICS, KindName.RUNWAY} else NOON)
    served = [stem for stem in record.stems if stem.content is None]
    assert {stem.name for stem in served} == set(names_of(task).values())
    assert {cdn.get(stem.url).content for stem in served} == set(stems.values())
    inline = [stem for stem in record.stems if stem.content is not None]
    assert [f"{each.name}.{each.written_as}" for each in inline] == list(written_of(task))


@pytest.mark.parametrize("kind", sorted(KINDS_EMULATED))
def test_id_of_one_kind_is_unknown_to_the_others(emulator: Emulator, api: httpx.Client, kind: KindName) -> None:
    emulator.add(EmulatedTask(task_id="task-of-a-kind", of=kind, stems={"vocal": b"v"}))
    for other in KINDS_EMULATED - {kind}:
        answer = answer_of(api, other, "task-of-a-kind")
        assert answer["data"] is None
        assert answer["code"] == (422 if other is KindName.JOBS else 200)


@pytest.mark.parametrize("kind", sorted(KINDS_EMULATED))
@pytest.mark.parametrize(
    ("answers", "phase"),
    [
        ("pending", Phase.PENDING),
        ("pending_with_error", Phase.PENDING),
        ("failed", Phase.FAILED),
        ("callback_exception", Phase.DONE),
        ("success_without_urls", Phase.DONE),
    ],
)
def test_record_of_each_kind_answers_as_the_task_is_told_to(
    emulator: Emulator, api: httpx.Client, kind: KindName, answers: Answers, phase: Phase
) -> None:
    emulator.add(EmulatedTask(task_id="task-of-a-kind", of=kind, answers=answers, stems={"vocal": b"v"}))
    record = record_of(answer_of(api, kind, "task-of-a-kind")["data"], kind)
    assert record.phase is phase
    assert bool(record.stems) == (answers == "callback_exception")


def test_record_of_separate_vocal_names_two_stems_twice(emulator: Emulator, api: httpx.Client) -> None:
    emulator.add(EmulatedTask(task_id="task-vocal"))
    response = record(api, "task-vocal")["response"]

    urls = {name: response[name] for name in documented()["flat"] if response[name] is not None}
    assert set(urls) == {"instrumentalUrl", "vocalUrl"}
    assert [set(item) for item in response["originData"]] == [
        {"duration", "audio_url", "stem_type_group_name", "id"}
    ] * 2
    assert {item["audio_url"] for item in response["originData"]} == set(urls.values())


def test_record_of_split_stem_lists_twelve_flat_and_four_again(emulator: Emulator, api: httpx.Client) -> None:
    emulator.add(EmulatedTask(task_id="task-split", kind="split_stem"))
    response = record(api, "task-split")["response"]

    urls = {name: response[name] for name in documented()["flat"] if response[name] is not None}
    assert len(urls) == 12
    assert response["pianoUrl"] is response["instrumentalUrl"] is None
    groups = {item["stem_type_group_name"] for item in response["originData"]}
    assert groups == {"Keyboard", "Percussion", "Strings", "Synth"}
    assert {item["audio_url"] for item in response["originData"]} < set(urls.values())


def test_record_of_split_stem_advanced_nests_and_leaves_spaces_raw(
    emulator: Emulator, api: httpx.Client, cdn: httpx.Client
) -> None:
    emulator.add(EmulatedTask(task_id="task-advanced", kind="split_stem_advanced"))
    response = record(api, "task-advanced")["response"]

    assert all(response[name] is None for name in documented()["flat"])
    [pair] = response["originData"]
    assert set(pair) == {"extract", "remove"}
    assert pair["extract"]["stem_type_group_name"] == pair["remove"]["stem_type_group_name"] == "Lead Vocal"
    url = pair["extract"]["audio_url"]
    assert url.endswith("_Lead Vocal.mp3")
    assert cdn.get(quote(url, safe=":/")).content == AUDIO["vocal"][:]


def test_record_of_task_with_origin_names_the_source_mix(emulator: Emulator, api: httpx.Client) -> None:
    emulator.add(EmulatedTask(task_id="task-origin", stems={"vocal": b"v", "origin": b"o"}))

    assert record(api, "task-origin")["response"]["originUrl"].startswith(emulator.cdn_url)


def test_record_of_unknown_id_is_null_in_a_success(emulator: Emulator, api: httpx.Client) -> None:
    assert record(api, "nobody-knows") is None
    assert emulator.calls("nobody-knows") == 1


def test_record_is_pending_until_its_time_has_come(emulator: Emulator, api: httpx.Client, clock: Clock) -> None:
    emulator.add(EmulatedTask(task_id="task-later", ready_after=timedelta(seconds=6)))

    pending = record(api, "task-later")
    clock.forward(seconds=6)

    assert set(pending) == documented()["data"]
    assert (pending["successFlag"], pending["response"], pending["completeTime"]) == ("PENDING", None, None)
    assert record(api, "task-later")["successFlag"] == "SUCCESS"


def test_record_is_pending_for_the_first_asks(emulator: Emulator, api: httpx.Client) -> None:
    emulator.add(EmulatedTask(task_id="task-third", pending_asks=2))

    assert [record(api, "task-third")["successFlag"] for _ in range(3)] == ["PENDING", "PENDING", "SUCCESS"]
    assert emulator.calls("task-third") == 3


@pytest.mark.parametrize(
    ("answers", "flag", "code", "has_urls"),
    [
        ("success_without_urls", "SUCCESS", None, False),
        ("pending", "PENDING", None, False),
        ("pending_with_error", "PENDING", 413, False),
        ("create_failed", "CREATE_TASK_FAILED", 500, False),
        ("failed", "GENERATE_AUDIO_FAILED", 500, False),
        ("callback_exception", "CALLBACK_EXCEPTION", None, True),
        ("callback_exception_without_urls", "CALLBACK_EXCEPTION", 500, False),
    ],
)
def test_record_of_each_answer_has_its_flag_and_error(
    emulator: Emulator, api: httpx.Client, answers: Answers, flag: str, code: int | None, *, has_urls: bool
) -> None:
    emulator.add(EmulatedTask(task_id="task-answer", answers=answers))
    data = record(api, "task-answer")

    assert (data["successFlag"], data["errorCode"]) == (flag, code)
    response = data["response"] or {}
    assert (response.get("vocalUrl") is not None) is has_urls
    assert bool(response.get("originData")) is has_urls


def test_adding_a_task_without_audio_is_refused() -> None:
    with Emulator({}) as bare, pytest.raises(KeyError):
        bare.add(EmulatedTask(task_id="task-mute"))


# --- the API's ways


def test_credit_is_a_float(api: httpx.Client) -> None:
    assert api.get("/api/v1/chat/credit").json() == {"code": 200, "msg": "success", "data": 5916.25}


@pytest.mark.parametrize("header", ["", "Bearer wrong", API_KEY])
def test_api_without_the_right_key_answers_401_inside_a_200(emulator: Emulator, header: str) -> None:
    answer = httpx.get(f"{emulator.base_url}/api/v1/chat/credit", headers={"Authorization": header}, trust_env=False)

    assert answer.status_code == 200
    assert answer.json() == {"code": 401, "msg": "You do not have access permissions"}


def test_both_listeners_ban_the_user_agent_of_urllib(emulator: Emulator, api: httpx.Client) -> None:
    for url in (f"{emulator.base_url}/api/v1/chat/credit", vocal_url(api, emulator)):
        answer = api.get(url, headers={"User-Agent": "Python-urllib/3.11"})
        assert (answer.status_code, answer.text) == (403, "error code: 1010")


@pytest.mark.parametrize(("accept", "encoding"), [("gzip, deflate", "gzip"), ("identity", None)])
def test_api_sends_chunks_and_gzips_only_when_asked(api: httpx.Client, accept: str, encoding: str | None) -> None:
    answer = api.get("/api/v1/chat/credit", headers={"Accept-Encoding": accept})

    assert answer.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in answer.headers
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.headers["server"] == "cloudflare"
    assert answer.json()["data"] == 5916.25


def test_api_keeps_its_connections(emulator: Emulator, api: httpx.Client) -> None:
    connection = http.client.HTTPConnection(emulator.base_url.removeprefix("http://"))
    ports = set()
    for _ in range(3):
        connection.request("GET", "/nowhere", headers={"Authorization": f"Bearer {API_KEY}"})
        assert json.loads(connection.getresponse().read()) == {"code": 404, "msg": "Not Found", "data": None}
        ports.add(connection.sock.getsockname())
    connection.close()
    assert len(ports) == 1


def test_pace_turns_away_the_twenty_first_request_when_enforced() -> None:
    with (
        Emulator(enforce_rate_limit=True) as emulator,
        httpx.Client(headers={"Authorization": f"Bearer {API_KEY}"}, trust_env=False) as client,
    ):
        answers = [client.get(f"{emulator.base_url}/api/v1/chat/credit") for _ in range(22)]

    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 2
    assert answers[-1].json() == {"code": 429, "msg": "Rate limit exceeded"}
    assert "retry-after" not in answers[-1].headers


# --- fresh links


def test_download_url_gives_a_link_that_lives_twenty_minutes(
    emulator: Emulator, api: httpx.Client, cdn: httpx.Client, clock: Clock
) -> None:
    url = vocal_url(api, emulator, link_status=403)

    link = api.post(DOWNLOAD_URL, json={"url": url}).json()["data"]

    assert cdn.get(url).status_code == 403
    assert cdn.get(link).content == AUDIO["vocal"][:]
    clock.forward(minutes=20)
    assert cdn.get(link).status_code == 403


def test_link_opens_only_its_own_file(emulator: Emulator, api: httpx.Client, cdn: httpx.Client) -> None:
    url = vocal_url(api, emulator, link_status=403)
    other = record(api, "t" * 32)["response"]["instrumentalUrl"]
    link = api.post(DOWNLOAD_URL, json={"url": url}).json()["data"]

    assert cdn.get(f"{other}?{link.partition('?')[2]}").status_code == 403


@pytest.mark.parametrize("body", [b'{"url": "https://example.com/s/x.mp3"}', b'{"url": "{cdn}/s/x.mp3"}', b"{}", b"<"])
def test_download_url_refuses_what_the_provider_did_not_make(
    emulator: Emulator, api: httpx.Client, body: bytes
) -> None:
    answer = api.post(DOWNLOAD_URL, content=body.replace(b"{cdn}", emulator.cdn_url.encode()))

    assert answer.status_code == 200
    assert answer.json() == {"code": 422, "msg": "url is wrong", "data": None}


# --- the CDN


def test_cdn_serves_audio_with_length_and_strong_etag(emulator: Emulator, api: httpx.Client, cdn: httpx.Client) -> None:
    url = vocal_url(api, emulator)
    whole, head = cdn.get(url), cdn.head(url)

    assert whole.content == AUDIO["vocal"][:]
    assert head.content == b""
    for answer in (whole, head):
        assert answer.status_code == 200
        assert answer.headers["content-length"] == "2000"
        assert answer.headers["content-type"] == "audio/mpeg"
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["etag"] == AUDIO["vocal"].etag
    assert not AUDIO["vocal"].etag.startswith("W/")


def test_cdn_refuses_and_remembers_a_request_with_the_key(emulator: Emulator, api: httpx.Client) -> None:
    url = vocal_url(api, emulator)

    assert api.get(url).status_code == 403
    [leak] = [seen for seen in emulator.requests if seen.listener == "cdn" and "authorization" in seen.headers]
    assert (leak.method, leak.status, leak.headers["authorization"]) == ("GET", 403, f"Bearer {API_KEY}")


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=700-", 700, 2000), ("bytes=1990-5000", 1990, 2000), ("bytes=-5", 1995, 2000)],
)
def test_cdn_serves_a_range(
    emulator: Emulator, api: httpx.Client, cdn: httpx.Client, wanted: str, start: int, stop: int
) -> None:
    answer = cdn.get(vocal_url(api, emulator), headers={"Range": wanted, "If-Range": AUDIO["vocal"].etag})

    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/2000"
    assert answer.content == AUDIO["vocal"][start:stop]


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=5-9", "If-Range": '"other"'},
        {"Range": "bytes=5-9,20-30"},
        {"Range": "bytes=-"},
        {"Range": "bytes=9-5"},
        {"Range": "lines=5-9"},
    ],
)
def test_cdn_serves_the_whole_where_a_range_does_not_apply(
    emulator: Emulator, api: httpx.Client, cdn: httpx.Client, headers: dict[str, str]
) -> None:
    answer = cdn.get(vocal_url(api, emulator), headers=headers)

    assert (answer.status_code, answer.content) == (200, AUDIO["vocal"][:])


def test_cdn_answers_416_past_the_end(emulator: Emulator, api: httpx.Client, cdn: httpx.Client) -> None:
    answer = cdn.get(vocal_url(api, emulator), headers={"Range": "bytes=2000-"})

    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */2000")


def test_cdn_loses_the_audio_fourteen_days_after_completion(
    emulator: Emulator, api: httpx.Client, cdn: httpx.Client, clock: Clock
) -> None:
    url = vocal_url(api, emulator)

    clock.forward(days=14, seconds=-1)
    assert cdn.get(url).status_code == 200
    clock.forward(seconds=1)
    assert cdn.get(url).status_code == 404
    assert api.post(DOWNLOAD_URL, json={"url": url}).json()["code"] == 422


def test_cdn_does_not_know_other_paths(emulator: Emulator, cdn: httpx.Client) -> None:
    assert cdn.get(f"{emulator.cdn_url}/s/other.mp3").status_code == 404


def test_requests_remembers_every_answer_in_order(emulator: Emulator, api: httpx.Client, cdn: httpx.Client) -> None:
    cdn.get(vocal_url(api, emulator), headers={"Range": "bytes=1-2"})

    first, second = emulator.requests
    assert (first.listener, first.method, first.status) == ("api", "GET", 200)
    assert first.path == f"{RECORD_INFO}?taskId={'t' * 32}"
    assert (second.listener, second.status, second.headers["range"]) == ("cdn", 206, "bytes=1-2")
    assert first.at <= second.at


# --- synthetic audio


def test_synthetic_stem_is_an_mp3_of_its_size() -> None:
    stem = EmulatedStem(5 << 20, "a")
    data = stem[:]
    info: Any = MP3(io.BytesIO(data)).info  # type: ignore[no-untyped-call]  # mutagen has no types here

    assert len(data) == len(stem) == 5 << 20
    assert hashlib.sha256(data).hexdigest() == stem.sha256
    assert (info.bitrate, info.sample_rate, info.sketchy) == (128_000, 44_100, False)


def test_synthetic_stems_differ_by_seed_and_from_block_to_block() -> None:
    stem = EmulatedStem(4 * EmulatedStem.BLOCK, "a")
    blocks = {stem[i * stem.BLOCK : (i + 1) * stem.BLOCK] for i in range(4)}

    assert len(blocks) == 4
    assert EmulatedStem(1000, "a").sha256 != EmulatedStem(1000, "b").sha256
    assert EmulatedStem(1000, "a").etag != EmulatedStem(1000, "b").etag


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (416, 418), (400, 70_000), (65_051, 65_053), (130_000, 200_000)])
def test_any_span_of_a_synthetic_stem_equals_that_span_of_the_whole(start: int, stop: int) -> None:
    stem = EmulatedStem(200_000, "a")

    assert b"".join(stem.chunks(start, stop)) == stem[:][start:stop]


# --- its life


def test_leaving_the_emulator_closes_ports_threads_and_idle_connections() -> None:
    before = threading.active_count()
    with Emulator() as emulator, socket.create_connection(("127.0.0.1", port_of(emulator.cdn_url))) as idle:
        idle.sendall(b"GET /s/x HTTP/1.1\r\nHost: x\r\n\r\n")
        idle.recv(1000)
        began = time.monotonic()
        emulator.__exit__(None, None, None)
        assert time.monotonic() - began < 2
        idle.settimeout(2)
        while idle.recv(1000):
            pass

    assert threading.active_count() == before
    for url in (emulator.base_url, emulator.cdn_url):
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port_of(url))):
            pass


def test_a_client_that_hangs_up_in_mid_body_makes_no_noise(capfd: pytest.CaptureFixture[str]) -> None:
    with Emulator() as emulator:
        emulator.add(EmulatedTask(task_id="task-large", stems={"vocal": EmulatedStem(50 << 20, "large")}))
        key = {"Authorization": f"Bearer {API_KEY}"}
        answer = httpx.get(f"{emulator.base_url}{RECORD_INFO}?taskId=task-large", headers=key, trust_env=False)
        url = answer.json()["data"]["response"]["vocalUrl"]
        with httpx.stream("GET", url, trust_env=False) as body:
            next(body.iter_raw(1000))

    assert capfd.readouterr() == ("", "")


def test_own_process_writes_its_addresses_and_ends_on_sigterm(tmp_path: Path) -> None:
    port_file = tmp_path / "ports.json"
    command = [sys.executable, "-m", "archiver.demo.emulator", "--port-file", str(port_file)]
    with subprocess.Popen([*command, "--tasks", "2", "--stems", "3", "--size", "100000"]) as process:
        try:
            ready = awaited(port_file)
            key = {"Authorization": f"Bearer {ready['api_key']}"}
            with httpx.Client(trust_env=False) as client:
                urls = [
                    url
                    for task_id in ready["task_ids"]
                    for item in client.get(f"{ready['base_url']}{RECORD_INFO}", params={"taskId": task_id}, headers=key)
                    .json()["data"]["response"]
                    .items()
                    if item[0].endswith("Url") and (url := item[1])
                ]
                bodies = {client.get(url).content for url in urls}
        finally:
            os.kill(process.pid, signal.SIGTERM)
        assert process.wait(5) == 0

    assert len(ready["task_ids"]) == 2
    assert len(bodies) == 6
    assert {len(body) for body in bodies} == {100_000}


def awaited(file: Path) -> Json:
    until = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    return json.loads(file.read_text())
