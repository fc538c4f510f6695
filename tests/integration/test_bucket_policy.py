"""deploy/aws applied to moto, which here enforces IAM: the service passes under exactly that policy, and under no less.

moto knows who asks, and which action on which resource is meant; it looks at no condition and at no checksum.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from string import Template
from typing import Any, TypeVar

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

from archiver.app.check import findings
from archiver.core.intake import Intake
from archiver.core.model import TaskId
from archiver.demo.emulator import API_KEY, Emulator
from archiver.demo.records import EmulatedTask
from archiver.demo.seaweed import S3Server
from archiver.service.backfill import BackfillOptions, BackfillResult, Verdict
from archiver.service.shutdown import Shutdown
from archiver.settings import Loaded, load
from tests import ROOT
from tests.fakes.events import Events
from tests.fakes.object_store import MemoryBody, MemoryJournal
from tests.fakes.observer import Watcher
from tests.house import Role, assembled, backfill, s3_store
from tests.worlds.site import stems_of

DOCUMENTS = ROOT / "deploy" / "aws"
BUCKET = "my-stems"
PREFIX = "stems/"
KEY_ARN = "arn:aws:kms:us-east-1:123456789012:key/0"
MIB = 1024 * 1024

SMALL = EmulatedTask(task_id="in-one-put-0001", kind="separate_vocal", stems=stems_of("vocal", "instrumental"))
LARGE = EmulatedTask(
    task_id="in-parts-0002",
    kind="separate_vocal",
    stems=stems_of("vocal", size=6 * MIB) | stems_of("instrumental", seed="large"),
)

Json = Any  # what json.loads gives
T = TypeVar("T")


def document(name: str) -> Json:
    text = (DOCUMENTS / name).read_text(encoding="utf-8")
    return json.loads(Template(text).substitute(bucket=BUCKET, prefix=PREFIX, kms_key_arn=KEY_ARN))


def actions(policy: Json) -> list[str]:
    """Every action that a policy allows."""
    named = [statement["Action"] for statement in policy["Statement"]]
    return [action for some in named for action in ([some] if isinstance(some, str) else some)]


def in_motos_words(policy: Json) -> Json:
    """The policy with the action that moto alone asks HeadBucket for; AWS asks it for s3:ListBucket."""
    text = json.dumps(policy)
    return json.loads(text.replace('"s3:ListBucket"', '"s3:ListBucket", "s3:HeadBucket"'))


def without(policy: Json, action: str) -> Json:
    """The same policy less one action."""
    kept = [
        {**statement, "Action": [name for name in statement["Action"] if name != action]}
        for statement in policy["Statement"]
    ]
    assert kept != policy["Statement"], action
    return {**policy, "Statement": kept}


POLICY = document("iam-policy.json")
RIGHTS = {
    "s3:ListBucket": ("bucket", "fail"),
    "s3:PutObject": ("write", "fail"),
    "s3:GetObject": ("read", "fail"),
    "s3:AbortMultipartUpload": ("multipart", "warn"),
    "s3:ListBucketMultipartUploads": ("open uploads", "warn"),
    "s3:GetLifecycleConfiguration": ("lifecycle", "warn"),
}
"""What `check` says where the action is missing."""


@dataclass(frozen=True, slots=True)
class Account:
    """An AWS account with our bucket, and a service beside it that has no rights but those of a policy."""

    monkeypatch: pytest.MonkeyPatch
    emulator: Emulator
    folders: pytest.TempPathFactory

    def as_writer(self, policy: Json, work: Callable[[], T]) -> T:
        """Do `work` with the credentials of a new user to whom only `policy` is attached, and have that enforced."""
        writer = f"writer-{uuid.uuid4().hex}"
        with closing(boto3.client("iam")) as iam:
            iam.create_user(UserName=writer)
            created = iam.create_policy(PolicyName=writer, PolicyDocument=json.dumps(in_motos_words(policy)))
            iam.attach_user_policy(UserName=writer, PolicyArn=created["Policy"]["Arn"])
            key = iam.create_access_key(UserName=writer)["AccessKey"]
        with self.monkeypatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
            patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
            return set_initial_no_auth_action_count(0)(work)()

    def loaded(self) -> Loaded:
        settings = {
            "STATE_DIRECTORY": str(self.folders.mktemp("state")),
            "ARCHIVER_PROVIDER__BASE_URL": self.emulator.base_url,
            "ARCHIVER_PROVIDER__API_KEY": API_KEY,
            "ARCHIVER_STORE__BUCKET": BUCKET,
            "ARCHIVER_STORE__PREFIX": PREFIX,
            "ARCHIVER_STORE__REGION": "us-east-1",
            "ARCHIVER_STORE__SINGLE_PUT_MAX": "1MiB",
            "ARCHIVER_STORE__PART_SIZE": "5MiB",
            "ARCHIVER_DOWNLOAD__ALLOW_HTTP": "true",
            "ARCHIVER_DOWNLOAD__ALLOW_PRIVATE_ADDRESSES": "true",
        }
        return load(None, settings, search=())

    def check(self) -> dict[str, str]:
        """What `check` finds: subject to level."""
        return {finding.subject: finding.level for finding in findings(self.loaded(), Events())}

    def backfill(self, *tasks: EmulatedTask) -> tuple[BackfillResult, Events]:
        events = Events()
        ids = Intake(ids=tuple(TaskId(task.task_id) for task in tasks))
        options = BackfillOptions(limit=None, wait=True, max_wait=timedelta(seconds=30))
        with assembled(self.loaded().settings, Role.BACKFILL, log=events, observer=Watcher()) as parts:
            result = backfill(parts, [ids], options, Shutdown())
        return result, events


def make_bucket(bucket: str) -> None:
    """Make a bucket as deploy/aws says, less its policy and Object Lock.

    moto overlooks that the policy denies on a condition alone, and wants a locked object's checksum in a header that
    S3 does not insist on.
    """
    with closing(boto3.client("s3")) as s3:
        s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=document("versioning.json"))
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=document("encryption.json"))
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=document("public-access-block.json"))
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=document("lifecycle.json"))


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with mock_aws(), Emulator() as emulator, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        emulator.add(SMALL, LARGE)
        make_bucket(BUCKET)
        yield Account(monkeypatch, emulator, tmp_path_factory)


@pytest.mark.usefixtures("account")
def test_documents_applied_and_read_back_say_the_same() -> None:
    bucket = "read-back"
    make_bucket(bucket)
    with closing(boto3.client("s3")) as s3:
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document("bucket-policy.json")))
        s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=document("object-lock.json"))
        read: dict[str, Json] = {
            "versioning.json": {"Status": s3.get_bucket_versioning(Bucket=bucket)["Status"]},
            "encryption.json": s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"],
            "public-access-block.json": s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
            "lifecycle.json": {"Rules": s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]},
            "bucket-policy.json": json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]),
            "object-lock.json": s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"],
        }
    del read["object-lock.json"]["Rule"]["DefaultRetention"]["Years"]  # moto adds 0
    assert read == {name: document(name) for name in read}


def test_documents_close_the_bucket_keep_every_version_and_expire_only_backups() -> None:
    closed = document("public-access-block.json")
    assert closed == dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
    assert document("versioning.json") == {"Status": "Enabled"}
    (in_clear,) = document("bucket-policy.json")["Statement"]
    assert (in_clear["Effect"], in_clear["Principal"], in_clear["Action"]) == ("Deny", "*", "s3:*")
    assert in_clear["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    uploads, backups, markers = document("lifecycle.json")["Rules"]
    assert uploads["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert "Expiration" not in uploads
    assert backups["Expiration"] == {"Days": 14}
    assert backups["Filter"] == markers["Filter"] == {"Prefix": f"{PREFIX}_archive/ledger/"}


def test_check_passes_under_exactly_the_policy(account: Account) -> None:
    found = account.as_writer(POLICY, account.check)
    assert {subject for subject, level in found.items() if level == "fail"} == set()
    assert {found[subject] for subject, _ in RIGHTS.values() if subject != "read"} == {"ok"}
    assert found["read"] == "warn"  # moto names no checksum


def test_backfill_passes_under_exactly_the_policy(account: Account) -> None:
    result, events = account.as_writer(POLICY, lambda: account.backfill(SMALL, LARGE))
    assert (result.verdict, result.work.unfinished) == (Verdict.DONE, ())
    assert len(events.of("stem.stored")) == 4
    assert events.of("upload.abort_failed") == []


@pytest.mark.parametrize("action", RIGHTS)
def test_check_tells_which_right_of_the_policy_is_missing(account: Account, action: str) -> None:
    found = account.as_writer(without(POLICY, action), account.check)
    subject, level = RIGHTS[action]
    assert found[subject] == level


def test_policy_has_no_right_whose_lack_goes_unnoticed() -> None:
    assert set(RIGHTS) == set(actions(POLICY))


def test_backfill_without_the_right_to_put_pauses(account: Account) -> None:
    result, _ = account.as_writer(without(POLICY, "s3:PutObject"), lambda: account.backfill(SMALL))
    assert result.verdict is Verdict.PAUSED


BEYOND: dict[str, Json] = {
    "delete_object": {"Key": f"{PREFIX}a"},
    "put_object": {"Key": "elsewhere/a", "Body": b""},
    "get_object": {"Key": "elsewhere/a"},
    "put_object_acl": {"Key": f"{PREFIX}a", "ACL": "public-read"},
    "put_bucket_lifecycle_configuration": {"LifecycleConfiguration": {"Rules": []}},
    "delete_bucket_policy": {},
    "delete_bucket": {},
}
"""Calls that the service never makes."""


def test_policy_gives_no_right_to_delete_or_to_look_elsewhere(account: Account) -> None:
    def ask() -> dict[str, str]:
        said = {}
        with closing(boto3.session.Session().client("s3")) as s3:
            for call, arguments in BEYOND.items():
                with pytest.raises(ClientError) as refused:
                    getattr(s3, call)(Bucket=BUCKET, **arguments)
                said[call] = refused.value.response["Error"]["Code"]
        return said

    assert account.as_writer(POLICY, ask) == dict.fromkeys(BEYOND, "AccessDenied")


@pytest.mark.parametrize("name", sorted(file.name for file in DOCUMENTS.glob("iam-policy*.json")))
def test_policy_names_every_action_and_none_that_deletes(name: str) -> None:
    for action in actions(document(name)):
        assert re.fullmatch(r"(s3|kms):[A-Z][A-Za-z]+", action)
        assert "Delete" not in action


def test_terraform_takes_every_document() -> None:
    text = (DOCUMENTS / "main.tf").read_text(encoding="utf-8")
    assert {file.name for file in DOCUMENTS.glob("*.json") if f'{file.name}"' not in text} == set()


def test_store_passes_every_look_again_and_again_on_a_bucket_with_object_lock(s3_server: S3Server) -> None:
    bucket = f"locked-{uuid.uuid4().hex[:20]}"
    with closing(s3_server.client()) as s3:
        s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=document("object-lock.json"))
    store = s3_store(s3_server.client(), bucket, single_max=MIB, part=5 * MIB)
    with closing(store):
        for _ in range(2):
            assert [finding for finding in store.probe(f"{PREFIX}probe") if finding.level == "fail"] == []
        for size in (1000, 6 * MIB):
            put = store.put(f"{PREFIX}{size}", MemoryBody(bytes(size)), metadata={}, journal=MemoryJournal())
            assert put.size == size


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_terraform_finds_its_configuration_valid(tmp_path: Path) -> None:
    """Providers come from the folder ARCHIVER_TERRAFORM_PLUGINS, or else from Terraform's own sources."""
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("terraform is not installed")
    shutil.copytree(DOCUMENTS, tmp_path, dirs_exist_ok=True)
    plugins = os.environ.get("ARCHIVER_TERRAFORM_PLUGINS")
    offline = [f"-plugin-dir={plugins}"] if plugins else []
    for words in (["fmt", "-check"], ["init", "-backend=false", "-input=false", *offline], ["validate"]):
        done = subprocess.run([terraform, *words], cwd=tmp_path, check=False)
        assert done.returncode == 0, words
