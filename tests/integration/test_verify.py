"""`verify` on a real bucket and a real ledger, whatever stands between."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from archiver.core.intake import Intake
from archiver.core.manifest_read import read_manifest
from archiver.core.model import AccountName, TaskId
from archiver.core.rebuilt import rebuilt
from archiver.demo.seaweed import S3Server
from archiver.settings import load
from tests.fakes.s3_proxy import Exchange, S3Proxy, drop_before, refuse
from tests.fakes.scripted import Reply
from tests.fixtures.archived import RECORD, manifest, noise, stem_of
from tests.fixtures.fixity_reports import check_report
from tests.fixtures.ledgers import NOW, ready_ledger, take_in
from tests.house import command, note_proof

# The first two are where the order of ids is not that of keys.
TASKS = ("task-0001", "task-0001-b", "task_0002", "zz-task-3")
STEM = f"p/{TASKS[0]}/vocal.mp3"
NAMES = ("vocal", "drums", "bass")


@dataclass
class Setting:
    """A bucket behind a proxy, a ledger, and settings that name both."""

    proxy: S3Proxy
    client: Any
    bucket: str
    file: Path

    def verify(self, *words: str) -> Result:
        return command("--config", str(self.file), "verify", *words)

    def found(self, *words: str) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Return the exit code, the verdicts by key, and all that was said."""
        done = self.verify("--json", *words)
        said = json.loads(done.stdout)
        assert said["exit_code"] == done.exit_code
        return done.exit_code, {each["key"]: each["verdict"] for each in said["found"]}, said

    def put(self, key: str, data: bytes) -> str:
        return str(self.client.put_object(Bucket=self.bucket, Key=key, Body=data)["ETag"]).strip('"')

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)


def archive(setting: Setting, folder: Path) -> None:
    wholes = []
    for number, task in enumerate(TASKS):
        stems = []
        for each, name in enumerate(NAMES):
            key, data = f"p/{task}/{name}.mp3", noise(100_000 if name == "vocal" else 50, 10 * number + each)
            stems.append(stem_of(name, data, key=key, etag=setting.put(key, data)))
        sealed = manifest(stems, task=task, accepted_at="2026-03-01T12:00:00+00:00")
        setting.put(f"p/{task}/record-info.json", RECORD)
        setting.put(f"p/{task}/manifest.json", sealed)
        wholes.append(rebuilt(read_manifest(sealed), f"p/{task}/"))
    with closing(ready_ledger(folder)) as ledger:
        mark = ledger.rebuilds.begin(now=NOW)
        ledger.rebuilds.take(wholes, mark, mark)
        ledger.rebuilds.end(mark)


@pytest.fixture
def setting(s3_server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("HOME", str(tmp_path))
    with closing(s3_server.client()) as client, S3Proxy(upstream=s3_server.endpoint_url) as proxy:
        file = tmp_path / "archiver.toml"
        file.write_text(
            f'[store]\nbucket = "{bucket}"\nprefix = "p/"\nendpoint_url = "{proxy.url}"\nregion = "us-east-1"\n'
            f'addressing_style = "path"\n[download]\nconcurrency = 2\n[ledger]\nurl = "sqlite:///{tmp_path}/ledger.db"\n'
            '[verify]\nprices = {list = 5, get = 0.4, gb = 90.0, currency = "EUR"}\n'
        )
        made = Setting(proxy, client, bucket, file)
        archive(made, tmp_path)
        yield made


def flip_answer(exchange: Exchange) -> Reply:
    answer = exchange.forward()
    return replace(answer, body=bytes([answer.body[0] ^ 1]) + answer.body[1:])


@pytest.mark.parametrize("level", ["list", "head", "read"])
def test_a_whole_archive_is_sound_and_costs_what_the_plan_says(setting: Setting, level: str) -> None:
    planned = json.loads(setting.verify("--plan", "--json", "--level", level).stdout)
    assert setting.proxy.requests == []
    code, found, said = setting.found("--level", level)
    assert (code, found, said["summary"]["verdicts"]["ok"]) == (0, {}, 20)
    assert (said["plan"]["requests"], len(setting.proxy.requests)) == (planned["requests"], planned["requests"])
    if level == "read":
        assert said["summary"]["bytes_read"] == 4 * 100_100


def test_planted_faults_are_found_each_of_its_kind(setting: Setting) -> None:
    gone, resized, same, other = (f"p/{TASKS[1]}/{name}" for name in ("bass.mp3", "drums.mp3", "vocal.mp3", "x.mp3"))
    setting.client.put_bucket_versioning(Bucket=setting.bucket, VersioningConfiguration={"Status": "Enabled"})
    setting.delete(gone)  # behind a delete marker now
    setting.put(resized, b"short")
    setting.put(same, noise(100_000, 99))
    setting.put(other, b"mine")
    setting.delete(f"p/{TASKS[2]}/manifest.json")
    setting.delete(f"p/{TASKS[2]}/record-info.json")
    setting.put(f"p/{TASKS[3]}/manifest.json", b"{}")
    by_list = {
        gone: "missing",
        resized: "altered",
        same: "mismatch",
        other: "unknown",
        f"p/{TASKS[2]}/manifest.json": "manifest_missing",
        f"p/{TASKS[2]}/record-info.json": "record_missing",
    }
    assert setting.found()[:2] == (1, by_list)
    assert setting.found("--level", "read")[:2] == (1, {**by_list, f"p/{TASKS[3]}/manifest.json": "manifest_broken"})
    assert setting.found(TASKS[0])[:2] == (0, {})
    setting.delete(STEM)
    done = setting.verify(TASKS[0])
    assert done.exit_code == 1
    assert f"missing  {STEM}: expected 100000 bytes" in done.stdout


@pytest.mark.parametrize(("is_held", "most"), [(True, 1), (False, 2)])
def test_objects_are_read_one_at_a_time_while_a_service_works_on_a_task(
    setting: Setting, tmp_path: Path, *, is_held: bool, most: int
) -> None:
    with closing(ready_ledger(tmp_path)) as ledger:
        take_in(ledger, 1)
        if is_held:
            assert ledger.claims.claim(owner="a-service", now=datetime.now(UTC), lease=timedelta(minutes=5))
    under_way, lock, seen = set[int](), threading.Lock(), list[int]()

    def slow(exchange: Exchange) -> Reply:
        with lock:
            under_way.add(id(exchange))
            seen.append(len(under_way))
        time.sleep(0.05)
        with lock:
            under_way.remove(id(exchange))
        return exchange.forward()

    setting.proxy.on("GetObject", slow, times=1000)
    assert setting.found("--level", "read")[:2] == (0, {})
    assert (len(seen), max(seen)) == (16, most)


@pytest.mark.parametrize("name", ["vocal.mp3", "manifest.json"])
@pytest.mark.parametrize("action", [flip_answer, drop_before, refuse(503, "SlowDown")])
def test_what_goes_wrong_on_the_way_once_is_no_fault(
    setting: Setting, action: Callable[[Exchange], Reply], name: str
) -> None:
    rule = setting.proxy.on("GetObject", action, key=name)
    assert setting.found("--level", "read", TASKS[0])[:2] == (0, {})
    assert rule.hits == 1


@pytest.mark.parametrize(
    ("action", "code", "verdict"),
    [
        (refuse(403, "AccessDenied"), 3, "unread"),
        (refuse(403, "InvalidObjectState"), 0, "cold"),
    ],
)
def test_what_stays_wrong_has_its_verdict_and_its_exit_code(
    setting: Setting, action: Callable[[Exchange], Reply], code: int, verdict: str
) -> None:
    setting.proxy.on("GetObject", action, times=1000, key=f"{TASKS[0]}/vocal.mp3")
    assert setting.found("--level", "read")[:2] == (code, {STEM: verdict})


def test_fault_beside_what_could_not_be_read_decides_the_exit_code(setting: Setting) -> None:
    setting.proxy.on("GetObject", refuse(403, "AccessDenied"), times=1000, key=f"{TASKS[0]}/vocal.mp3")
    gone = f"p/{TASKS[1]}/bass.mp3"
    setting.delete(gone)
    code, found, said = setting.found("--level", "read")
    assert (code, found, said["summary"]["faults"]) == (1, {STEM: "unread", gone: "missing"}, 1)


def test_damage_is_proven_on_connections_of_their_own(setting: Setting) -> None:
    setting.proxy.on("GetObject", flip_answer, times=3, key=f"{TASKS[0]}/vocal.mp3")
    assert setting.found("--level", "read", TASKS[0])[:2] == (1, {STEM: "mismatch"})
    reads = [each for each in setting.proxy.requests if each.target.endswith(f"{TASKS[0]}/vocal.mp3")]
    assert len(reads) == 3


def test_nothing_is_begun_above_the_cost_limit(setting: Setting) -> None:
    done = setting.verify("--level", "read", "--max-cost", "0.01")
    assert (done.exit_code, "EUR" in done.stderr, setting.proxy.requests) == (2, True, [])
    assert setting.found("--level", "read", "--max-cost", "1")[0] == 0


def test_an_id_that_nobody_knows_is_a_fault(setting: Setting) -> None:
    code, found, said = setting.found("task-unknown", TASKS[0])
    assert (code, found, said["summary"]["unknown_ids"]) == (1, {}, ["task-unknown"])
    assert "no such task  task-unknown" in setting.verify("task-unknown").stdout


def test_a_store_that_is_not_there_ends_with_3_and_a_fault_beside_it_with_1(setting: Setting) -> None:
    setting.proxy.on("*", refuse(404, "NoSuchBucket"), times=1000)
    code, _, said = setting.found()
    assert (code, bool(said["error"])) == (3, True)
    assert "create the bucket" in setting.verify().stderr


def test_names_in_the_bucket_do_not_steer_the_terminal(setting: Setting) -> None:
    setting.put(f"p/{TASKS[0]}/\u009b31m\u202ex.mp3", b"x")
    done = setting.verify()
    assert done.exit_code == 1
    assert "\u009b" not in done.stdout
    assert "\u202e" not in done.stdout


def status(setting: Setting) -> tuple[int, dict[str, int]]:
    done = command("--config", str(setting.file), "status", "--json")
    return done.exit_code, json.loads(done.stdout)["fixity"]["faults"]


def test_faults_stay_in_status_until_a_later_check_finds_them_mended(setting: Setting) -> None:
    assert status(setting) == (0, {})
    setting.delete(STEM)
    setting.put(f"p/{TASKS[1]}/x.mp3", b"mine")
    code, _, said = setting.found()
    assert (code, said["summary"]["faults_new"], said["summary"]["faults_mended"]) == (1, 2, 0)
    assert status(setting) == (1, {"missing": 1, "unknown": 1})
    shown = command("--config", str(setting.file), "status").stdout
    assert "archive at fault: 1 missing, 1 unknown" in shown
    assert "`stem-archiver verify --level list` names them" in shown
    setting.put(STEM, noise(100_000, 0))
    assert "1 earlier fault found mended" in setting.verify(TASKS[0]).stdout
    assert status(setting) == (0, {"unknown": 1})
    setting.delete(f"p/{TASKS[1]}/x.mp3")
    assert setting.found()[2]["summary"]["faults_mended"] == 1
    assert status(setting) == (0, {})


def test_report_of_the_day_stands_in_the_bucket_where_the_store_was_proven(setting: Setting) -> None:
    assert setting.found()[2]["report"] is None
    note_proof(load(setting.file, os.environ).settings, now=datetime.now(UTC))
    setting.delete(STEM)
    code, _, said = setting.found()
    day = said["report"]
    key = f"p/_archive/fixity/{day}.json"
    report = json.loads(setting.client.get_object(Bucket=setting.bucket, Key=key)["Body"].read())
    check_report(report)
    assert (code, report["checks"][0]["checks"], report["checks"][0]["objects"]) == (1, 2, 40)
    assert [fault["key"] for fault in report["faults"]["named"]] == [STEM]
    schema = setting.client.get_object(Bucket=setting.bucket, Key="p/_archive/fixity-1.schema.json")["Body"].read()
    assert json.loads(schema)["title"] == "Report of the fixity checks of a day, format 1"
    assert setting.found()[2]["report"] is None
    assert setting.verify("--reports").exit_code == 0
    setting.put(key, json.dumps({**report, "archiver": "another"}).encode())
    done = setting.verify("--reports", "--json")
    assert (done.exit_code, json.loads(done.stdout)["reports"][0]["day"]) == (1, day)
    setting.delete(key)
    assert f"report {day}: it is gone" in setting.verify("--reports").stdout


def test_report_that_cannot_be_put_changes_no_exit_code(setting: Setting) -> None:
    note_proof(load(setting.file, os.environ).settings, now=datetime.now(UTC))
    setting.proxy.on("PutObject", refuse(403, "AccessDenied"), times=1000)
    code, _, said = setting.found()
    assert (code, said["report"]) == (0, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_work_with_its_exit_code_and_what_was_found_is_kept(
    setting: Setting, number: signal.Signals
) -> None:
    def ask_to_end(exchange: Exchange) -> Reply:
        os.kill(os.getpid(), number)
        time.sleep(0.5)  # the main thread hears of it before this object is judged, which may be the last
        return exchange.forward()

    setting.delete(STEM)
    setting.proxy.on("GetObject", ask_to_end, key=f"{TASKS[3]}/vocal.mp3")
    code, found, said = setting.found("--level", "read")
    assert (code, found) == (128 + number, {STEM: "missing"})
    assert (said["error"], said["report"]) == ("ended before everything was judged", None)
    assert status(setting) == (1, {"missing": 1})


def test_acknowledged_fault_counts_apart_until_the_object_is_found_otherwise(setting: Setting) -> None:
    setting.delete(STEM)
    setting.delete(f"p/{TASKS[1]}/bass.mp3")
    assert setting.found()[0] == 1
    done = command("--config", str(setting.file), "ack", "--fault", STEM, "--fault", TASKS[1], "--fault", "p/other")
    assert (done.exit_code, done.stdout) == (1, "2 faults acknowledged\n")
    assert "p/other has no open fault, or it was acknowledged before" in done.stderr
    assert done.stderr.count("fixity.acknowledged") == 2
    assert STEM in done.stderr
    assert command("--config", str(setting.file), "ack", "--fault", STEM).exit_code == 1
    assert status(setting) == (0, {})
    assert "archive: 2 missing: acknowledged" in command("--config", str(setting.file), "status").stdout
    for level in ("list", "read"):
        code, found, said = setting.found("--level", level)
        assert (code, set(found.values()), said["summary"]["faults_acknowledged"]) == (0, {"missing"}, 2)
    setting.put(STEM, b"other")
    assert setting.found()[:2] == (1, {STEM: "altered", f"p/{TASKS[1]}/bass.mp3": "missing"})
    assert status(setting) == (1, {"altered": 1})


def test_account_that_was_named_after_the_end_is_named_by_rebuild_check_as_what_a_rebuild_loses(
    setting: Setting,
) -> None:
    task = TaskId(TASKS[0])
    with closing(ready_ledger(setting.file.parent)) as ledger:
        ledger.intakes.take_in(Intake(ids=(task,), accounts={task: AccountName("second")}), source="q", now=NOW)
    done = command("--config", str(setting.file), "rebuild", "--check")
    assert done.exit_code == 1
    assert f"{task} account: ledger 'second', bucket 'default'" in done.stdout
    assert "stands in no manifest: a rebuild loses it" in done.stdout


def test_check_that_a_signal_ended_is_gone_on_with_by_the_same_command_unless_it_is_to_begin_anew(
    setting: Setting,
) -> None:
    def ask_to_end(exchange: Exchange) -> Reply:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
        return exchange.forward()

    setting.delete(STEM)
    setting.proxy.on("GetObject", ask_to_end, key=f"{TASKS[3]}/vocal.mp3")
    assert setting.found("--level", "read")[:2] == (130, {STEM: "missing"})
    goes_on = setting.verify("--level", "read")
    assert goes_on.exit_code == 1
    assert "behind 10 objects and 1 fault that it named then; --anew begins another" in goes_on.stderr
    assert "4 tasks, 19 objects listed" in goes_on.stdout
    assert "19 ok, 1 missing" in goes_on.stdout
    assert status(setting) == (1, {"missing": 1})
    for words, before in (((), 0), (("--anew",), 0)):
        code, found, said = setting.found("--level", "read", *words)
        assert (code, found, said["summary"]["objects_judged_before"]) == (1, {STEM: "missing"}, before)
