"""What `check` says of the files, before it asks anybody."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from archiver.app.check import findings
from archiver.core.reports import Finding
from archiver.settings import load
from tests.fakes.events import Events
from tests.fixtures.ledgers import ready_ledger
from tests.unit.preservation.held import Held

NOWHERE = {
    "ARCHIVER_PROVIDER__BASE_URL": "http://127.0.0.1:1",
    "ARCHIVER_PROVIDER__API_KEY": "k" * 32,
    "ARCHIVER_DOWNLOAD__ALLOW_HTTP": "true",
}
"""A provider that nobody answers for."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "archiver.toml"
    file.write_text(f'[queue]\npath = "{tmp_path}/queue.txt"\n[ledger]\nurl = "sqlite:///{tmp_path}/ledger.db"\n')
    return file


def levels(config: Path) -> dict[str, str]:
    """The level of each finding up to those of the files."""
    found = islice(findings(load(config, {}), Events()), 3)
    return {finding.subject: finding.level for finding in found}


def test_files_that_are_not_there_yet_are_no_failure(config: Path) -> None:
    assert levels(config) == {"settings": "ok", "queue file": "warn", "ledger": "ok"}


@pytest.mark.parametrize(("mode", "level"), [(0o600, "ok"), (0o640, "warn"), (0o604, "warn")])
def test_ledger_that_others_may_read_is_warned_about(config: Path, mode: int, level: str) -> None:
    (config.parent / "queue.txt").touch()
    (config.parent / "ledger.db").touch()
    (config.parent / "ledger.db").chmod(mode)
    assert levels(config) == {"settings": "ok", "queue file": "ok", "ledger": level}


def test_queue_file_that_cannot_be_read_is_a_failure(config: Path) -> None:
    (config.parent / "queue.txt").mkdir()
    assert levels(config)["queue file"] == "fail"


def test_place_that_cannot_be_looked_at_is_a_failure_and_all_else_is_looked_at(config: Path) -> None:
    config.write_text(f'[queue]\npath = "{"q" * 300}"\n[ledger]\nurl = "sqlite:///{config.parent}/{"l" * 300}"\n')
    found = {each.subject: each for each in findings(load(config, NOWHERE), Events())}
    assert {subject: each.level for subject, each in found.items()} == {
        "settings": "ok",
        "queue file": "fail",
        "ledger": "fail",
        "provider": "fail",
        "bucket": "fail",
        "archive": "warn",
    }
    assert "File name too long" in found["queue file"].detail
    assert ("http://127.0.0.1:1" in found["provider"].detail, "base_url" in found["provider"].hint) == (True, True)


def test_broken_aws_configuration_is_a_failure_of_the_bucket(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nope")
    found = {each.subject: each for each in findings(load(config, {}), Events())}
    assert (found["bucket"].level, "(nope)" in found["bucket"].detail) == ("fail", True)
    assert "AWS_PROFILE" in found["bucket"].hint


def archive(config: Path) -> Finding:
    """Return what is said of the archive, where no account is named that the provider would be asked for."""
    [found] = [each for each in findings(load(config, {}), Events()) if each.subject == "archive"]
    return found


def test_archive_that_is_never_read_again_is_warned_about_with_what_ninety_days_cost(config: Path) -> None:
    found = archive(config)
    assert (found.level, "verify.within" in found.hint) == ("warn", True)
    with closing(ready_ledger(config.parent)) as ledger:
        Held(ledger).archive(3, stems=2, size=10**6)
    config.write_text(config.read_text() + '[verify]\nprices = "aws"\n')
    assert "10 requests, 0.0 GB, 0.00 USD" in archive(config).detail
    config.write_text(config.read_text() + 'within = "90d"\n')
    found = archive(config)
    assert (found.level, found.detail) == ("ok", "every object is read within 90 days")
