"""The session behind the store's client beside botocore's own."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from botocore import exceptions as boto
from botocore.regions import EndpointResolver
from botocore.session import get_session

from archiver.adapters.object_store.client import _session
from tests.house import s3_client


def test_session_finds_the_services_that_botocore_finds_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "mine" / "2026-01-01"
    own.mkdir(parents=True)
    (own / "service-2.json").write_text('{"metadata": {"serviceId": "Mine"}, "operations": {}, "shapes": {}}')
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    ours, theirs = (session.get_component("data_loader") for session in (_session(), get_session()))
    for service in ("s3", "sts", "sso", "sso-oidc", "mine"):
        model = ours.load_service_model(service, "service-2")
        assert model == theirs.load_service_model(service, "service-2")
    with pytest.raises(boto.UnknownServiceError):
        ours.load_service_model("nothing", "service-2")
    with pytest.raises(boto.DataNotFoundError):
        ours.load_service_model("mine", "paginators-1")


@pytest.mark.parametrize("service", ["s3", "sts", "portal.sso", "oidc", "signin"])
def test_session_knows_the_endpoints_of_what_we_use_as_botocore_does(service: str) -> None:
    loaders = [session.get_component("data_loader") for session in (_session(), get_session())]
    ours, theirs = (EndpointResolver(loader.load_data("endpoints")) for loader in loaders)
    for partition in theirs.get_available_partitions():
        regions = theirs.get_available_endpoints("ec2", partition)
        assert regions
        for region in regions:
            assert ours.construct_endpoint(service, region) == theirs.construct_endpoint(service, region)


@pytest.mark.parametrize(
    ("given", "environment", "default", "taken"),
    [
        ("eu-west-1", "eu-west-2", "auto", "eu-west-1"),
        (None, "eu-west-2", "auto", "eu-west-2"),
        (None, None, "auto", "auto"),
        (None, None, None, "us-east-1"),
    ],
)
def test_region_is_that_of_the_settings_else_of_the_environment_else_the_default(
    monkeypatch: pytest.MonkeyPatch, given: str | None, environment: str | None, default: str | None, taken: str
) -> None:
    for name in ("AWS_REGION", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    if environment:
        monkeypatch.setenv("AWS_DEFAULT_REGION", environment)
    with closing(s3_client(endpoint_url="http://s3.test", region=given, default_region=default)) as client:
        assert client.meta.region_name == taken
