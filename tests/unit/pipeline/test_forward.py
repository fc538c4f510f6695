"""Tasks that backed off are brought forward by evidence: that what failed them works for others, or a new start."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path as Folder

import pytest

from archiver.core.errors import ApiBusy, OriginBusy, OriginFaulty, StoreBusy
from archiver.core.model import Phase, RecordInfo, TaskId
from archiver.pipeline.forward import EVERY, FEW
from tests.fakes.downloader import Audio
from tests.worlds.path import PREFIX, Path, path_in

pytestmark = pytest.mark.long

SOON = timedelta(minutes=1)
HOST = "slow.example"


def fails(path: Path, begins: str, error: Exception) -> list[str]:
    """Let calls that begin so fail; return the list to empty once they shall not."""
    troubled = [begins]

    def before(method: str, about: str) -> None:
        if any(f"{method} {about}".startswith(each) for each in troubled):
            raise error

    path.api.before = path.downloader.before = path.store.before = before
    return troubled


def backs_off(path: Path, *names: str) -> None:
    """Let the tasks fail until each waits for more than half an hour."""
    for _ in range(40):
        path.passes(timedelta(seconds=2))
        waits = [row.not_before - path.now for row in map(path.row, names) if row.not_before is not None]
        if len(waits) == len(names) and min(waits) > timedelta(minutes=30):
            return
        path.now += timedelta(minutes=3)
    raise AssertionError(waits)


def restarts(path: Path) -> None:
    path.me = path.start()
    path.breakers, path.archiver, path.dispatcher = path.me.breakers, path.me.archiver, path.me.dispatcher


TROUBLES = {
    "host": (f"open https://{HOST}/ill-", OriginBusy("timeout")),
    "provider": ("fetch ill-", ApiBusy("timeout")),
    "store": (f"put {PREFIX}ill-", StoreBusy("timeout")),
}


@pytest.fixture
def path(tmp_path: Folder) -> Iterator[Path]:
    with path_in(tmp_path) as path:
        yield path


def knows(path: Path, *names: str, host: str = HOST) -> None:
    for name in names:
        path.lists(path.serves(name, Audio(name.encode() * 50), stem="vocal", host=host), task=name)
        path.accept(name)


@pytest.mark.parametrize("subject", TROUBLES)
def test_task_that_backed_off_goes_on_soon_after_a_restart(path: Path, subject: str) -> None:
    troubled = fails(path, *TROUBLES[subject])
    knows(path, "ill-00001")
    backs_off(path, "ill-00001")
    troubled.clear()
    restarts(path)
    path.passes(SOON, ["ill-00001"])
    assert path.archived("ill-00001")


@pytest.mark.parametrize("subject", TROUBLES)
def test_task_that_backed_off_goes_on_soon_after_what_failed_it_works_for_another(path: Path, subject: str) -> None:
    troubled = fails(path, *TROUBLES[subject])
    knows(path, "ill-00001")
    backs_off(path, "ill-00001")
    troubled.clear()
    knows(path, "good-0001")
    path.passes(SOON, ["ill-00001"])
    assert path.archived("good-0001", "ill-00001") == 2


def test_success_on_another_host_is_no_evidence(path: Path) -> None:
    fails(path, *TROUBLES["host"])
    knows(path, "ill-00001")
    backs_off(path, "ill-00001")
    before = path.row("ill-00001").not_before
    knows(path, "good-0001", host="good.example")
    path.passes(SOON, ["good-0001"])
    assert path.row("ill-00001").not_before == before


@pytest.mark.parametrize("anew", [False, True], ids=["by others", "by a start"])
def test_few_are_brought_forward_at_a_time_and_none_twice_while_others_wait(path: Path, anew: bool) -> None:
    """They fail for reasons of their own, beside one after the other that does not."""
    names = [f"ill-{number:05}" for number in range(2 * FEW)]
    fails(path, *TROUBLES["provider"])
    knows(path, *names)
    backs_off(path, *names)
    if anew:
        restarts(path)
    before = {name: path.row(name).attempts for name in names}
    for looks in range(1, 4):
        knows(path, f"good-{looks:04}")
        path.passes(EVERY)
        tries = [path.row(name).attempts - before[name] for name in names]
        assert sum(tries) <= (looks + 1) * FEW
        assert max(tries) <= 1
    assert set(tries) == {1}


def test_fault_that_is_evidence_of_the_host_waits_as_before(path: Path) -> None:
    fails(path, f"open https://{HOST}/ill-", OriginFaulty("cut"))
    knows(path, "ill-00001")
    backs_off(path, "ill-00001")
    before = path.row("ill-00001")
    knows(path, "good-0001")
    path.passes(SOON)
    restarts(path)
    path.passes(SOON)
    after = path.row("ill-00001")
    assert (after.attempts, after.not_before) == (before.attempts, before.not_before)


def test_id_that_the_provider_calls_not_ready_waits_as_before(path: Path) -> None:
    path.api.knows(TaskId("ill-00001"), RecordInfo(Phase.PENDING, flag="PENDING"))
    path.accept("ill-00001")
    path.passes(timedelta(minutes=30))
    before = path.row("ill-00001").asks
    knows(path, "good-0001")
    restarts(path)
    path.passes(SOON)
    assert path.row("ill-00001").asks <= before + 1
