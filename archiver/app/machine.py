"""The machine that the service runs on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from archiver.adapters.downloader.address import Resolve, system_resolve
from archiver.adapters.downloader.dialer import Connect
from archiver.adapters.downloader.throttle import local_now
from archiver.adapters.http1 import tcp_connect
from archiver.adapters.object_store import s3_client
from archiver.adapters.processor import HomeCore
from archiver.app.clock import boot_seconds, utc_now
from archiver.ports.runtime import PATIENCE, Checkpoint, Clock, Cores, unobserved

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from archiver.adapters.provider.limiter import Wait


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that the service runs on: its time, its network; in tests, where the world stops."""

    clock: Clock = utc_now
    monotonic: Callable[[], float] = time.monotonic
    """Seconds: by them requests and bytes are paced, and bodies and answers found too slow."""
    steady: Callable[[], float] = boot_seconds
    """The same, but going on while the machine sleeps; by them the wall clock is judged."""
    local: Callable[[], datetime] = local_now
    """The time on the wall here, by which the bandwidth's timetable goes."""
    sleep: Callable[[float], None] = time.sleep
    wait: Wait = threading.Condition.wait
    resolve: Resolve = system_resolve
    """Looks up the names of the CDN's hosts."""
    connect: Connect = tcp_connect
    """Opens connections to the CDN."""
    patience: timedelta = PATIENCE
    """The time for which another process may keep the ledger locked."""
    s3_client: Callable[..., S3Client] = s3_client
    """Makes the client of the store; see archiver.adapters.object_store.s3_client."""
    checkpoint: Checkpoint = unobserved
    cores: Cores = field(default_factory=lambda: HomeCore(time.monotonic))


THIS_MACHINE = Machine()
