"""A manifest of format 1, told anew in the present format by what the ledger knows of the task. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from archiver.core.capabilities import CreateOnly
from archiver.core.chronicle import Chronicle, End
from archiver.core.manifest import manifest_of
from archiver.core.manifest_read import Manifest
from archiver.core.model import Claim, StemName, TaskId
from archiver.core.records.facts import NO_FACTS
from archiver.core.records.kinds.names import KindName
from archiver.core.records.record import record_in
from archiver.core.succession import Succession
from archiver.core.whole_task import WholeTask


def renewed(whole: WholeTask, standing: Manifest, record: str, *, version: str, now: datetime) -> Succession:
    """Return the manifest that an ended task gets in the place of `standing`; `record` is empty where there is none."""
    claim = _claim(whole, record)
    facts = record_in(record, claim.kind or KindName.SEPARATION).facts if record else NO_FACTS
    ours = manifest_of(
        claim,
        whole.stems,
        # The end itself is the last line of its history.
        End(whole.state, whole.reason, whole.ended_at),
        version=version,
        now=now,
        chronicle=_chronicle(whole),
        best_effort=standing.create_only == CreateOnly.BEST_EFFORT,
        left_out=standing.not_taken,
        facts=facts,
    )
    return Succession(ours, whole.task_id)


def _claim(whole: WholeTask, record: str) -> Claim:
    return Claim(
        task_id=whole.task_id,
        token="",
        state=whole.state,
        accepted_at=whole.accepted_at,
        account=whole.account,
        first_asked_at=whole.first_asked_at,
        created_at=whole.created_at,
        completed_at=whole.completed_at,
        deadline=whole.deadline,
        document=record,
        kind=KindName(whole.kind) if whole.kind in set(KindName) else None,
        title=whole.title,
        parent=None if whole.parent is None else TaskId(whole.parent),
    )


def _chronicle(whole: WholeTask) -> Chronicle:
    cut: Sequence[StemName] = [row.name for row in whole.stems if row.url is None]
    return Chronicle(whole.source, whole.flag, whole.first_asked_at, frozenset(cut), whole.history)
