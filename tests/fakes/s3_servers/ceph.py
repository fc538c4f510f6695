"""Ceph's object gateway, from Debian's packages: one monitor, one disk in memory, which nothing outlives."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from archiver.demo.seaweed import HOST, S3Server, free_ports
from tests.fakes.s3_servers.process import STOP_SECONDS, program, serving
from tests.fakes.s3_servers.small import KEY, SECRET

NEEDS = ("ceph-mon", "ceph-mgr", "ceph-osd", "radosgw", "radosgw-admin", "ceph-authtool", "monmaptool", "ceph")
SETTINGS = """[global]
fsid = {fsid}
mon host = {monitor}
public addr = {host}
cluster addr = {host}
ms bind ipv6 = false
ms bind port min = {low}
ms bind port max = {high}
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
osd pool default pg num = 4
mon max pg per osd = 2000
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 2147483648
mgr module path = {folder}/none
keyring = {folder}/keyring
mon data = {folder}/mon
mgr data = {folder}/mgr
osd data = {folder}/osd
run dir = {folder}/run
log file = {folder}/log/$name.log
pid file = {folder}/run/$name.pid
admin socket = {folder}/run/$name.asok
[client.rgw.x]
rgw frontends = beast endpoint={host}:{port}
rgw dns name = {host}
rgw data = {folder}/rgw
"""
CLUSTER = """set -eu
conf="-c $D/c.conf"
ceph-authtool -C $D/keyring -g -n mon. --cap mon 'allow *'
ceph-authtool $D/keyring -g -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
monmaptool --create --addv a "$MONITOR" --fsid $FSID $D/map
ceph-mon $conf --mkfs -i a --monmap $D/map --keyring $D/keyring
ceph-mon $conf -i a
ceph $conf auth get-or-create mgr.x mon 'allow profile mgr' osd 'allow *' >$D/mgr/keyring
ceph-mgr $conf -i x --keyring $D/mgr/keyring
ceph $conf osd new $OSD
ceph $conf auth get-or-create osd.0 mon 'allow profile osd' mgr 'allow profile osd' osd 'allow *' >$D/osd/keyring
ceph-osd $conf -i 0 --mkfs --osd-uuid $OSD --keyring $D/osd/keyring
ceph-osd $conf -i 0 --keyring $D/osd/keyring
ceph $conf auth get-or-create client.rgw.x osd 'allow rwx' mon 'allow rw' mgr 'allow rw' >$D/rgw/keyring
radosgw-admin $conf user create --uid=t --display-name=t --access-key=$KEY --secret-key=$SECRET
"""


@contextmanager
def ceph(folder: Path) -> Iterator[S3Server]:
    """Run the gateway on a cluster of its own in `folder`, which takes 20 s; needs root, and Debian's packages."""
    for name in NEEDS:
        program(name)
    # Its sockets' paths may have 107 characters: pytest's folders are longer.
    short = Path("/tmp") / f"ceph-{uuid.uuid4().hex[:8]}"
    for name in ("mon", "mgr", "osd", "rgw", "run", "log", "none"):
        (short / name).mkdir(parents=True)
    first, second, port, low = free_ports(4)
    monitor = f"[v2:{HOST}:{first},v1:{HOST}:{second}]"
    ids = {"fsid": str(uuid.uuid4()), "monitor": monitor}
    (short / "c.conf").write_text(
        SETTINGS.format(host=HOST, folder=short, port=port, low=low, high=min(low + 200, 32_700), **ids)
    )
    variables = {"D": str(short), "FSID": ids["fsid"], "MONITOR": monitor, "OSD": str(uuid.uuid4())}
    try:
        _begin(folder, variables | {"KEY": KEY, "SECRET": SECRET})
        gateway = [
            program("radosgw"),
            "-c",
            f"{short}/c.conf",
            "-n",
            "client.rgw.x",
            "-k",
            f"{short}/rgw/keyring",
            "-f",
        ]
        with serving(folder, S3Server(f"http://{HOST}:{port}", KEY, SECRET), gateway) as server:
            yield server
    finally:
        _end(short / "run")
        shutil.rmtree(short, ignore_errors=True)


def _begin(folder: Path, variables: dict[str, str]) -> None:
    with (folder / "cluster.log").open("wb") as log:
        subprocess.run(
            ["/bin/sh", "-c", CLUSTER],
            env=os.environ | variables,
            check=True,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=120,
        )


def _end(run: Path) -> None:
    """End the daemons, which left our session, by the numbers that they wrote down."""
    pids = [int(file.read_text()) for file in run.glob("*.pid") if file.read_text().strip()]
    for sent in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, sent)
        until = time.monotonic() + STOP_SECONDS
        while time.monotonic() < until and any(Path(f"/proc/{pid}").exists() for pid in pids):
            time.sleep(0.05)
