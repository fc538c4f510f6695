"""Sound of the stems that people look at: measured one at a time, newest first, whenever nobody listens."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from archiver.core.errors import ArchiverError, Interrupted
from archiver.core.model import Receipt, StemRow
from archiver.core.reports import TaskRow
from archiver.core.sound import Sound
from archiver.ports.runtime import EventLog
from archiver.ports.sound import Sounds, SoundUnknown
from archiver.preservation.fetching import Fetching, WrongBytes
from archiver.preservation.zip_stream import read_once

LARGEST = 1 << 30
"""Bytes of an object that is measured, at most."""

_QUIET = 2.0
"""Seconds since somebody asked for audio, after which the next stem has its turn."""
_WAITING = 512
_REMEMBERED = 4096


class Soundings:
    """Answers from what is kept, at once, and has the rest measured by a thread that ends with its work."""

    def __init__(
        self,
        sounds: Sounds,
        fetching: Callable[[], Fetching],
        log: EventLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sounds = sounds
        self._fetching = fetching
        self._log = log
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, Receipt] = OrderedDict()
        self._brief: dict[str, Sound | None] = {}
        """Of the last that were asked for, without their waveforms."""
        self._refused = set[str]()
        self._under_way = ""
        self._listened_at = clock() - _QUIET
        self._thread: threading.Thread | None = None
        self._closed = False

    def whole(self, stem: StemRow) -> Sound | None:
        """Return the sound of a stem with its waveform; None where it is not known."""
        return None if stem.receipt is None else self._sounds.kept(stem.receipt.sha256)

    def marks(self, stem: StemRow) -> tuple[str, ...]:
        """Return what is wrong with a stem's sound, in words; nothing where it is not known."""
        sound = None if stem.receipt is None else self._known(stem.receipt.sha256)
        return () if sound is None else sound.marks(stem.duration)

    def _known(self, sha256: str) -> Sound | None:
        if sha256 not in self._brief:
            sound = self._sounds.kept(sha256)
            self._remember(sha256, None if sound is None else replace(sound, pairs=b""))
        return self._brief.get(sha256)

    def _remember(self, sha256: str, sound: Sound | None) -> None:
        with self._changed:
            if len(self._brief) >= _REMEMBERED:
                self._brief.clear()
            self._brief[sha256] = sound

    def ask(self, row: TaskRow) -> int:
        """Have all stems of the task measured that are not known, before all others; return how many that are."""
        receipts = {each.receipt.sha256: each.receipt for each in row.stems if each.receipt is not None}
        left = [each for name, each in receipts.items() if name not in self._refused and self._known(name) is None]
        with self._changed:
            for receipt in reversed([each for each in left if each.sha256 != self._under_way]):
                self._waiting[receipt.sha256] = receipt
                self._waiting.move_to_end(receipt.sha256, last=False)
            while len(self._waiting) > _WAITING:
                self._waiting.popitem()
            if self._waiting and self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="page-sounds", daemon=True)
                self._thread.start()
        return len(left)

    def give_way(self) -> None:
        """Begin with no stem for a moment: somebody listens."""
        self._listened_at = self._clock()

    def close(self) -> None:
        """End what is under way."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
            thread = self._thread
        self._sounds.close()
        if thread is not None:
            thread.join(_QUIET)

    def _work(self) -> None:
        while (receipt := self._next()) is not None:
            self._measure(receipt)
            self._under_way = ""

    def _next(self) -> Receipt | None:
        """Return the next stem, once nobody listens; None where there is none, and the thread ends."""
        with self._changed:
            while self._waiting and (left := self._listened_at + _QUIET - self._clock()) > 0:
                self._changed.wait(left)
            if not self._waiting:
                self._thread = None
                return None
            self._under_way, receipt = self._waiting.popitem(last=False)
            return receipt

    def _measure(self, receipt: Receipt) -> None:
        try:
            sound = self._measured(receipt)
            self._remember(receipt.sha256, replace(sound, pairs=b""))
            self._sounds.keep(receipt.sha256, sound)
        except ArchiverError as fault:  # the store's: asked again, it may give it
            self._say(receipt, fault)
        except (SoundUnknown, OSError, WrongBytes, Interrupted) as fault:
            self._refuse(receipt.sha256)
            self._say(receipt, fault)

    def _refuse(self, sha256: str) -> None:
        if len(self._refused) >= _REMEMBERED:
            self._refused.clear()
        self._refused.add(sha256)

    def _say(self, receipt: Receipt, fault: Exception) -> None:
        if isinstance(fault, WrongBytes):
            self._log.warning("fixity.doubted", reason=str(fault))
        elif not self._closed:
            self._log.info("page.unmeasured", key=receipt.key, reason=str(fault))

    def _measured(self, receipt: Receipt) -> Sound:
        if receipt.size > LARGEST:
            raise SoundUnknown(f"it has more than {LARGEST} bytes")
        with self._sounds.file() as file:
            read_once(self._fetching(), receipt, file.write)
            return self._sounds.measured(file)
