"""Reads the file and the environment, judges the whole, and raises every fault at once."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from archiver.core.errors import SettingsFault
from archiver.core.profiles import MOST_PARTS, PROFILES, provider_of
from archiver.settings.key_file import (
    KEYS_IN_FILES,
    Key,
    account_credential,
    credential_of,
    guarded_by_systemd,
    read_key,
    stands,
)
from archiver.settings.model import FIELDS, KEYS, SECTIONS, Account, Callback, Settings, Store, value_of, variable
from archiver.settings.rules import SQLITE
from archiver.settings.sources import ACCOUNTS, CONFIG_VARIABLE, Entry, Faults, from_environ, from_file, merged
from archiver.settings.units import GIB, MIB, parse_tables, show_interval, show_size

SEARCH: Sequence[Path] = (Path("archiver.toml"), Path("/etc/stem-archiver/archiver.toml"))
"""The places of a settings file when neither --config nor ARCHIVER_CONFIG names one; the first wins."""

_SMALLEST_PART = 5 * MIB
"""Amazon S3's limit for all parts but the last."""
_LARGEST_SINGLE_PUT = 5 * GIB


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where each came from."""

    settings: Settings
    sources: Mapping[str, str]
    """Key to `default`, `file PATH`, `env NAME`, `command line`, `key file PATH` or `credential NAME`."""
    config: Path | None
    """The settings file that was read."""


def load(
    config: Path | None,
    environ: Mapping[str, str],
    *,
    require: AbstractSet[str] = frozenset(),
    search: Sequence[Path] = SEARCH,
    options: Mapping[str, str] = MappingProxyType({}),
) -> Loaded:
    """Read all settings; `require` names the keys that must not be left unset.

    `options` are values by dotted name from the command line, which win.

    The file is `config`, else ARCHIVER_CONFIG, else the first of `search` that exists, else none.
    Relative paths start from the folder of the file they stand in, from the working folder when they
    stand in the environment, and from the data folder when they are defaults. Raises SettingsFault.
    """
    faults = Faults()
    path = _config_path(config, environ, search)
    entries = merged(from_file(path, faults) if path else {}, from_environ(environ, faults), faults)
    entries |= {key: Entry(value, "command line", Path()) for key, value in options.items()}
    entries |= _by_default(entries, environ, faults)
    settings = _validated(entries, faults)
    origin: dict[str, str] = {}
    for wanted in KEYS_IN_FILES:
        settings, found = _with_key(wanted, settings, entries, environ, faults)
        origin |= found
    settings = _with_account_keys(settings, entries, environ, faults)
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

    systemd's $STATE_DIRECTORY, else $XDG_STATE_HOME/stem-archiver, else ~/.local/state/stem-archiver. Raises
    SettingsFault for a user without a home.
    """
    if given := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(given)
    state = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME') or _home()}/.local/state"
    return Path(state) / "stem-archiver"


def _home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise SettingsFault(
            f"there is no HOME, and user {os.getuid()} has no home: set STATE_DIRECTORY, the folder of both"
        ) from None


def _by_default(given: Mapping[str, Entry], environ: Mapping[str, str], faults: Faults) -> dict[str, Entry]:
    """Return the entries of paths that are not given; no entry, but a fault, where there is no place for one."""
    entries = {}
    for key in ("queue.path", "ledger.url"):
        try:
            if key not in given:
                entries[key] = Entry(str(FIELDS[key].default), "default", data_folder(environ))
        except SettingsFault as fault:
            faults.add(key, f"is not set, and {fault}")
    return entries


def _config_path(config: Path | None, environ: Mapping[str, str], search: Sequence[Path]) -> Path | None:
    if config is not None:
        return config
    if given := environ.get(CONFIG_VARIABLE):
        return Path(given)
    return next((path for path in search if stands(path)), None)


def _validated(entries: Mapping[str, Entry], faults: Faults) -> Settings:
    """Validate; a faulty value is noted and then left at its default, so that the rest is judged too."""
    good = {}
    for key, entry in entries.items():
        try:
            good[key] = _prepared(key, entry)
        except RuntimeError:
            faults.add(key, "begins with ~, and this user has no home folder", entry)
    try:
        return Settings.model_validate(_nested(good))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
    for detail in details:
        key = ".".join(str(part) for part in detail["loc"][:2])
        key = key if key in FIELDS else str(detail["loc"][0])
        if key in good:
            del good[key]
            faults.add(key, _where(detail["loc"][2:]) + _said(detail["msg"]), entries[key])
    return Settings.model_validate(_nested(good))


def _where(inside: tuple[int | str, ...]) -> str:
    """Return which part of a value is meant: the number of a table, from 1 on, and its key."""
    match inside:
        case (int(index), name, *_):
            return f"number {index + 1} {name!a:.60}: "
        case _:
            return ""


def _prepared(key: str, entry: Entry) -> object:
    """Read an empty text as `not set` where that is the default, and anchor relative paths."""
    value = entry.value
    if value == "" and FIELDS[key].default is None:
        return None
    if (
        isinstance(value, str)
        and value
        and key in {"queue.path", "page.token_file", *(each.file_setting for each in KEYS_IN_FILES)}
    ):
        return str(_anchored(entry.folder, value))
    if key == ACCOUNTS:
        with suppress(ValueError):
            value = parse_tables(value)
        return [_with_anchored_file(table, entry.folder) for table in value] if isinstance(value, list) else value
    if isinstance(value, str) and key == "ledger.url":
        path = value.removeprefix(SQLITE)
        return value if path in {value, "", ":memory:"} else f"{SQLITE}{_anchored(entry.folder, path)}"
    return value


def _with_anchored_file(table: object, folder: Path) -> object:
    file = table.get("api_key_file") if isinstance(table, dict) else None
    return {**table, "api_key_file": str(_anchored(folder, file))} if isinstance(file, str) and file else table  # type: ignore[dict-item]  # narrowed above


def _anchored(folder: Path, text: str) -> Path:
    path = Path(text)
    return (folder / (path.expanduser() if text.startswith("~/") else path)).absolute()


def _nested(flat: Mapping[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {key: value for key, value in flat.items() if "." not in key}
    for section in SECTIONS:
        tree[section] = {key.partition(".")[2]: value for key, value in flat.items() if key.startswith(f"{section}.")}
    return tree


def _said(message: str) -> str:
    said = message.removeprefix("Value error, ").replace("Input should be", "must be")
    return re.sub(r"Input is not a valid path for <class [^<>]+>", "must be the path of a file", said)


def _with_key(
    key: Key, settings: Settings, entries: Mapping[str, Entry], environ: Mapping[str, str], faults: Faults
) -> tuple[Settings, dict[str, str]]:
    """Fill in a key from its file or systemd's credential; a key that is given outright stands."""
    if faults.keys & {key.setting, key.file_setting} or value_of(settings, key.setting) is not None:
        return settings, {}
    file = value_of(settings, key.file_setting)
    path = file if isinstance(file, Path) else credential_of(environ, key.credential)
    if path is None:
        return settings, {}
    credential = f"credential {key.credential}"
    try:
        secret = SecretStr(read_key(path, guarded=guarded_by_systemd(path, environ)))
    except ValueError as error:
        faults.add(key.file_setting, str(error), entries.get(key.file_setting, Entry("", credential, path)))
        return settings, {}
    section, _, name = key.setting.partition(".")
    with_key = getattr(settings, section).model_copy(update={name: secret})
    return settings.model_copy(update={section: with_key}), {key.setting: f"key file {path}" if file else credential}


def _with_account_keys(
    settings: Settings, entries: Mapping[str, Entry], environ: Mapping[str, str], faults: Faults
) -> Settings:
    """Fill in the keys of further accounts; one without any is a fault."""
    accounts = []
    for account in settings.provider.accounts:
        try:
            accounts.append(_with_its_key(account, environ))
        except ValueError as error:
            faults.add(ACCOUNTS, f"{account.name}: {error}", entries.get(ACCOUNTS))
    provider = settings.provider.model_copy(update={"accounts": tuple(accounts)})
    return settings.model_copy(update={"provider": provider})


def _with_its_key(account: Account, environ: Mapping[str, str]) -> Account:
    if account.api_key is not None:
        if account.api_key_file is not None:
            raise ValueError("api_key and api_key_file are both set; keep one")
        return account
    credential = account_credential(account.name)
    path = account.api_key_file or credential_of(environ, credential)
    if path is None:
        raise ValueError(f"needs api_key, or api_key_file, or the systemd credential {credential}")
    try:
        key = read_key(path, guarded=guarded_by_systemd(path, environ))
    except ValueError as error:
        raise ValueError(f"{'api_key_file' if account.api_key_file else f'credential {credential}'} {error}") from None
    return account.model_copy(update={"api_key": SecretStr(key)})


def _contradictions(settings: Settings) -> Iterator[tuple[Sequence[str], str]]:
    """Yield settings that are each in order, but not together: (their keys, what is wrong)."""
    for low, high in (("pending_first", "pending_max"), ("retry_first", "retry_max")):
        if getattr(settings.schedule, low) > getattr(settings.schedule, high):
            yield (f"schedule.{low}", f"schedule.{high}"), f"is longer than schedule.{high}"
    store, download = settings.store, settings.download
    yield from _of_the_ledger(settings)
    yield from _of_the_endpoint(store)
    parts, most_parts = ("store.part_size",), store.profile().most_parts
    if store.part_size < _SMALLEST_PART:
        yield parts, f"is less than {show_size(_SMALLEST_PART)}, the least that S3 takes"
    if store.single_put_max > _LARGEST_SINGLE_PUT:
        yield ("store.single_put_max",), f"is more than {show_size(_LARGEST_SINGLE_PUT)}, the most that S3 takes"
    if store.part_size * most_parts < download.max_stem_bytes:
        taker = "S3" if most_parts == MOST_PARTS else "this provider"
        wrong = f"is too small for download.max_stem_bytes: {taker} takes {most_parts} parts at most"
        yield ("store.part_size", "download.max_stem_bytes"), wrong
    least = max(store.single_put_max, 2 * store.part_size)
    if download.buffer_budget < least:
        wrong = f"is less than {show_size(least)}: it must hold store.single_put_max and two of store.part_size"
        yield ("download.buffer_budget", "store.single_put_max", "store.part_size"), wrong
    if store.kms_key_id is not None and store.sse not in {"aws:kms", "aws:kms:dsse"}:
        yield ("store.kms_key_id", "store.sse"), "needs store.sse to be aws:kms or aws:kms:dsse"
    yield from _of_callbacks(settings.callback)
    if settings.provider.base_url.startswith("http://") and not download.allow_http:
        yield ("provider.base_url", "download.allow_http"), "is http://, which needs download.allow_http"


def _of_the_ledger(settings: Settings) -> Iterator[tuple[Sequence[str], str]]:
    least_span = settings.provider.retention + settings.schedule.grace_after_deadline
    if timedelta() < settings.ledger.trim_after < least_span:
        wrong = f"is less than {show_interval(least_span)}: until then a task may need what would be removed"
        yield ("ledger.trim_after", "provider.retention", "schedule.grace_after_deadline"), wrong
    if settings.queue.path == settings.ledger_file():
        yield ("queue.path", "ledger.url"), "is the ledger's file, too: ids would be written into the database"


def _of_the_endpoint(store: Store) -> Iterator[tuple[Sequence[str], str]]:
    """Find out an endpoint that is missing, or holds the bucket: boto3 would put its name there a second time."""
    if store.endpoint_url is None:
        if store.provider not in {None, "aws"}:
            yield ("store.endpoint_url", "store.provider"), f"is needed with store.provider = {store.provider}"
        return
    by_host = PROFILES[provider_of(store.endpoint_url)]
    in_path = store.bucket and urlsplit(store.endpoint_url).path.rpartition("/")[2] == store.bucket
    if by_host.bucket_before(store.endpoint_url):
        wrong = "has a bucket before its host: leave it out there, store.bucket names it"
        yield ("store.endpoint_url",), wrong
    elif in_path:
        yield ("store.endpoint_url", "store.bucket"), "ends in the bucket: leave it out there, store.bucket names it"


def _of_callbacks(callback: Callback) -> Iterator[tuple[Sequence[str], str]]:
    if callback.enabled and callback.hmac_key is None:
        needs = "needs callback.hmac_key or callback.hmac_key_file: unsigned callbacks are not taken"
        yield ("callback.enabled", "callback.hmac_key", "callback.hmac_key_file"), needs
    if callback.enabled and callback.address() is None:
        yield ("callback.listen",), "is empty, and callback.enabled needs it"
