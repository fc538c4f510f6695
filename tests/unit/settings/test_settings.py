from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.errors import SettingsFault
from archiver.core.model import Policy
from archiver.settings import (
    KEYS,
    Loaded,
    Settings,
    data_folder,
    load,
    masked,
    parse_duration,
    parse_rate,
    parse_size,
    show_duration,
    show_size,
    value_of,
    variable,
)
from archiver.settings.prices import show_prices
from tests import ROOT

EXAMPLE = ROOT / "config" / "archiver.example.toml"
EXAMPLE_ENV = EXAMPLE.with_suffix(".env")
HOME = {"HOME": "/home/me"}


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "archiver.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def key_file(folder: Path, content: bytes, mode: int = 0o600, name: str = "key") -> Path:
    path = folder / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


def from_env(environ: Mapping[str, str], *require: str) -> Loaded:
    return load(None, HOME | dict(environ), require=frozenset(require), search=())


def fault_of(
    environ: Mapping[str, str] | None = None, config: Path | None = None, require: frozenset[str] = frozenset()
) -> str:
    with pytest.raises(SettingsFault) as caught:
        load(config, HOME | dict(environ or {}), require=require, search=())
    return str(caught.value)


# --- notations


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("14d", timedelta(days=14)),
        ("1h30m", timedelta(minutes=90)),
        ("1h 30m", timedelta(minutes=90)),
        ("500ms", timedelta(milliseconds=500)),
        ("0.5s", timedelta(milliseconds=500)),
        ("2w", timedelta(weeks=2)),
        ("90", timedelta(seconds=90)),
        (90, timedelta(seconds=90)),
        (1.5, timedelta(seconds=1.5)),
    ],
)
def test_duration_is_read_in_every_notation(text: object, span: timedelta) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize(
    "text", ["", "soon", "14 days", "5M", "-3s", "1h30", True, None, [], float("nan"), float("inf"), "٣s", 10**400]
)
def test_duration_that_is_none_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"is no duration|is longer than"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["99999999999999999999d", "999999d"])
def test_duration_longer_than_any_clock_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="longer than any clock"):
        parse_duration(text)


def test_longest_duration_leads_to_a_date_either_way() -> None:
    assert datetime.now(UTC) - parse_duration("365000d") < datetime.now(UTC) + parse_duration("365000d")


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=10_000)))
def test_duration_shown_reads_back_the_same(span: timedelta) -> None:
    assert abs(parse_duration(show_duration(span)) - span) <= timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2 << 30), ("192 MiB", 192 << 20), ("64KB", 64_000), ("1.5kib", 1536), ("7", 7), ("7B", 7), (7, 7)],
)
def test_size_is_read_in_every_notation(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "big", "2G", "-1", "1e9", 1.5, True, None, "0.1B", "9" * 400])
def test_size_that_is_none_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"is no size|is no whole number"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=10**14))
def test_size_shown_reads_back_the_same(size: int) -> None:
    assert parse_size(show_size(size)) == size


def test_rate_needs_its_per_second() -> None:
    assert parse_rate("16KiB/s") == 16 << 10
    assert parse_rate(1024) == 1024
    with pytest.raises(ValueError, match="is no rate"):
        parse_rate("16KiB")


# --- defaults


def test_defaults_are_those_of_the_policy() -> None:
    settings = Settings()
    for name in (
        "pending_first",
        "pending_max",
        "retry_first",
        "retry_max",
        "missing_after",
        "settled_after",
        "at_risk",
    ):
        assert getattr(settings.schedule, name) == getattr(Policy(), name)
    assert settings.schedule.grace_after_deadline == Policy().grace_after_deadline
    assert settings.provider.retention == Policy().retention


def test_defaults_pass_their_own_rules(tmp_path: Path) -> None:
    loaded = from_env({})
    assert set(loaded.sources) == set(KEYS)
    assert set(loaded.sources.values()) == {"default"}
    rewritten = {variable(row.key): row.value for row in masked(loaded.settings, loaded.sources) if row.value}
    assert from_env(rewritten).settings == loaded.settings


def test_default_paths_lie_in_the_data_folder() -> None:
    settings = from_env({}).settings
    assert settings.queue.path == Path("/home/me/.local/state/stem-archiver/queue.txt")
    assert settings.ledger.url == "sqlite:////home/me/.local/state/stem-archiver/ledger.db"


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/x"}, "/x/stem-archiver"),
        ({}, "/home/me/.local/state/stem-archiver"),
    ],
)
def test_data_folder_follows_systemd_then_xdg_then_home(environ: Mapping[str, str], folder: str) -> None:
    assert data_folder(HOME | dict(environ)) == Path(folder)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().log.level = "debug"  # type: ignore[misc]  # the point of the test


# --- further accounts

TWO_ACCOUNTS = """
[provider]
api_key_file = "first.key"

[[provider.accounts]]
name = "second"
api_key_file = "second.key"
requests_per_10s = 7

[[provider.accounts]]
name = "third"
"""


def with_two_accounts(folder: Path) -> Path:
    for name in ("first.key", "second.key", "kie-api-key-third"):
        (folder / name).write_text(f"of-{name}\n")
        (folder / name).chmod(0o600)
    return written(folder, TWO_ACCOUNTS)


def test_accounts_have_each_its_key_and_its_rate(tmp_path: Path) -> None:
    config = with_two_accounts(tmp_path)
    provider = load(config, HOME | {"CREDENTIALS_DIRECTORY": str(tmp_path)}, search=()).settings.provider
    assert provider.api_keys() == {
        "default": "of-first.key",
        "second": "of-second.key",
        "third": "of-kie-api-key-third",
    }
    assert provider.request_rates() == {"default": 20, "second": 7, "third": 20}


def test_accounts_of_the_environment_are_one_json_array() -> None:
    loaded = from_env({"ARCHIVER_PROVIDER__ACCOUNTS": '[{"name": "second", "api_key": "k2", "requests_per_10s": 3}]'})
    assert loaded.settings.provider.api_keys() == {"default": "", "second": "k2"}
    assert loaded.settings.provider.request_rates() == {"default": 20, "second": 3}


@pytest.mark.parametrize(
    ("accounts", "said"),
    [
        ("not-json planted-secret", "is no JSON array"),
        ('{"planted-secret": 1}', "provider.accounts: "),
        ('["planted-secret"]', "provider.accounts: "),
        ('[{"api_key": "planted-secret"}]', "number 1 'name': Field required"),
        ('[{"name": "a", "api_key": "planted-secret", "api_kee": "planted-secret"}]', "number 1 'api_kee'"),
        ('[{"name": "a b", "api_key": "planted-secret"}]', "number 1 'name': not an account's name"),
        ('[{"name": "default", "api_key": "planted-secret"}]', "that is the account of provider.api_key"),
        ('[{"name": "a", "api_key": "planted secret"}]', "number 1 'api_key': holds a space"),
        ('[{"name": "a", "api_key": "planted-secret", "requests_per_10s": 0}]', "must be 1 or more"),
        ('[{"name": "a", "api_key": "k"}, {"name": "a", "api_key": "planted-secret"}]', "more than one of the name a"),
        ('[{"name": "a"}]', "a: needs api_key, or api_key_file, or the systemd credential kie-api-key-a"),
        ('[{"name": "a", "api_key": "planted-secret", "api_key_file": "f"}]', "a: api_key and api_key_file are both"),
        ('[{"name": "a", "api_key_file": "/absent"}]', "a: api_key_file names a file that cannot be read"),
    ],
)
def test_accounts_that_are_not_right_are_a_fault_that_names_the_part_and_no_key(accounts: str, said: str) -> None:
    fault = fault_of({"ARCHIVER_PROVIDER__ACCOUNTS": accounts})
    assert said in fault
    assert "planted" not in fault


def test_settings_file_with_the_key_of_an_account_must_not_be_readable_by_others(tmp_path: Path) -> None:
    config = written(tmp_path, '[[provider.accounts]]\nname = "second"\napi_key = "planted-secret"\n')
    config.chmod(0o640)
    with pytest.raises(SettingsFault, match=r"provider\.accounts: stands in a file that others can read") as caught:
        load(config, HOME, search=())
    assert "planted" not in str(caught.value)


def test_settings_file_that_only_names_key_files_may_be_readable_by_others(tmp_path: Path) -> None:
    config = with_two_accounts(tmp_path)
    config.chmod(0o644)
    assert load(config, HOME | {"CREDENTIALS_DIRECTORY": str(tmp_path)}, search=()).settings.provider.accounts


def test_accounts_are_shown_without_their_keys_and_their_keys_are_secrets() -> None:
    loaded = from_env({"ARCHIVER_PROVIDER__ACCOUNTS": '[{"name": "second", "api_key": "planted-secret"}]'})
    rows = {row.key: row.value for row in masked(loaded.settings, loaded.sources)}
    assert rows["provider.accounts"] == '[{name = "second", requests_per_10s = 20}]'
    assert "planted-secret" in loaded.settings.secrets({})
    assert "planted" not in repr(loaded.settings)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("aws", "aws"),
        (" B2 ", "b2"),
        ("list=5, get=0.4,gb=90,currency=EUR", "list=5,get=0.4,gb=90,currency=EUR"),
        ("gb=1", "list=0,get=0,gb=1,currency=USD"),
    ],
)
def test_prices_are_a_preset_or_a_table(text: str, shown: str) -> None:
    settings = from_env({"ARCHIVER_VERIFY__PRICES": text}).settings
    assert show_prices(settings.verify.prices) == shown


@pytest.mark.parametrize("text", ["gcs", "", "get=free", "get=-1", "get=inf", "gb=1,hdd=2", "gb=1,currency=\x1b", "gb"])
def test_prices_that_are_none_are_a_fault_that_says_what_is_expected(text: str) -> None:
    assert "  verify.prices: " in fault_of({"ARCHIVER_VERIFY__PRICES": text})


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "much"])
def test_a_cost_limit_is_an_amount(text: str) -> None:
    assert "  verify.max_cost: " in fault_of({"ARCHIVER_VERIFY__MAX_COST": text})


# --- the example file


def uncommented(*, examples: bool) -> str:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if examples or not line.endswith("# example")]
    return "\n".join(re.sub(r"^#(?=[a-z[])", "", line) for line in wanted)


def test_example_file_with_its_defaults_uncommented_changes_nothing(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, uncommented(examples=False)), HOME, search=())
    assert loaded.settings == from_env({}).settings
    assert "default" in loaded.sources.values()


def test_example_file_shows_every_setting_and_its_examples_are_valid(tmp_path: Path) -> None:
    text = re.sub(r"^(api|hmac)_key_file.*$", "", uncommented(examples=True), flags=re.MULTILINE)
    loaded = load(written(tmp_path, text), HOME, search=())
    assert {key for key, source in loaded.sources.items() if source == "default"} == {
        "provider.api_key_file",
        "callback.hmac_key_file",
    }
    assert "#api_key_file = " in EXAMPLE.read_text(encoding="utf-8")


def test_example_env_file_is_valid() -> None:
    lines = [re.sub(r"^#(?=[A-Z])", "", line) for line in EXAMPLE_ENV.read_text(encoding="utf-8").splitlines()]
    environ = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert from_env(environ, "store.bucket", "provider.api_key").settings.store.bucket == "my-stems"


# --- where values come from


def test_environment_wins_over_file_and_file_over_default(tmp_path: Path) -> None:
    config = written(tmp_path, 'shutdown_grace = "5s"\n[store]\nbucket = "from-file"\nregion = "eu-west-1"\n')
    loaded = load(config, HOME | {"ARCHIVER_STORE__BUCKET": "from-env"}, search=())
    assert loaded.settings.store.bucket == "from-env"
    assert loaded.settings.shutdown_grace == timedelta(seconds=5)
    assert loaded.config == config
    assert loaded.sources["store.bucket"] == "env ARCHIVER_STORE__BUCKET"
    assert loaded.sources["store.region"] == f"file {config}"
    assert loaded.sources["store.prefix"] == "default"


def test_config_is_found_by_argument_then_variable_then_search(tmp_path: Path) -> None:
    paths = []
    for name in ("argument", "variable", "first", "second"):
        (tmp_path / name).mkdir()
        paths.append(written(tmp_path / name, f'[store]\nbucket = "{name}"\n'))
    by_variable = HOME | {"ARCHIVER_CONFIG": str(paths[1])}
    assert load(paths[0], by_variable, search=paths[2:]).settings.store.bucket == "argument"
    assert load(None, by_variable, search=paths[2:]).settings.store.bucket == "variable"
    assert load(None, HOME, search=[tmp_path / "none", *paths[2:]]).settings.store.bucket == "first"
    assert load(None, HOME, search=[tmp_path / "none"]).config is None


def test_relative_paths_start_from_the_folder_of_their_file(tmp_path: Path) -> None:
    text = '[queue]\npath = "in/queue.txt"\n[ledger]\nurl = "sqlite:///ledger.db"\n[provider]\napi_key_file = "key"\n'
    key_file(tmp_path, b"abc\n")
    settings = load(written(tmp_path, text), HOME, search=()).settings
    assert settings.queue.path == tmp_path / "in" / "queue.txt"
    assert settings.ledger.url == f"sqlite:///{tmp_path}/ledger.db"
    assert settings.provider.api_key_file == tmp_path / "key"


def test_relative_paths_of_the_environment_start_from_the_working_folder() -> None:
    settings = from_env({"ARCHIVER_QUEUE__PATH": "q.txt", "ARCHIVER_LEDGER__URL": "sqlite:///l.db"}).settings
    assert settings.queue.path == Path.cwd() / "q.txt"
    assert settings.ledger.url == f"sqlite:///{Path.cwd()}/l.db"


def test_environment_holds_lists_tags_and_flags() -> None:
    settings = from_env(
        {
            "ARCHIVER_DOWNLOAD__ALLOWED_HOSTS": "a.example.com, *.B.example.com",
            "ARCHIVER_STORE__TAGS": "app=stems, team=a b",
            "ARCHIVER_DOWNLOAD__ALLOW_HTTP": "true",
            "ARCHIVER_LOG__LEVEL": "DEBUG",
        }
    ).settings
    assert settings.download.allowed_hosts == ("a.example.com", "*.b.example.com")
    assert settings.store.tags == {"app": "stems", "team": "a b"}
    assert settings.download.allow_http is True
    assert settings.log.level == "debug"


def test_empty_text_means_not_set_where_that_is_possible(tmp_path: Path) -> None:
    config = written(tmp_path, '[store]\nregion = "eu-west-1"\nendpoint_url = ""\n')
    settings = load(config, HOME | {"ARCHIVER_STORE__REGION": ""}, search=()).settings
    assert settings.store.region is None
    assert settings.store.endpoint_url is None
    assert "provider.retention" in fault_of({"ARCHIVER_PROVIDER__RETENTION": ""})


def test_byte_order_mark_is_tolerated(tmp_path: Path) -> None:
    assert load(written(tmp_path, '\ufeff[store]\nbucket = "abc"\n'), HOME, search=()).settings.store.bucket == "abc"


@pytest.mark.parametrize(
    ("given_value", "most", "adapts"), [("AUTO", 9, True), ("auto", 9, True), ("32", 32, False), ("", 0, False)]
)
def test_concurrency_is_a_number_or_found_out_up_to_its_most(given_value: str, most: int, adapts: bool) -> None:
    environ = {"ARCHIVER_DOWNLOAD__CONCURRENCY": given_value, "ARCHIVER_DOWNLOAD__CONCURRENCY_MAX": "9"}
    if not given_value:
        assert "download.concurrency" in fault_of(environ)
        return
    download = from_env(environ).settings.download
    assert (download.most_transfers, download.adapts) == (most, adapts)


# --- faults


def test_all_faults_are_told_at_once_one_line_each(tmp_path: Path) -> None:
    config = written(
        tmp_path,
        'shutdown_grace = "soon"\n'
        "[store]\n"
        'bukket = "abc"\n'
        'part_size = "1MiB"\n'
        "[schedule]\n"
        'retry_first = "2h"\n'
        "[nonsense]\n"
        "x = 1\n",
    )
    environ = {"ARCHIVER_DOWNLOAD__CONCURRENCY": "0", "ARCHIVER_STORE_REGION": "x"}
    lines = fault_of(environ, config, require=frozenset({"store.bucket"})).splitlines()
    assert lines[0] == "the settings cannot be used (8 faults):"
    assert [line.strip().partition(":")[0] for line in lines[1:]] == [
        "store.bukket",
        "nonsense",
        "ARCHIVER_STORE_REGION",
        "download.concurrency",
        "shutdown_grace",
        "schedule.retry_first",
        "store.part_size",
        "store.bucket",
    ]


def test_fault_names_line_what_is_wrong_and_an_example(tmp_path: Path) -> None:
    config = written(tmp_path, '[schedule]\n\nretry_first = "5 parsecs"\n')
    line = f"schedule.retry_first: is no duration: '5 parsecs' (file {config}:3); for example: \"5s\""
    assert line in fault_of(config=config)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('bucket = "abc"', "store.bucket"),
        ('[store]\nbuket = "abc"', "store.bucket"),
        ('[download]\nbucket = "abc"', "store.bucket"),
        ("[shcedule]\nx = 1", "schedule"),
    ],
)
def test_unknown_key_in_file_is_a_fault_that_names_the_likely_one(tmp_path: Path, text: str, meant: str) -> None:
    assert f"did you mean {meant}?" in fault_of(config=written(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ARCHIVER_STORE_BUCKET", "ARCHIVER_STORE__BUCKET"),
        ("ARCHIVER_CONFG", "ARCHIVER_CONFIG"),
        ("ARCHIVER_PROVIDER__APIKEY", "ARCHIVER_PROVIDER__API_KEY"),
    ],
)
def test_unknown_variable_is_a_fault_that_names_the_likely_one_and_not_its_value(name: str, meant: str) -> None:
    message = fault_of({name: "hush-hush"})
    assert f"did you mean {meant}?" in message
    assert "hush-hush" not in message


def test_section_that_is_no_table_is_a_fault(tmp_path: Path) -> None:
    assert "log: must be a table" in fault_of(config=written(tmp_path, 'log = "debug"\n'))


@pytest.mark.parametrize(
    ("content", "said"), [(b"[store\n", "is not TOML"), (b"\xff\xfe", "is not UTF-8"), (None, "cannot be read")]
)
def test_file_that_cannot_be_used_is_a_fault_beside_the_others(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    config = tmp_path / "archiver.toml"
    if content is not None:
        config.write_bytes(content)
    message = fault_of({"ARCHIVER_LOG__LEVEL": "loud"}, config)
    assert said in message
    assert "log.level" in message


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("provider.base_url", "http://api.kie.ai", "must begin with https://"),
        ("provider.base_url", "http://127.0.0.1:80", "needs download.allow_http"),
        ("provider.base_url", "ftp://api.kie.ai", "must begin with"),
        ("provider.base_url", "https://api.kie.ai/api", "must have no path"),
        ("provider.base_url", "https://api.kie.ai?x=1", "must have no query"),
        ("provider.base_url", "https://me@api.kie.ai", "must have no user"),
        ("provider.base_url", "https://api.kie.ai:port", "is no URL"),
        ("provider.base_url", "https:// api.kie.ai", "is no URL"),
        ("provider.base_url", "https://", "is no URL"),
        ("provider.requests_per_10s", "0", "must be 1 or more"),
        ("provider.requests_per_10s", "many", "is no whole number"),
        ("provider.retention", "0s", "must be longer than 0s"),
        ("provider.retention", "300000d", "must be 3650d at most"),
        ("schedule.grace_after_deadline", "522w", "must be 3650d at most"),
        ("download.proxy", "https://proxy.example:3128", "must begin with http://"),
        ("provider.user_agent", "a\r\nX-Evil: 1", "must be printable ASCII"),
        ("store.bucket", "My_Bucket", "must be 3 to 63"),
        ("store.bucket", "a..b", "must not look like"),
        ("store.bucket", "192.168.0.1", "must not look like"),
        ("store.prefix", "a/../b", "must have no empty"),
        ("store.prefix", "a//b", "must have no empty"),
        ("store.prefix", "a b", "must be at most 512"),
        ("store.prefix", "é", "must be at most 512"),
        ("store.endpoint_url", "https://u:p@s3.example.com", "must have no user"),
        ("store.storage_class", "cold", "must be a storage class"),
        ("store.region", "eu\ncentral", "must be a region"),
        ("store.sse", "rot13", "must be 'AES256'"),
        ("store.tags", "a", "is no list of name=value"),
        ("store.tags", "a=\x1b", "must be names"),
        ("store.tags", ",".join(f"k{n}=v" for n in range(11)), "at most 10 tags"),
        ("store.kms_key_id", "alias/a", "needs store.sse"),
        ("store.part_size", "4MiB", "is less than 5MiB"),
        ("store.single_put_max", "6GiB", "is more than 5GiB"),
        ("download.max_stem_bytes", "100GiB", "store.part_size: is too small for download.max_stem_bytes"),
        ("download.min_rate", "0B/s", "must be 1 or more"),
        ("download.concurrency", "many", "is neither a whole number nor auto"),
        ("download.concurrency", "0", "must be 1 or more"),
        ("download.concurrency_max", "0", "must be 1 or more"),
        ("download.bandwidth", "512", "is no bandwidth (a size with its unit, or off)"),
        ("download.bandwidth", "08:00,512KiB 8:00,off", "names a time twice"),
        ("download.allowed_hosts", "https://a.example.com", "must be host names"),
        ("download.exclude", "image,my file", "must be audio, image, video, text, or names of files"),
        ("download.allow_http", "perhaps", "must be a valid boolean"),
        ("download.proxy", "socks5://proxy:1", "must begin with"),
        ("ledger.url", "postgresql+psycopg://u:pw@h", "must name the database"),
        ("ledger.url", "postgresql+psycopg://u:p/w@h/db", "is no URL"),
        ("ledger.url", "postgresql+psycopg://u:p w@h/db", "is no URL"),
        ("ledger.url", "postgresql+asyncpg://u:pw@h/db", "must begin with postgresql+psycopg://"),
        ("ledger.url", "sqlite://", "must be sqlite:///"),
        ("ledger.url", "sqlite:///:memory:", "must be sqlite:///"),
        ("ledger.url", "mysql://h/db", "must be sqlite:///"),
        ("ledger.url", "sqlite:///a.db?mode=ro", "must be sqlite:///"),
        ("schedule.pending_first", "1h", "is longer than schedule.pending_max"),
        ("schedule.retry_max", "1s", "is longer than schedule.retry_max"),
        ("ledger.trim_after", "15d", "is less than 16d"),
        ("ledger.trim_after", "1m", "is less than 16d"),
        ("verify.within", "23h", "must be 1d or more, or off"),
        ("verify.list_every", "1s", "must be 1m or more, or off"),
        ("verify.bandwidth", "10", "is no bandwidth"),
        ("log.format", "xml", "must be 'auto'"),
        ("shutdown_grace", "0", "must be longer than 0s"),
    ],
)
def test_value_against_its_rule_is_a_fault(key: str, value: str, said: str) -> None:
    assert said in fault_of({variable(key): value})


STORE = "ARCHIVER_STORE__"
BEFORE = "store.endpoint_url: has a bucket before its host: leave it out there, store.bucket names it"
BEHIND = "store.endpoint_url: ends in the bucket: leave it out there, store.bucket names it"


@pytest.mark.parametrize(
    ("bucket", "endpoint", "said"),
    [
        ("my-stems", "https://my-stems.s3.eu-central-1.amazonaws.com", BEFORE),
        ("", "https://another.s3.us-west-004.backblazeb2.com", BEFORE),
        ("my-stems", "https://s3.example.com/my-stems", BEHIND),
        ("my-stems", "https://s3.example.com/api/my-stems/", BEHIND),
        ("my-stems", "s3.example.com", "store.endpoint_url: must begin with https:// or http://, then the host"),
        ("my-stems", "s3.example.com:9000", "store.endpoint_url: must begin with https:// or http://, then the host"),
        ("my-stems", "s3://my-stems", "store.endpoint_url: must begin with https:// or http://"),
        ("s3://my-stems/p", "https://s3.example.com", "store.bucket: must be the bucket's name alone"),
        ("arn:aws:s3:::my-stems", "https://s3.example.com", "store.bucket: must be the bucket's name alone"),
    ],
)
def test_bucket_and_endpoint_mixed_up_are_a_fault_that_says_where_each_belongs(
    bucket: str, endpoint: str, said: str
) -> None:
    assert said in fault_of({f"{STORE}BUCKET": bucket, f"{STORE}ENDPOINT_URL": endpoint})


@pytest.mark.parametrize(
    "endpoint",
    ["https://s3.example.com", "https://my-stems.example.com", "https://s3.example.com/api", "http://127.0.0.1:9000"],
)
def test_endpoint_that_may_be_right_is_no_fault(endpoint: str) -> None:
    settings = from_env({f"{STORE}BUCKET": "my-stems", f"{STORE}ENDPOINT_URL": endpoint}).settings
    assert settings.store.endpoint_url == endpoint


def test_provider_that_is_not_amazon_needs_an_endpoint_and_is_one_of_those_known() -> None:
    assert "store.endpoint_url: is needed with store.provider = r2" in fault_of({f"{STORE}PROVIDER": "r2"})
    assert "store.provider: must be 'aws', 'r2'" in fault_of({f"{STORE}PROVIDER": "azure"})
    assert from_env({f"{STORE}PROVIDER": "aws"}).settings.store.endpoint_url is None


def test_profile_is_a_default_that_settings_overrule() -> None:
    b2 = {f"{STORE}ENDPOINT_URL": "https://s3.us-west-004.backblazeb2.com"}
    store = from_env(b2).settings.store
    assert (store.addressing(), store.signs_payload()) == ("path", True)
    assert store.profile().region_at(store.endpoint_url) == "us-west-004"
    own = {f"{STORE}ADDRESSING_STYLE": "virtual", f"{STORE}SIGN_PAYLOAD": "false"}
    store = from_env(b2 | own).settings.store
    assert (store.addressing(), store.signs_payload()) == ("virtual", False)
    store = from_env(b2 | {f"{STORE}PROVIDER": "other"}).settings.store
    assert (store.addressing(), store.signs_payload()) == ("auto", False)
    assert store.profile().region_at(store.endpoint_url) is None


def test_parts_are_counted_by_what_the_provider_takes() -> None:
    many = {f"{STORE}PART_SIZE": "5MiB", "ARCHIVER_DOWNLOAD__MAX_STEM_BYTES": "6GiB"}
    from_env(many)
    said = fault_of(many | {f"{STORE}ENDPOINT_URL": "https://s3.fr-par.scw.cloud"})
    assert "store.part_size: is too small for download.max_stem_bytes: this provider takes 1000 parts at most" in said


def test_buffer_budget_too_small_names_what_it_must_hold() -> None:
    message = fault_of({"ARCHIVER_DOWNLOAD__BUFFER_BUDGET": "15MiB"})
    assert "download.buffer_budget: is less than 16MiB" in message
    assert "store.single_put_max and two of store.part_size" in message
    assert "is less than 20MiB" in fault_of(
        {"ARCHIVER_DOWNLOAD__BUFFER_BUDGET": "18MiB", "ARCHIVER_STORE__PART_SIZE": "10MiB"}
    )
    from_env({"ARCHIVER_DOWNLOAD__BUFFER_BUDGET": "16MiB"})


@pytest.mark.parametrize(
    ("given_prefix", "prefix"), [("", ""), ("/", ""), ("a", "a/"), ("/a/b/", "a/b/"), ("a=1/(b)", "a=1/(b)/")]
)
def test_prefix_is_normalised(given_prefix: str, prefix: str) -> None:
    assert from_env({"ARCHIVER_STORE__PREFIX": given_prefix}).settings.store.prefix == prefix


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:1/"])
def test_base_url_by_http_is_taken_for_loopback_when_http_is_allowed(url: str) -> None:
    environ = {"ARCHIVER_PROVIDER__BASE_URL": url, "ARCHIVER_DOWNLOAD__ALLOW_HTTP": "1"}
    assert from_env(environ).settings.provider.base_url == url.rstrip("/")


def test_required_setting_that_is_missing_is_a_fault_with_its_variable() -> None:
    message = fault_of(require=frozenset({"store.bucket", "provider.api_key"}))
    assert "store.bucket: is required; set it in the settings file, or ARCHIVER_STORE__BUCKET" in message
    assert "provider.api_key: is required" in message


def test_required_setting_that_is_faulty_is_told_once() -> None:
    assert fault_of({"ARCHIVER_STORE__BUCKET": "A"}, require=frozenset({"store.bucket"})).count("store.bucket") == 1


# --- the key


def test_key_file_is_read_and_named_as_source(tmp_path: Path) -> None:
    path = key_file(tmp_path, b"k3y-value\r\n")
    loaded = from_env({"ARCHIVER_PROVIDER__API_KEY_FILE": str(path)}, "provider.api_key")
    assert loaded.settings.provider.key() == "k3y-value"
    assert loaded.sources["provider.api_key"] == f"key file {path}"


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"", 0o600, "is empty"),
        (b"\n", 0o600, "is empty"),
        (b"secret-one\nsecret-two\n", 0o600, "holds a line break"),
        (b"secret one", 0o600, "holds a space"),
        ("secret-é".encode(), 0o600, "outside ASCII"),
        (b"secret-" * 1000, 0o600, "too long"),
        (b"secret-one", 0o640, "chmod 600"),
        (b"secret-one", 0o604, "chmod 600"),
        (b"secret-one", 0o620, "chmod 600"),
    ],
)
def test_key_file_that_is_not_right_is_a_fault_without_its_content(
    tmp_path: Path, content: bytes, mode: int, said: str
) -> None:
    message = fault_of({"ARCHIVER_PROVIDER__API_KEY_FILE": str(key_file(tmp_path, content, mode))})
    assert said in message
    assert "secret" not in message


def test_key_pasted_in_place_of_its_file_is_not_repeated() -> None:
    message = fault_of({"ARCHIVER_PROVIDER__API_KEY_FILE": "pasted-secret"})
    assert "names a file that cannot be read" in message
    assert "pasted-secret" not in message


@pytest.mark.parametrize("key", ["two\nlines", "with space", "naïve", "\x00"])
def test_key_that_cannot_be_one_is_a_fault_that_does_not_repeat_it(key: str) -> None:
    message = fault_of({"ARCHIVER_PROVIDER__API_KEY": key})
    assert "provider.api_key:" in message
    assert key not in message


def test_key_and_key_file_in_one_place_are_a_fault(tmp_path: Path) -> None:
    text = '[provider]\napi_key = "abc"\napi_key_file = "key"\n'
    assert "are both set" in fault_of(config=written(tmp_path, text))
    both = {"ARCHIVER_PROVIDER__API_KEY": "abc", "ARCHIVER_PROVIDER__API_KEY_FILE": "/key"}
    assert "are both set" in fault_of(both)


def test_key_of_the_environment_wins_over_the_files_key_file(tmp_path: Path) -> None:
    config = written(tmp_path, '[provider]\napi_key_file = "/no/such/file"\n')
    loaded = load(config, HOME | {"ARCHIVER_PROVIDER__API_KEY": "abc"}, search=())
    assert loaded.settings.provider.key() == "abc"
    assert loaded.settings.provider.api_key_file is None


def test_settings_file_with_the_key_in_it_must_not_be_readable_by_others(tmp_path: Path) -> None:
    config = written(tmp_path, '[provider]\napi_key = "abc"\n', mode=0o644)
    assert f"chmod 600 {config}" in fault_of(config=config)
    config.chmod(0o600)
    assert load(config, HOME, search=()).settings.provider.key() == "abc"


def test_systemd_credential_is_used_where_nothing_else_is_set(tmp_path: Path) -> None:
    key_file(tmp_path, b"from-systemd\n", 0o440, name="kie-api-key")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    loaded = from_env(environ, "provider.api_key")
    assert loaded.settings.provider.key() == "from-systemd"
    assert loaded.sources["provider.api_key"] == "credential kie-api-key"
    assert from_env(environ | {"ARCHIVER_PROVIDER__API_KEY": "abc"}).settings.provider.key() == "abc"


def test_webhook_key_comes_from_its_setting_its_file_or_its_credential(tmp_path: Path) -> None:
    path = key_file(tmp_path, b"hook-key\n", name="kie-webhook-key")
    loaded = from_env({"ARCHIVER_CALLBACK__HMAC_KEY_FILE": str(path), "ARCHIVER_CALLBACK__ENABLED": "true"})
    assert (loaded.settings.callback.key(), loaded.sources["callback.hmac_key"]) == ("hook-key", f"key file {path}")
    loaded = from_env({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert loaded.settings.callback.key() == "hook-key"
    assert loaded.sources["callback.hmac_key"] == "credential kie-webhook-key"
    assert loaded.settings.provider.key() == ""


def test_callbacks_without_a_key_or_an_address_are_a_fault() -> None:
    said = fault_of({"ARCHIVER_CALLBACK__ENABLED": "true", "ARCHIVER_CALLBACK__LISTEN": ""})
    assert "callback.enabled: needs callback.hmac_key or callback.hmac_key_file" in said
    assert "callback.listen: is empty" in said


@pytest.mark.parametrize(
    ("key", "value"), [("CALLBACK__HMAC_KEY", "pasted key"), ("NOTIFY__HEARTBEAT_URL", "ftp://pasted/key")]
)
def test_webhook_key_or_heartbeat_that_cannot_be_one_is_a_fault_that_does_not_repeat_it(key: str, value: str) -> None:
    said = fault_of({f"ARCHIVER_{key}": value})
    assert key.lower().replace("__", ".") in said
    assert "pasted" not in said


def test_systemd_folder_without_our_credential_is_no_fault(tmp_path: Path) -> None:
    assert from_env({"CREDENTIALS_DIRECTORY": str(tmp_path)}).settings.provider.key() == ""


def test_systemd_credential_that_is_empty_is_a_fault(tmp_path: Path) -> None:
    key_file(tmp_path, b"", 0o400, name="kie-api-key")
    assert "(credential kie-api-key)" in fault_of({"CREDENTIALS_DIRECTORY": str(tmp_path)})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_settings_folder_that_may_not_be_entered_is_told_not_skipped(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    with pytest.raises(SettingsFault, match="cannot be read: Permission denied"):
        load(None, HOME, search=[closed / "archiver.toml"])


# --- what people see


SECRETS = {
    "ARCHIVER_PROVIDER__API_KEY": "planted-key",
    "ARCHIVER_DOWNLOAD__PROXY": "http://me:planted%2Dword@proxy.example.com:3128",
    "ARCHIVER_LEDGER__URL": "postgresql+psycopg://me:planted%2Dpass@db.example/stems?sslmode=require&sslpassword=planted-tls",
    "ARCHIVER_CALLBACK__HMAC_KEY": "planted-hmac",
    "ARCHIVER_NOTIFY__HEARTBEAT_URL": "https://ping.example.com/planted-ping?rid=planted-rid",
    "ARCHIVER_NOTIFY__URLS": "json://me:planted-hook@example.com,tgram://planted-bot:token/planted-chat/",
}


def test_neither_repr_nor_masked_rows_hold_a_secret() -> None:
    loaded = from_env(SECRETS)
    shown = repr(loaded) + str(loaded.settings) + repr(masked(loaded.settings, loaded.sources))
    assert "planted" not in shown
    rows = {row.key: row for row in masked(loaded.settings, loaded.sources)}
    assert rows["download.proxy"].value == "http://me:***@proxy.example.com:3128"
    assert rows["ledger.url"].value == "postgresql+psycopg://me:***@db.example/stems?sslmode=require&sslpassword=***"
    assert rows["provider.api_key"].value == "**********"
    assert rows["notify.urls"].value == "**********,**********"
    assert rows["provider.api_key"].source == "env ARCHIVER_PROVIDER__API_KEY"


@pytest.mark.parametrize(
    "url", ["sqlite:////a/b.db", "postgresql+psycopg:///stems?host=/run/postgresql", "postgresql://me@db:5433/stems"]
)
def test_ledger_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    loaded = from_env({"ARCHIVER_LEDGER__URL": url})
    assert loaded.settings.secrets({}) == frozenset()
    assert {row.key: row.value for row in masked(loaded.settings, loaded.sources)}["ledger.url"] == url


def test_masked_rows_show_every_setting_as_it_is_written() -> None:
    loaded = from_env({})
    rows = {row.key: row.value for row in masked(loaded.settings, loaded.sources)}
    assert tuple(rows) == tuple(KEYS)
    assert rows["provider.retention"] == "14d"
    assert rows["download.buffer_budget"] == "192MiB"
    assert rows["download.min_rate"] == "1KiB/s"
    assert rows["download.allow_http"] == "false"
    assert rows["store.region"] == ""


def test_secrets_are_those_of_settings_and_environment() -> None:
    settings = from_env(SECRETS).settings
    found = settings.secrets({"AWS_SECRET_ACCESS_KEY": "aws", "AWS_SESSION_TOKEN": "session", "PATH": "/bin"})
    assert found == {
        *("planted-key", "planted%2Dword", "planted-word", "aws", "session", "planted-hmac"),
        *("planted%2Dpass", "planted-pass", "planted-tls"),
        *(SECRETS["ARCHIVER_NOTIFY__HEARTBEAT_URL"], "planted-ping", "planted-rid"),
        *(*SECRETS["ARCHIVER_NOTIFY__URLS"].split(","), "planted-hook", "planted-bot:token", "planted-chat"),
    }
    assert Settings().secrets({}) == frozenset()


def test_value_of_reads_dotted_and_plain_keys() -> None:
    assert value_of(Settings(), "log.level") == "info"
    assert value_of(Settings(), "shutdown_grace") == timedelta(seconds=30)


# --- http.listen


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("[::1]:1", ("::1", 1)),
        ("localhost:0", ("localhost", 0)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
        ("", None),
    ],
)
def test_listen_is_host_and_port_or_off(text: str, address: tuple[str, int] | None) -> None:
    assert from_env({"ARCHIVER_HTTP__LISTEN": text}).settings.http.address() == address


@pytest.mark.parametrize(
    "text", ["9464", ":9464", "::1:9464", "host", "host:", "host:65536", "http://host:1", "a b:1", "a..b:1"]
)
def test_listen_that_is_no_host_and_port_is_refused(text: str) -> None:
    assert "http.listen: must be host:port" in fault_of({"ARCHIVER_HTTP__LISTEN": text})


def test_settings_are_read_again_though_the_working_folder_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)
    environ = {"PWD": str(folder), "ARCHIVER_QUEUE__PATH": "queue.txt", "ARCHIVER_LOG__LEVEL": "info"}
    before = from_env(environ).settings
    folder.rmdir()
    assert from_env(environ).settings == before
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "path"), [("LEDGER__URL", "sqlite:////srv/\udcd0/ledger.db"), ("QUEUE__PATH", "/srv/\udcd0/queue.txt")]
)
def test_path_that_this_locale_cannot_read_and_no_ledger_keeps_is_a_fault_with_the_way_out(
    name: str, path: str
) -> None:
    assert "PYTHONUTF8" in fault_of({f"ARCHIVER_{name}": path})


def test_queue_file_whose_path_holds_a_nul_is_a_fault(tmp_path: Path) -> None:
    assert "queue.path: holds a NUL" in fault_of(config=written(tmp_path, '[queue]\npath = "a\\u0000b"\n'))


def test_queue_file_that_is_the_ledger_too_is_a_fault() -> None:
    environ = {"ARCHIVER_QUEUE__PATH": "/srv/both.db", "ARCHIVER_LEDGER__URL": "sqlite:////srv/both.db"}
    assert "queue.path: is the ledger's file, too" in fault_of(environ)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("off", timedelta()),
        (" OFF ", timedelta()),
        ("0s", timedelta()),
        ("90m", timedelta(minutes=90)),
        ("1m", timedelta(minutes=1)),
    ],
)
def test_interval_is_off_or_a_minute_at_least(text: str, read: timedelta) -> None:
    assert Settings.model_validate({"ledger": {"backup_every": text}}).ledger.backup_every == read


@pytest.mark.parametrize("text", ["59s", "-1h", "never", "9999999d", ""])
def test_interval_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="backup_every"):
        Settings.model_validate({"ledger": {"backup_every": text}})
