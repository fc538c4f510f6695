"""Commands in surroundings that are not as they should be: a clear line, the right exit code, and no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from archiver.demo.records import EmulatedTask
from tests.fakes.waiting import until
from tests.faults.runner import Order
from tests.worlds.forks import ForkServer
from tests.worlds.site import Finished, Process, Site, stems_of

STRANGER = 12345
"""A user whom no passwd file knows."""

TASK = "taskaaaa0001"
FAILED = "taskbbbb0002"

EVERY = [
    ["config", "show"],
    ["config", "validate"],
    ["enqueue", TASK, FAILED],
    ["backfill"],
    ["status"],
    ["show", FAILED],
    ["list", "--all"],
    ["retry", TASK],
    ["ack", FAILED],
    ["pause"],
    ["resume"],
    ["check"],
    ["run"],
]
STORING = [["run"], ["check"], ["backfill"]]

USUAL = {"backfill": 1, "retry": 1, "status": 1}
"""The exit codes that are not 0 where all is well: the provider made no audio for one task, and another is archived."""


@dataclass(frozen=True)
class Surroundings:
    """What is not as it should be."""

    commands: Sequence[Sequence[str]] = tuple(EVERY)
    env: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """By name, files in the site's folder."""
    order: Mapping[str, object] = field(default_factory=dict)
    """Of the fork server's order."""
    codes: Mapping[str, int] = field(default_factory=dict)
    """The exit code of a command, where it is another than usual; `*` for all others."""
    says: str = ""
    """In what is printed by each command that ends so."""


def aws(text: str, says: str) -> Surroundings:
    return Surroundings(
        STORING,
        {"AWS_CONFIG_FILE": "FOLDER/aws", "AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
        {"aws": text},
        codes={"check": 1, "backfill": 3},
        says=says,
    )


def process(program: str, says: str) -> Surroundings:
    return aws(f"[default]\ncredential_process = {program}\n", says)


SURROUNDINGS = {
    "as they should be": Surroundings(),
    "a user without home or name": Surroundings(env={"HOME": None}, order={"user": STRANGER}),
    "a user without home or name, and no path is set": Surroundings(
        env={"HOME": None, "ARCHIVER_CONFIG": "FOLDER/few.toml"},
        files={"few.toml": '[store]\nbucket = "some-bucket"\n[provider]\napi_key = "kkkkkkkkkkkkkkkkkkkk"\n'},
        order={"user": STRANGER},
        codes={"*": 2},
        says="STATE_DIRECTORY",
    ),
    "the working folder is deleted": Surroundings(env={"ARCHIVER_LOG__LEVEL": "debug"}, order={"vanishes": True}),
    "output in ASCII": Surroundings(env={"PYTHONIOENCODING": "ascii"}),
    "output in Latin-1": Surroundings(env={"PYTHONIOENCODING": "latin-1"}),
    "a full disk under standard output": Surroundings(
        order={"output": "/dev/full"},
        codes=dict.fromkeys(("config", "enqueue", "show", "list", "ack", "pause", "resume", "check"), 2),
        says="standard output cannot be written: No space left on device",
    ),
    "a full disk under standard error": Surroundings(order={"errors": "/dev/full"}),
    "an AWS profile that is not there": replace(aws("", "(nope)"), env={**aws("", "").env, "AWS_PROFILE": "nope"}),
    "an AWS configuration that is none": aws("default]\n[[[", "the AWS configuration cannot be used"),
    "a credential process that is not there": process("/nonexistent/aws-vault exec x", "/nonexistent/aws-vault"),
    "a chatty credential process": process(f"{sys.executable} -c 'print(1, 2)'", "printed no JSON"),
    "a credential process that fails": process(f"{sys.executable} -c 'exit(7)'", "no usable AWS credentials"),
    "a proxy for S3 that is dead": Surroundings(
        [["check"]],
        {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
        codes={"check": 1},
        says="NO_PROXY",
    ),
    "a proxy for audio that is spoken to by https": Surroundings(
        env={"ARCHIVER_DOWNLOAD__PROXY": "https://127.0.0.1:9"}, codes={"*": 2}, says="download.proxy: must begin"
    ),
}


def called(site: Site, server: ForkServer, where: Surroundings, words: Sequence[str]) -> Finished:
    out, err, folder = site.folder / "out", site.folder / "err", site.folder / "working"
    for file in (out, err):
        file.write_text("")
        file.chmod(0o666)
    folder.mkdir(exist_ok=True)
    changed = {name: text and text.replace("FOLDER", str(site.folder)) for name, text in where.env.items()}
    env = {name: text for name, text in (site.env | changed).items() if text is not None}
    order = Order(list(words), env, str(folder), str(out), errors=str(err))
    order = replace(order, **where.order)  # type: ignore[arg-type]  # of its fields
    silent = order.errors == "/dev/full"
    if words[0] == "run":
        if silent:  # nothing to wait for
            return Finished(0, "", "")
        paused = expected(where, ["backfill"]) == 3
        order = replace(order, until="dependency.paused" if paused else "daemon.started")
    ended = server.run(order)
    assert not ended.hung, (words, err.read_text())
    return Finished(ended.code, out.read_text(errors="replace"), err.read_text(errors="replace"))


def expected(where: Surroundings, words: Sequence[str]) -> int:
    return where.codes.get(words[0], where.codes.get("*", USUAL.get(words[0], 0)))


@pytest.mark.long
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_command_ends_with_the_right_code_a_clear_line_and_no_traceback(
    site: Site, fork_server: ForkServer, name: str
) -> None:
    where = SURROUNDINGS[name]
    if "user" in where.order and os.geteuid() != 0:
        pytest.skip("only root becomes others")
    site.emulator.add(EmulatedTask(task_id=TASK, stems=stems_of("vocal")))
    site.emulator.add(EmulatedTask(task_id=FAILED, answers="failed", stems=stems_of("vocal")))
    site.queue.write_text("任务失败 \N{BRAILLE PATTERN BLANK} is no id …\n")
    for file, text in where.files.items():
        (site.folder / file).write_text(text)
    if ["enqueue", TASK, FAILED] not in where.commands:
        assert site.run("enqueue", TASK).code == 0
    for words in where.commands:
        done = called(site, fork_server, where, words)
        everything = done.out + done.err
        assert done.code == expected(where, words), (words, everything)
        assert "Traceback" not in everything
        assert "process.crashed" not in everything
        if where.codes and done.code != USUAL.get(words[0], 0):
            assert where.says in everything, words


def _keeps_hangups(process: Process) -> bool:
    """Whether it has reached our first line, and no command has taken signals over yet."""
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    return bool(int(status.partition("SigBlk:")[2].split()[0], 16) >> signal.SIGHUP - 1 & 1)


@pytest.mark.long
def test_interrupt_before_the_daemon_is_there_is_one_line_and_130(site: Site) -> None:
    with site.daemon() as process:
        until(lambda: _keeps_hangups(process), 30)
        process.signal(signal.SIGINT)
        code = process.popen.wait(30)
        assert (code, process.log) == (130, "stem-archiver: interrupted\n") or (code, process.events != []) == (0, True)


@pytest.mark.long
def test_hangup_before_the_daemon_is_there_is_kept_until_it_is(site: Site) -> None:
    with site.daemon() as process:
        until(lambda: _keeps_hangups(process), 30)
        process.signal(signal.SIGHUP)
        process.wait_event("settings.reloaded")
        assert process.stop() == 0


def closed(site: Site, streams: str, *words: str) -> list[str]:
    return ["sh", "-c", f'exec "$@" {streams}', "sh", *site.command(*words)]


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "streams", "code"),
    [
        (["enqueue", "-"], "<&-", 2),
        (["backfill", "-"], "<&-", 2),
        (["init", "new", "--yes", "--bucket", "some-bucket", "--key-file", "-"], "<&-", 2),
        (["list", "--json"], ">&-", 0),
        (["enqueue", TASK], "<&- >&-", 0),
    ],
)
def test_command_whose_streams_are_closed_crashes_not_and_misses_none_that_it_reads(
    site: Site, words: Sequence[str], streams: str, code: int
) -> None:
    site.emulator.add(EmulatedTask(task_id=FAILED, stems=stems_of("vocal", "drums")))
    assert site.run("backfill", "-", stdin=FAILED).code == 0
    command = closed(site, streams, *words)
    done = subprocess.run(command, env=site.env, cwd=site.folder, capture_output=True, text=True, check=False)
    assert (done.returncode, "process.crashed" in done.stderr) == (code, False), done.stderr
    assert ("standard input is closed" in done.stderr) == (code == 2)


@pytest.mark.long
def test_daemon_whose_streams_are_closed_gives_their_numbers_to_no_other_file(site: Site) -> None:
    with site.daemon(argv=closed(site, "<&- >&- 2>&-", "run")) as process:
        until(lambda: site.run("status").out.count("alive") == 1, 30)
        streams = [str(Path(f"/proc/{process.popen.pid}/fd/{number}").readlink()) for number in range(3)]
        assert process.stop() == 0
    assert streams == ["/dev/null"] * 3


@pytest.mark.long
def test_daemon_whose_log_cannot_be_written_archives_and_ends_as_it_is_asked_to(site: Site) -> None:
    task = EmulatedTask(task_id=TASK, stems=stems_of("vocal", "drums"))
    site.emulator.add(task)
    site.queue.write_text(f"{TASK}\n")
    with Path("/dev/full").open("wb") as full:
        daemon = subprocess.Popen(site.command("run"), env=site.env, cwd=site.folder, stderr=full)
    try:
        until(lambda: site.run("show", TASK).out.startswith(f"{TASK}  archived"), 60)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
    finally:
        daemon.kill()
        daemon.wait(30)
    site.oracles(task)
