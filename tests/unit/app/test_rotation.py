"""Files whose change is heeded without a signal."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from archiver.app.rotation import FileWatch, Reload, Rotation, rotating
from archiver.settings import Settings
from archiver.settings.model import Account, Callback, Page, Provider
from tests.fakes.events import Events
from tests.house import Hangup


def watch(*files: Path) -> tuple[Callable[[], None], list[str]]:
    seen: list[str] = []
    return partial(FileWatch(files), lambda: seen.append("changed")), seen


def test_files_are_those_of_keys_of_aws_and_of_trust() -> None:
    account = Account(name="second", api_key=SecretStr("k" * 9), api_key_file=Path("/k/second"))
    settings = Settings(
        provider=Provider(api_key_file=Path("/k/first"), accounts=(account,)),
        callback=Callback(hmac_key_file=Path("/k/callback")),
        page=Page(token_file=Path("/k/page")),
    )
    environ = {"AWS_SHARED_CREDENTIALS_FILE": "/a/credentials", "AWS_CA_BUNDLE": "/ca/aws", "SSL_CERT_FILE": "/ca/all"}
    files = list(map(str, rotating(settings, environ)))
    assert files[:8] == [
        "/k/first",
        "/k/callback",
        "/k/page",
        "/k/second",
        "/a/credentials",
        "~/.aws/config",
        "/ca/aws",
        "/ca/all",
    ]


def test_file_that_stays_as_it_is_calls_nobody(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a")
    look, seen = watch(tmp_path / "key", tmp_path / "not-there")
    look()
    look()
    assert seen == []


@pytest.mark.parametrize("change", ["written", "replaced", "removed", "appeared", "linked elsewhere"])
def test_file_that_changes_calls_once(change: str, tmp_path: Path) -> None:
    key, other = tmp_path / "key", tmp_path / "other"
    other.write_text("b")
    (tmp_path / "target").write_text("a")
    if change == "linked elsewhere":
        key.symlink_to(tmp_path / "target")
    elif change != "appeared":
        key.write_text("a")
    look, seen = watch(key)
    match change:
        case "written":
            key.write_text("changed")
        case "removed":
            key.unlink()
        case "appeared":
            key.write_text("a")
        case "replaced":
            other.rename(key)
        case _:
            os.symlink(other, tmp_path / "new")  # noqa: PTH211 - as Kubernetes does
            (tmp_path / "new").rename(key)
    look()
    look()
    assert seen == ["changed"]


@pytest.mark.parametrize("by", ["signal", "file"])
def test_rotation_reads_again_once_for_each_wish(by: str, tmp_path: Path) -> None:
    key, hangup, read = tmp_path / "key", Hangup(), list[str]()
    settings = Settings(provider=Provider(api_key_file=key))

    def again() -> Settings:
        read.append("read")
        return settings

    rotate = Rotation(hangup, FileWatch.of(settings, {}), Reload(settings, again, {}, Events()))
    rotate()
    assert read == []
    if by == "signal":
        hangup.ask()
    else:
        key.write_text("new")
    rotate()
    rotate()
    assert read == ["read"]
