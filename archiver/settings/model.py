"""The settings: their names, types and defaults."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo

from archiver import __version__
from archiver.core.bandwidth import Timetable
from archiver.core.capabilities import CreateOnly
from archiver.core.fixity_cost import PRESETS, Prices
from archiver.core.keys import Names
from archiver.core.model import DEFAULT_ACCOUNT, AccountName
from archiver.core.profiles import PROFILES, Addressing, Profile, provider_of
from archiver.settings import rules
from archiver.settings.prices import parse_prices, show_prices
from archiver.settings.secret_parts import passwords, secret_parts
from archiver.settings.units import (
    GIB,
    KIB,
    MIB,
    parse_bandwidth,
    parse_concurrency,
    parse_count,
    parse_duration,
    parse_list,
    parse_pairs,
    parse_rate,
    parse_size,
    parse_tables,
    show_bandwidth,
    show_duration,
    show_interval,
    show_size,
)

PREFIX = "ARCHIVER_"
"""The names of all our environment variables begin so."""


@dataclass(frozen=True)
class Written:
    """The way in which a value of this type is shown; pydantic ignores it."""

    show: Callable[..., str]


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), AfterValidator(rules.span_of_time), Written(show_duration)
]
Interval = Annotated[timedelta, BeforeValidator(rules.interval), Written(show_interval)]
Size = Annotated[int, BeforeValidator(parse_size), AfterValidator(rules.at_least_one), Written(show_size)]
SizeOrNothing = Annotated[int, BeforeValidator(parse_size), AfterValidator(rules.none_or_more), Written(show_size)]
Rate = Annotated[
    int, BeforeValidator(parse_rate), AfterValidator(rules.at_least_one), Written(lambda rate: f"{show_size(rate)}/s")
]
Bandwidth = Annotated[Timetable, BeforeValidator(parse_bandwidth), Written(show_bandwidth)]
Count = Annotated[int, BeforeValidator(parse_count), AfterValidator(rules.at_least_one)]
Host = Annotated[str, BeforeValidator(rules.lower), AfterValidator(rules.host)]
FilePatterns = Annotated[tuple[str, ...], BeforeValidator(parse_list), AfterValidator(rules.file_patterns)]


def _revealed(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


class Section(BaseModel):
    """A table of the settings file; unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Account(Section):
    """One more account at the provider."""

    name: Annotated[str, AfterValidator(rules.further_account)]
    api_key: Annotated[SecretStr, AfterValidator(rules.secret_key)] | None = None
    api_key_file: Path | None = None
    requests_per_10s: Count = 20

    def key(self) -> str:
        """Return the API key; empty when none is set."""
        return _revealed(self.api_key)

    def shown(self) -> str:
        """Return it as it would be written in the file, without the key."""
        file = "" if self.api_key_file is None else f", api_key_file = {json.dumps(str(self.api_key_file))}"
        return f'{{name = "{self.name}"{file}, requests_per_10s = {self.requests_per_10s}}}'


def _show_accounts(accounts: Sequence[Account]) -> str:
    return f"[{', '.join(account.shown() for account in accounts)}]" if accounts else ""


class Provider(Section):
    """The provider's API."""

    base_url: Annotated[str, AfterValidator(rules.base_url)] = "https://api.kie.ai"
    flavour: Literal["kie", "sunoapi"] | None = Field(None, examples=["sunoapi"])
    api_key: Annotated[SecretStr, AfterValidator(rules.secret_key)] | None = None
    api_key_file: Path | None = Field(None, examples=["/etc/stem-archiver/kie-api-key"])
    retention: Duration = timedelta(days=14)
    requests_per_10s: Count = 20
    user_agent: Annotated[str, AfterValidator(rules.matching(r"[!-~]([ -~]{0,198}[!-~])?", "printable ASCII"))] = (
        f"stem-archiver/{__version__}"
    )
    timeout: Duration = timedelta(seconds=10)
    accounts: Annotated[
        tuple[Account, ...], BeforeValidator(parse_tables), AfterValidator(rules.all_named), Written(_show_accounts)
    ] = ()

    def key(self) -> str:
        """Return the API key of the default account; empty when none is set."""
        return _revealed(self.api_key)

    def api_keys(self) -> Mapping[AccountName, str]:
        """Return the API key of every account, the default one first."""
        return {DEFAULT_ACCOUNT: self.key()} | {AccountName(each.name): each.key() for each in self.accounts}

    def request_rates(self) -> Mapping[AccountName, int]:
        """Return how many requests each account may send in any 10 seconds."""
        further = {AccountName(each.name): each.requests_per_10s for each in self.accounts}
        return {DEFAULT_ACCOUNT: self.requests_per_10s} | further


class Queue(Section):
    """The inbox."""

    path: rules.QueuePath = Field(Path("queue.txt"), examples=["/var/lib/stem-archiver/queue.txt"])
    poll_interval: Duration = timedelta(seconds=30)


StoreProvider = Literal[
    "aws", "r2", "b2", "minio", "ceph", "gcs", "wasabi", "digitalocean", "hetzner", "scaleway", "ovh", "storj",
    "tigris", "oci", "oss", "seaweedfs", "garage", "swift", "other",
]  # fmt: skip


class Store(Section):
    """The bucket, and how objects are put into it."""

    bucket: Annotated[str, AfterValidator(rules.bucket)] = Field("", examples=["my-stems"])
    prefix: Annotated[str, AfterValidator(rules.prefix)] = Field("", examples=["stems/"])
    names: Names = Names.ID
    endpoint_url: Annotated[str, AfterValidator(rules.endpoint)] | None = Field(
        None, examples=["https://s3.example.com"]
    )
    provider: StoreProvider | None = Field(None, examples=["minio"])
    region: Annotated[str, AfterValidator(rules.matching(r"[a-z0-9-]{1,40}", "a region's name"))] | None = Field(
        None, examples=["eu-central-1"]
    )
    storage_class: (
        Annotated[str, AfterValidator(rules.matching(r"[A-Z0-9_]{1,40}", "a storage class, in capitals"))] | None
    ) = Field(None, examples=["STANDARD_IA"])
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(None, examples=["AES256"])
    kms_key_id: Annotated[str, AfterValidator(rules.matching(r"[!-~]{1,2048}", "a KMS key's id or ARN"))] | None = (
        Field(None, examples=["alias/stems"])
    )
    tags: Annotated[Mapping[str, str], BeforeValidator(parse_pairs), AfterValidator(rules.tags)] = Field(
        {}, examples=[{"app": "stem-archiver"}]
    )
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    sign_payload: bool | None = Field(None, examples=[True])
    create_only: CreateOnly = CreateOnly.REQUIRED
    single_put_max: Size = 16 * MIB
    part_size: Size = 8 * MIB

    def profile(self) -> Profile:
        """Return what is known of the provider, which is named or found by the endpoint's host."""
        return PROFILES[self.provider or provider_of(self.endpoint_url)]

    def addressing(self) -> Addressing:
        """Return the place of the bucket's name, as set or as the provider wants it."""
        return self.profile().addressing if self.addressing_style == "auto" else self.addressing_style

    def signs_payload(self) -> bool:
        """Return whether bodies are signed, as set or as the provider wants it."""
        return self.profile().signs_payload if self.sign_payload is None else self.sign_payload


class Download(Section):
    """The fetching of audio."""

    concurrency: Annotated[
        Annotated[int, AfterValidator(rules.at_least_one)] | Literal["auto"], BeforeValidator(parse_concurrency)
    ] = 16
    concurrency_max: Count = 64
    tasks_in_flight: Count = 8
    bandwidth: Bandwidth = Field(Timetable(), examples=[parse_bandwidth("08:00,512KiB 23:00,off")])
    max_stem_bytes: Size = 2 * GIB
    min_rate: Rate = KIB
    connect_timeout: Duration = timedelta(seconds=10)
    read_timeout: Duration = timedelta(seconds=30)
    buffer_budget: Size = 192 * MIB
    allowed_hosts: Annotated[tuple[Host, ...], BeforeValidator(parse_list)] = Field((), examples=[["file.example.com"]])
    exclude: FilePatterns = Field((), examples=[["image", "lyrics-*"]])
    allow_http: bool = False
    allow_private_addresses: bool = False
    proxy: Annotated[SecretStr, AfterValidator(rules.proxy)] | None = Field(
        None, examples=["http://user:password@proxy.example.com:3128"]
    )

    @property
    def adapts(self) -> bool:
        """True where the service finds out the number of transfers at one time by itself."""
        return self.concurrency == "auto"

    @property
    def most_transfers(self) -> int:
        """The most transfers at one time."""
        return self.concurrency_max if self.concurrency == "auto" else self.concurrency

    def proxy_url(self) -> str | None:
        """Return the proxy with its password, or None for none."""
        return _revealed(self.proxy) or None


class Ledger(Section):
    """The service's memory."""

    url: Annotated[str, AfterValidator(rules.ledger_url)] = Field(
        "sqlite:///ledger.db", examples=["sqlite:////var/lib/stem-archiver/ledger.db"], repr=False
    )
    backup_every: Interval = timedelta(hours=1)
    trim_after: Interval = timedelta()


class Verify(Section):
    """The proof that what was archived still stands."""

    list_every: Interval = timedelta(days=1)
    within: Annotated[Interval, AfterValidator(rules.days)] = timedelta()
    bandwidth: Bandwidth = Field(Timetable(), examples=[parse_bandwidth("08:00,1MiB 23:00,off")])
    max_cost: Annotated[float, AfterValidator(rules.not_negative)] | None = Field(None, examples=[10.0])
    prices: Annotated[Prices, BeforeValidator(parse_prices), Written(show_prices)] = Field(
        PRESETS["none"], examples=[PRESETS["aws"]]
    )


class Schedule(Section):
    """The spans after which things are tried again, and alarms are raised."""

    pending_first: Duration = timedelta(seconds=20)
    pending_max: Duration = timedelta(minutes=10)
    retry_first: Duration = timedelta(seconds=5)
    retry_max: Duration = timedelta(hours=1)
    missing_after: Duration = timedelta(days=1)
    settled_after: Duration = timedelta(minutes=5)
    at_risk: Duration = timedelta(hours=48)
    grace_after_deadline: Duration = timedelta(days=2)


class Listener(Section):
    """An address where the daemon can be reached."""

    listen: Annotated[str, AfterValidator(rules.listen)]

    def address(self) -> tuple[str, int] | None:
        """Return host and port, or None for not at all."""
        host, _, port = self.listen.rpartition(":")
        return (host.strip("[]"), int(port)) if port else None


class Http(Listener):
    """The listener for Prometheus and supervisors."""

    listen: Annotated[str, AfterValidator(rules.listen)] = "127.0.0.1:9464"


class Notify(Section):
    """The people who are alerted, and a dead man's switch."""

    heartbeat_url: Annotated[SecretStr, AfterValidator(rules.web_address)] | None = Field(
        None, examples=["https://ping.example.com/0123456789abcdef"]
    )
    urls: Annotated[tuple[SecretStr, ...], BeforeValidator(parse_list)] = Field(
        (), examples=[["mailtos://user:password@example.com"]]
    )
    min_interval: Duration = timedelta(minutes=5)

    def heartbeat(self) -> str | None:
        """Return the URL to ping, or None for none."""
        return _revealed(self.heartbeat_url) or None

    def services(self) -> Sequence[str]:
        """Return where notifications go, one URL of apprise's each."""
        return [_revealed(url) for url in self.urls]


class Callback(Listener):
    """The listener for the provider's callbacks."""

    enabled: bool = False
    listen: Annotated[str, AfterValidator(rules.listen)] = "127.0.0.1:9465"
    hmac_key: Annotated[SecretStr, AfterValidator(rules.secret_key)] | None = None
    hmac_key_file: Path | None = Field(None, examples=["/etc/stem-archiver/kie-webhook-key"])
    add_unknown: bool = False

    def key(self) -> str:
        """Return the key that callbacks are signed with; empty when none is set."""
        return _revealed(self.hmac_key)


class Page(Listener):
    """The page to see and hear the archive."""

    listen: Annotated[str, AfterValidator(rules.listen)] = "127.0.0.1:9466"
    hosts: Annotated[tuple[Host, ...], BeforeValidator(parse_list)] = Field((), examples=[["archive.example.com"]])
    token_file: Path | None = Field(None, examples=["/etc/stem-archiver/page-token"])
    actions: Literal["operate", "none"] | None = Field(None, examples=["none"])
    audio: Literal["proxy", "presigned"] = "proxy"
    cache: SizeOrNothing = 256 * MIB
    with_run: bool = False


class Log(Section):
    """The level and the form of the log."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(rules.lower)] = "info"
    format: Annotated[Literal["auto", "json", "console"], BeforeValidator(rules.lower)] = "auto"


_AWS_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class Settings(Section):
    """Every setting. Frozen; its repr shows no secret.

    Spans are timedeltas, sizes bytes, rates bytes a second. From `load`, all paths are absolute, and
    `provider.api_key`, that of each account and `callback.hmac_key` hold the keys wherever they were found.
    """

    provider: Provider = Provider()
    queue: Queue = Queue()
    store: Store = Store()
    download: Download = Download()
    ledger: Ledger = Ledger()
    verify: Verify = Verify()
    schedule: Schedule = Schedule()
    http: Http = Http()
    notify: Notify = Notify()
    callback: Callback = Callback()
    page: Page = Page()
    log: Log = Log()
    shutdown_grace: Duration = timedelta(seconds=30)

    def ledger_file(self) -> Path | None:
        """Return the file that the ledger is in; None where it is on a server."""
        path = self.ledger.url.removeprefix(rules.SQLITE)
        return None if path == self.ledger.url else Path(path)

    def secrets(self, environ: Mapping[str, str] = os.environ) -> AbstractSet[str]:
        """Return every secret that the settings and the environment hold, for the log's redaction."""
        keys = {self.callback.key(), *self.provider.api_keys().values()}
        found = keys | {environ.get(name, "") for name in _AWS_SECRETS}
        for url in (*self.notify.services(), self.notify.heartbeat() or ""):
            found |= {url, *secret_parts(url)}
        for url in (self.ledger.url, self.download.proxy_url() or ""):
            found |= passwords(url)
        return frozenset(found - {""})


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            yield from ((f"{name}.{key}", inner) for key, inner in section.model_fields.items())
        else:
            yield name, field


FIELDS: Mapping[str, FieldInfo] = MappingProxyType(dict(_fields()))
"""Every setting by its dotted name."""

KEYS: Sequence[str] = tuple(FIELDS)
"""The dotted name of every setting."""

SECTIONS = tuple(dict.fromkeys(key.partition(".")[0] for key in KEYS if "." in key))
"""The tables of the settings file."""


def variable(key: str) -> str:
    """Return the environment variable that sets `key`."""
    return PREFIX + key.upper().replace(".", "__")


def value_of(settings: Settings, key: str) -> object:
    """Return the value of a dotted key."""
    section, _, name = key.rpartition(".")
    return getattr(getattr(settings, section) if section else settings, name)
