"""`get`, `restore` and `link` from a real bucket, whatever stands between."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from typer.testing import Result

from archiver.demo.seaweed import S3Server
from tests.fakes.s3_proxy import Exchange, S3Proxy, drop_before, refuse
from tests.fakes.scripted import Reply
from tests.fixtures.archived import TASK, archived, manifest, noise, stem_of
from tests.house import command

STEMS = {"vocal": noise(3_000_001), "drums": noise(1_000_000, 2), "bass": noise(10, 3)}
OTHER = "another-task-0001"


@dataclass
class Setting:
    """A bucket behind a proxy, settings that name it, and a directory."""

    proxy: S3Proxy
    put: Callable[[Mapping[str, bytes]], None]
    file: Path
    into: Path

    def run(self, *words: str) -> Result:
        return command("--config", str(self.file), *words)

    def get(self, *words: str) -> Result:
        return self.run("get", TASK, "-o", str(self.into), *words)

    def has(self, name: str) -> bytes | None:
        file = self.into / TASK / name
        return file.read_bytes() if file.exists() else None

    def names(self) -> set[str]:
        return {str(file.relative_to(self.into)) for file in self.into.rglob("*") if file.is_file()}


@pytest.fixture
def setting(s3_server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("HOME", str(tmp_path))
    with closing(s3_server.client()) as client, S3Proxy(upstream=s3_server.endpoint_url) as proxy:
        file = tmp_path / "archiver.toml"
        file.write_text(
            f'[store]\nbucket = "{bucket}"\nprefix = "p/"\nendpoint_url = "{proxy.url}"\nregion = "us-east-1"\n'
            'addressing_style = "path"\n[download]\nconcurrency = 2\n'
        )

        def put(objects: Mapping[str, bytes]) -> None:
            for key, data in objects.items():
                client.put_object(Bucket=bucket, Key=key, Body=data)

        put(archived(STEMS, title="Song"))
        yield Setting(proxy, put, file, tmp_path / "out")


def test_a_task_comes_whole_and_is_skipped_the_next_time(setting: Setting) -> None:
    done = setting.get()
    assert done.exit_code == 0, done.output
    for name, data in STEMS.items():
        assert setting.has(f"{name}.mp3") == data
        assert f"{TASK}/{name}.mp3  {len(data)} bytes  sha256 {hashlib.sha256(data).hexdigest()}\n" in done.stdout
    assert setting.names() == {
        f"{TASK}/{name}" for name in (*(f"{each}.mp3" for each in STEMS), "record-info.json", "manifest.json")
    }
    assert "1 task: 5 files here and proven (0 stood already)" in done.stdout
    before = len(setting.proxy.requests)
    again = setting.get("--json")
    said = json.loads(again.stdout)
    assert (again.exit_code, said["exit_code"], said["summary"]["skipped"], said["summary"]["written"]) == (0, 0, 5, 0)
    assert {each["verdict"] for each in said["files"]} == {"equal"}
    assert len(setting.proxy.requests) - before == 2  # manifest and record


def test_titles_name_the_files_and_a_zip_holds_them(setting: Setting) -> None:
    assert setting.get("--names", "title", "--zip").exit_code == 0
    assert setting.names() == {f"Song ({TASK}).zip"}
    assert setting.get("--names", "title", "--stem", "vocal").exit_code == 0
    assert (setting.into / f"Song ({TASK})" / "Song - vocal.mp3").read_bytes() == STEMS["vocal"]


def cut_in_the_midst(exchange: Exchange) -> Reply:
    """Announce the whole body, give half of it, and close the connection."""
    answer = exchange.forward()
    return replace(answer, cut=len(answer.body) // 2)


def flip_answer(exchange: Exchange) -> Reply:
    answer = exchange.forward()
    changed = bytearray(answer.body)
    changed[len(changed) // 2] ^= 1
    return replace(answer, body=bytes(changed))


@pytest.mark.parametrize("action", [cut_in_the_midst, flip_answer, drop_before, refuse(503, "SlowDown")])
def test_what_goes_wrong_on_the_way_for_a_while_is_made_good(
    setting: Setting, action: Callable[[Exchange], Reply]
) -> None:
    rule = setting.proxy.on("GetObject", action, times=2, key="vocal.mp3")
    done = setting.get()
    assert (rule.hits, done.exit_code) == (2, 0), done.output
    assert setting.has("vocal.mp3") == STEMS["vocal"]


def test_a_cut_body_is_gone_on_with_by_range_of_that_very_object(setting: Setting) -> None:
    setting.proxy.on("GetObject", cut_in_the_midst, key="vocal.mp3")
    assert setting.get().exit_code == 0
    asked = [dict(each.fields) for each in setting.proxy.requests if each.target.endswith("vocal.mp3")]
    assert asked[-1]["Range"] == "bytes=1500000-"
    assert asked[-1]["If-Match"]


@pytest.mark.parametrize(
    ("action", "code", "said"),
    [
        (flip_answer, 1, "wrong"),
        (refuse(404, "NoSuchKey"), 1, "missing"),
        (refuse(403, "InvalidObjectState"), 1, "cold"),
        (refuse(403, "AccessDenied"), 3, "unread"),
        (lambda exchange: replace(exchange.forward(), body=b"short"), 1, "wrong"),
    ],
)
def test_what_stays_wrong_with_one_object_is_named_and_the_others_come(
    setting: Setting, action: Callable[[Exchange], Reply], code: int, said: str
) -> None:
    setting.proxy.on("GetObject", action, times=1000, key="vocal.mp3")
    done = setting.get()
    assert (done.exit_code, f"{said}  {TASK}/vocal.mp3" in done.stderr) == (code, True), done.output
    assert (setting.has("vocal.mp3"), setting.has("drums.mp3")) == (None, STEMS["drums"])
    assert not any(name.endswith(".part") for name in setting.names())


def test_a_signal_ends_it_and_leaves_nothing_unfinished(setting: Setting) -> None:
    def interrupt(exchange: Exchange) -> Reply:
        os.kill(os.getpid(), signal.SIGINT)
        return replace(exchange.forward(), drip=0.01)

    setting.proxy.on("GetObject", interrupt, key="vocal.mp3")
    done = setting.get()
    assert (done.exit_code, "run it again" in done.stderr) == (130, True), done.output
    assert not any(name.endswith((".part", "vocal.mp3")) for name in setting.names())
    assert setting.get().exit_code == 0


def test_a_directory_that_cannot_be_made_is_told(setting: Setting) -> None:
    setting.into.write_bytes(b"a file")
    done = setting.get()
    assert (done.exit_code, str(setting.into) in done.stderr) == (2, True), done.output


@pytest.mark.parametrize("how", [(), ("--zip",), ("--json",)], ids=" ".join)
def test_a_disk_that_takes_no_more_is_told_by_the_directory(setting: Setting, how: tuple[str, ...]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        done = setting.get(*how)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    fault = json.loads(done.stdout)["error"] if "--json" in how else done.stderr
    assert (done.exit_code, f"{setting.into}: File too large" in fault) == (3, True), done.output


def test_a_store_that_is_not_there_ends_with_3_and_says_so(setting: Setting) -> None:
    setting.proxy.on("*", refuse(404, "NoSuchBucket"), times=1000)
    done = setting.get()
    assert (done.exit_code, "create the bucket" in done.stderr) == (3, True), done.output
    assert json.loads(setting.get("--json").stdout)["error"]


def test_an_id_without_manifest_is_told_with_what_to_do(setting: Setting) -> None:
    for words in (("get", OTHER, "-o", str(setting.into)), ("link", OTHER)):
        done = setting.run(*words)
        assert (done.exit_code, "enqueue" in done.stderr) == (1, True), done.output


def test_a_restore_brings_every_task(setting: Setting) -> None:
    setting.put(archived({"vocal": b"\x1b[31m"}, task=OTHER, account="band", title="\x1b]0;x\x07"))
    done = setting.run("restore", str(setting.into), "--names", "title")
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert {name.partition("/")[0] for name in setting.names()} == {f"Song ({TASK})", f"]0;x ({OTHER})"}
    done = setting.run("restore", str(setting.into / "band"), "--account", "band", "--since", "2026-01-01", "--json")
    said = json.loads(done.stdout)["summary"]
    assert (done.exit_code, said["tasks"], said["tasks_left_out"]) == (0, 1, {"another account": 1})


def test_a_link_gives_the_stem_as_a_file_of_its_name_until_it_ends(setting: Setting) -> None:
    done = setting.run("link", TASK, "--stem", "vocal", "--expires", "2h")
    assert done.exit_code == 0, done.output
    name, _, url = done.stdout.strip().partition("\t")
    query = parse_qs(urlsplit(url).query)
    assert (name, query["X-Amz-Expires"], query["X-Amz-Algorithm"]) == ("vocal", ["7200"], ["AWS4-HMAC-SHA256"])
    assert url not in done.stderr
    answer = httpx.get(url)
    assert answer.content == STEMS["vocal"]
    assert 'filename="Song - vocal.mp3"' in answer.headers["Content-Disposition"]
    assert httpx.get(url.replace("vocal", "drums", 1)).status_code == 403


def test_names_that_would_steer_a_terminal_are_shown_as_escapes(setting: Setting) -> None:
    hostile = stem_of("\x1b[2J\tx\ny", b"1", path="x.mp3")
    setting.put({f"p/{OTHER}/manifest.json": manifest([hostile], task=OTHER), f"p/{OTHER}/x.mp3": b"1"})
    for words in (
        ("link", OTHER),
        ("link", OTHER, "--stem", "piano"),
        ("get", OTHER, "-o", str(setting.into)),
        ("get", OTHER, "-o", str(setting.into), "--stem", "piano"),
    ):
        said = setting.run(*words).output
        assert "\x1b" not in said
        assert "\ny" not in said


@pytest.mark.parametrize("words", [("--expires", "8d"), ("--expires", "0s"), ("--expires", "soon")])
def test_a_link_that_cannot_hold_so_long_is_a_fault_of_usage(setting: Setting, words: tuple[str, str]) -> None:
    assert setting.run("link", TASK, *words).exit_code == 2


def test_links_of_a_task_are_one_a_stem_and_none_of_an_unknown_one(setting: Setting) -> None:
    done = setting.run("link", TASK)
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == ["bass", "drums", "vocal"]
    done = setting.run("link", TASK, "--stem", "piano")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "bass, drums, vocal" in done.stderr
