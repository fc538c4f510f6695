"""The messages to systemd, over a real socket."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from archiver.adapters.systemd import Systemd
from tests.fakes.service_manager import listening
from tests.fakes.time import Seconds

PID = 4242


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_messages_reach_the_socket_that_systemd_names(tmp_path: Path, abstract: bool) -> None:
    address = f"@{uuid.uuid4()}" if abstract else str(tmp_path / "notify")
    with listening(address) as listener:
        manager = Systemd(address, clock=Seconds(100.0))
        manager.ready()
        manager.status("2 tasks\nin flight")
        manager.reloading()
        manager.stopping()
        assert listener.take() == [
            "READY=1",
            "STATUS=2 tasks in flight",
            "RELOADING=1\nMONOTONIC_USEC=100000000",
            "STOPPING=1",
        ]


def test_status_is_told_only_when_it_changes(tmp_path: Path) -> None:
    with listening(str(tmp_path / "notify")) as listener:
        manager = Systemd(str(tmp_path / "notify"))
        for text in ("waiting", "waiting", "1 task in flight", "waiting"):
            manager.status(text)
        assert listener.take() == ["STATUS=waiting", "STATUS=1 task in flight", "STATUS=waiting"]


def test_watchdog_is_fed_thrice_a_period_however_often_progress_is_shown(tmp_path: Path) -> None:
    clock = Seconds(100.0)
    with listening(str(tmp_path / "notify")) as listener:
        manager = Systemd(str(tmp_path / "notify"), watchdog=60.0, clock=clock)
        for _ in range(120):
            manager.progress()
            clock.now += 0.5
        assert listener.take() == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    ("environ", "fed"),
    [
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(PID)}, ["WATCHDOG=1"]),
        ({"WATCHDOG_USEC": "60000000"}, ["WATCHDOG=1"]),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, []),
        ({"WATCHDOG_USEC": "0"}, []),
        ({"WATCHDOG_USEC": "soon"}, []),
        ({}, []),
    ],
    ids=["ours", "anybody's", "another's", "off", "no number", "none"],
)
def test_watchdog_is_fed_when_the_environment_asks_this_process_for_it(
    tmp_path: Path, environ: dict[str, str], fed: list[str]
) -> None:
    with listening(str(tmp_path / "notify")) as listener:
        Systemd.of({"NOTIFY_SOCKET": str(tmp_path / "notify"), **environ}, PID).progress()
        assert listener.take() == fed


@pytest.mark.parametrize("address", [None, "", "/nowhere/notify", "@nobody-listens-here"])
def test_without_an_audience_nothing_is_said_and_nothing_fails(address: str | None) -> None:
    manager = Systemd(address, watchdog=1.0)
    manager.ready()
    manager.progress()
    manager.stopping()


def test_audience_that_does_not_listen_holds_nobody_up(tmp_path: Path) -> None:
    with listening(str(tmp_path / "notify")) as listener:
        manager = Systemd(str(tmp_path / "notify"))
        for number in range(5000):
            manager.status(f"{number}")
        assert len(listener.take()) < 5000, "the socket was full, and yet nobody waited"
