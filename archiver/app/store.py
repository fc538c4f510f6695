"""The bucket, opened as the settings say; without a ledger, whose libraries take longer to load than `get` takes."""

from __future__ import annotations

import random
from collections.abc import Callable

from archiver import __version__
from archiver.adapters.downloader import Throttle
from archiver.adapters.object_store import LateStore, ObjectOptions, PutSizes, S3Store
from archiver.adapters.object_store.buffers import BufferBudget
from archiver.app.machine import THIS_MACHINE, Machine
from archiver.logs import mask
from archiver.ports.runtime import UNWATCHED, EventLog, Watch
from archiver.settings import Settings

_S3_CONNECTIONS = 256
"""The least number of idle ones that the store's client may keep, so that a reload can raise the concurrency."""


def open_store(
    settings: Settings,
    log: EventLog,
    machine: Machine = THIS_MACHINE,
    on_busy: Callable[[], None] = lambda: None,
    watch: Watch = UNWATCHED,
) -> LateStore:
    """Return the bucket, with credentials from boto3's own chain; where those are broken its calls say so."""
    store = settings.store
    connections = max(settings.download.most_transfers + settings.download.tasks_in_flight, _S3_CONNECTIONS)

    buffers = BufferBudget(settings.download.buffer_budget, waiting=watch.waiting)

    def made() -> S3Store:
        client = machine.s3_client(
            endpoint_url=store.endpoint_url,
            region=store.region,
            default_region=store.profile().region_at(store.endpoint_url),
            addressing_style=store.addressing(),
            signs_payload=store.signs_payload(),
            max_connections=connections,
            user_agent_extra=f"stem-archiver/{__version__}",
            learned=mask,
        )
        return S3Store(
            client,
            bucket=store.bucket,
            options=ObjectOptions(store.storage_class, store.sse, store.kms_key_id, store.tags),
            sizes=PutSizes(store.single_put_max, store.part_size),
            buffers=buffers,
            jitter=random.random,
            clock=machine.clock,
            sleep=machine.sleep,
            log=log,
            on_busy=on_busy,
            checkpoint=machine.checkpoint,
            watch=watch,
        )

    return LateStore(made)


def throttle_of(settings: Settings, machine: Machine) -> Throttle:
    """Return the limit on what comes in."""
    return Throttle(
        settings.download.bandwidth,
        clock=machine.monotonic,
        local=machine.local,
        wait=machine.wait,
    )
