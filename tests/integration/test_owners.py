from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import os
import platform
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archiver.adapters.owners import DaemonRuns, OwnerLock, Running, only_daemon
from tests.fixtures.ledgers import LEASE, NOW, claim, ready_ledger, shown, take_in, tid
from tests.house import Ledger

NOBODY = 65534

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[OwnerLock]:
    lock = OwnerLock(tmp_path / "owners")
    yield lock
    lock.close()


def _live(folder: Path, ledger_folder: Path, said: multiprocessing.connection.Connection) -> None:
    """Hold a lock and a lease until killed."""
    lock = OwnerLock(folder)
    ledger = ready_ledger(ledger_folder)
    ledger.claims.claim(owner=lock.owner, now=NOW, lease=LEASE)
    ledger.uploads.opened(lock.owner, "key", "upload", now=NOW)
    said.send(lock.owner)
    time.sleep(60)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[tuple[str, multiprocessing.process.BaseProcess]]:
    """Another process at work on task 1, and its owner's name."""
    ledger = ready_ledger(tmp_path)
    take_in(ledger, 1)
    ledger.close()
    hear, say = _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(target=_live, args=(tmp_path / "owners", tmp_path, say))
    process.start()
    assert hear.poll(30)
    yield hear.recv(), process
    process.kill()
    process.join()
    process.close()
    hear.close()
    say.close()


def test_we_are_alive_until_closed(lock: OwnerLock, tmp_path: Path) -> None:
    second = OwnerLock(tmp_path / "owners")
    assert lock.owner != second.owner
    assert lock.alive(lock.owner)
    assert lock.alive(second.owner)
    assert second.alive(lock.owner)
    second.close()
    second.close()
    assert not lock.alive(second.owner)
    assert not second.alive(second.owner)
    assert [path.name for path in (tmp_path / "owners").iterdir()] == [f"{lock.owner}.lock"]


def test_folder_and_file_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        lock = OwnerLock(tmp_path / "owners")
    finally:
        os.umask(before)
    (file,) = (tmp_path / "owners").iterdir()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "owners", file)]
    lock.close()
    assert modes == [0o700, 0o600]


@pytest.mark.parametrize("name", ["0123456789abcdef", "../owners", "", "a/b", "no hex", "\x00"])
def test_an_owner_nobody_knows_is_dead(lock: OwnerLock, name: str) -> None:
    assert not lock.alive(name)


def test_a_name_that_leads_elsewhere_removes_nothing(lock: OwnerLock, tmp_path: Path) -> None:
    victim = tmp_path / "aa.lock"
    victim.touch()
    assert not lock.alive("../aa")
    assert victim.exists()


def test_a_file_without_its_lock_is_dead_and_removed(lock: OwnerLock, tmp_path: Path) -> None:
    stale = tmp_path / "owners" / "aa.lock"
    stale.touch()
    assert not lock.alive("aa")
    assert not stale.exists()


def test_a_start_removes_the_files_of_the_dead_and_no_other(lock: OwnerLock, tmp_path: Path) -> None:
    (tmp_path / "owners" / "aa.lock").touch()
    (tmp_path / "owners" / "notes.txt").touch()
    second = OwnerLock(tmp_path / "owners")
    names = {path.name for path in (tmp_path / "owners").iterdir()}
    second.close()
    assert names == {f"{lock.owner}.lock", f"{second.owner}.lock", "notes.txt"}


def test_owners_of_another_machine_cannot_be_judged_and_their_files_are_let_be(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("here", "there")]
    here, there = (OwnerLock(folder, shared=True) for folder in folders)
    beside = OwnerLock(folders[0], shared=True)
    assert here.owner.startswith(platform.node())
    assert here.alive(here.owner) is here.alive(beside.owner) is True
    assert here.alive(there.owner) is None
    assert here.alive("0123456789abcdef") is None, "of a ledger that was on one machine"
    beside.close()
    assert here.alive(beside.owner) is False
    there.close()
    assert here.alive(there.owner) is None
    here.close()


def test_a_copy_of_the_folder_is_another_place(tmp_path: Path) -> None:
    here = OwnerLock(tmp_path / "here", shared=True)
    shutil.copytree(tmp_path / "here", tmp_path / "copy")
    copy = OwnerLock(tmp_path / "copy", shared=True)
    assert copy.alive(here.owner) is None
    copy.close()
    here.close()


def test_processes_that_start_while_others_sweep_stay_alive(lock: OwnerLock, tmp_path: Path) -> None:
    def start(_: int) -> bool:
        born = OwnerLock(tmp_path / "owners")
        seen = lock.alive(born.owner) is True and (tmp_path / "owners" / f"{born.owner}.lock").exists()
        born.close()
        return seen

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(start, range(800)))


def test_an_owner_of_another_user_is_taken_for_alive(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    folder = Path(tempfile.mkdtemp(prefix="owners-"))
    folder.chmod(0o777)
    (folder / "aa.lock").touch(mode=0o600)
    os.seteuid(NOBODY)
    try:
        lock = OwnerLock(folder)
        seen = lock.alive("aa")
        lock.close()
    finally:
        os.seteuid(0)
    assert seen
    shutil.rmtree(folder)


def test_a_living_process_keeps_its_lease_and_a_killed_ones_is_free_at_once(
    lock: OwnerLock, tmp_path: Path, other: tuple[str, multiprocessing.process.BaseProcess]
) -> None:
    owner, process = other
    ledger = ready_ledger(tmp_path)
    assert lock.alive(owner)
    assert ledger.claims.release_dead(lock.alive, now=NOW) == []
    assert ledger.uploads.of_dead(lock.alive) == []
    assert shown(ledger, 1).leased_until == NOW + LEASE
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    _taken_over(ledger, lock, owner)
    ledger.close()


def _taken_over(ledger: Ledger, lock: OwnerLock, owner: str) -> None:
    # Uploads first: whoever asks removes the dead one's file, and it must stay dead.
    assert ledger.uploads.of_dead(lock.alive) == [("key", "upload")]
    assert ledger.claims.release_dead(lock.alive, now=NOW) == [owner]
    assert ledger.uploads.of_dead(lock.alive) == [("key", "upload")]
    assert claim(ledger).task_id == tid(1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_lock_that_root_makes_in_the_folder_of_a_user_is_that_users(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    lock = OwnerLock(tmp_path / "ledger.db.owners")
    made = {path.name: path.stat().st_uid for path in tmp_path.rglob("*")}
    lock.close()
    assert made == {"ledger.db.owners": NOBODY, f"{lock.owner}.lock": NOBODY}


# --- the one daemon of a ledger in a file


def test_second_daemon_on_a_ledger_is_told_of_the_first_until_that_one_is_gone(tmp_path: Path) -> None:
    ledger = tmp_path / "new" / "ledger.db"
    with only_daemon(ledger, NOW):
        with pytest.raises(DaemonRuns) as refused, only_daemon(ledger, NOW):
            pass
        assert refused.value.other == Running(os.getpid(), platform.node(), NOW)
    with only_daemon(ledger, NOW):
        pass


def test_daemon_that_does_not_say_who_it_is_is_seen_all_the_same(tmp_path: Path) -> None:
    with only_daemon(tmp_path / "ledger.db", NOW):
        (tmp_path / "ledger.db.daemon").write_text("junk")
        with pytest.raises(DaemonRuns) as refused, only_daemon(tmp_path / "ledger.db", NOW):
            pass
        assert refused.value.other is None
