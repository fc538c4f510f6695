"""Profiles: found by host, complete, and told to people as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from typing import get_args

import pytest

from archiver.core.profiles import MOST_PARTS, PROFILES, Evidence, provider_of
from archiver.settings.model import StoreProvider
from tests import ROOT

TABLES = ROOT / "config" / "stores.md"
BEGIN, END = "<!-- of archiver/core/profiles.py: `pytest {} --update` -->\n", "<!-- end -->\n"
NOTHING = "\N{EN DASH}"
R2 = "0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com"


@pytest.mark.parametrize(
    ("host", "provider", "region"),
    [
        ("s3.amazonaws.com", "aws", None),
        ("s3.eu-central-1.amazonaws.com", "aws", "eu-central-1"),
        ("s3-us-west-2.amazonaws.com", "aws", "us-west-2"),
        ("s3.us-gov-west-1.amazonaws.com", "aws", "us-gov-west-1"),
        ("s3.cn-north-1.amazonaws.com.cn", "aws", "cn-north-1"),
        ("s3.dualstack.us-west-2.amazonaws.com", "aws", "us-west-2"),
        (R2, "r2", "auto"),
        (R2.replace(".r2", ".eu.r2"), "r2", "auto"),
        ("s3.us-west-004.backblazeb2.com", "b2", "us-west-004"),
        ("storage.googleapis.com", "gcs", "auto"),
        ("s3.wasabisys.com", "wasabi", "us-east-1"),
        ("s3.eu-central-2.wasabisys.com", "wasabi", "eu-central-2"),
        ("nyc3.digitaloceanspaces.com", "digitalocean", "us-east-1"),
        ("fsn1.your-objectstorage.com", "hetzner", "fsn1"),
        ("s3.fr-par.scw.cloud", "scaleway", "fr-par"),
        ("s3.gra.io.cloud.ovh.net", "ovh", "gra"),
        ("s3.eu-west-par.io.cloud.ovh.net", "ovh", "eu-west-par"),
        ("gateway.storjshare.io", "storj", "us-east-1"),
        ("gateway.eu1.storjshare.io", "storj", "us-east-1"),
        ("t3.storage.dev", "tigris", "auto"),
        ("fly.storage.tigris.dev", "tigris", "auto"),
        ("axaxnpcrorw5.compat.objectstorage.us-phoenix-1.oraclecloud.com", "oci", "us-phoenix-1"),
        ("oss-cn-hangzhou.aliyuncs.com", "oss", "oss-cn-hangzhou"),
        ("oss-cn-hangzhou-internal.aliyuncs.com", "oss", "oss-cn-hangzhou"),
        ("s3.oss-eu-central-1.aliyuncs.com", "oss", "oss-eu-central-1"),
    ],
)
def test_provider_and_region_are_found_by_the_endpoints_host(host: str, provider: str, region: str | None) -> None:
    for endpoint in (f"https://{host}", f"https://{host.upper()}:443/"):
        assert provider_of(endpoint) == provider
        assert PROFILES[provider].region_at(endpoint) == region
        assert PROFILES[provider].bucket_before(endpoint) == ""
    before = f"https://my.bucket-1.{host}"
    assert provider_of(before) == provider
    assert PROFILES[provider].bucket_before(before) == "my.bucket-1"
    assert PROFILES[provider].region_at(before) == region


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://minio.example.com",
        "http://127.0.0.1:9000",
        "http://[::1]:9000",
        "https://s3.amazonaws.com.example.org",
        "https://amazonaws.com",
        "https://notbackblazeb2.com",
        "https://s3.us-west-004.backblazeb2.com.evil.example",
        "https://0123.r2.cloudflarestorage.com",
    ],
)
def test_any_other_host_is_nobodys(endpoint: str) -> None:
    assert provider_of(endpoint) == "other"
    assert PROFILES["other"].region_at(endpoint) is None


def test_no_endpoint_is_amazons_own() -> None:
    assert provider_of(None) == "aws"
    assert PROFILES["aws"].region_at(None) is None
    assert PROFILES["minio"].region_at("https://anywhere.example.com") == "us-east-1"


def test_profiles_are_frozen_named_by_the_setting_and_each_has_its_source() -> None:
    assert list(PROFILES) == list(get_args(StoreProvider))
    with pytest.raises(TypeError):
        PROFILES["aws"] = PROFILES["other"]  # type: ignore[index]  # that is the test
    with pytest.raises(FrozenInstanceError):
        PROFILES["aws"].region = "x"  # type: ignore[misc]  # that is the test
    for name, profile in PROFILES.items():
        assert bool(profile.sources) != (name == "other")
        assert profile.works or profile.degraded
        assert "|" not in profile.works + profile.degraded
        assert 0 < profile.most_parts <= MOST_PARTS
        if profile.evidence is Evidence.SEEN:
            assert "tests/integration/STORES.md" in profile.sources[0]


def defaults() -> Iterator[str]:
    yield "| `store.provider` | found by its host | addressing | bodies signed | region | parts |"
    yield "|---|---|---|---|---|---|"
    for name, each in PROFILES.items():
        region = "that of the host" if "region" in each.hosts else ""
        region = ", else ".join(part for part in (region, each.region or "") if part) or "boto3's own"
        parts = ["all but the last equal"] if each.equal_parts else []
        parts += [f"{each.most_parts} at most"] if each.most_parts != MOST_PARTS else []
        signed, found = ("yes" if yes else "no" for yes in (each.signs_payload, each.hosts or name == "aws"))
        yield f"| {name} | {found} | {each.addressing} | {signed} | {region} | {', '.join(parts) or NOTHING} |"


def expected() -> Iterator[str]:
    yield "| provider | works | degraded, and what is done instead | seen or documented | source |"
    yield "|---|---|---|---|---|"
    for name, each in PROFILES.items():
        sources = "; ".join(f"<{source}>" if "://" in source else f"`{source}`" for source in each.sources)
        said = (each.works or NOTHING, each.degraded or NOTHING, each.evidence, sources or NOTHING)
        yield f"| {name} | {' | '.join(said)} |"


def test_table_for_people_says_what_the_profiles_say(request: pytest.FixtureRequest) -> None:
    begin = BEGIN.format("tests/unit/core/test_profiles.py")
    text = "\n".join([*defaults(), "", *expected()])
    before, found, rest = TABLES.read_text(encoding="utf-8").partition(begin)
    assert found
    now, _, after = rest.partition(END)
    if request.config.getoption("--update"):
        TABLES.write_text(f"{before}{begin}{text}\n{END}{after}", encoding="utf-8")
    else:
        assert now == f"{text}\n"
