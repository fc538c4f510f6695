"""The settings that SIGHUP changes while the service is at work."""

from __future__ import annotations

from collections.abc import Mapping

from archiver.app.assembly import Parts
from archiver.app.rotation import Tune
from archiver.core.model import DEFAULT_ACCOUNT, AccountName
from archiver.logs import set_level
from archiver.pipeline.dispatch import LocalDispatcher
from archiver.settings import KEYS, Settings
from archiver.web.callbacks import Callbacks


def tunables(parts: Parts) -> dict[str, Tune]:
    """Return, by dotted name, the settings that can change while `parts` are at work, and how."""
    adapters, dispatcher = parts.adapters, parts.dispatcher

    def tune_accounts(new: Settings) -> bool:
        adapters.accounts.set_rates(new.provider.request_rates())
        before, after = ([each.name for each in its.provider.accounts] for its in (parts.settings, new))
        return _set_keys(parts, new, new.provider.api_keys()) and before == after

    def tune_key(new: Settings) -> bool:
        return _set_keys(parts, new, {DEFAULT_ACCOUNT: new.provider.key()})

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


def _set_keys(parts: Parts, new: Settings, keys: Mapping[AccountName, str]) -> bool:
    """Let the keys take effect, but for those of another provider, which waits for a restart: they do so with it."""
    if new.provider.base_url != parts.settings.provider.base_url:
        return False
    parts.adapters.accounts.set_keys(keys)
    return True


def callback_tunables(callbacks: Callbacks) -> dict[str, Tune]:
    """Return those of `callbacks`."""

    def tune(new: Settings) -> None:
        callbacks.change_key(new.callback.key())

    return {"callback.hmac_key": tune, "callback.hmac_key_file": tune}
