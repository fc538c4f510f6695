from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from archiver.adapters.ledger.claimable import ENLISTED, Wanted, claimable
from archiver.adapters.ledger.rows import chunks
from archiver.adapters.ledger.schema.tables import tasks
from archiver.adapters.ledger.schema.types import Unsigned, UtcTime

DIALECT = sqlite.dialect()
NOW = datetime(2026, 8, 6, 12, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1500])
def test_chunks_hold_every_item_once(count: int) -> None:
    cut = list(chunks(range(count)))
    assert [item for chunk in cut for item in chunk] == list(range(count))
    assert all(1 <= len(chunk) <= 500 for chunk in cut)


@pytest.mark.parametrize(
    "moment",
    [NOW, datetime(1970, 1, 1, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)],
)
def test_times_come_back_exactly(moment: datetime) -> None:
    kept = UtcTime().process_bind_param(moment, DIALECT)
    assert UtcTime().process_result_value(kept, DIALECT) == moment


def test_times_of_other_zones_come_back_as_utc() -> None:
    local = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    back = UtcTime().process_result_value(UtcTime().process_bind_param(local, DIALECT), DIALECT)
    assert back == NOW
    assert back.tzinfo is UTC


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        UtcTime().process_bind_param(datetime(2026, 8, 6), DIALECT)  # noqa: DTZ001 - what is tested


def test_nothing_stays_nothing() -> None:
    for kind in (UtcTime(), Unsigned()):
        assert kind.process_bind_param(None, DIALECT) is None
        assert kind.process_result_value(None, DIALECT) is None


def test_claims_skip_locked_rows_on_postgresql_only() -> None:
    query = select(tasks.c.task_id).where(claimable(Wanted()), ENLISTED).with_for_update(skip_locked=True)
    elsewhere = postgresql.dialect()  # type: ignore[no-untyped-call]
    assert str(query.compile(dialect=elsewhere)).endswith("FOR UPDATE SKIP LOCKED")
    assert "FOR UPDATE" not in str(query.compile(dialect=DIALECT))
