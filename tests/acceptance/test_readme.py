"""The README's first steps, as somebody who copies them takes them."""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
from collections import Counter

import pytest

from archiver.core.records.kinds.names import KindName
from archiver.demo.emulator import API_KEY
from archiver.demo.records import STEMS_OF, EmulatedTask
from tests import ROOT
from tests.fakes.s3_proxy import S3Proxy, operation_of
from tests.worlds.site import PREFIX, Site, sources, stems_of

TASK = "3e63b4cc88d52611159371f6af5571e7"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def first_task(site: Site) -> str:
    """Return the block of the first task as a script that answers what `init` asks; nothing is installed."""
    section = README.partition("## Archive your first task\n")[2]
    [block] = re.findall(r"```sh\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    lines = block.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["pip", "install"], ["stem-archiver", "init"]]
    answers = (
        "--bucket",
        site.bucket,
        "--endpoint-url",
        site.s3.endpoint_url,
        "--region",
        "us-east-1",
        "--prefix",
        PREFIX,
    )
    init = f"echo {API_KEY} | stem-archiver init --yes --key-file - {shlex.join(answers)}"
    return "\n".join([init, *lines[2:]])


@pytest.mark.parametrize("generation", ["separation", "jobs"])
def test_first_task_of_the_readme_is_archived_and_comes_back(site: Site, generation: str) -> None:
    task = EmulatedTask(task_id=TASK, stems=stems_of("vocal", "drums", seed="readme"), of=KindName(generation))
    site.emulator.add(task)
    program = site.folder / "stem-archiver"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m archiver "$@"\n')
    program.chmod(0o755)
    (site.folder / "archiver.toml").unlink()
    environ = site.env | {
        "PATH": f"{site.folder}:{site.env['PATH']}",
        "ARCHIVER_PROVIDER__BASE_URL": site.emulator.base_url,
        "ARCHIVER_DOWNLOAD__ALLOW_HTTP": "true",
        "ARCHIVER_DOWNLOAD__ALLOW_PRIVATE_ADDRESSES": "true",
        "ARCHIVER_SCHEDULE__SETTLED_AFTER": "1ms",
    }
    del environ["ARCHIVER_CONFIG"]
    words = ["sh", "-euc", first_task(site)]
    done = subprocess.run(words, env=environ, cwd=site.folder, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [folder] = (site.folder / "Music" / "stems").iterdir()
    files = {path.stem.rpartition(" - ")[2]: path.read_bytes() for path in folder.glob("*.mp3")}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == sources(task)


def test_requests_that_a_task_costs_are_those_of_the_document(site: Site) -> None:
    first = EmulatedTask(task_id="cost-of-two-0001", stems=stems_of("vocal", "instrumental", seed="a"))
    twelve = EmulatedTask(
        task_id="cost-of-twelve-0002", kind="split_stem", stems=stems_of(*STEMS_OF["split_stem"], seed="b")
    )
    site.emulator.add(first, twelve)
    with S3Proxy(upstream=site.s3.endpoint_url) as proxy:
        site.configure(store={"endpoint_url": proxy.url})
        assert site.run("backfill", "-", stdin=first.task_id).code == 0, "proves the store"
        proxy.calm()
        assert site.run("backfill", "-", stdin=twelve.task_id).code == 0
        archived, beside = asked(proxy, twelve.task_id)
        proxy.calm()
        assert site.run("get", twelve.task_id, "-o", "here").code == 0
        fetched, _ = asked(proxy, twelve.task_id)
    assert archived == {"PutObject": 12 + 2, "GetObject": 1}
    assert beside == {"PutObject": 2, "GetObject": 2, "ListMultipartUploads": 1}
    assert fetched == {"GetObject": 12 + 2}
    document = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    assert "| archiving a task | a PUT a stem and 2 more, 1 GET |" in document
    assert "| `get` of a task | a GET a stem and 2 more |" in document
    assert "| a start of `run` or `backfill` | 2 PUT, 2 GET, 1 LIST |" in document


def asked(proxy: S3Proxy, task_id: str) -> tuple[Counter[str], Counter[str]]:
    """Count what was asked about a task, and what beside it."""
    of_task = [f"/{task_id}/" in request.target for request in proxy.requests]
    named = [operation_of(request) for request in proxy.requests]
    return (
        Counter(name for name, mine in zip(named, of_task, strict=True) if mine),
        Counter(name for name, mine in zip(named, of_task, strict=True) if not mine),
    )
