"""`backfill` as a user runs it: a process, real HTTP, a real S3 server."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from archiver.demo.emulator import API_KEY
from archiver.demo.records import EmulatedTask
from tests.acceptance.conftest import SECOND_KEY
from tests.house import ledger_at
from tests.worlds.site import PREFIX, Site, stems_of

TWO = EmulatedTask(task_id="separate-0001", kind="separate_vocal", stems=stems_of("vocal", "instrumental", seed="a"))
TWELVE = EmulatedTask(
    task_id="split-stem-0002",
    kind="split_stem",
    stems=stems_of(
        *("vocal", "backing_vocals", "drums", "bass", "guitar", "keyboard"),
        *("percussion", "strings", "synth", "fx", "brass", "woodwinds"),
        seed="b",
    ),
)
UNDELIVERED = EmulatedTask(
    task_id="callback-0003", answers="callback_exception", stems=stems_of("vocal", "instrumental", seed="c")
)
FAILED = EmulatedTask(task_id="failed-task-0004", answers="failed", stems=stems_of("vocal", seed="d"))
SLOW = EmulatedTask(task_id="pending-0005", pending_asks=2, stems=stems_of("vocal", "instrumental", seed="e"))


def test_backfill_of_the_queue_file_archives_every_stem_and_a_manifest(site: Site) -> None:
    site.emulator.add(TWO, TWELVE, UNDELIVERED, SLOW)
    site.queue.write_text("".join(f"{task.task_id}\n" for task in (TWO, TWELVE, UNDELIVERED, SLOW)))
    done = site.run("backfill")
    assert done.code == 0, done.err
    site.oracles(TWO, TWELVE, UNDELIVERED, SLOW)


def test_backfill_without_a_terminal_logs_events_alone_and_prints_its_result_elsewhere(site: Site) -> None:
    site.emulator.add(TWO)
    done = site.run("backfill", "-", stdin=f"{TWO.task_id}\ntoo bad!\n")
    assert all(isinstance(json.loads(line), dict) for line in done.err.splitlines())
    assert done.out.startswith("1 task: 1 archived (0 of them before), 0 not; 2 stems")
    missing = site.run("backfill", "nowhere.txt")
    assert missing.code == 2
    assert missing.out == ""
    [failed] = [each for each in map(json.loads, missing.err.splitlines()) if each["event"] == "backfill.failed"]
    assert "nowhere.txt" in failed["error"]
    site.configure(log={"format": "console"})
    plain = site.run("backfill", "-", stdin=f"{TWO.task_id}\n")
    assert "1 task: 1 archived (1 of them before), 0 not" in plain.err
    assert not any(line.startswith("{") for line in plain.err.splitlines())
    assert plain.out == ""


def test_backfill_run_again_asks_nothing_and_fetches_nothing(site: Site) -> None:
    site.emulator.add(TWO)
    site.queue.write_text(f"{TWO.task_id}\n")
    assert site.run("backfill").code == 0
    before = len(site.emulator.requests)
    again = site.run("backfill", "--json")
    assert again.code == 0
    assert json.loads(again.out)["already_archived"] == 1
    assert len(site.emulator.requests) == before


def with_second_account(site: Site) -> None:
    """Let the site have a further account, with its key at the emulator."""
    site.extra_env["ARCHIVER_PROVIDER__ACCOUNTS"] = json.dumps([{"name": "second", "api_key": SECOND_KEY}])


def test_backfill_asks_for_each_task_with_the_key_of_its_account(site: Site) -> None:
    theirs = replace(TWELVE, api_key=SECOND_KEY)
    site.emulator.add(replace(TWO, api_key=API_KEY), theirs)
    with_second_account(site)
    done = site.run("backfill", "-", stdin=f"{TWO.task_id}\n{theirs.task_id} account=second\n")
    assert done.code == 0, done.err
    site.oracles(TWO, theirs)
    assert "account: second" in site.run("show", theirs.task_id).out
    assert {each["task_id"]: each["account"] for each in done.named("record.fetched")} == {
        TWO.task_id: "default",
        theirs.task_id: "second",
    }


def test_backfill_with_an_account_that_nobody_set_keeps_the_task_says_so_and_archives_the_rest(site: Site) -> None:
    site.emulator.add(TWO, replace(TWELVE, api_key=SECOND_KEY))
    lines = f"{TWELVE.task_id} account=second\n{TWO.task_id}\n"
    done = site.run("backfill", "-", stdin=lines)
    assert done.code == 3
    assert "the settings have no account second (they have: default)" in done.err
    site.oracles(TWO)
    with_second_account(site)
    again = site.run("backfill", "-", stdin=lines)
    assert again.code == 0, again.err
    site.oracles(TWO, TWELVE)


def test_backfill_with_a_bad_key_of_one_account_waits_for_the_others_and_names_it(site: Site) -> None:
    slow = replace(SLOW, api_key=API_KEY)
    site.emulator.add(slow, TWO)
    site.extra_env["ARCHIVER_PROVIDER__ACCOUNTS"] = json.dumps([{"name": "second", "api_key": "no-key-of-anybody"}])
    lines = f"{TWO.task_id} account=second\n{slow.task_id}\n"
    done = site.run("backfill", "-", "--json", stdin=lines)
    assert done.code == 3, done.err
    site.oracles(slow)
    [paused] = json.loads(done.out)["paused"]
    assert (paused["dependency"], paused["account"]) == ("provider", "second")
    assert "provider (account second): provider.key_refused" in site.run("status").out
    assert [each["account"] for each in done.named("dependency.paused")][:1] == ["second"]
    with_second_account(site)
    again = site.run("backfill", "-", stdin=lines)
    assert again.code == 0, again.err
    site.oracles(TWO, slow)


def test_enqueue_appends_the_account_and_refuses_one_that_nobody_set(site: Site) -> None:
    refused = site.run("enqueue", TWO.task_id, "--account", "second")
    assert refused.code == 2
    assert "no account 'second' in the settings" in refused.err
    assert "they have: default" in refused.err
    assert not site.queue.exists()
    with_second_account(site)
    assert site.run("enqueue", TWO.task_id, "--account", "second").code == 0
    assert site.queue.read_text() == f"{TWO.task_id} account=second\n"


def test_check_tries_the_key_of_each_account(site: Site) -> None:
    site.extra_env["ARCHIVER_PROVIDER__ACCOUNTS"] = json.dumps(
        [{"name": "second", "api_key": SECOND_KEY}, {"name": "third", "api_key": "no-key-of-anybody"}]
    )
    done = site.run("check", "--json")
    found = {each["subject"]: each["level"] for each in json.loads(done.out)["findings"]}
    assert done.code == 1
    assert [found[name] for name in ("provider", "provider, account second", "provider, account third")] == [
        "ok",
        "ok",
        "fail",
    ]


def test_backfill_with_a_failed_task_archives_the_rest_and_exits_1_naming_it(site: Site) -> None:
    site.emulator.add(TWO, FAILED)
    done = site.run("backfill", "-", stdin=f"{FAILED.task_id}\n{TWO.task_id}\n")
    assert done.code == 1
    assert FAILED.task_id in done.err
    site.oracles(TWO)


def test_backfill_no_wait_leaves_a_pending_task_and_exits_1_naming_it(site: Site) -> None:
    never = EmulatedTask(task_id="pending-0009", answers="pending", stems=stems_of("vocal"))
    site.emulator.add(never, TWO)
    site.configure(schedule={"pending_first": "20s", "pending_max": "10m"})
    done = site.run("backfill", "-", "--no-wait", stdin=f"{never.task_id}\n{TWO.task_id}\n")
    assert done.code == 1
    assert never.task_id in done.err
    assert site.emulator.calls(never.task_id) == 1
    site.oracles(TWO)


def test_backfill_that_was_taken_for_dead_exits_3_and_calls_nothing_archived(site: Site) -> None:
    never = EmulatedTask(task_id="pending-0009", answers="pending", stems=stems_of("vocal"))
    site.emulator.add(never)
    process = subprocess.Popen(
        site.command("backfill", "-", "--json"),
        env=site.env,
        cwd=site.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdin is not None
        process.stdin.write(f"{never.task_id}\n".encode())
        process.stdin.close()
        process.stdin = None
        while not site.emulator.calls(never.task_id):
            time.sleep(0.1)
        with closing(ledger_at(f"sqlite:///{site.ledger}")) as ledger:
            ledger.claims.release_dead(lambda _: False, now=datetime.now(UTC))
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert out == b""
    assert b"another machine gave its tasks back" in err


def test_backfill_after_max_wait_gives_up_on_a_pending_task(site: Site) -> None:
    never = EmulatedTask(task_id="pending-0009", answers="pending", stems=stems_of("vocal"))
    site.emulator.add(never)
    done = site.run("backfill", "-", "--max-wait", "2s", stdin=f"{never.task_id}\n")
    assert done.code == 1
    assert site.emulator.calls(never.task_id) > 1


def test_backfill_with_a_bad_key_exits_3_with_a_hint_and_keeps_the_tasks(site: Site) -> None:
    site.emulator.add(TWO)
    site.configure(provider={"api_key": "wrong-key-000000000000"})
    done = site.run("backfill", "-", stdin=f"{TWO.task_id}\n")
    assert done.code == 3
    assert "provider.api_key" in done.err
    assert "wrong-key-000000000000" not in done.err
    site.configure(provider={"api_key": site.emulator.api_key})
    assert site.run("backfill", "-", stdin=f"{TWO.task_id}\n").code == 0
    site.oracles(TWO)


def test_backfill_without_the_bucket_exits_3_with_a_hint(site: Site) -> None:
    site.emulator.add(TWO)
    site.configure(store={"bucket": "no-such-bucket-here"})
    done = site.run("backfill", "-", stdin=f"{TWO.task_id}\n")
    assert done.code == 3
    assert "store.bucket" in done.err
    assert site.show(TWO.task_id)["state"] == "listed"


def test_backfill_of_what_the_operator_paused_exits_3_naming_it_and_works_after_resume(site: Site) -> None:
    site.emulator.add(TWO)
    assert site.run("backfill", "-", stdin="").code == 0, "it makes the ledger"
    paused = site.run("pause", "--store")
    assert (paused.code, paused.out) == (0, "store is paused until `stem-archiver resume`\n")
    [pause] = site.status()["pauses"]
    assert (pause["dependency"], pause["held"], pause["lasting"]) == ("store", True, True)
    done = site.run("backfill", "-", stdin=f"{TWO.task_id}\n")
    assert done.code == 3
    assert "store is paused: held by the operator; run: stem-archiver resume" in done.out
    assert site.objects() == {}
    assert site.run("resume").out == "store is no longer paused\n"
    assert site.run("backfill", "-", stdin=f"{TWO.task_id}\n").code == 0
    site.oracles(TWO)


def test_pause_for_no_span_exits_2(site: Site) -> None:
    assert site.run("pause", "--for", "soon").code == 2


def test_backfill_of_a_missing_file_exits_2_naming_it(site: Site) -> None:
    done = site.run("backfill", "nowhere.txt")
    assert done.code == 2
    assert "nowhere.txt" in done.err


def test_backfill_dry_run_says_what_it_would_do_and_stores_nothing(site: Site) -> None:
    site.emulator.add(TWO)
    done = site.run("backfill", "-", "--dry-run", stdin=f"{TWO.task_id}\n")
    assert done.code == 0
    assert f"{PREFIX}{TWO.task_id}/vocal.*" in done.out
    assert site.objects() == {}
    assert not site.ledger.exists()
    assert [seen for seen in site.emulator.requests if seen.listener == "cdn"] == []


def test_dry_run_says_what_a_run_would_do_by_what_the_ledger_knows(site: Site) -> None:
    site.emulator.add(TWO, FAILED, TWELVE)
    assert site.run("backfill", "-", stdin=f"{TWO.task_id}\n{FAILED.task_id}\n").code == 1
    before = len(site.emulator.requests)
    ids = f"{TWO.task_id}\n{FAILED.task_id}\n{TWELVE.task_id}\n{TWELVE.task_id}\nnobody-knows-1\n"
    said = site.run("backfill", "-", "--dry-run", stdin=ids)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == f"{TWO.task_id}  archived already"
    assert lines[1].startswith(f"{FAILED.task_id}  failed: ")
    assert "retry" in lines[1]
    assert lines[2] == f"{TWELVE.task_id}  done, 12 to fetch"
    assert "is it of another kind" in lines[-2]
    assert lines[-1] == "a run would fetch 12 stems of 1 task, ask again about 1, and do nothing about 2"
    assert len(site.emulator.requests) == before + 1 + 3, "what has ended is not asked about, an unknown id as 3 kinds"
    limited = json.loads(site.run("backfill", "-", "--dry-run", "--limit", "1", "--json", stdin=ids).out)["tasks"]
    assert [task["does"] for task in limited] == ["nothing", "nothing", "fetch"]
    assert site.run("backfill", "-", "--limit", "1", "--json", stdin=ids).code == 1
    assert site.show(TWELVE.task_id)["state"] == "archived", "the run took what the dry run had said"


def test_dry_run_fetches_only_what_is_not_stored_yet(site: Site) -> None:
    half = EmulatedTask(
        task_id="half-0010", stems={**stems_of("vocal"), "instrumental": b"<!DOCTYPE html><html></html>"}
    )
    site.emulator.add(half)
    assert site.run("backfill", "-", "--no-wait", stdin=f"{half.task_id}\n").code == 1
    said = site.run("backfill", "-", "--dry-run", stdin=f"{half.task_id}\n").out.splitlines()
    assert said[0] == f"{half.task_id}  listed, 1 stored, 1 to fetch"
    assert said[1].endswith(f"-> {PREFIX}{half.task_id}/instrumental.*")


def test_backfill_limit_takes_the_first_unfinished_ids_only(site: Site) -> None:
    site.emulator.add(TWO, TWELVE, UNDELIVERED)
    ids = f"{TWO.task_id}\n{TWELVE.task_id}\n{UNDELIVERED.task_id}\n"
    assert site.run("backfill", "-", "--limit", "1", stdin=ids).code == 0
    site.oracles(TWO)
    assert site.run("backfill", "-", "--limit", "1", stdin=ids).code == 0
    site.oracles(TWO, TWELVE)


def test_backfill_with_lines_that_are_no_ids_archives_the_rest_and_exits_1(site: Site) -> None:
    site.emulator.add(TWO)
    junk = "too bad!\n# a comment\n\n" + f'{{"data": {{"taskId": "{TWO.task_id}"}}}}\r\n'
    done = site.run("backfill", "-", stdin=junk)
    assert done.code == 1
    site.oracles(TWO)
    [reject] = site.status()["rejects"]
    assert reject["offset"] == 0


def test_backfill_of_a_large_stem_stores_it_in_parts(site: Site) -> None:
    large = EmulatedTask(task_id="large-task-0006", stems=stems_of("vocal", size=(18 << 20) + 7))
    site.emulator.add(large)
    done = site.run("backfill", "-", stdin=f"{large.task_id}\n")
    assert done.code == 0, done.err
    site.oracles(large)


def test_backfill_of_stems_with_equal_bytes_stores_one_object_and_an_alias(site: Site) -> None:
    silence = stems_of("fx")["fx"]
    duplicates = EmulatedTask(
        task_id="alias-task-0007", kind="split_stem", stems={"fx": silence, "brass": silence, **stems_of("vocal")}
    )
    site.emulator.add(duplicates)
    done = site.run("backfill", "-", stdin=f"{duplicates.task_id}\n")
    assert done.code == 0, done.err
    site.oracles(duplicates)
    assert len(site.objects()) == 2 + 2


def test_backfill_past_the_deadline_loses_gone_stems_and_keeps_the_others(site: Site) -> None:
    old = datetime.now(UTC) - timedelta(days=20)
    gone = EmulatedTask(
        task_id="expired-0008", created_at=old, link_status=404, stems=stems_of("vocal", "instrumental")
    )
    site.emulator.add(gone)
    done = site.run("backfill", "-", stdin=f"{gone.task_id}\n")
    assert done.code == 1
    assert site.show(gone.task_id)["state"] == "lost"


def test_retry_of_a_failed_task_puts_it_back_and_archives_it(site: Site) -> None:
    site.emulator.add(FAILED)
    assert site.run("backfill", "-", stdin=f"{FAILED.task_id}\n").code == 1
    site.emulator.add(EmulatedTask(task_id=FAILED.task_id, stems=FAILED.stems))
    assert site.run("retry", FAILED.task_id).code == 0
    done = site.run("backfill", "-", stdin=f"{FAILED.task_id}\n")
    assert done.code == 0, done.err


def test_enqueue_then_status_then_show_tell_one_story(site: Site) -> None:
    site.emulator.add(TWO)
    assert site.run("enqueue", TWO.task_id).code == 0
    assert site.run("backfill").code == 0
    assert site.status()["tasks"]["archived"] == 1
    assert site.run("status").code == 0
    shown = site.show(TWO.task_id)
    assert {stem["state"] for stem in shown["stems"]} == {"stored"}
    assert [move["event"] for move in shown["history"] if move["stem"] is None] == ["listed", "all_stored"]


def test_check_on_a_good_site_passes_and_on_a_bad_bucket_fails(site: Site) -> None:
    good = site.run("check")
    assert good.code == 0, good.out + good.err
    site.configure(store={"bucket": "no-such-bucket-here"})
    bad = site.run("check")
    assert bad.code == 1
    assert "fail" in bad.out
