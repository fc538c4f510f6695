"""The S3 client that the store works with: boto3's own, made by botocore, of which boto3 is a layer on top."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import botocore.session
from botocore.config import Config
from botocore.handlers import add_expect_header
from botocore.loaders import JSONFileLoader, Loader, create_loader

from archiver.adapters.object_store.credentials import GuardedChain, Learned, cause_of
from archiver.core.errors import ArchiverError, CredentialsMissing

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 15
"""Also the longest that one block of a body may take to leave (urllib3 sends under this timeout)."""
READ_SECONDS = 60
CALL_ATTEMPTS = 3
"""botocore's own quick tries of one call; the store's tries and the ledger's back-off lie around them."""


_SERVICES = ("s3", "sts", "portal.sso", "oidc", "signin")
"""S3, and whom credentials may come from."""


@dataclass(frozen=True, slots=True)
class Tries:
    """How long one call waits, in seconds, and how often botocore itself tries it."""

    read_timeout: float = READ_SECONDS
    attempts: int = CALL_ATTEMPTS


def s3_client(
    *,
    endpoint_url: str | None,
    region: str | None,
    addressing_style: Literal["auto", "path", "virtual"],
    max_connections: int,
    user_agent_extra: str,
    default_region: str | None = None,
    signs_payload: bool = False,
    session: boto3.session.Session | None = None,
    tries: Tries = Tries(),
    learned: Learned = lambda _: None,
) -> S3Client:
    """Return a client for `S3Store`; credentials come from boto3's own chain. Close it after use.

    `max_connections` must be at least the number of threads that use it. `default_region` is for where neither
    `region` nor the AWS configuration names one. Bodies are not signed, unless `signs_payload`: every
    upload carries its checksum in a header that is, and S3Store proves what was stored by it. Hashing
    each body a second time for its signature would add nothing but some stores want it.
    `learned` is told the secrets that
    boto3's chain finds, now and whenever they are renewed. Raises CredentialsMissing when the AWS configuration
    cannot be used (an unknown profile, say).
    """
    config = _config(addressing_style, signs_payload, max_connections, user_agent_extra, tries)
    try:
        create, named = _maker(session, learned)
        region = region or named or default_region
        client = cast("S3Client", create("s3", endpoint_url=endpoint_url, region_name=region, config=config))
    except ArchiverError:
        raise
    except Exception as error:  # noqa: BLE001 - files and variables of others, in any form
        raise CredentialsMissing(f"the AWS configuration cannot be used: {cause_of(error)}") from None
    # Sent to another region, botocore asks HeadBucket for its name; were that redirected too, it would ask for ever.
    client.meta.events.register("before-call.s3.HeadBucket", _follow_no_redirect)
    # Some gateways answer 417 to it, others never, which costs a second; what QuickCalls sends has none either.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    return client


def _maker(session: boto3.session.Session | None, learned: Learned) -> tuple[Callable[..., object], str | None]:
    """Return what makes a client, and the region that environment and profile name."""
    if session is not None:
        return session.client, session.region_name
    own = _session(learned)
    return own.create_client, own.get_config_variable("region")


def _config(
    addressing_style: Literal["auto", "path", "virtual"],
    signs_payload: bool,
    max_connections: int,
    user_agent_extra: str,
    tries: Tries,
) -> Config:
    return Config(
        user_agent_extra=user_agent_extra,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=tries.read_timeout,
        retries={"mode": "standard", "total_max_attempts": tries.attempts},
        max_pool_connections=max_connections,
        tcp_keepalive=True,
        parameter_validation=False,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": addressing_style, "payload_signing_enabled": signs_payload},
    )


def _session(learned: Learned = lambda _: None) -> botocore.session.Session:
    session = botocore.session.get_session()
    paths = create_loader(session.get_config_variable("data_path")).search_paths
    chain = session.get_component("credential_provider")
    session.register_component("credential_provider", GuardedChain(chain, learned))
    session.register_component("data_loader", _Models(paths, _Files(), include_default_search_paths=False))
    return session


class _Files(JSONFileLoader):
    """Reads descriptions into plain dicts, and endpoints of few services: botocore's own keeps 7 MB more."""

    def load_file(self, file_path: str) -> Any:  # noqa: ANN401 - whatever is described
        """Return what stands in the file of that name, packed or not; None when there is none."""
        for suffix, opened in ((".json", open), (".json.gz", gzip.open)):
            with suppress(FileNotFoundError), opened(file_path + suffix, "rb") as file:
                found = json.load(file)
                return _of_few(found) if Path(file_path).name == "endpoints" else found
        return None


def _of_few(endpoints: dict[str, Any]) -> dict[str, Any]:
    for partition in endpoints["partitions"]:
        of_all = partition["services"]
        partition["services"] = {name: of_all[name] for name in _SERVICES if name in of_all}
    return endpoints


class _Models(Loader):
    """Finds the descriptions of services; botocore's own looks into all of the 400 to find one, three times."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - the name is botocore's
        """Return what may be a service; one without such a description is found out when that is loaded."""
        folders = [path for path in self.search_paths if os.path.isdir(path)]  # noqa: PTH112 - as botocore names them
        return sorted({entry.name for folder in folders for entry in os.scandir(folder) if entry.is_dir()})


def _follow_no_redirect(context: dict[str, dict[str, object]], **_: object) -> None:
    context.setdefault("s3_redirect", {})["redirected"] = True
