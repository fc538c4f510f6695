from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from archiver.demo.seaweed import S3Server, ServerFault, seaweed


def running(folder: Path) -> list[int]:
    """Pids whose working directory is `folder`: the server started there, and its leash."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder.resolve():
                pids.append(int(process.name))
        except OSError:
            continue
    return pids


def ports_of(pid: int) -> set[str]:
    flags = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return {flag.partition("=")[2] for flag in flags if ".port" in flag}


def test_two_servers_run_at_once_and_each_takes_only_its_own_key(s3_server: S3Server, tmp_path: Path) -> None:
    with seaweed(tmp_path) as other, closing(other.client()) as theirs, closing(s3_server.client()) as ours:
        theirs.create_bucket(Bucket="only-here")
        assert "only-here" not in [bucket["Name"] for bucket in ours.list_buckets()["Buckets"]]
        assert other.secret_key not in repr(other)


def test_an_exception_in_the_block_leaves_no_process(tmp_path: Path) -> None:
    ports: set[str] = set()

    def interrupted() -> None:
        with seaweed(tmp_path):
            for pid in running(tmp_path):
                ports.update(ports_of(pid))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert running(tmp_path) == []
    assert len(ports - {"0"}) == 10
    assert not [left for left in Path("/tmp").glob("seaweedfs-*") if set(left.stem.split("-")) & ports]


def test_the_bucket_fixture_gives_an_empty_bucket(s3_server: S3Server, bucket: str) -> None:
    with closing(s3_server.client()) as client:
        assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_server_that_does_not_come_up_is_a_fault_that_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "filerldb2").write_text("not a folder")
    with pytest.raises(ServerFault, match=r"weed\.log"), seaweed(tmp_path):
        pass
    assert running(tmp_path) == []


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_whose_owner_is_killed_ends_too(tmp_path: Path, sent: signal.Signals) -> None:
    script = "import sys, time, pathlib; from archiver.demo.seaweed import seaweed\n"
    script += "with seaweed(pathlib.Path(sys.argv[1])): print('up', flush=True); time.sleep(60)\n"
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"up\n"
        assert running(tmp_path)
        owner.send_signal(sent)
    until = time.monotonic() + 10
    while running(tmp_path) and time.monotonic() < until:
        time.sleep(0.05)
    assert running(tmp_path) == []
