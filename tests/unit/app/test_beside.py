"""The page beside `run`: started again where it ends, ended by force, left alone where its settings are at fault."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from archiver.app.beside import PageKeeper
from tests.fakes.events import Events
from tests.fakes.waiting import until

NOTES = "import os, sys; print(os.getpid(), file=open(sys.argv[1], 'a'), flush=True); "


def kept(tmp_path: Path, events: Events, then: str) -> tuple[PageKeeper, Callable[[], list[int]]]:
    """A keeper of a process that notes its id and does that; and what gives the ids so far."""
    notes = tmp_path / "pids"
    notes.touch()
    keeper = PageKeeper([sys.executable, "-S", "-c", NOTES + then, str(notes)], events, first_pause=0.01)
    return keeper, lambda: [int(line) for line in notes.read_text().split("\n") if line]


def test_process_that_dies_is_started_again_and_that_is_said(tmp_path: Path) -> None:
    events = Events()
    keeper, pids = kept(tmp_path, events, "sys.stdin.read()")
    with closing(keeper):
        until(pids)
        os.kill(pids()[0], signal.SIGKILL)
        until(lambda: len(pids()) == 2)
    assert [(event, fields["code"]) for _, event, fields in events.seen] == [("page.ended", -signal.SIGKILL)]


HEEDS = (
    "import pathlib, signal, time\n"
    "go = pathlib.Path(sys.argv[1]).with_name('go')\n"
    "while not go.exists(): time.sleep(0.01)\n"
    "signal.signal(signal.SIGHUP, lambda *_: print(os.getpid(), file=open(sys.argv[1], 'a'), flush=True))\n"
    "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})\n"
    "sys.stdin.read()"
)


def test_sighup_is_passed_on_and_kept_for_a_process_that_does_not_heed_it_yet(tmp_path: Path) -> None:
    events = Events()
    keeper, pids = kept(tmp_path, events, HEEDS)
    with closing(keeper):
        until(pids)
        keeper.hang_up()
        (tmp_path / "go").touch()
        until(lambda: len(pids()) == 2)
        keeper.hang_up()
        until(lambda: len(pids()) == 3)
    assert (len(set(pids())), events.seen) == (1, [])


def test_process_that_is_stopped_is_ended_by_force(tmp_path: Path) -> None:
    keeper, pids = kept(tmp_path, Events(), "sys.stdin.read()")
    until(pids)
    os.kill(pids()[0], signal.SIGSTOP)
    keeper.close()
    until(lambda: not Path(f"/proc/{pids()[0]}").exists())
    assert len(pids()) == 1


def test_process_with_settings_at_fault_is_left_alone(tmp_path: Path) -> None:
    events = Events()
    keeper, pids = kept(tmp_path, events, "sys.exit(2)")
    until(lambda: events.seen)
    until(lambda: not any(thread.name == "page" for thread in threading.enumerate()))
    keeper.close()
    assert (len(pids()), [fields["again_in"] for *_, fields in events.seen]) == (1, [None])


def test_process_that_cannot_be_started_is_tried_again_and_nobody_is_kept_from_ending(tmp_path: Path) -> None:
    events = Events()
    with closing(PageKeeper([str(tmp_path / "nothing")], events, first_pause=0.01)):
        until(lambda: len(events.seen) == 2)
    assert {fields["code"] for *_, fields in events.seen} == {None}
