"""Settings that are read again while the service is at work."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import SecretStr

from archiver.app.rotation import Reload
from archiver.core.errors import CredentialsMissing, SettingsFault
from archiver.settings import Settings, value_of
from archiver.settings.model import Download, Log, Provider, Store
from tests.fakes.events import Events


class File:
    """Stands for the settings file."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.fault: SettingsFault | None = None

    def read(self) -> Settings:
        if self.fault is not None:
            raise self.fault
        return self.settings


def test_reload_of_unchanged_settings_changes_nothing() -> None:
    events, file, tuned = Events(), File(), list[Settings]()
    Reload(Settings(), file.read, {"log.level": tuned.append}, events)()
    assert tuned == []
    assert events.seen == [("info", "settings.reloaded", {"changed": [], "needs_restart": []})]


def test_reload_tunes_what_can_change_and_names_the_rest_until_it_is_changed_back() -> None:
    events, file, tuned = Events(), File(), list[Settings]()
    reload = Reload(Settings(), file.read, {"log.level": tuned.append}, events)
    file.settings = Settings(log=Log(level="debug"), store=Store(prefix="new/"))
    reload()
    reload()
    file.settings = Settings(log=Log(level="debug"))
    reload()
    assert tuned == [Settings(log=Log(level="debug"), store=Store(prefix="new/"))], "once"
    assert events.of("settings.reloaded") == [
        {"changed": ["log.level"], "needs_restart": ["store.prefix"]},
        {"changed": [], "needs_restart": ["store.prefix"]},
        {"changed": [], "needs_restart": []},
    ]
    assert value_of(reload.settings, "log.level") == "debug"


def test_reload_of_faulty_settings_says_every_fault_and_tunes_nothing() -> None:
    events, file, tuned = Events(), File(), list[Settings]()
    reload = Reload(Settings(), file.read, {"download.concurrency": tuned.append}, events)
    file.settings, file.fault = Settings(download=Download(concurrency=3)), SettingsFault("2 faults:\n  one\n  two")
    reload()
    assert tuned == []
    assert events.seen == [("error", "settings.refused", {"faults": ["2 faults:", "  one", "  two"]})]
    file.fault = None
    reload()
    assert len(tuned) == 1


def test_reload_that_tunes_a_part_names_the_setting_until_it_is_restarted() -> None:
    events, file = Events(), File()
    reload = Reload(Settings(), file.read, {"download.concurrency": lambda _: False}, events)
    file.settings = Settings(download=Download(concurrency=3))
    reload()
    reload()
    assert events.of("settings.reloaded") == [{"changed": [], "needs_restart": ["download.concurrency"]}] * 2


def test_reload_learns_every_secret_before_it_lets_any_setting_take_effect() -> None:
    file, said = File(), list[str]()
    key = SecretStr("sk-0123456789")
    file.settings = Settings(provider=Provider(api_key=key))
    reload = Reload(
        Settings(),
        file.read,
        {"provider.api_key": lambda new: said.append(f"use {new.provider.key()}")},
        Events(),
        learned=lambda secrets: said.extend(f"mask {secret}" for secret in secrets if secret.startswith("sk-")),
    )
    reload()
    assert said == ["mask sk-0123456789", "use sk-0123456789"]


def test_reload_renews_all_that_can_be_and_says_what_cannot() -> None:
    events, renewed = Events(), list[str]()

    def broken() -> None:
        raise CredentialsMissing("no profile")

    def gone() -> None:
        raise FileNotFoundError(2, "No such file", "ca.pem")

    renewals = {"store": broken, "certificates": gone, "the rest": lambda: renewed.append("rest")}
    Reload(Settings(), File().read, {}, events, renewals=renewals)()
    assert renewed == ["rest"]
    assert [each["faults"] for each in events.of("settings.refused")] == [
        ["store: no profile"],
        ["certificates: [Errno 2] No such file: 'ca.pem'"],
    ]


def test_reload_renews_all_while_a_thread_opens_one_more_that_can_be() -> None:
    renewed, renewals = list[str](), dict[str, Callable[[], None]]()

    def token() -> None:
        renewed.append("token")
        renewals["store"] = lambda: renewed.append("store")  # as the page's first view opens the bucket

    renewals |= {"token": token, "certificates": lambda: renewed.append("certificates")}
    Reload(Settings(), File().read, {}, Events(), renewals=renewals)()
    assert renewed == ["token", "certificates"]
