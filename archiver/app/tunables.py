"""The settings that SIGHUP changes while the service is at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from archiver.app.assembly import Parts
from archiver.app.rotation import Renewals
from archiver.core.errors import ArchiverError, SettingsFault
from archiver.core.model import DEFAULT_ACCOUNT
from archiver.logs import mask, set_level
from archiver.pipeline.dispatch import LocalDispatcher
from archiver.ports.runtime import EventLog
from archiver.settings import KEYS, Settings, value_of

Tune = Callable[[Settings], bool | None]
"""Lets a setting's new value take effect; what is under way goes on undisturbed.

Returns False where a part of it takes effect only after a restart.
"""


def tunables(parts: Parts) -> Mapping[str, Tune]:
    """Return, by dotted name, the settings that can change while `parts` are at work, and how."""
    adapters, dispatcher = parts.adapters, parts.dispatcher

    def tune_accounts(new: Settings) -> bool:
        adapters.accounts.set_rates(new.provider.request_rates())
        adapters.accounts.set_keys(new.provider.api_keys())
        before, after = ([each.name for each in its.provider.accounts] for its in (parts.settings, new))
        return before == after

    def tune_key(new: Settings) -> None:
        adapters.accounts.set_keys({DEFAULT_ACCOUNT: new.provider.key()})

    def tune_bandwidth(new: Settings) -> None:
        adapters.throttle.change(new.download.bandwidth)
        parts.terms.change(new)

    def resize(new: Settings) -> None:
        adapters.transfers.resize(new.download.most_transfers, adapts=new.download.adapts)

    tunes: dict[str, Tune] = {
        "log.level": lambda new: set_level(new.log.level),
        "provider.requests_per_10s": lambda new: adapters.accounts.set_rates(
            {DEFAULT_ACCOUNT: new.provider.requests_per_10s}
        ),
        "provider.accounts": tune_accounts,
        "provider.api_key": tune_key,
        "provider.api_key_file": tune_key,
        "download.concurrency": resize,
        "download.concurrency_max": resize,
        "download.bandwidth": tune_bandwidth,
        "download.allowed_hosts": lambda new: adapters.downloader.allow_hosts(new.download.allowed_hosts),
        "download.exclude": lambda new: parts.exclusion.change(new.download.exclude),
        **{key: parts.terms.change for key in KEYS if key.startswith("verify.")},
    }
    if isinstance(dispatcher, LocalDispatcher):
        tunes["download.tasks_in_flight"] = lambda new: dispatcher.resize(new.download.tasks_in_flight)
    return tunes


@dataclass(slots=True)
class Reload:
    """Reads the settings again, each time it is called."""

    settings: Settings
    """Those in effect."""
    read: Callable[[], Settings]
    """Reads them as at the start; raises SettingsFault."""
    tunes: Mapping[str, Tune]
    """By dotted name, those that can change while the service is at work."""
    log: EventLog
    renewals: Renewals = field(default_factory=dict)
    learned: Callable[[AbstractSet[str]], None] = mask
    """Is told every secret of the settings before it is used."""

    def __call__(self) -> None:
        """Let what has changed take effect, and name what needs a restart; on any fault nothing changes."""
        try:
            new = self.read()
        except SettingsFault as fault:
            self.log.error("settings.refused", faults=str(fault).splitlines())  # noqa: TRY400 - the faults say it all
            return
        self.learned(new.secrets())
        changed = [key for key in KEYS if value_of(new, key) != value_of(self.settings, key)]
        tuned = [key for key in changed if key in self.tunes and self.tunes[key](new) is not False]
        self.settings = _with(self.settings, new, tuned)
        needs_restart = [key for key in changed if key not in tuned]
        report = self.log.warning if needs_restart else self.log.info
        report("settings.reloaded", changed=tuned, needs_restart=needs_restart)
        self._renew()

    def _renew(self) -> None:
        for what, renew in self.renewals.items():
            try:
                renew()
            except (OSError, ArchiverError) as error:
                self.log.error("settings.refused", faults=[f"{what}: {error}"])  # noqa: TRY400 - an operator's to mend


def _with(settings: Settings, new: Settings, keys: list[str]) -> Settings:
    """Return `settings` with the values that `new` has for `keys`."""
    for key in keys:
        section, _, name = key.rpartition(".")
        part = getattr(settings, section).model_copy(update={name: value_of(new, key)})
        settings = settings.model_copy(update={section: part})
    return settings
