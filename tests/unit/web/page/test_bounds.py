"""What the page takes at most: of an object that it measures, and of answers that flow at a time."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, NoReturn

import pytest

from archiver.core.model import StemName, StemRow
from archiver.core.sound import Sound
from archiver.core.states import StemState
from archiver.web.page.sounding import Soundings
from archiver.web.page.streaming import Put, Streams
from tests.fakes.asgi import Asked, ask
from tests.fakes.events import Events
from tests.fakes.waiting import until
from tests.fixtures.ledgers import ready_ledger, receipt, shown, take_in


@dataclass
class Full:
    """Keeps no sound, and has no room for a file."""

    def kept(self, sha256: str) -> Sound | None:
        return None

    def keep(self, sha256: str, sound: Sound) -> None:
        raise NotImplementedError

    def file(self) -> IO[bytes]:
        raise OSError("no room for its bytes")

    def measured(self, file: IO[bytes]) -> Sound:
        raise NotImplementedError

    def close(self) -> None:
        pass


def no_archive() -> NoReturn:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("size", "why"), [(1 << 30, "no room for its bytes"), ((1 << 30) + 1, "it has more than 1073741824 bytes")]
)
def test_object_is_measured_up_to_a_gibibyte(tmp_path: Path, size: int, why: str) -> None:
    events = Events()
    stem = StemRow(StemName("vocal"), StemState.STORED, "", "", "f", receipt=receipt(size=size))
    with closing(ready_ledger(tmp_path)) as ledger:
        take_in(ledger, 1)
        row = replace(shown(ledger), stems=(stem,))
    with closing(Soundings(Full(), no_archive, events)) as soundings:
        soundings.ask(row)
        until(lambda: events.of("page.unmeasured"))
    assert [fields["reason"] for fields in events.of("page.unmeasured")] == [why]


@dataclass
class Slow:
    """Bodies that come when they are let, and how many began."""

    go: threading.Event = field(default_factory=threading.Event)
    begun: list[None] = field(default_factory=list)

    def work(self, put: Put) -> None:
        self.begun.append(None)
        assert self.go.wait(60)
        put(b"whole")


def test_24_answers_flow_at_a_time_and_the_next_once_one_has_ended() -> None:
    slow = Slow()

    async def flow() -> list[bytes]:
        streams = Streams(lambda _: None)
        answers = [asyncio.create_task(ask(streams.answer(slow.work, {}), Asked())) for _ in range(25)]
        await asyncio.to_thread(until, lambda: len(slow.begun) >= 24)
        await asyncio.sleep(0.2)
        assert len(slow.begun) == 24
        slow.go.set()
        return [said.body for said in await asyncio.gather(*answers)]

    assert asyncio.run(flow()) == [b"whole"] * 25
