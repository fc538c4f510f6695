"""Every fault of the four hops, each with a service of its own in a world of its own."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from archiver.demo.emulator import Emulator
from archiver.demo.seaweed import S3Server
from tests import ROOT
from tests.faults import api_faults, cdn_faults, host_faults, process_faults, s3_faults
from tests.faults.host_faults import Damage, carry_out_damage
from tests.faults.matrix import Fault, carry_out
from tests.faults.process_faults import Limit, carry_out_limit
from tests.faults.seldom import SELDOM
from tests.faults.table import Row, document, parts, rows_of
from tests.house import lay_ledger
from tests.worlds.site import Site
from tests.worlds.world import World, certificates, world

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FAULTS: tuple[Fault | Damage, ...] = (
    *api_faults.FAULTS,
    *cdn_faults.FAULTS,
    *s3_faults.FAULTS,
    *host_faults.FAULTS,
    *host_faults.DAMAGES,
)


ROWS: tuple[Row, ...] = (*FAULTS, *process_faults.FAULTS)
README = Path(__file__).with_name("README.md")
pytestmark = pytest.mark.usefixtures("logging_as_it_was")

OUTPUT = ROOT / "var" / "test-output" / "fault-matrix.md"


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, str]]:
    """What came of each row, by its title; written down at the end."""
    came: dict[str, str] = {}
    yield came
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(document(ROWS, came) + "\n" + parts(README.read_text())[1])


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, ssl.SSLContext | None], Path]:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def client(s3_server: S3Server) -> Iterator[S3Client]:
    """Go to the bucket past everything; to build one takes a tenth of a row."""
    with closing(s3_server.client()) as client:
        yield client


@pytest.fixture
def made(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    s3_server: S3Server,
    bucket: str,
    client: S3Client,
    certified: tuple[Mapping[str, ssl.SSLContext | None], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    known, trusted = certified
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with world(tmp_path, s3_server, bucket, client, known, tls=request.param) as whole:
        lay_ledger(whole.ledger)
        whole.prove()
        yield whole


_SLOW = (pytest.mark.slow, pytest.mark.timeout(120))


@pytest.mark.parametrize(
    ("fault", "made"),
    [pytest.param(each, each.tls, id=each.title, marks=_SLOW if each.title in SELDOM else ()) for each in FAULTS],
    indirect=["made"],
)
def test_fault(fault: Fault | Damage, made: World, seen: dict[str, str]) -> None:
    came = carry_out_damage(fault, made) if isinstance(fault, Damage) else carry_out(fault, made)
    seen[fault.title] = str(came)


@pytest.mark.parametrize("limit", process_faults.FAULTS, ids=[limit.title for limit in process_faults.FAULTS])
def test_limit(limit: Limit, tmp_path: Path, s3_server: S3Server, bucket: str, seen: dict[str, str]) -> None:
    with Emulator() as emulator:
        seen[limit.title] = str(carry_out_limit(limit, Site(tmp_path, s3_server, bucket, emulator)))


def test_matrix_has_rows_of_every_hop_and_no_two_of_one_name() -> None:
    titles = [row.title for row in ROWS]
    assert len(set(titles)) == len(titles) >= 60
    assert {row.hop for row in ROWS} == {"API", "CDN", "S3", "host"}


def test_row_that_the_slow_run_alone_carries_out_ends_like_the_one_that_every_run_does_in_its_place() -> None:
    faults = {fault.title: (fault.end, fault.reason) for fault in FAULTS if isinstance(fault, Fault)}
    assert SELDOM.keys().isdisjoint(SELDOM.values())
    assert {seldom: faults[seldom] for seldom in SELDOM} == {seldom: faults[often] for seldom, often in SELDOM.items()}


def test_readme_lists_every_fault_and_what_is_expected_of_it() -> None:
    assert rows_of(parts(README.read_text())[0]) == [(row.hop, row.name, row.end) for row in ROWS]
