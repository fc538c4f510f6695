"""A ledger of trimmed tasks: every command does what it does with the whole one, wherever the ledger is kept."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from archiver.demo.seaweed import S3Server
from tests.fakes.s3_proxy import S3Proxy
from tests.house import command
from tests.integration.test_verify import TASKS, Setting, archive

ID = TASKS[0]
EACH: Mapping[str, tuple[str, ...]] = {
    "list": ("list", "--all", "--json"),
    "show": ("show", ID),
    "status": ("status", "--json"),
    "verify": ("verify",),
    "check": ("rebuild", "--check"),
}
"""Commands that are tried in every run."""
REST: Mapping[str, tuple[str, ...]] = {
    "list of a state": ("list", "--state", "archived"),
    "list of words": ("list", "--grep", ID),
    "show as JSON": ("show", ID, "--json"),
    "retry": ("retry", ID),
    "retry of all": ("retry", "--all-failed"),
    "ack": ("ack", ID),
    "ack of a state": ("ack", "--state", "lost"),
    "ack of a fault": ("ack", "--fault", ID),
    "verify by head": ("verify", "--level", "head"),
    "verify by reading": ("verify", "--level", "read"),
    "verify of one": ("verify", ID, "--level", "read"),
    "plan": ("verify", "--level", "read", "--plan"),
    "rebuild": ("rebuild",),
    "get": ("get", ID, "-o", "OUT"),
    "get again": ("get", ID, "-o", "OUT"),
    "zip": ("get", ID, "-o", "ZIP", "--zip"),
    "restore": ("restore", "ALL"),
    "link": ("link", ID, "--stem", "vocal"),
    "link of what is not there": ("link", ID, "--stem", "nobody"),
    "enqueue": ("enqueue", ID, "--queue", "QUEUE"),
    "backup": ("ledger", "backup", "FILE"),
}
"""Those that are tried with the slow tests, as all are on every kind of ledger."""


_VARIES = re.compile(
    r"X-Amz-\S+|[\d.]+ s\b|\d+[dh] \d+[hm]|\d{4}-\d\d-\d\d[T ][\d:.+]+(Z| UTC)?|\d+ rows?|[\d.]+ [km]?B\b"
    r"|[0-9a-f]{64}|\n  trimmed: [^\n]*"
)
"""Times, sizes, sums, signatures, and the line that tells what was trimmed."""


def run(setting: Setting, folder: Path, words: tuple[str, ...]) -> tuple[int, str]:
    """Return the exit code, and what was said."""
    named = {"OUT": "out", "ZIP": "zip", "ALL": "all", "QUEUE": "queue.txt", "FILE": "backup.gz"}
    given = [str(folder / named[each]) if each in named else each for each in words]
    done = command("--config", str(setting.file), *given)
    said = done.stdout.replace(str(folder), "FOLDER")
    if "--json" in words and done.exit_code == 0:
        document = {key: value for key, value in json.loads(said).items() if key not in {"trimmed", "ledger"}}
        said = json.dumps(document, sort_keys=True)
    return done.exit_code, _VARIES.sub("", said)


@pytest.fixture
def setting(s3_server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("HOME", str(tmp_path))
    with closing(s3_server.client()) as client, S3Proxy(upstream=s3_server.endpoint_url) as proxy:
        made = Setting(proxy, client, bucket, tmp_path / "archiver.toml")
        keep_in(made, f"sqlite:///{tmp_path}/ledger.db")
        archive(made, tmp_path)
        shutil.copy(tmp_path / "ledger.db", tmp_path / "whole.db")
        yield made


def keep_in(setting: Setting, url: str) -> None:
    """Let the settings name that ledger."""
    setting.file.write_text(
        f'[store]\nbucket = "{setting.bucket}"\nprefix = "p/"\nendpoint_url = "{setting.proxy.url}"\n'
        f'region = "us-east-1"\naddressing_style = "path"\n[download]\nconcurrency = 2\n[ledger]\nurl = "{url}"\n'
    )
    setting.file.chmod(0o600)


def trimmed_ledgers(setting: Setting, folder: Path, postgres_url: str) -> Iterator[str]:
    """Trim the ledger, and yield the URLs of what is made of it: itself, restored, copied to a server, and back."""
    first, backup = f"sqlite:///{folder}/ledger.db", str(folder / "made.gz")
    keep_in(setting, first)
    done = command("--config", str(setting.file), "ledger", "trim", "--older", "30d")
    assert (done.exit_code, f"{len(TASKS)} tasks trimmed" in done.output) == (0, True), done.output
    yield first
    assert command("--config", str(setting.file), "ledger", "backup", backup).exit_code == 0
    keep_in(setting, f"sqlite:///{folder}/restored.db")
    assert command("--config", str(setting.file), "ledger", "restore", backup).exit_code == 0
    yield f"sqlite:///{folder}/restored.db"
    back = f"sqlite:///{folder}/back.db"
    for source, target in ((first, postgres_url), (postgres_url, back)):
        copied = command("ledger", "copy", source, target)
        assert copied.exit_code == 0, copied.output
        yield target


def compare(setting: Setting, folder: Path, table: Mapping[str, tuple[str, ...]], ledgers: Iterator[str]) -> None:
    """Hold what each command says of trimmed ledgers against what it says of the whole one."""
    keep_in(setting, f"sqlite:///{folder}/whole.db")
    (folder / "whole").mkdir()
    expected = {name: run(setting, folder / "whole", words) for name, words in table.items()}
    unlike = []
    for number, url in enumerate(ledgers):
        keep_in(setting, url)
        place = folder / f"of-{number}"
        place.mkdir()
        for name, words in table.items():
            if (found := run(setting, place, words)) != expected[name]:
                unlike.append(f"ledger {number}, {name}: {expected[name]}\n  but {found}")
    assert not unlike, "\n".join(unlike)


def test_commands_do_with_trimmed_tasks_what_they_do_with_whole_ones(setting: Setting, tmp_path: Path) -> None:
    compare(setting, tmp_path, EACH, islice(trimmed_ledgers(setting, tmp_path, ""), 1))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_on_every_kind_of_ledger_does_with_trimmed_tasks_what_it_does_with_whole_ones(
    setting: Setting, tmp_path: Path, postgres_url: str
) -> None:
    compare(setting, tmp_path, {**EACH, **REST}, trimmed_ledgers(setting, tmp_path, postgres_url))
