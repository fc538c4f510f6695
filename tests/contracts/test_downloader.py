"""What every Downloader keeps to: the real one against a scripted origin, and the fake of the pipeline's tests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol

import pytest

from archiver.adapters.downloader import HttpDownloader
from archiver.core.errors import (
    ArchiverError,
    BodyEmpty,
    BodyNotAudio,
    BodyShort,
    BodyTooLarge,
    LinkSpent,
    OriginBusy,
    Verdict,
)
from archiver.ports.transfer import Downloader
from tests.fakes.audio import mp3
from tests.fakes.downloader import Audio, FakeDownloader, Scripted
from tests.fakes.origin import Origin
from tests.fakes.scripted import Reply
from tests.fixtures.fetching import drain, fetch
from tests.house import downloader

SONG = mp3(300_000)


class World(Protocol):
    """A downloader, and an origin whose answers can be arranged."""

    @property
    def downloader(self) -> Downloader: ...

    def audio(self, data: bytes, *, announced: bool = True, cut: int | None = None) -> str:
        """Let a URL give `data`, or only its first `cut` bytes and then a broken line."""

    def page(self, data: bytes) -> str:
        """Let a URL answer 200 with something that is no audio."""

    def status(self, status: int, retry_after: int | None = None) -> str:
        """Let a URL answer `status`."""

    def huge(self) -> str:
        """Let a URL announce more than is allowed."""


class RealWorld:
    def __init__(self, client: HttpDownloader, cdn: Origin) -> None:
        self.downloader = client
        self._cdn = cdn

    def audio(self, data: bytes, *, announced: bool = True, cut: int | None = None) -> str:
        return self._cdn.script(Reply(data, framing="length" if announced else "chunked", cut=cut))

    def page(self, data: bytes) -> str:
        return self._cdn.script(Reply(data))

    def status(self, status: int, retry_after: int | None = None) -> str:
        headers = () if retry_after is None else (("Retry-After", str(retry_after)),)
        return self._cdn.script(Reply(status=status, headers=headers))

    def huge(self) -> str:
        return self._cdn.script(Reply(SONG, announced=1 << 40, hang_up=True))


class FakeWorld:
    def __init__(self) -> None:
        self._answers: dict[str, list[Scripted]] = {}
        self.downloader = FakeDownloader(self._answers)

    def _gives(self, answer: Scripted) -> str:
        url = f"https://cdn.test/{len(self._answers)}"
        self._answers[url] = [answer]
        return url

    def audio(self, data: bytes, *, announced: bool = True, cut: int | None = None) -> str:
        return self._gives(Audio(data, announced=announced, after=cut or 0, then=None if cut is None else BodyShort()))

    def page(self, data: bytes) -> str:
        return self._gives(BodyNotAudio() if data else BodyEmpty())

    def status(self, status: int, retry_after: int | None = None) -> str:
        spent = status in {401, 403, 404, 410}
        return self._gives(LinkSpent(status=status) if spent else OriginBusy(retry_after=retry_after))

    def huge(self) -> str:
        return self._gives(BodyTooLarge())


@pytest.fixture(params=["real", "fake"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    with Origin() as cdn, downloader() as client:
        yield RealWorld(client, cdn)


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("buffer_size", [1000, 100_000, 300_000, 300_001])
def test_body_is_whole_with_size_hash_and_kind(world: World, buffer_size: int, announced: bool) -> None:
    with world.downloader.open(world.audio(SONG, announced=announced)) as body:
        assert body.size == 0
        assert body.length == (len(SONG) if announced else None)
        assert (body.extension, body.content_type) == ("mp3", "audio/mpeg")
        assert drain(body, buffer_size) == SONG
        assert body.size == len(SONG)
        assert body.sha256 == hashlib.sha256(SONG).hexdigest()


def test_readinto_fills_the_buffer_whenever_there_is_more(world: World) -> None:
    with world.downloader.open(world.audio(SONG)) as body:
        buffer = memoryview(bytearray(70_001))
        sizes = [body.readinto(buffer) for _ in range(6)]
    assert sizes == [70_001, 70_001, 70_001, 70_001, 19_996, 0]


def test_hash_and_size_speak_of_what_was_handed_out_so_far(world: World) -> None:
    with world.downloader.open(world.audio(SONG)) as body:
        body.readinto(memoryview(bytearray(10_000)))
        assert body.size == 10_000
        assert body.sha256 == hashlib.sha256(SONG[:10_000]).hexdigest()


def test_same_url_can_be_opened_again(world: World) -> None:
    url = world.audio(SONG)
    assert fetch(world.downloader, url) == SONG
    assert fetch(world.downloader, url) == SONG


def test_body_may_be_left_half_read(world: World) -> None:
    url = world.audio(SONG)
    with world.downloader.open(url) as body:
        body.readinto(memoryview(bytearray(10)))
    assert fetch(world.downloader, url) == SONG


def test_error_of_the_caller_passes_through(world: World) -> None:
    with pytest.raises(ZeroDivisionError), world.downloader.open(world.audio(SONG)):
        raise ZeroDivisionError


def test_cut_body_is_short_and_stays_so(world: World) -> None:
    with world.downloader.open(world.audio(SONG, cut=100_000)) as body:
        with pytest.raises(BodyShort):
            drain(body)
        with pytest.raises(BodyShort):
            body.readinto(memoryview(bytearray(len(SONG))))


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_spent_link_names_its_status(world: World, status: int) -> None:
    with pytest.raises(LinkSpent) as caught, world.downloader.open(world.status(status)):
        pass
    assert caught.value.status == status
    assert caught.value.verdict is Verdict.REFRESH


@pytest.mark.parametrize("retry_after", [None, 3600])
def test_busy_origin_names_its_wish(world: World, retry_after: int | None) -> None:
    with pytest.raises(OriginBusy) as caught, world.downloader.open(world.status(503, retry_after)):
        pass
    assert caught.value.retry_after == retry_after
    assert caught.value.verdict is Verdict.RETRY


@pytest.mark.parametrize(("page", "kind"), [(b"<html>no</html>", BodyNotAudio), (b"", BodyEmpty)])
def test_no_audio_is_refused_at_open(world: World, page: bytes, kind: type[ArchiverError]) -> None:
    with pytest.raises(kind) as caught, world.downloader.open(world.page(page)):
        pass
    assert caught.value.verdict is Verdict.REFUSE


def test_too_much_audio_is_refused_at_open(world: World) -> None:
    with pytest.raises(BodyTooLarge), world.downloader.open(world.huge()):
        pass
