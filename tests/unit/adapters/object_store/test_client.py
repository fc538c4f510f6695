"""The session behind the store's client beside botocore's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore import exceptions as boto
from botocore.regions import EndpointResolver
from botocore.session import get_session

from archiver.adapters.object_store.client import _session


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
