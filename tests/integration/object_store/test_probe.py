"""What `check` says of a right store, and of each kind of wrong one; and what our options look like on the wire."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from archiver.adapters.object_store import S3Store
from archiver.core.capabilities import Capabilities, CreateOnly
from archiver.core.errors import CredentialsMissing, CredentialsRefused, StoreBusy
from archiver.demo.seaweed import S3Server
from tests.fakes.careless_s3 import CarelessS3
from tests.fakes.object_store import MemoryBody, MemoryJournal
from tests.fakes.s3_proxy import S3Proxy, answer, dated, drop_before, operation_of, refuse, without
from tests.house import s3_client, s3_store

if TYPE_CHECKING:
    pass

MIB = 1024 * 1024
PROBE = "stems/.stem-archiver-probe"
EVER = 1000


def store_on(server: S3Server, bucket: str) -> S3Store:
    return s3_store(s3_client(endpoint_url=server.endpoint_url, region=server.region, session=server.session), bucket)


def levels(store: S3Store) -> dict[str, str]:
    with closing(store):
        return {finding.subject: finding.level for finding in store.probe(PROBE)}


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(upstream=s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def proxied(s3_server: S3Server, proxy: S3Proxy) -> S3Server:
    return replace(s3_server, endpoint_url=proxy.url)


RIGHT = {
    *("bucket", "clock", "write", "read", "create-only", "checksum", "replacement"),
    *("multipart", "create-only in parts", "checksum of parts", "open uploads"),
}


def test_a_right_store_passes_twice_and_nothing_is_deleted(proxied: S3Server, proxy: S3Proxy, bucket: str) -> None:
    for _ in range(2):
        found = levels(store_on(proxied, bucket))
        assert {subject for subject, level in found.items() if level == "ok"} == RIGHT
        assert found["lifecycle"] == "warn"
    deleting = {operation_of(request) for request in proxy.requests if request.method == "DELETE"}
    assert deleting == {"AbortMultipartUpload"}
    with closing(store_on(proxied, bucket)) as store:
        assert list(store.uploads("")) == []


def test_a_race_on_a_right_store_has_one_winner_and_its_object_stays(s3_server: S3Server, bucket: str) -> None:
    with closing(store_on(s3_server, bucket)) as store:
        found = store.race(PROBE)
    assert (found.level, found.detail.partition(" ")[0]) == ("ok", "1")
    with closing(s3_server.client()) as direct:
        [raced] = direct.list_objects_v2(Bucket=bucket)["Contents"]
    assert raced["Key"].startswith(f"{PROBE}-race-")


def test_a_race_that_several_win_warns_and_says_what_follows(proxied: S3Server, proxy: S3Proxy, bucket: str) -> None:
    """As on a store that looks before it writes: two that overlap are told what the winner is told."""
    proxy.on("PutObject", answer(200, {"ETag": '"0"'}), times=2)
    with closing(store_on(proxied, bucket)) as store:
        found = store.race(PROBE)
    assert found.level == "warn"
    assert found.detail.startswith("3 of 8")
    assert "one archiver alone" in found.hint


def test_a_race_on_a_store_that_is_away_fails_with_its_reason(proxied: S3Server, proxy: S3Proxy, bucket: str) -> None:
    proxy.on("PutObject", refuse(403, "AccessDenied"), times=EVER)
    with closing(store_on(proxied, bucket)) as store:
        found = store.race(PROBE)
    assert (found.level, "AccessDenied" in found.detail) == ("fail", True)


def test_a_missing_bucket_ends_the_probe_at_once(s3_server: S3Server) -> None:
    assert levels(store_on(s3_server, "nowhere-to-be-found")) == {"bucket": "fail"}


def test_a_wrong_secret_ends_the_probe_with_a_hint(s3_server: S3Server, bucket: str) -> None:
    with closing(store_on(replace(s3_server, secret_key="wrong"), bucket)) as store:
        (finding,) = store.probe(PROBE)
    assert finding.level == "fail"
    assert finding.hint == CredentialsRefused.hint
    assert "SignatureDoesNotMatch" in finding.detail
    assert s3_server.endpoint_url in finding.detail
    assert "wrong" not in finding.detail


def test_a_store_that_does_not_answer_is_named_with_what_to_mend(s3_server: S3Server) -> None:
    with closing(store_on(replace(s3_server, endpoint_url="http://127.0.0.1:9"), "some-bucket")) as store:
        (finding,) = store.probe(PROBE)
    assert (finding.level, "http://127.0.0.1:9" in finding.detail) == ("fail", True)
    assert "store.endpoint_url" in finding.hint


def test_a_refusal_of_the_bucket_whose_objects_may_be_read_stays_what_it_was(
    proxied: S3Server, proxy: S3Proxy, bucket: str
) -> None:
    proxy.on("HeadBucket", refuse(403, "AccessDenied"), times=EVER)
    (finding,) = store_on(proxied, bucket).probe(PROBE)
    assert (finding.level, "HeadBucket: 403" in finding.detail) == ("fail", True)
    assert "`stem-archiver check`" not in finding.hint


@pytest.mark.parametrize(
    ("minutes", "level"), [(0, "ok"), (-0.5, "ok"), (5, "warn"), (-5, "warn"), (20, "fail"), (-20, "fail")]
)
def test_a_clock_that_differs_is_told(
    proxied: S3Server, proxy: S3Proxy, bucket: str, minutes: float, level: str
) -> None:
    proxy.on("HeadBucket", dated(timedelta(minutes=minutes)), times=EVER)
    found = levels(store_on(proxied, bucket))
    assert found["clock"] == level
    assert ("write" in found) == (level != "fail")


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 23 Nov 2026 04:15:55"])
def test_a_store_without_a_usable_date_is_warned_about(
    proxied: S3Server, proxy: S3Proxy, bucket: str, date: str
) -> None:
    proxy.on("HeadBucket", answer(200, {"Date": date}), times=EVER)
    assert levels(store_on(proxied, bucket))["clock"] == "warn"


def test_a_store_that_overwrites_in_spite_of_if_none_match_fails(
    proxied: S3Server, proxy: S3Proxy, bucket: str
) -> None:
    proxy.on("PutObject", answer(200, {"ETag": '"0"'}), nth=2)
    assert levels(store_on(proxied, bucket))["create-only"] == "fail"


def test_a_store_that_takes_a_wrong_checksum_is_warned_about(proxied: S3Server, proxy: S3Proxy, bucket: str) -> None:
    proxy.on("PutObject", answer(200, {"ETag": '"0"'}), nth=3)
    assert levels(store_on(proxied, bucket))["checksum"] == "warn"


def test_a_store_that_names_no_checksum_is_warned_about(proxied: S3Server, proxy: S3Proxy, bucket: str) -> None:
    proxy.on("HeadObject", without("x-amz-checksum-sha256"))
    assert levels(store_on(proxied, bucket))["read"] == "warn"


def test_a_store_that_reads_back_other_bytes_fails(proxied: S3Server, proxy: S3Proxy, bucket: str) -> None:
    proxy.on("GetObject", answer(200, {"ETag": '"0"'}))
    assert levels(store_on(proxied, bucket))["read"] == "fail"


def test_a_store_without_conditional_completion_is_told_with_what_follows(
    proxied: S3Server, proxy: S3Proxy, s3_server: S3Server, bucket: str
) -> None:
    with closing(s3_server.client()) as direct, closing(store_on(proxied, bucket)) as store:
        CarelessS3(proxy, direct, bucket).overwrites_on_completion()
        found = {finding.subject: finding for finding in store.probe(PROBE)}
    assert found["multipart"].level == "ok"
    assert found["create-only in parts"].level == "warn"
    assert "one request" in found["create-only in parts"].hint
    with closing(store_on(proxied, bucket)) as store:
        assert list(store.uploads("")) == []


def test_a_store_that_overwrites_is_no_failure_where_best_effort_is_asked_for(
    proxied: S3Server, proxy: S3Proxy, s3_server: S3Server, bucket: str
) -> None:
    proven: list[Capabilities] = []
    with closing(s3_server.client()) as direct, closing(store_on(proxied, bucket)) as store:
        CarelessS3(proxy, direct, bucket).overwrites()
        found = {finding.subject: finding for finding in store.probe(PROBE, CreateOnly.BEST_EFFORT, proven.append)}
    assert found["create-only"].level == "warn"
    assert found["create-only"].hint.startswith("best-effort")
    assert [known.create_only for known in proven] == [False]


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "AbortMultipartUpload"])
def test_a_missing_right_to_multipart_is_told_in_the_stores_own_words(
    proxied: S3Server, proxy: S3Proxy, bucket: str, operation: str
) -> None:
    proxy.on(operation, refuse(403, "AccessDenied"), times=EVER)
    with closing(store_on(proxied, bucket)) as store:
        found = {finding.subject: finding for finding in store.probe(PROBE)}
    assert (found["multipart"].level, f"{operation}: 403 AccessDenied" in found["multipart"].detail) == ("warn", True)
    assert "open uploads" not in {subject for subject, finding in found.items() if finding.level == "ok"}


@pytest.mark.parametrize("fault", [refuse(403, "AccessDenied"), refuse(501, "NotImplemented")])
def test_open_uploads_that_cannot_be_listed_are_warned_about(
    proxied: S3Server, proxy: S3Proxy, bucket: str, fault: object
) -> None:
    proxy.on("ListMultipartUploads", fault, times=EVER)  # type: ignore[arg-type]  # an Action
    assert levels(store_on(proxied, bucket))["open uploads"] == "warn"


def test_a_network_that_drops_is_a_failure_not_a_crash(proxied: S3Server, proxy: S3Proxy, bucket: str) -> None:
    proxy.on("GetObject", drop_before, times=EVER)
    assert levels(store_on(proxied, bucket))["read"] == "fail"


def lifecycle_rule(status: str, action: dict[str, object]) -> dict[str, object]:
    return {"Rules": [{"ID": "r", "Status": status, "Filter": {"Prefix": ""}, **action}]}


@pytest.fixture
def moto() -> Iterator[boto3.session.Session]:
    """Right for call shapes only: moto believes every signature and every checksum."""
    from moto import mock_aws

    with mock_aws():
        yield boto3.session.Session("testing", "testing", region_name="us-east-1")


def moto_store(session: boto3.session.Session, **options: object) -> S3Store:
    client = s3_client(endpoint_url=None, region="us-east-1", addressing_style="auto", session=session)
    client.create_bucket(Bucket="moto")
    return s3_store(client, "moto", **options)


@pytest.mark.parametrize(
    ("status", "action", "level"),
    [
        ("Enabled", {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}, "ok"),
        ("Disabled", {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}, "warn"),
        ("Enabled", {"Expiration": {"Days": 400}}, "warn"),
    ],
)
def test_the_lifecycle_rule_for_stale_uploads_is_looked_for(
    moto: boto3.session.Session, status: str, action: dict[str, object], level: str
) -> None:
    store = moto_store(moto)
    with closing(moto.client("s3")) as client:
        client.put_bucket_lifecycle_configuration(
            Bucket="moto",
            LifecycleConfiguration=lifecycle_rule(status, action),  # type: ignore[arg-type]  # built by parts
        )
    assert levels(store)["lifecycle"] == level


@pytest.mark.parametrize("fault", [refuse(403, "AccessDenied"), refuse(501, "NotImplemented")])
def test_a_lifecycle_that_cannot_be_read_is_warned_about(
    proxied: S3Server, proxy: S3Proxy, bucket: str, fault: object
) -> None:
    proxy.on("Bucket", fault)  # type: ignore[arg-type]  # an Action
    assert levels(store_on(proxied, bucket))["lifecycle"] == "warn"


@pytest.mark.parametrize("size", [1000, 5 * MIB + 1])
def test_storage_class_encryption_and_tags_reach_the_object(moto: boto3.session.Session, size: int) -> None:
    options = {"storage_class": "STANDARD_IA", "sse": "aws:kms", "kms_key_id": "alias/stems"}
    tags = {"app": "stem archiver", "a+b": "c=d"}
    store = moto_store(moto, tags=tags, single_max=MIB, part=5 * MIB, **options)
    with closing(store), closing(moto.client("s3")) as client:
        store.put("a.mp3", MemoryBody(bytes(size)), metadata={"stem": "vocal"}, journal=MemoryJournal())
        head = client.head_object(Bucket="moto", Key="a.mp3")
        found = client.get_object_tagging(Bucket="moto", Key="a.mp3")["TagSet"]
    assert (head["StorageClass"], head["ServerSideEncryption"]) == ("STANDARD_IA", "aws:kms")
    assert head["SSEKMSKeyId"].endswith("alias/stems")
    assert {tag["Key"]: tag["Value"] for tag in found} == tags


def test_no_credentials_are_ours_to_mend(s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    nobody = replace(s3_server)
    nobody.__dict__["session"] = boto3.session.Session()  # cached_property's own place
    (finding,) = store_on(nobody, bucket).probe(PROBE)
    assert finding.hint == CredentialsMissing.hint


def test_an_unknown_profile_is_ours_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(CredentialsMissing, match="no-such-profile"):
        s3_client(endpoint_url=None, region=None, addressing_style="auto", session=None)


def test_a_store_that_nobody_listens_for_is_busy_and_its_url_is_not_told(s3_server: S3Server) -> None:
    nowhere = replace(s3_server, endpoint_url="http://127.0.0.1:9/secret")
    with closing(store_on(nowhere, "bucket-name")) as store, pytest.raises(StoreBusy) as caught:
        store.put("k", MemoryBody(b"x"), metadata={}, journal=MemoryJournal())
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


PROGRAM = """#!{python}
import json, datetime
end = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)).isoformat()
print(json.dumps({{"Version": 1, "AccessKeyId": "{key}", "SecretAccessKey": "{secret}", "Expiration": end}}))
"""
"""What runs out so soon is renewed for every request."""


@pytest.mark.parametrize("broken", ["removed", "chatty", "failing"])
def test_credentials_that_can_be_renewed_no_more_are_told_by_every_kind_of_call(
    s3_server: S3Server, bucket: str, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "vault"
    keys = {"key": s3_server.access_key, "secret": s3_server.secret_key}
    program.write_text(PROGRAM.format(python=sys.executable, **keys))
    program.chmod(0o700)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {program}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    client = s3_client(endpoint_url=s3_server.endpoint_url, region=s3_server.region, session=None)
    with closing(s3_store(client, bucket)) as store:
        for name in ("a", "b"):  # the second by the quick way
            store.put(name, MemoryBody(b"x"), metadata={}, journal=MemoryJournal())
        match broken:
            case "removed":
                program.unlink()
            case "chatty":
                program.write_text("#!/bin/sh\necho hello\n")
            case "failing":
                program.write_text("#!/bin/sh\necho no >&2; exit 3\n")
        for call in (
            lambda: store.put("c", MemoryBody(b"x"), metadata={}, journal=MemoryJournal()),
            lambda: store.try_write("d"),
            lambda: list(store.uploads("")),
            lambda: store.abort("e", "no-such-upload"),
        ):
            with pytest.raises(CredentialsMissing, match="no usable AWS credentials"):
                call()
        program.write_text(PROGRAM.format(python=sys.executable, **keys))
        program.chmod(0o700)
        store.put("c", MemoryBody(b"x"), metadata={}, journal=MemoryJournal())
