"""Credentials that cannot be had: whatever botocore's chain raises, and whenever, is one of ours to tell."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ProfileNotFound

from archiver.adapters.object_store import LateStore, S3Store
from archiver.adapters.object_store.credentials import GuardedChain, GuardedCredentials
from archiver.core.errors import ArchiverError, CredentialsMissing, StoreBusy
from tests.house import s3_client, s3_store

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


class Broken:
    """Stands for the chain, and for what it finds."""

    method = "broken"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def load_credentials(self) -> None:
        raise self.error

    def get_frozen_credentials(self) -> None:
        raise self.error


def refused(status: int, code: str) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": SECRET}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "AssumeRole")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (ProfileNotFound(profile="nope"), CredentialsMissing, "(nope)"),
        (FileNotFoundError(2, "No such file or directory", "/nonexistent/aws-vault"), CredentialsMissing, "aws-vault"),
        (PermissionError(13, "Permission denied", "/opt/vault"), CredentialsMissing, "/opt/vault"),
        (json.JSONDecodeError("Expecting value", SECRET, 0), CredentialsMissing, "no JSON"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), CredentialsMissing, "no JSON"),
        (KeyError(SECRET), CredentialsMissing, "KeyError"),
        (RuntimeError(SECRET), CredentialsMissing, "RuntimeError"),
        (refused(403, "AccessDenied"), CredentialsMissing, "AssumeRole: 403 AccessDenied"),
        (refused(400, "ExpiredTokenException"), CredentialsMissing, "AssumeRole: 400 ExpiredToken"),
        (refused(503, "ServiceUnavailable"), StoreBusy, "AssumeRole: 503"),
        (refused(400, "Throttling"), StoreBusy, "Throttling"),
        (ConnectTimeoutError(endpoint_url="https://sts"), StoreBusy, "ConnectTimeoutError"),
    ],
    ids=repr,
)
def test_whatever_keeps_credentials_away_is_told_by_its_cause(
    error: Exception, kind: type[ArchiverError], said: str
) -> None:
    for had in (GuardedChain(Broken(error)).load_credentials, GuardedCredentials(Broken(error)).get_frozen_credentials):
        with pytest.raises(ArchiverError) as caught:
            had()
        assert type(caught.value) is kind
        assert said in str(caught.value)
        assert SECRET not in str(caught.value)


CONFIGS: dict[str, tuple[str | bytes, str]] = {
    "not an INI file": ("default]\n[[[", "cannot be used"),
    "no text": (b"\xff\xfe\x00[default]", "cannot be used"),
    "no program": ("[default]\ncredential_process = /nonexistent/aws-vault exec x\n", "aws-vault"),
    "a program that fails": (f"[default]\ncredential_process = {sys.executable} -c 'exit(3)'\n", "credential"),
    "a chatty program": (f"[default]\ncredential_process = {sys.executable} -c 'print(\"hi\")'\n", "no JSON"),
    "a silent program": (f"[default]\ncredential_process = {sys.executable} -c ''\n", "no JSON"),
    "a role that has no source": ("[default]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = nope\n", "nope"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_store_with_a_broken_configuration_is_paused_and_works_once_it_is_mended(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, said = CONFIGS[name]
    file = tmp_path / "config"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def made() -> S3Store:
        return s3_store(s3_client(endpoint_url="http://127.0.0.1:9", region="us-east-1", session=None), "some-bucket")

    with closing(LateStore(made)) as store:
        for _ in range(2):
            with pytest.raises(CredentialsMissing, match=said):
                store.try_write("key")
        [finding] = store.probe("key")
        assert (finding.level, finding.hint) == ("fail", CredentialsMissing.hint)
        file.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
        with pytest.raises(StoreBusy):
            list(store.uploads(""))


def test_store_is_made_anew_with_the_credentials_of_now_which_are_learned_before_they_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, learned = tmp_path / "credentials", list[str]()
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = 0

    def make() -> S3Store:
        nonlocal made
        made += 1
        client = s3_client(endpoint_url="http://127.0.0.1:9", region="us-east-1", session=None, learned=learned.extend)
        return s3_store(client, "some-bucket")

    def write(secret: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = a\naws_secret_access_key = {secret}\n")

    write("first-secret")
    with closing(LateStore(make)) as store:
        with pytest.raises(StoreBusy):
            store.try_write("key")
        assert learned == ["first-secret"]
        write("second-secret")
        store.renew()
        with pytest.raises(StoreBusy):
            store.try_write("key")
        assert learned == ["first-secret", "second-secret"]
        (tmp_path / "config").write_text("[default\n")
        with pytest.raises(CredentialsMissing):
            store.renew()
        with pytest.raises(StoreBusy):
            store.try_write("key")
        assert learned == ["first-secret", "second-secret"], "the old one stays"
