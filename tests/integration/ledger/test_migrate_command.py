"""`ledger migrate`: the tables' owner runs it, and the service's user needs no right to change them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from archiver.core.errors import LedgerFault
from tests.fixtures.ledgers import rows
from tests.house import command, ledger_at

GRANTS = """
GRANT USAGE ON SCHEMA public, procrastinate TO service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, procrastinate TO service;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public, procrastinate TO service;
"""
FIRST_SCHEMAS = Path(__file__).parents[2] / "fixtures" / "schemas"
HEAD = max(file.stem for file in FIRST_SCHEMAS.glob("*.sql"))


def migrate(url: str) -> str:
    done = command("ledger", "migrate", env={"ARCHIVER_LEDGER__URL": url})
    assert done.exit_code == 0, done.output
    return done.stdout


def test_ledger_in_a_file_is_made_and_then_up_to_date(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    assert migrate(url) == f"the ledger is new; it has schema {HEAD}\n"
    assert migrate(url) == f"the ledger was up to date already; it has schema {HEAD}\n"


def test_older_ledger_in_a_file_is_brought_up_to_date_and_kept_beside_itself(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.executescript((FIRST_SCHEMAS / "0009.sql").read_text("utf-8"))
    said = migrate(f"sqlite:///{tmp_path}/ledger.db")
    assert said == f"the ledger had schema 0009; it has schema {HEAD}\n"
    assert len(list(tmp_path.glob("ledger.db*0009*"))) == 1, list(tmp_path.iterdir())


@pytest.fixture
def service_url(postgres_url: str) -> str:
    """The ledger's URL as a user that owns nothing."""
    rows(postgres_url, "DROP ROLE IF EXISTS service")
    rows(postgres_url, "CREATE ROLE service LOGIN PASSWORD 'of-the-service'")
    scheme, _, rest = postgres_url.partition("://")
    return f"{scheme}://service:of-the-service@{rest.rpartition('@')[2]}"


def test_user_that_owns_nothing_works_once_the_owner_has_migrated(postgres_url: str, service_url: str) -> None:
    before = command("status", env={"ARCHIVER_LEDGER__URL": service_url})
    assert before.exit_code == 2, before.output
    with pytest.raises(LedgerFault) as refused:
        ledger_at(service_url)
    assert "ledger migrate" in refused.value.hint
    assert f"it has schema {HEAD}" in migrate(postgres_url)
    for grant in filter(str.strip, GRANTS.split(";")):
        rows(postgres_url, grant)
    assert migrate(service_url) == f"the ledger was up to date already; it has schema {HEAD}\n"
    held = command("pause", "--store", env={"ARCHIVER_LEDGER__URL": service_url})
    assert held.exit_code == 0, held.output
    assert command("status", env={"ARCHIVER_LEDGER__URL": service_url}).exit_code == 3
    rows(postgres_url, "DROP OWNED BY service")
