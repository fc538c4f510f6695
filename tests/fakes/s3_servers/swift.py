"""OpenStack Swift with its S3 API: rings for one disk, three servers behind a proxy, no memcached."""

from __future__ import annotations

import getpass
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from archiver.demo.seaweed import HOST, S3Server, free_ports
from tests.fakes.s3_servers.process import process, program, serving
from tests.fakes.waiting import until

BACKENDS = ("object", "container", "account")
FILTERS = ("catch_errors", "gatekeeper", "cache", "listing_formats", "s3api", "tempauth", "bulk", "slo", "dlo")
OPTIONS = {
    "cache": "use = egg:swift#memcache\nmemcache_servers = {host}:{nobody}\n",
    "tempauth": "use = egg:swift#tempauth\nuser_test_tester = testing .admin\n",
    "s3api": "use = egg:swift#s3api\nlocation = us-east-1\ndns_compliant_bucket_names = false\n",
}
ONE_POLICY = """[swift-hash]
swift_hash_path_prefix = a
swift_hash_path_suffix = b
[storage-policy:0]
name = gold
default = yes
"""

RINGS = """
import sys
from swift.common.ring import RingBuilder
for name, port in (each.split("=") for each in sys.argv[2:]):
    ring = RingBuilder(4, 1, 0)
    address = {"ip": sys.argv[1], "port": int(port)}
    replication = {f"replication_{name}": value for name, value in address.items()}
    ring.add_dev({"id": 0, "region": 1, "zone": 1, "device": "d1", "weight": 1.0, **address, **replication})
    ring.rebalance()
    ring.get_ring().save(f"{name}.ring.gz")
"""
"""What swift-ring-builder does in nine starts."""


@contextmanager
def swift(folder: Path) -> Iterator[S3Server]:
    """Run Swift with its data in `folder`, whose file system must have extended attributes."""
    proxy, nobody, *ports = free_ports(5)
    (folder / "dev" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(ONE_POLICY)
    backends = dict(zip(BACKENDS, ports, strict=True))
    _make_rings(folder, backends)
    for name, port in backends.items():
        (folder / f"{name}.conf").write_text(_backend(folder, name, port))
    (folder / "proxy.conf").write_text(_proxy(folder, proxy, nobody))
    commands = {name: [program(f"swift-{name}-server"), str(folder / f"{name}.conf")] for name in (*BACKENDS, "proxy")}
    with ExitStack() as stack:
        for name in BACKENDS:
            stack.enter_context(process(folder, commands[name]))
        until(lambda: all(map(_listens, ports)), what="Swift's servers listen")
        yield stack.enter_context(
            serving(folder, S3Server(f"http://{HOST}:{proxy}", "test:tester", "testing"), commands["proxy"])
        )


def _listens(port: int) -> bool:
    """Return whether the port is taken. A proxy that finds no server behind it leaves that one alone for a minute."""
    with closing(socket.socket()) as wire:
        return wire.connect_ex((HOST, port)) == 0


def _make_rings(folder: Path, backends: dict[str, int]) -> None:
    named = [f"{name}={port}" for name, port in backends.items()]
    subprocess.run([sys.executable, "-c", RINGS, HOST, *named], cwd=folder, check=True, capture_output=True)


def _common(folder: Path, port: int) -> str:
    """Begin a server's settings; without workers a process is the server, and not its parent."""
    return (
        f"[DEFAULT]\nbind_ip = {HOST}\nbind_port = {port}\nworkers = 0\nuser = {getpass.getuser()}\n"
        f"swift_dir = {folder}\nlog_address = /nonexistent\n"
    )


def _backend(folder: Path, name: str, port: int) -> str:
    return (
        f"{_common(folder, port)}devices = {folder}/dev\nmount_check = false\n"
        f"[pipeline:main]\npipeline = {name}-server\n[app:{name}-server]\nuse = egg:swift#{name}\n"
    )


def _proxy(folder: Path, port: int, nobody: int) -> str:
    filters = "".join(
        f"[filter:{name}]\n{OPTIONS.get(name, f'use = egg:swift#{name}' + chr(10))}" for name in FILTERS
    ).format(host=HOST, nobody=nobody)
    return (
        f"{_common(folder, port)}[pipeline:main]\npipeline = {' '.join(FILTERS)} proxy-server\n"
        "[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\naccount_autocreate = true\n"
        f"{filters}"
    )
