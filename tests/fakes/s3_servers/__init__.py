"""Real S3 servers on loopback, none of which does what another does: `tests/integration/STORES.md`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType

from archiver.demo.seaweed import S3Server, ServerFault, seaweed
from tests.fakes.s3_servers.ceph import ceph
from tests.fakes.s3_servers.process import program
from tests.fakes.s3_servers.small import localbucket, moto, nanio, rclone, s3rver
from tests.fakes.s3_servers.swift import swift

Start = Callable[[Path], AbstractContextManager[S3Server]]

OF_EVERY_RUN: Mapping[str, Start] = MappingProxyType(
    {"seaweedfs": seaweed, "swift": swift, "rclone": rclone, "moto": moto}
)
SLOW: Mapping[str, Start] = MappingProxyType(
    {"localbucket": localbucket, "ceph": ceph, "s3rver": s3rver, "nanio": nanio}
)
"""For `pytest -m slow`: those that show less, or want packages that pip cannot get."""

ALL: Mapping[str, Start] = MappingProxyType({**OF_EVERY_RUN, **SLOW})

_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {"s3rver": "npm install -g s3rver@3.7.1", "nanio": "pipx install nanio==0.1.7"}
)
"""How to get those that are none of the tests' own packages."""


def lacking(name: str, folder: Path) -> str:
    """Return what that server cannot do without and this machine has not; empty where it can be started."""
    if name == "ceph" and (shutil.which("radosgw") is None or os.geteuid() != 0):
        return "radosgw, and root: apt-get install ceph-mon ceph-mgr ceph-osd radosgw ceph-common"
    if name in _ELSEWHERE:
        try:
            program(name)
        except ServerFault:
            return f"{name}: {_ELSEWHERE[name]}"
    if name == "swift":
        try:
            os.setxattr(folder, "user.swift", b"1")
        except OSError:
            return f"extended attributes, which the file system of {folder} has not"
    return ""
