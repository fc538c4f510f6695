"""What should stand in the bucket, as either ledger tells it."""

from __future__ import annotations

from archiver.core.fixity_cost import Holdings
from archiver.core.intake import Intake
from archiver.core.model import TaskId
from archiver.core.states import StemState
from tests.fixtures.ledgers import accept, listed, receipt, stored, take_in, tid
from tests.house import Ledger


def test_every_task_comes_once_in_the_order_of_its_ids_bytes(ledger: Ledger) -> None:
    assert list(ledger.objects.all_known()) == []
    ids = [
        f"{begin}{number:06}"
        for begin in ("A-", "A_", "Aa", "a-", "a_", "-a", "_a", "Z0", "z0")
        for number in range(60)
    ]
    accept(ledger, Intake(ids=tuple(map(TaskId, ids))))
    assert [task.task_id for task in ledger.objects.all_known()] == sorted(ids)


def test_a_task_is_known_with_its_stored_objects_and_its_other_stems(ledger: Ledger) -> None:
    claim = listed(ledger, 1)
    proof = receipt(claim.stems[0].name)
    stored(ledger, claim, claim.stems[0].name, proof)
    found = ledger.objects.known(tid(1))
    assert found is not None
    first, *others = sorted(found.stems, key=lambda stem: stem.name != claim.stems[0].name)
    assert (first.key, first.size, first.sha256, first.etag) == (
        proof.key,
        proof.size,
        proof.sha256,
        proof.etag,
    )
    assert {(stem.key, stem.state) for stem in others} <= {("", StemState.WANTED.value)}
    assert ledger.objects.known(tid(2)) is None


def test_holdings_count_what_is_stored_of_all_or_of_some(ledger: Ledger) -> None:
    assert ledger.objects.holdings() == Holdings()
    claim = listed(ledger, 1)
    proof = receipt(claim.stems[0].name)
    stored(ledger, claim, claim.stems[0].name, proof)
    take_in(ledger, 2)
    assert ledger.objects.holdings() == Holdings(2, 0, 1, proof.size)
    assert ledger.objects.holdings([tid(1)]) == Holdings(1, 0, 1, proof.size)
    assert ledger.objects.holdings([tid(2), tid(9)]) == Holdings(1, 0, 0, 0)
