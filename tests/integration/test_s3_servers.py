"""The S3 servers of the tests: each comes up, stores, and ends with whatever it started."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from archiver.demo.seaweed import S3Server, ServerFault
from tests.fakes import s3_servers as servers
from tests.fakes.s3_servers.process import program, serving
from tests.fakes.waiting import until

EACH = [
    *(name for name in servers.OF_EVERY_RUN),
    *(pytest.param(name, marks=[pytest.mark.slow, pytest.mark.timeout(300)]) for name in servers.SLOW),
]


def running(folder: Path) -> Iterator[int]:
    """Yield the processes that were started for `folder`."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (process / "cmdline").read_text() or (process / "cwd").readlink() == folder:
                yield int(process.name)
        except OSError:
            continue


@pytest.mark.parametrize("name", EACH)
def test_each_server_takes_an_object_and_gives_it_back(s3_servers: Callable[[str], S3Server], name: str) -> None:
    server = s3_servers(name)
    assert server is s3_servers(name)
    with closing(server.client()) as client:
        client.create_bucket(Bucket="there-and-back")
        client.put_object(Bucket="there-and-back", Key="a/b.mp3", Body=b"some audio")
        with client.get_object(Bucket="there-and-back", Key="a/b.mp3")["Body"] as body:
            assert body.read() == b"some audio"


@pytest.mark.parametrize("name", ["swift", "rclone"])
def test_a_server_with_credentials_takes_no_others(s3_servers: Callable[[str], S3Server], name: str) -> None:
    server = s3_servers(name)
    stranger = S3Server(server.endpoint_url, server.access_key, "not the secret")
    with closing(stranger.client()) as client, pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.list_buckets()


@pytest.mark.parametrize("name", ["swift", "moto"])
def test_a_server_whose_owner_is_killed_ends_too(tmp_path: Path, name: str) -> None:
    if lacking := servers.lacking(name, tmp_path):
        pytest.skip(f"{name} needs {lacking}")
    script = "import sys, time, pathlib; from tests.fakes.s3_servers import ALL\n"
    script += "with ALL[sys.argv[1]](pathlib.Path(sys.argv[2])): print('up', flush=True); time.sleep(60)\n"
    with subprocess.Popen([sys.executable, "-c", script, name, tmp_path], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"up\n"
        assert len(list(running(tmp_path))) > 1
        owner.send_signal(signal.SIGKILL)
    until(lambda: not list(running(tmp_path)), what=f"{name} has ended")


def test_a_server_that_ends_at_once_is_a_fault_that_says_why(tmp_path: Path) -> None:
    nowhere = S3Server("http://127.0.0.1:9", "key", "secret")
    command = ["/bin/sh", "-c", "echo there is no disk; exit 1"]
    with pytest.raises(ServerFault, match="there is no disk"), serving(tmp_path, nowhere, command):
        pass
    with pytest.raises(ServerFault, match="not installed"):
        program("no-such-server")
