"""Transfers that were broken off: bounded, of one URL, and taken up once."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from archiver.core.model import StemName, StoredObject, TaskId
from archiver.pipeline.kept import KeptTransfers
from archiver.ports.transfer import Body, Download, Received, Suspended
from tests.fakes.downloader import Audio, FakeBody

STEM = StemName("vocal")


class Parts:
    """An Upload."""

    abandoned = False

    def go_on(self, body: Body) -> StoredObject:
        raise NotImplementedError  # what is kept is only handed on or abandoned here

    def abandon(self) -> None:
        self.abandoned = True


def resume(received: Received) -> AbstractContextManager[Download]:
    del received
    return nullcontext(FakeBody(Audio(b"")))


def suspended(*, resumable: bool = True) -> tuple[Suspended, Parts]:
    it, parts = Suspended(5), Parts()
    it.resume, it.upload = resume if resumable else None, parts
    return it, parts


def test_kept_transfer_is_taken_up_once() -> None:
    kept, (it, parts) = KeptTransfers(), suspended()
    assert kept.keep(TaskId("t"), STEM, "u", it)
    assert kept.take(TaskId("other"), STEM, "u") is None
    assert kept.take(TaskId("t"), STEM, "u") is it
    assert kept.take(TaskId("t"), STEM, "u") is None
    assert not parts.abandoned


def test_kept_transfer_is_given_up_where_another_url_comes_or_nothing_is_wanted() -> None:
    kept, (it, parts), (other, its_parts) = KeptTransfers(), suspended(), suspended()
    kept.keep(TaskId("t"), STEM, "u", it)
    assert kept.take(TaskId("t"), STEM, "u2") is None
    kept.keep(TaskId("t"), STEM, "u", other)
    kept.give_up(TaskId("t"), STEM)
    assert parts.abandoned
    assert its_parts.abandoned


def test_no_more_than_the_most_are_kept_and_the_oldest_goes() -> None:
    kept, transfers = KeptTransfers(most=3), [suspended() for _ in range(10)]
    for number, (it, _) in enumerate(transfers):
        kept.keep(TaskId(f"t{number}"), STEM, "u", it)
    assert [parts.abandoned for _, parts in transfers] == [True] * 7 + [False] * 3


def test_what_cannot_go_on_leaves_nothing_behind() -> None:
    kept, (it, parts) = KeptTransfers(), suspended(resumable=False)
    assert not kept.keep(TaskId("t"), STEM, "u", it)
    assert parts.abandoned
    assert not kept.keep(TaskId("t"), STEM, "u", Suspended(0)), "nothing has reached a store"
