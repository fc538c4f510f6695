"""Frozen settings from defaults, one TOML file, the environment and credential files.

The environment wins over the file, the file over the defaults. Whatever is wrong is told at once, in
one SettingsFault, and no fault ever repeats the value of a secret.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from archiver import __version__
from archiver.core.errors import SettingsFault

SEARCH: Sequence[Path] = (Path("archiver.toml"), Path("/etc/stem-archiver/archiver.toml"))
"""Where a settings file is looked for when neither --config nor ARCHIVER_CONFIG names one; the first wins."""

CREDENTIAL = "kie-api-key"
"""The name of the systemd credential that may hold the API key."""

_PREFIX = "ARCHIVER_"
_CONFIG_VARIABLE = "ARCHIVER_CONFIG"
_LONGEST_KEY_FILE = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
_SMALLEST_PART = 5 * _MIB
"""Amazon S3's limit for all parts but the last."""
_MOST_PARTS = 10_000
_LARGEST_SINGLE_PUT = 5 * _GIB


# --- notations


_SPANS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|[wdhms])", re.ASCII)
_SPAN_SHOWN = re.compile(rf"\s*(?:{_SPAN.pattern}\s*)+", re.ASCII)
_SIZES = {"tib": 1 << 40, "gib": _GIB, "mib": _MIB, "kib": _KIB, "tb": 10**12, "gb": 10**9, "mb": 10**6, "kb": 10**3}
_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]i?b|b)?\s*", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"\s*\d+(?:\.\d+)?\s*", re.ASCII)


def parse_duration(value: object) -> timedelta:
    """Read `14d`, `30s`, `1h30m`, `500ms`, or a plain number of seconds; raise ValueError for anything else."""
    if isinstance(value, timedelta):
        return value
    try:
        if isinstance(value, str) and _SPAN_SHOWN.fullmatch(value):
            return sum((float(n) * _SPANS[unit] for n, unit in _SPAN.findall(value)), timedelta())
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            return timedelta(seconds=float(value))
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return timedelta(seconds=value)
    except OverflowError:
        raise ValueError("is longer than any clock can tell") from None
    raise ValueError(f"is no duration: {_shown(value)}")


def show_duration(span: timedelta) -> str:
    """Write a span as `parse_duration` reads it, in the largest units that are exact."""
    left, text = span, ""
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, _SPANS[unit])
        text += f"{count}{unit}" if count else ""
    return text + (f"{left.microseconds / 1000:g}ms" if left else "") or "0s"


def parse_size(value: object) -> int:
    """Read `2GiB` (1024), `64KB` (1000), or a plain number of bytes; raise ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"is no size: {_shown(value)}")
    size = float(found[1]) * _SIZES.get((found[2] or "b").lower(), 1)
    if size != int(size):
        raise ValueError(f"is no whole number of bytes: {_shown(value)}")
    return int(size)


def show_size(size: int) -> str:
    """Write a size as `parse_size` reads it, in the largest unit that is exact."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        count, rest = divmod(size, _SIZES[unit.lower()])
        if count and not rest:
            return f"{count}{unit}"
    return f"{size}B"


def parse_rate(value: object) -> int:
    """Read `16KiB/s`, or a plain number of bytes a second; raise ValueError for anything else."""
    if isinstance(value, str):
        if not value.rstrip().endswith("/s"):
            raise ValueError(f"is no rate (a size and /s): {_shown(value)}")
        value = value.rstrip().removesuffix("/s")
    return parse_size(value)


def _parse_count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,18}\s*", value, re.ASCII):
        return int(value)
    raise ValueError(f"is no whole number: {_shown(value)}")


def _parse_list(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _parse_pairs(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not equals for _, equals, _ in pairs):
        raise ValueError("is no list of name=value, joined by commas")
    return {name.strip(): text.strip() for name, _, text in pairs}


def _shown(value: object) -> str:
    return ascii(value)[:60]


# --- rules for one value


def _more_than_nothing(span: timedelta) -> timedelta:
    if span <= timedelta():
        raise ValueError("must be longer than 0s")
    return span


def _at_least_one(number: int) -> int:
    if number < 1:
        raise ValueError("must be 1 or more")
    return number


def _matching(pattern: str, meaning: str) -> Callable[[str], str]:
    rule = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not rule.fullmatch(text):
            raise ValueError(f"must be {meaning}")
        return text

    return check


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _key(text: str) -> str:
    """Return `text` as an API key; raise ValueError, without echoing it, when it cannot be one."""
    if not text:
        raise ValueError("is empty")
    if "\n" in text or "\r" in text:
        raise ValueError("holds a line break: expected one line with the key and nothing else")
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("holds a space, a control character or a character outside ASCII")
    return text


def _secret_key(secret: SecretStr) -> SecretStr:
    return SecretStr(_key(secret.get_secret_value()))


def _split(url: str, *schemes: str) -> SplitResult:
    """Split a URL whose every part can be used; the messages never repeat it, for it may hold a password."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0 and re.fullmatch(r"[!-~]+", url)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("is no URL")
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if parts.query or parts.fragment:
        raise ValueError("must have no query and no fragment")
    return parts


def _without_password(parts: SplitResult) -> SplitResult:
    if "@" in parts.netloc:
        raise ValueError("must have no user or password in it")
    return parts


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _base_url(url: str) -> str:
    parts = _without_password(_split(url, "https", "http"))
    if parts.path not in {"", "/"}:
        raise ValueError("must have no path")
    if parts.scheme == "http" and not _loopback(parts.hostname or ""):
        raise ValueError("must begin with https:// (http:// is for loopback only: the key would travel in the clear)")
    return f"{parts.scheme}://{parts.netloc}"


def _endpoint(url: str) -> str:
    return urlunsplit(_without_password(_split(url, "https", "http"))).rstrip("/")


def _proxy(secret: SecretStr) -> SecretStr:
    url = secret.get_secret_value()
    if _split(url, "http", "https").path not in {"", "/"}:
        raise ValueError("must have no path")
    return secret


def _bucket(name: str) -> str:
    if name and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name):
        raise ValueError("must be 3 to 63 of a-z 0-9 . - and begin and end with a letter or digit")
    if re.search(r"\.\.|\.-|-\.", name) or re.fullmatch(r"[0-9.]+", name):
        raise ValueError("must not look like an address, nor hold two dots, or a dot and a dash, side by side")
    return name


def _prefix(text: str) -> str:
    text = text.strip("/")
    if not text:
        return ""
    if not re.fullmatch(r"[A-Za-z0-9!_.*'()=/-]{1,512}", text):
        raise ValueError("must be at most 512 of A-Z a-z 0-9 ! _ . * ' ( ) = / -")
    if {"", ".", ".."} & set(text.split("/")):
        raise ValueError("must have no empty, `.` or `..` part")
    return f"{text}/"


def _tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    allowed = r"[A-Za-z0-9 +=._:/@-]"
    if len(tags) > 10:  # noqa: PLR2004 - Amazon S3 takes ten tags on an object
        raise ValueError("must be at most 10 tags")
    for name, text in tags.items():
        if not re.fullmatch(allowed + "{1,128}", name) or not re.fullmatch(allowed + "{0,256}", text):
            raise ValueError("must be names (1 to 128) and values (up to 256) of A-Z a-z 0-9 space + - = . _ : / @")
    return tags


def _ledger_url(url: str) -> str:
    if url.startswith(("postgresql:", "postgresql+")):
        raise ValueError("names PostgreSQL, which is not supported yet")
    path = url.removeprefix(_SQLITE)
    if path in {url, "", ":memory:"} or "?" in path or "#" in path or not path.isprintable():
        raise ValueError("must be sqlite:/// and the path of a file")
    return url


_SQLITE = "sqlite:///"


# --- the settings


@dataclass(frozen=True)
class _Written:
    """How a value of this type is shown; pydantic ignores it."""

    show: Callable[..., str]


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), AfterValidator(_more_than_nothing), _Written(show_duration)
]
Size = Annotated[int, BeforeValidator(parse_size), AfterValidator(_at_least_one), _Written(show_size)]
Rate = Annotated[
    int, BeforeValidator(parse_rate), AfterValidator(_at_least_one), _Written(lambda rate: f"{show_size(rate)}/s")
]
Count = Annotated[int, BeforeValidator(_parse_count), AfterValidator(_at_least_one)]
Host = Annotated[
    str,
    BeforeValidator(_lower),
    AfterValidator(
        _matching(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|[0-9a-f:]+", "host names such as cdn.example.com")
    ),
]


def _revealed(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Provider(_Section):
    """The provider's API."""

    base_url: Annotated[str, AfterValidator(_base_url)] = Field("https://api.kie.ai", examples=["https://api.kie.ai"])
    api_key: Annotated[SecretStr, AfterValidator(_secret_key)] | None = None
    api_key_file: Path | None = Field(None, examples=["/etc/stem-archiver/kie-api-key"])
    retention: Duration = Field(timedelta(days=14), examples=["14d"])
    requests_per_10s: Count = Field(20, examples=[20])
    user_agent: Annotated[str, AfterValidator(_matching(r"[!-~]([ -~]{0,198}[!-~])?", "printable ASCII"))] = Field(
        f"stem-archiver/{__version__}", examples=["stem-archiver"]
    )
    timeout: Duration = Field(timedelta(seconds=10), examples=["10s"])

    def key(self) -> str:
        """Return the API key; empty when none is set."""
        return _revealed(self.api_key)


class Queue(_Section):
    """The inbox."""

    path: Path = Field(Path("queue.txt"), examples=["/var/lib/stem-archiver/queue.txt"])
    poll_interval: Duration = Field(timedelta(seconds=30), examples=["30s"])


class Store(_Section):
    """The bucket, and how objects are put into it."""

    bucket: Annotated[str, AfterValidator(_bucket)] = Field("", examples=["my-stems"])
    prefix: Annotated[str, AfterValidator(_prefix)] = Field("", examples=["stems/"])
    endpoint_url: Annotated[str, AfterValidator(_endpoint)] | None = Field(None, examples=["https://s3.example.com"])
    region: Annotated[str, AfterValidator(_matching(r"[a-z0-9-]{1,40}", "a region's name"))] | None = Field(
        None, examples=["eu-central-1"]
    )
    storage_class: (
        Annotated[str, AfterValidator(_matching(r"[A-Z0-9_]{1,40}", "a storage class, in capitals"))] | None
    ) = Field(None, examples=["STANDARD_IA"])
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(None, examples=["AES256"])
    kms_key_id: Annotated[str, AfterValidator(_matching(r"[!-~]{1,2048}", "a KMS key's id or ARN"))] | None = Field(
        None, examples=["alias/stems"]
    )
    tags: Annotated[Mapping[str, str], BeforeValidator(_parse_pairs), AfterValidator(_tags)] = Field(
        {}, examples=[{"app": "stem-archiver"}]
    )
    addressing_style: Literal["auto", "path", "virtual"] = Field("auto", examples=["path"])
    single_put_max: Size = Field(16 * _MIB, examples=["16MiB"])
    part_size: Size = Field(8 * _MIB, examples=["8MiB"])


class Download(_Section):
    """How audio is fetched."""

    concurrency: Count = Field(16, examples=[16])
    tasks_in_flight: Count = Field(8, examples=[8])
    max_stem_bytes: Size = Field(2 * _GIB, examples=["2GiB"])
    min_rate: Rate = Field(_KIB, examples=["1KiB/s"])
    connect_timeout: Duration = Field(timedelta(seconds=10), examples=["10s"])
    read_timeout: Duration = Field(timedelta(seconds=30), examples=["30s"])
    buffer_budget: Size = Field(192 * _MIB, examples=["192MiB"])
    allowed_hosts: Annotated[tuple[Host, ...], BeforeValidator(_parse_list)] = Field(
        (), examples=[["file.example.com"]]
    )
    allow_http: bool = Field(default=False, examples=[False])
    allow_private_addresses: bool = Field(default=False, examples=[False])
    proxy: Annotated[SecretStr, AfterValidator(_proxy)] | None = Field(
        None, examples=["http://user:password@proxy.example.com:3128"]
    )

    def proxy_url(self) -> str | None:
        """Return the proxy with its password, or None for none."""
        return _revealed(self.proxy) or None


class Ledger(_Section):
    """The service's memory."""

    url: Annotated[str, AfterValidator(_ledger_url)] = Field(
        "sqlite:///ledger.db", examples=["sqlite:////var/lib/stem-archiver/ledger.db"]
    )


class Schedule(_Section):
    """When things are tried again, and when alarms are raised."""

    pending_first: Duration = Field(timedelta(seconds=20), examples=["20s"])
    pending_max: Duration = Field(timedelta(minutes=10), examples=["10m"])
    retry_first: Duration = Field(timedelta(seconds=5), examples=["5s"])
    retry_max: Duration = Field(timedelta(hours=1), examples=["1h"])
    missing_after: Duration = Field(timedelta(days=1), examples=["1d"])
    at_risk: Duration = Field(timedelta(hours=48), examples=["2d"])
    grace_after_deadline: Duration = Field(timedelta(days=2), examples=["2d"])


class Log(_Section):
    """What is logged, and how it looks."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info", examples=["info"]
    )
    format: Annotated[Literal["auto", "json", "console"], BeforeValidator(_lower)] = Field("auto", examples=["json"])


class Settings(_Section):
    """Every setting. Frozen; its repr shows no secret.

    Spans are timedeltas, sizes bytes, rates bytes a second. From `load`, all paths are absolute and
    `provider.api_key` holds the key wherever it was found.
    """

    provider: Provider = Provider()
    queue: Queue = Queue()
    store: Store = Store()
    download: Download = Download()
    ledger: Ledger = Ledger()
    schedule: Schedule = Schedule()
    log: Log = Log()
    shutdown_grace: Duration = Field(timedelta(seconds=30), examples=["30s"])


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            yield from ((f"{name}.{key}", inner) for key, inner in section.model_fields.items())
        else:
            yield name, field


_FIELDS: Mapping[str, FieldInfo] = MappingProxyType(dict(_fields()))

KEYS: Sequence[str] = tuple(_FIELDS)
"""The dotted name of every setting."""

_SECTIONS = tuple(dict.fromkeys(key.partition(".")[0] for key in KEYS if "." in key))


def variable(key: str) -> str:
    """Return the environment variable that sets `key`."""
    return _PREFIX + key.upper().replace(".", "__")


def value_of(settings: Settings, key: str) -> object:
    """Return the value of a dotted key."""
    section, _, name = key.rpartition(".")
    return getattr(getattr(settings, section) if section else settings, name)


# --- where values come from


@dataclass(frozen=True, slots=True)
class _Entry:
    """One value as it was given."""

    value: object
    source: str
    """As in Loaded.sources."""
    folder: Path
    """Where relative paths start."""
    line: int | None = None


class _Faults:
    """Collects what is wrong, one line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.keys: set[str] = set()

    def add(self, key: str, wrong: str, entry: _Entry | None = None) -> None:
        self.keys.add(key)
        place = "" if entry is None else f" ({entry.source}{f':{entry.line}' if entry.line else ''})"
        field = _FIELDS.get(key)
        example = f"; for example: {json.dumps(field.examples[0])}" if field is not None and field.examples else ""
        self.lines.append(f"{key}: {wrong}{place}{example}")

    def unknown(self, name: str, place: str, near: Sequence[str]) -> None:
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        self.lines.append(f"{_shown(name)[1:-1]}: is no setting ({place}){hint}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where each came from."""

    settings: Settings
    sources: Mapping[str, str]
    """Key to `default`, `file PATH`, `env NAME`, `key file PATH` or `credential kie-api-key`."""
    config: Path | None
    """The settings file that was read."""


def load(
    config: Path | None,
    environ: Mapping[str, str],
    *,
    require: AbstractSet[str] = frozenset(),
    search: Sequence[Path] = SEARCH,
) -> Loaded:
    """Read all settings; `require` names the keys that must not be left unset.

    The file is `config`, else ARCHIVER_CONFIG, else the first of `search` that exists, else none.
    Relative paths start from the folder of the file they stand in, from the working folder when they
    stand in the environment, and from the data folder when they are defaults. Raises SettingsFault.
    """
    faults = _Faults()
    path = _config_path(config, environ, search)
    entries = _merged(_from_file(path, faults) if path else {}, _from_environ(environ, faults), faults)
    data = data_folder(environ)
    for key in ("queue.path", "ledger.url"):
        entries.setdefault(key, _Entry(str(_FIELDS[key].default), "default", data))
    settings = _validated(entries, faults)
    settings, origin = _with_key(settings, entries, environ, faults)
    for keys, wrong in _contradictions(settings):
        if not faults.keys & set(keys):
            faults.add(keys[0], wrong, entries.get(keys[0]))
    for key in sorted(require - faults.keys):
        if not value_of(settings, key):
            faults.add(key, f"is required; set it in the settings file, or {variable(key)} in the environment")
    if faults.lines:
        count = f"{len(faults.lines)} fault{'s' if len(faults.lines) > 1 else ''}"
        raise SettingsFault(
            f"the settings cannot be used ({count}):\n" + "\n".join(f"  {line}" for line in faults.lines)
        )
    sources = {key: entries[key].source if key in entries else "default" for key in KEYS} | origin
    return Loaded(settings, MappingProxyType(sources), path)


def data_folder(environ: Mapping[str, str]) -> Path:
    """Return where the queue file and the ledger are by default.

    systemd's $STATE_DIRECTORY, else $XDG_STATE_HOME/stem-archiver, else ~/.local/state/stem-archiver.
    """
    if given := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(given)
    state = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME') or Path.home()}/.local/state"
    return Path(state) / "stem-archiver"


def _config_path(config: Path | None, environ: Mapping[str, str], search: Sequence[Path]) -> Path | None:
    if config is not None:
        return config
    if given := environ.get(_CONFIG_VARIABLE):
        return Path(given)
    return next((path for path in search if _stands(path)), None)


def _stands(path: Path) -> bool:
    """Say whether there is a file; one that we may not look at counts, so that reading it tells why."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _from_file(path: Path, faults: _Faults) -> dict[str, _Entry]:
    try:
        with path.open("rb") as file:
            open_to_others = bool(os.fstat(file.fileno()).st_mode & _OTHERS)
            text = file.read().decode("utf-8-sig")
        tree = tomllib.loads(text)
    except OSError as error:
        faults.lines.append(f"{path}: cannot be read: {error.strerror}")
        return {}
    except UnicodeDecodeError:
        faults.lines.append(f"{path}: is not UTF-8 text")
        return {}
    except tomllib.TOMLDecodeError as error:
        faults.lines.append(f"{path}: is not TOML: {error}")
        return {}
    entries = _flattened(tree, path, _lines_of(text), faults)
    if open_to_others and "provider.api_key" in entries:
        wrong = f"stands in a file that others can read; run: chmod 600 {path}"
        faults.add("provider.api_key", wrong, entries["provider.api_key"])
    return entries


def _flattened(tree: Mapping[str, object], path: Path, lines: Mapping[str, int], faults: _Faults) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    folder = path.absolute().parent
    for top, value in tree.items():
        if top in _SECTIONS and not isinstance(value, dict):
            faults.lines.append(f"{top}: must be a table: [{top}] on a line, its settings below (file {path})")
            continue
        section = value if isinstance(value, dict) and top in _SECTIONS else None
        inside = {top: value} if section is None else {f"{top}.{key}": inner for key, inner in section.items()}
        for key, given in inside.items():
            if key in _FIELDS:
                entries[key] = _Entry(given, f"file {path}", folder, lines.get(key))
            else:
                place = f"file {path}" + (f":{lines[key]}" if key in lines else "")
                faults.unknown(key, place, _near_keys(key))
    return entries


def _near_keys(name: str) -> Sequence[str]:
    leaf = name.rpartition(".")[2]
    namesakes = [key for key in KEYS if key.rpartition(".")[2] == leaf]
    return namesakes or difflib.get_close_matches(name, (*KEYS, *_SECTIONS), n=1)


def _lines_of(text: str) -> dict[str, int]:
    """Map dotted keys to their line, for plain `[section]` and `key = value` lines; others are left out."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            section = f"{header[1]}."
            found.setdefault(header[1], number)
        elif assigned := re.match(r"\s*([\w.-]+)\s*=", line):
            found.setdefault(section + assigned[1], number)
    return found


def _from_environ(environ: Mapping[str, str], faults: _Faults) -> dict[str, _Entry]:
    known = {variable(key): key for key in KEYS}
    entries: dict[str, _Entry] = {}
    for name, value in environ.items():
        if name in known:
            entries[known[name]] = _Entry(value, f"env {name}", Path.cwd())
        elif name.startswith(_PREFIX) and name != _CONFIG_VARIABLE:
            faults.unknown(name, "environment", difflib.get_close_matches(name, (*known, _CONFIG_VARIABLE), n=1))
    return entries


_KEY_SETTINGS = ("provider.api_key", "provider.api_key_file")


def _merged(file: Mapping[str, _Entry], environ: Mapping[str, _Entry], faults: _Faults) -> dict[str, _Entry]:
    """Let the environment win; the key and the key file count as one setting, given in one way."""
    for layer in (file, environ):
        if all(_given(layer.get(key)) for key in _KEY_SETTINGS):
            faults.add(
                "provider.api_key", "and provider.api_key_file are both set; keep one", layer["provider.api_key"]
            )
    ours = any(_given(environ.get(key)) for key in _KEY_SETTINGS)
    return {key: entry for key, entry in file.items() if not (ours and key in _KEY_SETTINGS)} | dict(environ)


def _given(entry: _Entry | None) -> bool:
    return entry is not None and entry.value != ""


# --- from values to settings


def _validated(entries: Mapping[str, _Entry], faults: _Faults) -> Settings:
    """Validate; what is faulty is told and then left at its default, so that the rest is judged too."""
    good = {key: _prepared(key, entry) for key, entry in entries.items()}
    try:
        return Settings.model_validate(_nested(good))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
    for detail in details:
        key = ".".join(str(part) for part in detail["loc"][:2])
        key = key if key in _FIELDS else str(detail["loc"][0])
        if key in good:
            del good[key]
            faults.add(key, _said(detail["msg"]), entries[key])
    return Settings.model_validate(_nested(good))


def _prepared(key: str, entry: _Entry) -> object:
    """Read an empty text as `not set` where that is the default, and anchor relative paths."""
    value = entry.value
    if value == "" and _FIELDS[key].default is None:
        return None
    if isinstance(value, str) and value and key in {"queue.path", "provider.api_key_file"}:
        return str(_anchored(entry.folder, value))
    if isinstance(value, str) and key == "ledger.url":
        path = value.removeprefix(_SQLITE)
        return value if path in {value, "", ":memory:"} else f"{_SQLITE}{_anchored(entry.folder, path)}"
    return value


def _anchored(folder: Path, text: str) -> Path:
    path = Path(text)
    return (folder / (path.expanduser() if text.startswith("~/") else path)).absolute()


def _nested(flat: Mapping[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {key: value for key, value in flat.items() if "." not in key}
    for section in _SECTIONS:
        tree[section] = {key.partition(".")[2]: value for key, value in flat.items() if key.startswith(f"{section}.")}
    return tree


def _said(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


def _contradictions(settings: Settings) -> Iterator[tuple[Sequence[str], str]]:
    """Yield settings that are each in order, but not together: (their keys, what is wrong)."""
    for low, high in (("pending_first", "pending_max"), ("retry_first", "retry_max")):
        if getattr(settings.schedule, low) > getattr(settings.schedule, high):
            yield (f"schedule.{low}", f"schedule.{high}"), f"is longer than schedule.{high}"
    store, download = settings.store, settings.download
    parts = ("store.part_size",)
    if store.part_size < _SMALLEST_PART:
        yield parts, f"is less than {show_size(_SMALLEST_PART)}, the least that S3 takes"
    if store.single_put_max > _LARGEST_SINGLE_PUT:
        yield ("store.single_put_max",), f"is more than {show_size(_LARGEST_SINGLE_PUT)}, the most that S3 takes"
    if store.part_size * _MOST_PARTS < download.max_stem_bytes:
        wrong = f"is too small for download.max_stem_bytes: S3 takes {_MOST_PARTS} parts at most"
        yield ("store.part_size", "download.max_stem_bytes"), wrong
    least = max(store.single_put_max, 2 * store.part_size)
    if download.buffer_budget < least:
        wrong = f"is less than {show_size(least)}: it must hold store.single_put_max and two of store.part_size"
        yield ("download.buffer_budget", "store.single_put_max", "store.part_size"), wrong
    if store.kms_key_id is not None and store.sse not in {"aws:kms", "aws:kms:dsse"}:
        yield ("store.kms_key_id", "store.sse"), "needs store.sse to be aws:kms or aws:kms:dsse"
    if settings.provider.base_url.startswith("http://") and not download.allow_http:
        yield ("provider.base_url", "download.allow_http"), "is http://, which needs download.allow_http"


# --- the key


def _with_key(
    settings: Settings, entries: Mapping[str, _Entry], environ: Mapping[str, str], faults: _Faults
) -> tuple[Settings, dict[str, str]]:
    """Fill in the key from its file or systemd's credential; a key that is given outright stands."""
    provider = settings.provider
    if faults.keys & set(_KEY_SETTINGS) or provider.api_key is not None:
        return settings, {}
    folder = environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(folder, CREDENTIAL) if folder else None
    path = provider.api_key_file or (credential if credential is not None and _stands(credential) else None)
    if path is None:
        return settings, {}
    # systemd hands a credential over by an ACL, whose mask shows as group-readable; its folder is the guard.
    guarded = folder is not None and path.is_relative_to(folder)
    try:
        secret = SecretStr(_read_key(path, guarded=guarded))
    except ValueError as error:
        key = "provider.api_key_file"
        faults.add(key, str(error), entries.get(key, _Entry("", f"credential {CREDENTIAL}", path)))
        return settings, {}
    source = f"key file {path}" if provider.api_key_file else f"credential {CREDENTIAL}"
    with_key = provider.model_copy(update={"api_key": secret})
    return settings.model_copy(update={"provider": with_key}), {"provider.api_key": source}


def _read_key(path: Path, *, guarded: bool) -> str:
    """Return the one line of a key file; raise ValueError, without echoing path or key, when it is not right.

    The path is not repeated because a key pasted in its place is a likely slip.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_LONGEST_KEY_FILE + 1)
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {error.strerror}") from None
    if mode & _OTHERS and not guarded:
        raise ValueError(f"names a file that others can read (mode {stat.S_IMODE(mode):04o}); run: chmod 600 on it")
    if len(text) > _LONGEST_KEY_FILE:
        raise ValueError("names a file too long to be a key")
    try:
        return _key(text.decode("ascii", "replace").removesuffix("\n").removesuffix("\r"))
    except ValueError as error:
        raise ValueError(f"names a file whose content {error}") from None


# --- for the operator


class Row(NamedTuple):
    """One setting as `config show` prints it."""

    key: str
    value: str
    """As it would be written in the file, without what is secret; empty when not set."""
    source: str


def masked(loaded: Loaded) -> Sequence[Row]:
    """Return every setting, in the order of the documentation, with secrets masked."""
    return [Row(key, _masked(loaded.settings, key), loaded.sources[key]) for key in KEYS]


def _masked(settings: Settings, key: str) -> str:
    value = value_of(settings, key)
    written = next((mark for mark in _FIELDS[key].metadata if isinstance(mark, _Written)), None)
    if value is None:
        return ""
    if written is not None:
        return written.show(value)
    if key == "download.proxy":
        return _masked_url(settings.download.proxy_url() or "")
    if isinstance(value, Mapping):
        return ",".join(f"{name}={text}" for name, text in value.items())
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _masked_url(url: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{name}:***@{host}" if at else host))


def secrets_of(settings: Settings, environ: Mapping[str, str]) -> AbstractSet[str]:
    """Return every secret that the settings and the environment hold, for the log's redaction."""
    found = {settings.provider.key()}
    if proxy := settings.download.proxy_url():
        password = urlsplit(proxy).password or ""
        found |= {password, unquote(password)}
    found |= {environ.get(name, "") for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
    return frozenset(found - {""})
