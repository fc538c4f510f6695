"""Settings, keys, credentials and certificates that change while a command is at work."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from archiver.core.errors import ArchiverError, SettingsFault
from archiver.logs import mask
from archiver.ports.runtime import EventLog
from archiver.service.supervision import Hangup
from archiver.settings import KEYS, Settings, value_of

if TYPE_CHECKING:
    from archiver.app.adapters import Adapters

Tune = Callable[[Settings], bool | None]
"""Lets a setting's new value take effect; what is under way goes on undisturbed.

Returns False where a part of it takes effect only after a restart.
"""

Renewals = Mapping[str, Callable[[], None]]
"""By what they read anew: each raises OSError or ArchiverError, and leaves all as it was then."""

Stamp = tuple[int, int, int]


def renewals(adapters: Adapters) -> Renewals:
    """Return what reads, beside the settings, what the environment and other programs' files say of trust."""
    return {
        "certificates of the provider": adapters.accounts.renew_trust,
        "certificates of the CDN": adapters.downloader.renew_trust,
        "credentials and certificates of the store": adapters.store.renew,
    }


def rotating(settings: Settings, environ: Mapping[str, str]) -> Sequence[Path]:
    """Return the files whose change is heeded without a signal, whether they are there yet or not."""
    accounts = (account.api_key_file for account in settings.provider.accounts)
    keys = (settings.provider.api_key_file, settings.callback.hmac_key_file, settings.page.token_file, *accounts)
    return [*(path for path in keys if path is not None), *_of_aws(environ), *_of_trust(environ)]


def _of_aws(environ: Mapping[str, str]) -> Iterator[Path]:
    for name, place in (("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")):
        yield Path(environ.get(name) or f"~/.aws/{place}")


def _of_trust(environ: Mapping[str, str]) -> Iterator[Path]:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        if given := environ.get(name):
            yield Path(given)
    if system := ssl.get_default_verify_paths().cafile:
        yield Path(system)


def was_overlooked(settings: Settings, read: Callable[[], Settings]) -> bool:
    """Return whether a secret was changed since the settings were read: before its file was watched."""
    try:
        return read().secrets() != settings.secrets()
    except SettingsFault:
        return True  # told by whoever reads them again


class FileWatch:
    """Tells that one of the files is another than at the last look; a file that comes or goes is, too.

    What comes between the reading of a file and the making of this is not seen here; see `was_overlooked`.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._seen = self._stamps()

    @classmethod
    def of(cls, settings: Settings, environ: Mapping[str, str] = os.environ) -> FileWatch:
        """Return that of the files which these settings and the environment name."""
        return cls(rotating(settings, environ))

    def __call__(self, changed: Callable[[], None]) -> None:
        """Look at each file; call `changed` where one is another."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps
            changed()

    def _stamps(self) -> Sequence[Stamp | None]:
        return [_stamp(path) for path in self._files]


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path.expanduser())  # noqa: PTH116 - follows links, as Kubernetes changes them
    except (OSError, RuntimeError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


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
        for what, renew in tuple(self.renewals.items()):
            try:
                renew()
            except (OSError, ArchiverError, SettingsFault) as error:
                self.log.error("settings.refused", faults=[f"{what}: {error}"])  # noqa: TRY400 - an operator's to mend


def _with(settings: Settings, new: Settings, keys: list[str]) -> Settings:
    """Return `settings` with the values that `new` has for `keys`."""
    for key in keys:
        section, _, name = key.rpartition(".")
        part = getattr(settings, section).model_copy(update={name: value_of(new, key)})
        settings = settings.model_copy(update={section: part})
    return settings


@dataclass(frozen=True, slots=True)
class Rotation:
    """Reads the settings again on SIGHUP, and where one of the files has changed; call it every few seconds."""

    hangup: Hangup
    files: FileWatch
    reload: Callable[[], None]

    def __call__(self) -> None:
        """Look at the files, and do what was asked for."""
        self.files(self.hangup.ask)
        if self.hangup.taken():
            self.reload()
