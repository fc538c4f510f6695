"""Faults of the host: its clock, its network, its files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tests.fakes.s3_proxy import drop_before
from tests.fakes.scripted import DROP
from tests.faults import oracles
from tests.faults.api_faults import says
from tests.faults.cdn_faults import status
from tests.faults.matrix import End, Fault, Hop, Seen, aftermath, next_start, nothing
from tests.faults.s3_faults import on
from tests.house import command
from tests.worlds.world import API_KEY, PREFIX, VICTIM, World, envelope

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def _host(name: str, end: End, reason: str, begin: Callable[[World], None], **more: Any) -> Fault:  # noqa: ANN401 - Fault's own
    return Fault("host", name, end, reason, begin, **more)


# ---------------------------------------------------------------- the network as a whole


def _network() -> Iterator[Fault]:
    yield _host("the network is down for an hour", End.PAUSED, "busy", _unplugged, lasts=HOUR, step=60)
    yield _host("only the API can be reached for an hour", End.PAUSED, "busy", _no_way_to_audio, lasts=HOUR, step=60)
    yield _host("the network is down for 12 days", End.PAUSED, "busy", _unplugged, lasts=12 * DAY, step=12 * 3600)


def _unplugged(world: World) -> None:
    says(DROP)(world)
    _no_way_to_audio(world)


def _no_way_to_audio(world: World) -> None:
    world.cdn_fault = lambda _, __: DROP
    on("*", drop_before)(world)


# ---------------------------------------------------------------- the clock


def _clock() -> Iterator[Fault]:
    for name, span in (
        ("an hour ahead", HOUR),
        ("an hour back", -HOUR),
        ("a month ahead", 30 * DAY),
        ("a month back", -30 * DAY),
    ):
        jump = _jumped(span)
        yield _host(f"the clock jumps {name} between tries", End.RETRIED, "cdn.busy", status(503), midway=jump)
        yield _host(
            f"the clock jumps {name} while the provider is paused",
            End.PAUSED,
            "provider.key_refused",
            says(envelope(401)),
            midway=jump,
            lasts=2 * MINUTE,
        )
    yield _host(
        "the clock jumps an hour back while the store is paused",
        End.PAUSED,
        "store.busy",
        on("*", drop_before),
        midway=_jumped(-HOUR),
        lasts=HOUR,
        step=60,
    )


def _jumped(span: timedelta) -> Callable[[World], None]:
    return lambda world: world.time.jump(span)


# ---------------------------------------------------------------- the queue file


def _queue() -> Iterator[Fault]:
    unread = partial(_host, end=End.UNREAD)
    yield unread("the queue file is missing", reason="No such file", begin=_renamed, mend=_renamed_back)
    yield unread("the queue file is a folder", reason="", begin=_folder, mend=_no_folder)
    yield _host("the queue file holds garbage", End.ARCHIVED, "", _garbage, after=_rejects_are_shown)
    yield _host("the queue file is truncated", End.RETRIED, "cdn.busy", status(503), midway=_truncated)
    yield _host("the queue file is replaced", End.RETRIED, "cdn.busy", status(503), midway=_replaced)


def _away(world: World) -> Path:
    return world.queue.with_suffix(".away")


def _renamed(world: World) -> None:
    world.queue.rename(_away(world))


def _renamed_back(world: World) -> None:
    _away(world).rename(world.queue)


def _folder(world: World) -> None:
    _renamed(world)
    world.queue.mkdir()


def _no_folder(world: World) -> None:
    world.queue.rmdir()
    _renamed_back(world)


def _garbage(world: World) -> None:
    good = world.queue.read_bytes()
    world.queue.write_bytes(os.urandom(3000).replace(b"\n", b"") + b"\n\x1b[2J\n" + good + b"no id!\n")


def _rejects_are_shown(world: World) -> None:
    said = [line for line in world.events if line["event"] == "queue.rejected"]
    assert [line["line"] == "no id!" for line in said] == [False, True], "the junk once, the word by itself"
    assert "passed over" in str(said[0]["reason"])


def _truncated(world: World) -> None:
    world.queue.write_text("")


def _replaced(world: World) -> None:
    _renamed(world)
    world.accept(VICTIM)


# ---------------------------------------------------------------- the ledger's files


@dataclass(frozen=True, slots=True)
class Damage:
    """Something befell the ledger while no service ran."""

    name: str
    end: End
    reason: str
    """What the command says of it."""
    damage: Callable[[World], None]
    mend: Callable[[World], None]
    refusing: Sequence[str] = ("backfill", "status")
    """The commands that end with 3 for it."""
    hop: Hop = "host"
    tls: bool = False

    @property
    def title(self) -> str:
        return f"{self.hop}: {self.name}"


def carry_out_damage(row: Damage, world: World) -> Seen:
    """Damage the ledger of a service that has ended; the next start copes, or refuses and touches nothing."""
    _interrupted(world)
    row.damage(world)
    said = ""
    if row.end is End.STOPPED:
        before = _bytes(world)
        said = _refusal(world, row.refusing)
        assert _bytes(world) == before, "the damaged ledger was touched"
        assert row.reason in said, said
    row.mend(world)
    with world.running() as running:
        fresh_after = aftermath(running, row.end)
    next_start(world)
    return Seen(row.end, said.partition("\n")[0].replace(str(world.folder), "")[:90], fresh_after)


def _interrupted(world: World) -> None:
    """Leave a ledger as a killed service does: with work begun, and its write-ahead log not folded in."""
    world.publish(VICTIM)
    world.accept(VICTIM)
    status(503)(world)
    saved = _saved(world)
    with world.running() as running:
        running.pass_time(timedelta(seconds=3))
        shutil.copytree(world.ledger.parent, saved, ignore=shutil.ignore_patterns("*-shm", "*.lock"))
    shutil.rmtree(world.ledger.parent)
    shutil.copytree(saved, world.ledger.parent)
    assert world.ledger.with_name("ledger.db-wal").stat().st_size
    world.mend()


def _saved(world: World) -> Path:
    return world.folder / "saved"


def _restored(world: World) -> None:
    shutil.rmtree(world.ledger.parent, ignore_errors=True)
    world.ledger.parent.unlink(missing_ok=True)
    shutil.copytree(_saved(world), world.ledger.parent)


def _bytes(world: World) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in world.folder.rglob("ledger.db*")
        if path.is_file() and "saved" not in str(path) and not path.name.endswith("-shm")
    }


def _refusal(world: World, commands: Sequence[str]) -> str:
    """Run the commands; return what the first says, having checked that each ends with 3 and shows no secret."""
    said = ""
    for name in commands:
        done = command(name, env=_environment(world))
        assert done.exit_code == 3, done.output
        assert "Traceback" not in done.output
        said = said or done.output.removeprefix("stem-archiver: ")
        for what, secret in oracles.planted(world).items():
            assert secret not in done.output, what
    return said


def _environment(world: World) -> dict[str, str]:
    return {
        "ARCHIVER_LEDGER__URL": f"sqlite:///{world.ledger}",
        "ARCHIVER_QUEUE__PATH": str(world.queue),
        "ARCHIVER_STORE__BUCKET": world.bucket,
        "ARCHIVER_STORE__PREFIX": PREFIX,
        "ARCHIVER_PROVIDER__API_KEY": API_KEY,
        "AWS_ACCESS_KEY_ID": world.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": world.s3.secret_key,
    }


def _damages() -> Iterator[Damage]:
    stopped = partial(Damage, end=End.STOPPED, mend=_restored)
    survived = partial(Damage, end=End.ARCHIVED, reason="", mend=nothing)
    yield stopped("the ledger's file begins with garbage", reason="is not a database", damage=_overwritten(0))
    yield stopped("the ledger's tables are garbage", reason="is damaged", damage=_every_page)
    yield stopped("the ledger is torn: half of it is missing", reason="is damaged", damage=_torn)
    yield stopped("the ledger is another program's database", reason="another program", damage=_foreign)
    yield stopped("the ledger is a text file", reason="is not a database", damage=_text)
    yield stopped("the ledger is a folder", reason="cannot be opened", damage=_ledger_folder)
    yield stopped("the ledger's folder is a file", reason="cannot be created", damage=_folder_is_file)
    yield stopped(
        "the folder of the processes' locks is a file",
        reason="folder of locks",
        damage=_locks_are_file,
        refusing=["backfill"],
    )
    yield stopped("the ledger has a newer schema", reason="newer", damage=_newer)
    yield survived("the ledger's write-ahead log is torn", damage=_torn_wal)
    yield survived("the ledger's write-ahead log is garbage", damage=_garbage_wal)
    yield survived("the ledger is gone", damage=lambda world: shutil.rmtree(world.ledger.parent))
    yield survived("the ledger is an old copy", damage=_old_copy)


def _alone(world: World) -> None:
    """Fold the write-ahead log into the file, so that the damage is to all there is."""
    with closing(sqlite3.connect(world.ledger)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _overwritten(at: int) -> Callable[[World], None]:
    def damage(world: World) -> None:
        _alone(world)
        with world.ledger.open("r+b") as file:
            file.seek(at)
            file.write(os.urandom(100))

    return damage


def _every_page(world: World) -> None:
    _alone(world)
    size = world.ledger.stat().st_size
    with world.ledger.open("r+b") as file:
        for at in range(4096, size, 4096):
            file.seek(at)
            file.write(b"\xee" * 4096)


def _torn(world: World) -> None:
    _alone(world)
    os.truncate(world.ledger, world.ledger.stat().st_size // 2)


def _emptied(world: World) -> None:
    shutil.rmtree(world.ledger.parent)
    world.ledger.parent.mkdir()


def _foreign(world: World) -> None:
    _emptied(world)
    with closing(sqlite3.connect(world.ledger)) as db:
        db.execute("CREATE TABLE theirs (x)")


def _text(world: World) -> None:
    _emptied(world)
    world.ledger.write_text("dear diary, " * 1000)


def _ledger_folder(world: World) -> None:
    _emptied(world)
    world.ledger.mkdir()


def _folder_is_file(world: World) -> None:
    shutil.rmtree(world.ledger.parent)
    world.ledger.parent.write_text("no folder")


def _locks_are_file(world: World) -> None:
    _alone(world)
    locks = world.ledger.with_name("ledger.db.owners")
    shutil.rmtree(locks)
    locks.write_text("no folder")


def _newer(world: World) -> None:
    with closing(sqlite3.connect(world.ledger)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    _alone(world)


def _wal(world: World) -> Path:
    return world.ledger.with_name("ledger.db-wal")


def _torn_wal(world: World) -> None:
    os.truncate(_wal(world), _wal(world).stat().st_size * 2 // 3)


def _garbage_wal(world: World) -> None:
    _wal(world).write_bytes(os.urandom(_wal(world).stat().st_size))


def _old_copy(world: World) -> None:
    """The task is archived, and then the ledger is set back to before."""
    with world.running() as running:
        running.until_archived(VICTIM, HOUR)
    _restored(world)


# ---------------------------------------------------------------- the ledger under a running service


def _under_way() -> Iterator[Fault]:
    stopped = partial(_host, end=End.STOPPED, restarts=True)
    yield stopped(
        "another process locks the ledger for good", reason="locked by another", begin=nothing, midway=_locked
    )
    yield _host("another process locks the ledger for a moment", End.ARCHIVED, "", nothing, midway=_locked_briefly)
    yield stopped(
        "the ledger is deleted under the service",
        reason="was deleted",
        begin=status(503),
        midway=_deleted,
        mend=_emptied,
    )
    yield stopped(
        "the ledger is overwritten under the service",
        reason="is damaged",
        begin=nothing,
        midway=_every_page,
        mend=_emptied,
    )


def _lock(world: World) -> sqlite3.Connection:
    other = world.later.enter_context(
        closing(sqlite3.connect(world.ledger, isolation_level=None, check_same_thread=False))
    )
    other.execute("BEGIN EXCLUSIVE")
    return other


def _locked(world: World) -> None:
    world.repairs.append(_lock(world).rollback)


def _locked_briefly(world: World) -> None:
    threading.Timer(0.1, _lock(world).rollback).start()


def _deleted(world: World) -> None:
    for file in world.ledger.parent.glob("ledger.db*"):
        if file.is_file():
            file.unlink()


FAULTS = (*_network(), *_clock(), *_queue(), *_under_way())
DAMAGES = tuple(_damages())
