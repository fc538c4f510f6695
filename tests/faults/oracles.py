"""What must hold after every fault, whatever it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta

from archiver.core.keys import multipart_probe_key, probe_key
from archiver.core.reports import TaskRow
from archiver.core.states import StemState, TaskState
from tests.fixtures.ledgers import overview
from tests.fixtures.manifest_schemas import checked
from tests.worlds.world import (
    API_KEY,
    BOT_TOKEN,
    CALLBACK_TOKEN,
    PREFIX,
    PROXY_PASSWORD,
    RESCUE_TOKEN,
    SESSION_TOKEN,
    SIGNED_QUERY,
    USERINFO,
    Json,
    Running,
    World,
)


def reasons(running: Running, task_id: str) -> list[str]:
    """Return every reason that `show` and `status` give for a task that is not archived."""
    row = running.show(task_id)
    assert row is not None, f"{task_id} was accepted and is not in the ledger"
    pauses = running.ledger.pauses.all()
    told = [row.reason, *(stem.reason for stem in row.stems), *(pause.reason for pause in pauses)]
    return [reason for reason in told if reason]


def conservation(running: Running, task_ids: Iterable[str]) -> None:
    """Every id that was accepted is archived, or stands in a state that has a reason."""
    rows = {task_id: running.show(task_id) for task_id in task_ids}
    for task_id, row in rows.items():
        if row is None or row.state is not TaskState.ARCHIVED:
            assert reasons(running, task_id), f"{task_id} ended in silence: {row}"
    counts = overview(running.ledger, now=running.world.time.at, at_risk=timedelta()).tasks
    assert sum(counts.values()) == len(rows)


def integrity(world: World, rows: Iterable[TaskRow], objects: Mapping[str, bytes]) -> None:
    """Each object equals its source, each manifest says so, and there is no object that no manifest knows."""
    accounted: set[str] = set()
    for row in rows:
        folder = f"{PREFIX}{row.task_id}/"
        if f"{folder}manifest.json" not in objects:
            assert row.state is not TaskState.ARCHIVED, f"{row.task_id} is archived without a manifest"
            continue
        accounted |= {f"{folder}manifest.json"} | {f"{folder}record-info.json"} & set(objects)
        stems = _manifest(objects[f"{folder}manifest.json"])
        if row.state in {TaskState.FAILED, TaskState.MISSING}:
            assert stems == []
            continue
        assert {stem["name"] for stem in stems} >= set(world.sizes)
        if row.state is TaskState.ARCHIVED:
            assert {stem["state"] for stem in stems} == {StemState.STORED.value}
        for stem in stems:
            if "key" in stem:
                accounted.add(stem["key"])
                _equals_source(world, row.task_id, stem, objects[stem["key"]])
    probes = {probe_key(PREFIX), multipart_probe_key(PREFIX)}
    assert {key for key in objects if not key.startswith(f"{PREFIX}_archive/")} - probes == accounted


def _manifest(data: bytes) -> list[Json]:
    stems: list[Json] = checked(data)["stems"]
    return stems


def _equals_source(world: World, task_id: str, stem: Json, stored: bytes) -> None:
    source = world.source(task_id, stem["name"])
    assert hashlib.sha256(stored).hexdigest() == hashlib.sha256(source).hexdigest() == stem["sha256"]
    assert len(stored) == stem["bytes"]


def secrecy(world: World, status: Json, documents: Mapping[str, bytes] | None = None) -> None:
    """No planted secret stands in the log, the ledger's files, what `status` says, or these documents of the bucket."""
    places = {
        "the log": world.log.getvalue().encode(),
        "status": json.dumps(status).encode(),
        **{path.name: path.read_bytes() for path in world.ledger.parent.glob("ledger.db*") if path.is_file()},
        **(documents or {}),
    }
    for what, secret in planted(world).items():
        for place, content in places.items():
            assert secret.encode() not in content, f"{what} stands in {place}"


def planted(world: World) -> Mapping[str, str]:
    """Return the secrets that the world holds, by what they are."""
    return {
        "the API key": API_KEY,
        "the AWS secret": world.s3.secret_key,
        "a signed query": SIGNED_QUERY,
        "a callback token": CALLBACK_TOKEN,
        "a bot token": BOT_TOKEN.partition(":")[2],
        "the proxy's password": PROXY_PASSWORD,
        "a userinfo": USERINFO,
        "a rescue link's token": RESCUE_TOKEN,
        "a session token": SESSION_TOKEN,
        "an Authorization header": "AWS4-HMAC-SHA256",
    }
