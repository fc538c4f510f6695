"""Terms of the checks that the service makes by itself: the settings of theirs that SIGHUP changes."""

from __future__ import annotations

from dataclasses import dataclass

from archiver.adapters.downloader.throttle import Throttle
from archiver.app.machine import Machine
from archiver.settings import Settings


@dataclass(slots=True)
class CheckTerms:
    """The settings by which the archive is checked now."""

    settings: Settings
    own: Throttle
    """The limit on what checks alone read."""

    @classmethod
    def of(cls, settings: Settings, machine: Machine) -> CheckTerms:
        """Return those that the process begins with."""
        timetable = settings.verify.bandwidth
        own = Throttle(timetable, clock=machine.monotonic, local=machine.local, wait=machine.wait)
        return cls(settings, own)

    def change(self, new: Settings) -> None:
        """Check by these from now on; what else is new takes effect after a restart."""
        download = self.settings.download.model_copy(update={"bandwidth": new.download.bandwidth})
        self.settings = self.settings.model_copy(update={"verify": new.verify, "download": download})
        self.own.change(new.verify.bandwidth)
