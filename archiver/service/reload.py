"""What SIGHUP does: reads the settings again and lets those take effect that can while the service is at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from archiver.core.errors import SettingsFault
from archiver.ports.runtime import EventLog
from archiver.settings import KEYS, Settings, value_of

Tune = Callable[[Settings], bool | None]
"""Lets a setting's new value take effect; what is under way goes on undisturbed.

Returns False where a part of it takes effect only after a restart.
"""


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

    def __call__(self) -> None:
        """Let what has changed take effect, and name what needs a restart; on any fault nothing changes."""
        try:
            new = self.read()
        except SettingsFault as fault:
            self.log.error("settings.refused", faults=str(fault).splitlines())  # noqa: TRY400 - the faults say it all
            return
        changed = [key for key in KEYS if value_of(new, key) != value_of(self.settings, key)]
        tuned = [key for key in changed if key in self.tunes and self.tunes[key](new) is not False]
        self.settings = _with(self.settings, new, tuned)
        needs_restart = [key for key in changed if key not in tuned]
        report = self.log.warning if needs_restart else self.log.info
        report("settings.reloaded", changed=tuned, needs_restart=needs_restart)


def _with(settings: Settings, new: Settings, keys: list[str]) -> Settings:
    """Return `settings` with the values that `new` has for `keys`."""
    for key in keys:
        section, _, name = key.rpartition(".")
        part = getattr(settings, section).model_copy(update={name: value_of(new, key)})
        settings = settings.model_copy(update={section: part})
    return settings
