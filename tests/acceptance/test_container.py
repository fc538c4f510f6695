"""The image, built from the Dockerfile on stand-ins for its two bases, and run on a read-only root without privileges.

The stand-ins are made from Debian's packages: a whole system to build on, and one that holds little but Python, as the
real base does. What runs the image is a mount namespace with the container's file system, its user and its environment.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from archiver.demo.emulator import API_KEY
from archiver.demo.records import EmulatedTask
from tests import ROOT
from tests.worlds.site import PREFIX, Finished, Site, stems_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STATE = "/var/lib/stem-archiver"
SUITE = "bookworm"
BUILD_BASE = ("--variant=minbase", "--include=python3,python3-venv,ca-certificates")
BASE = ("--variant=extract", "--include=python3-minimal,libpython3-stdlib,tzdata,netbase,base-files")
TOOLS = ("buildah", "mmdebstrap", "unshare")

CONTAINED = """
root=$1 state=$2 user=$3
shift 3
mount --bind "$root" "$root"
mount --bind "$state" "$root/var/lib/stem-archiver"
mount -o remount,bind,ro "$root"
exec unshare --root="$root" --wd=/var/lib/stem-archiver --setgid="${user#*:}" --setuid="${user%:*}" -- "$@"
"""
"""Runs a command in the container's file system; only the state folder can be written to."""

CLIENTS = "[boto3.client(name, 'us-east-1') for name in ('s3', 'sts', 'sso', 'sso-oidc', 'signin')]"

TASK = EmulatedTask(
    task_id="in-a-container-0001", kind="separate_vocal", stems=stems_of("vocal", "instrumental", size=9 << 20)
)


@dataclass(frozen=True, slots=True)
class Buildah:
    """buildah with a storage of its own."""

    storage: Path

    def __call__(self, *words: str) -> str:
        own = [f"--root={self.storage}/root", f"--runroot={self.storage}/run", "--storage-driver=vfs"]
        done = subprocess.run(["buildah", *own, *words], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
        return done.stdout.strip()

    def base(self, name: str, options: Sequence[str]) -> str:
        """Make a base image of Debian packages; return its name."""
        tar = self.storage / f"{name}.tar"
        subprocess.run(["mmdebstrap", "--quiet", *options, SUITE, str(tar)], check=True)
        container = self("from", "scratch")
        self("add", "--quiet", container, str(tar), "/")
        self("commit", "--quiet", "--rm", container, f"localhost/{name}")
        tar.unlink()
        return f"localhost/{name}"


@dataclass(frozen=True, slots=True)
class Image:
    """The built image, its file system mounted at `root`."""

    root: Path
    config: dict[str, object] = field(repr=False)

    @property
    def env(self) -> dict[str, str]:
        listed = self.config["Env"]
        assert isinstance(listed, list)
        return dict(entry.split("=", 1) for entry in listed)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount and to change the user")
    storage = tmp_path_factory.mktemp("containers")
    buildah = Buildah(storage)
    (storage / "pip.conf").write_text("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n")
    try:
        buildah(
            *("build", "--format=docker", "--isolation=chroot", "--tag=localhost/stem-archiver"),
            f"--build-arg=BUILD_BASE={buildah.base('build-base', BUILD_BASE)}",
            f"--build-arg=BASE={buildah.base('base', BASE)}",
            # The certificates of this machine: it may reach its package index through a proxy that has one of its own.
            *("--volume=/etc/ssl/certs:/etc/ssl/certs:ro", f"--volume={storage}/pip.conf:/etc/pip.conf:ro"),
            ".",
        )
        print(buildah("images", "--format", "{{.Name}} {{.Size}}"))
        config = json.loads(buildah("inspect", "--type=image", "localhost/stem-archiver"))["Docker"]["config"]
        container = buildah("from", "localhost/stem-archiver")
        yield Image(Path(buildah("mount", container)), config)
        buildah("umount", container)
    finally:
        shutil.rmtree(storage)


@dataclass(frozen=True, slots=True)
class Container:
    """Runs of the image on one volume."""

    image: Image
    volume: Path
    env: dict[str, str]

    def command(self, words: Sequence[str]) -> list[str]:
        entrypoint = self.image.config["Entrypoint"]
        assert isinstance(entrypoint, list)
        where = [str(self.image.root), str(self.volume), str(self.image.config["User"])]
        return ["unshare", "--mount", "sh", "-euc", CONTAINED, "sh", *where, *entrypoint, *words]

    def run(self, *words: str, stdin: str = "") -> Finished:
        done = subprocess.run(
            self.command(words), input=stdin, env=self.env, capture_output=True, text=True, timeout=300, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run what the image runs by default."""
        words = self.image.config["Cmd"]
        assert isinstance(words, list)
        with subprocess.Popen(self.command(words), env=self.env) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def site(site: Site) -> Site:
    site.emulator.add(TASK)
    return site


@pytest.fixture
def container(image: Image, site: Site) -> Container:
    volume = site.folder / "volume"
    volume.mkdir(mode=0o700)
    os.chown(volume, 10001, 10001)
    settings = {
        "ARCHIVER_PROVIDER__BASE_URL": site.emulator.base_url,
        "ARCHIVER_PROVIDER__API_KEY": API_KEY,
        "ARCHIVER_QUEUE__POLL_INTERVAL": "500ms",
        "ARCHIVER_STORE__BUCKET": site.bucket,
        "ARCHIVER_STORE__PREFIX": PREFIX,
        "ARCHIVER_STORE__ENDPOINT_URL": site.s3.endpoint_url,
        "ARCHIVER_STORE__REGION": site.s3.region,
        "ARCHIVER_STORE__ADDRESSING_STYLE": "path",
        "ARCHIVER_STORE__SINGLE_PUT_MAX": "5MiB",
        "ARCHIVER_STORE__PART_SIZE": "5MiB",
        "ARCHIVER_DOWNLOAD__ALLOW_HTTP": "true",
        "ARCHIVER_DOWNLOAD__ALLOW_PRIVATE_ADDRESSES": "true",
        "AWS_ACCESS_KEY_ID": site.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": site.s3.secret_key,
    }
    return Container(image, volume, image.env | settings)


def test_image_holds_no_shell_and_names_its_user_by_number(image: Image) -> None:
    folders = [image.root / folder for folder in ("bin", "usr/bin", "usr/local/bin")]
    programs = {file.name for folder in folders if folder.exists() for file in folder.iterdir()}
    assert "stem-archiver" in programs
    assert programs & {"sh", "bash", "dash", "busybox", "env", "pip", "pip3"} == set()
    assert image.config["User"] == "10001:10001"
    assert image.config["Volumes"] == {STATE: {}}


def test_image_keeps_nothing_of_what_it_was_built_with(image: Image) -> None:
    assert set(image.env) == {"PATH", "HOME", "STATE_DIRECTORY"}
    assert not list((image.root / "opt").rglob("demo/emulator.py"))


def test_every_module_of_the_service_is_compiled(image: Image) -> None:
    package = image.root / "opt/stem-archiver/archiver"
    compiled = {file.name.partition(".")[0] for file in package.rglob("__pycache__/*.pyc")}
    assert {file.stem for file in package.rglob("*.py")} == compiled


def test_clients_that_the_finding_of_credentials_needs_can_be_made(image: Image) -> None:
    made = f"import sys; sys.path.insert(0, '/opt/stem-archiver'); import boto3; {CLIENTS}"
    subprocess.run(["chroot", str(image.root), "/usr/bin/python3", "-I", "-c", made], check=True)


def test_settings_are_read_and_judged(container: Container) -> None:
    assert container.run("--version").out.startswith("stem-archiver ")
    assert container.run("config", "validate").code == 0
    del container.env["ARCHIVER_STORE__BUCKET"]
    assert container.run("config", "validate").code == 2


def test_root_is_read_only_and_the_volume_is_not(container: Container) -> None:
    assert container.run("enqueue", TASK.task_id).code == 0
    container.env["ARCHIVER_QUEUE__PATH"] = "/opt/queue.txt"
    assert "Read-only file system" in container.run("enqueue", TASK.task_id).err


def test_backfill_and_check_do_all_their_work(container: Container, site: Site) -> None:
    done = container.run("backfill", "-", stdin=f"{TASK.task_id}\n")
    assert done.code == 0, done.err
    site.oracles(TASK)
    checked = container.run("check")
    assert checked.code == 0, checked.out


def test_daemon_archives_what_another_process_in_the_container_appends_and_drains(
    container: Container, site: Site
) -> None:
    with container.daemon() as daemon:
        assert container.run("enqueue", TASK.task_id).code == 0
        site.wait_for([TASK.task_id], seconds=120)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
    site.oracles(TASK)


def test_health_tells_the_living_from_the_dead(container: Container) -> None:
    health = container.image.config["Healthcheck"]
    assert isinstance(health, dict)
    assert health["Test"] == ["CMD", "stem-archiver", "health"]
    container.env["ARCHIVER_HTTP__LISTEN"] = "0.0.0.0:19464"
    assert container.run("health").code == 1
    with container.daemon():
        give_up = time.monotonic() + 60
        while (said := container.run("health")).code != 0:
            assert time.monotonic() < give_up, said.err
            time.sleep(0.2)
