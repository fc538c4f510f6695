"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import settings

from archiver.demo.seaweed import S3Server, seaweed
from tests import ROOT
from tests.fakes import s3_servers as s3_servers_of_tests
from tests.fixtures import compiled, profiles, purses
from tests.fixtures.ledgers import rows
from tests.fixtures.postgres import PostgresServer, running
from tests.house import Ledger, lay_ledger, ledger_at, metadata
from tests.worlds.forks import ForkServer
from tests.worlds.forks import fork_server as forks

DEAREST = (
    "faults/test_matrix.py",
    "faults/test_cluster_faults.py",
    "faults/test_neighbourhood.py",
    "faults/test_kill_points.py",
    "acceptance/test_slow_neighbours.py",
    "acceptance/test_daemon.py",
    "unit/pipeline/test_isolation.py",
    "faults/test_kill_points_multipart.py",
    "acceptance/test_surroundings.py",
    "faults/test_memory.py",
    "acceptance/test_backfill.py",
    "integration/object_store/test_damage.py",
    "property/test_whole_machine.py",
    "unit/test_growth.py",
    "faults/test_random_kills.py",
)
"""Files that take the longest. They begin first, or one worker would be at one of them when the others have ended."""

compiled.share()
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", profiles.DEFAULT))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write the files of tests/golden anew; read their diff")


TOOLS = (
    "promtool",
    "systemd-analyze",
    "hadolint",
    "buildah",
    "terraform",
    "systemd-nspawn",
    "radosgw",
    "extended attributes",
    "history of git",
)
"""Programs that judge what is deployed; their tests are skipped where they are missing."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end of a run what nobody would miss in it."""
    _name_second_tries(terminalreporter)
    _name_guards_not_held(terminalreporter)
    purses.name_overdrawn(terminalreporter)


def _name_second_tries(terminalreporter: pytest.TerminalReporter) -> None:
    """Show why each test that was tried again had failed: it lost a race, which is a defect of it or of the product."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.write_sep("_", f"tried again: {report.nodeid}", yellow=True)
        terminalreporter.write_line(report.longreprtext)


def pytest_sessionfinish(session: pytest.Session) -> None:
    purses.fail_overdrawn(session)


def _name_guards_not_held(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tools that are missing: a run without them is no proof for what they judge."""
    skipped = Counter(
        tool
        for report in terminalreporter.getreports("skipped")
        for tool in TOOLS
        if isinstance(report.longrepr, tuple) and tool in report.longrepr[2]
    )
    if skipped:
        named = ", ".join(f"{tool} ({count})" for tool, count in sorted(skipped.items()))
        terminalreporter.write_line(f"guards not tested here, for want of a tool: {named}", yellow=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {ROOT / "tests" / name: place for place, name in enumerate(DEAREST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            raise pytest.UsageError(f"{item.nodeid} is slow: give it a timeout of its own")


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end anyway: modules and tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Put handlers and hooks back that a test has configured."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Run a process that forks others; one for each pytest-xdist worker."""
    with forks() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Run a real S3 server; one for each pytest-xdist worker."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_servers(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Callable[[str], S3Server]]:
    """Start each kind of S3 server when it is first asked for; one of each for each pytest-xdist worker."""
    running = {"seaweedfs": s3_server}
    with ExitStack() as stack:

        def start(name: str) -> S3Server:
            if name not in running:
                folder = tmp_path_factory.mktemp(name)
                lacking = s3_servers_of_tests.lacking(name, folder)
                if lacking:
                    pytest.skip(f"{name} needs {lacking}")
                running[name] = stack.enter_context(s3_servers_of_tests.ALL[name](folder))
            return running[name]

        yield start


@pytest.fixture(scope="session")
def fresh_buckets(s3_server: S3Server) -> Iterator[Callable[[], str]]:
    """Make buckets ahead of need.

    SeaweedFS makes a bucket's volumes at its first write: that one takes 0.2 s, and those beside it a second.
    """

    def make() -> str:
        name = f"test-{uuid.uuid4().hex[:20]}"
        client.create_bucket(Bucket=name)
        client.put_object(Bucket=name, Key="first", Body=b"x")
        client.delete_object(Bucket=name, Key="first")
        return name

    with closing(s3_server.client()) as client, ThreadPoolExecutor(1) as maker:
        ahead = deque(maker.submit(make) for _ in range(2))

        def take() -> str:
            ahead.append(maker.submit(make))
            return ahead.popleft().result()

        yield take


@pytest.fixture
def bucket(s3_server: S3Server, fresh_buckets: Callable[[], str]) -> Iterator[str]:
    """Name a fresh, empty bucket on `s3_server`; it is dropped, full or not, after the test."""
    name = fresh_buckets()
    yield name
    with closing(s3_server.client()) as client:
        client.delete_bucket(Bucket=name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run a real PostgreSQL server; one for each pytest-xdist worker. Whoever stops it starts it again."""
    with running() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """Name a fresh, empty database on `postgres`, as ledger.url would; it is dropped after the test."""
    with postgres.database() as name:
        yield postgres.url(name)


@pytest.fixture(scope="session")
def _postgres_ledger(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as name:
        ledger_at(postgres.url(name)).close()
        yield name


@pytest.fixture
def postgres_ledger(postgres: PostgresServer, _postgres_ledger: str) -> Iterator[str]:
    """Name a database on `postgres` with an empty ledger. It is emptied after the test: quicker than a new one."""
    yield _postgres_ledger
    counted = {"tallies": "stems = 0, bytes = 0", "task_counts": "tasks = 0"}
    tables = [table.name for table in reversed(metadata.sorted_tables) if table.name not in counted]
    statements = [f"DELETE FROM {name}" for name in tables]
    statements += [f"UPDATE {name} SET {nothing}" for name, nothing in counted.items()]
    rows(postgres.url(_postgres_ledger), "; ".join(statements))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Name a fresh ledger, of either kind in turn: the contract is one."""
    if request.param == "sqlite":
        lay_ledger(tmp_path / "ledger.db")
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    yield server.url(request.getfixturevalue("postgres_ledger"))


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """Open the fresh ledger."""
    with closing(ledger_at(ledger_url)) as ledger:
        yield ledger
