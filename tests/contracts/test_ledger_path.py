from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from archiver.core.model import (
    Archived,
    Claim,
    Failed,
    Later,
    Lost,
    Missing,
    Outcome,
    Paused,
    Phase,
    RecordInfo,
    Refused,
    StemName,
    StemSource,
    Yielded,
)
from archiver.core.model import Dependency as Dep
from archiver.core.records.left_out import LeftOut
from archiver.core.states import IllegalMove, StemEvent, StemState, TaskState
from tests.fixtures.ledgers import (
    DAY,
    DEADLINE,
    LEASE,
    NOW,
    claim,
    events,
    finish,
    listed,
    no_claim,
    open_work,
    overview,
    receipt,
    record,
    relisted,
    retry,
    rows,
    shown,
    stem_failed,
    stored,
    take_in,
    tid,
)
from tests.house import Ledger, ledger_at, metadata

VOCAL, BASS, DRUMS = StemName("vocal"), StemName("bass"), StemName("drums")
SECRET = "?X-Signature=topsecret"


def _fail(ledger: Ledger, mine: Claim, stem: StemName, event: StemEvent | None, *, gone: bool = False) -> None:
    stem_failed(ledger, mine, stem, event=event, reason="why", gone=gone, not_before=NOW + DAY)


def _stem(ledger: Ledger, name: StemName) -> StemState:
    return next(stem.state for stem in shown(ledger).stems if stem.name == name)


# --- listed


def test_listed_saves_answer_and_stems_and_returns_the_claim_as_it_stands(ledger: Ledger) -> None:
    take_in(ledger, 1)
    created = NOW - timedelta(hours=1)
    answer = replace(record("vocal", "bass"), created_at=created, completed_at=NOW)
    mine = relisted(ledger, claim(ledger), answer)
    assert mine.state is TaskState.LISTED
    assert (mine.created_at, mine.completed_at, mine.first_asked_at) == (created, NOW, NOW)
    assert (mine.deadline, mine.settled, mine.document) == (DEADLINE, True, '{"code":200}')
    assert [(stem.name, stem.state, stem.url) for stem in mine.stems] == [
        (BASS, StemState.WANTED, "https://cdn.example/bass.mp3"),
        (VOCAL, StemState.WANTED, "https://cdn.example/vocal.mp3"),
    ]
    assert events(ledger) == [(None, "listed")]
    assert shown(ledger).flag == "SUCCESS"


def test_listed_names_what_the_record_leaves_out_once(ledger: Ledger) -> None:
    take_in(ledger, 1)
    left_out = tuple(LeftOut(f"images[{at}]", "https://cdn.example/1.png", "an image") for at in range(22))
    mine = claim(ledger)
    for _ in range(2):
        mine = relisted(ledger, mine, replace(record("vocal"), left_out=left_out))
    named = [move.detail.get("not_taken") for move in shown(ledger).history]
    assert named == [", ".join(f"images[{at}] (an image)" for at in range(20)) + ", 2 more", None]


def test_what_could_be_secret_in_a_url_is_in_the_claim_and_nowhere_in_the_tables_or_files(
    ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    take_in(ledger, 1)
    urls = {
        "query": "https://cdn.example/a.mp3?X-Signature=topsecret",
        "fragment": "https://cdn.example/b.mp3#topsecret",
        "userinfo": "https://me:topsecret@cdn.example/c.mp3",
        "plain": "https://cdn.example/d.mp3",
    }
    sources = tuple(StemSource(StemName(name), url, name) for name, url in urls.items())
    mine = relisted(ledger, claim(ledger), RecordInfo(Phase.DONE, sources))
    assert {stem.name: stem.url for stem in mine.stems} == urls
    assert {stem.name: stem.url_shown for stem in mine.stems} == {
        name: f"https://cdn.example/{letter}.mp3" for name, letter in zip(urls, "abcd", strict=True)
    }
    finish(ledger, mine, Later(NOW, "x"))
    again = {stem.name: stem.url for stem in claim(ledger).stems}
    assert again == {"query": None, "fragment": None, "userinfo": None, "plain": urls["plain"]}
    assert not [file.name for file in tmp_path.iterdir() if b"topsecret" in file.read_bytes()]
    assert "topsecret" not in str([rows(ledger_url, f"SELECT * FROM {table}") for table in metadata.tables])


def test_relisted_gives_known_stems_fresh_urls_and_keeps_how_they_stand(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal", "bass", "drums", "piano")
    stored(ledger, mine)
    _fail(ledger, mine, BASS, StemEvent.REFUSED)
    _fail(ledger, mine, DRUMS, None, gone=True)
    fresh = RecordInfo(
        Phase.DONE,
        tuple(
            StemSource(StemName(name), f"https://new.example/{name}.mp3", "f")
            for name in ("vocal", "bass", "drums", "synth")
        ),
    )
    mine = relisted(ledger, mine, fresh, DEADLINE - DAY, settled=False)
    rows = {stem.name: stem for stem in mine.stems}
    assert {name: row.state.value for name, row in rows.items()} == {
        "vocal": "stored",
        "bass": "refused",
        "drums": "wanted",
        "piano": "wanted",
        "synth": "wanted",
    }
    assert rows[DRUMS].gone == rows[DRUMS].attempts == 1
    assert rows[DRUMS].not_before == NOW + DAY
    assert rows[DRUMS].url_shown == rows[BASS].url_shown.replace("bass", "drums") == "https://new.example/drums.mp3"
    assert rows[StemName("piano")].url == "https://cdn.example/piano.mp3"
    assert rows[VOCAL].url_shown == "https://cdn.example/vocal.mp3", "where its bytes came from"
    assert (mine.deadline, mine.settled) == (DEADLINE - DAY, False)
    assert events(ledger)[-1] == (None, "relisted")


def test_listed_does_not_forget_what_an_answer_leaves_out(ledger: Ledger) -> None:
    mine = listed(ledger)
    bare = replace(record("vocal"), document="", flag="", created_at=None)
    mine = relisted(ledger, mine, bare, now=NOW + DAY)
    assert mine.document == '{"code":200}'
    assert mine.first_asked_at == NOW
    assert shown(ledger).flag == "SUCCESS"


def test_listed_with_one_name_twice_is_refused_rather_than_losing_one(ledger: Ledger) -> None:
    take_in(ledger, 1)
    mine = claim(ledger)
    with pytest.raises(IllegalMove):
        relisted(ledger, mine, record("vocal", "vocal"))
    assert shown(ledger).stems == ()


# --- stems


def test_stored_keeps_the_receipt_and_forgets_failures(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal")
    _fail(ledger, mine, VOCAL, None)
    finish(ledger, mine, Later(NOW, "busy", fault=True))
    mine = claim(ledger)
    assert (mine.attempts, mine.stems[0].attempts) == (1, 1)
    stored(ledger, mine)
    row = shown(ledger)
    assert (row.attempts, row.stems[0].attempts, row.stems[0].reason) == (0, 0, "")
    assert row.stems[0].receipt == receipt()
    assert row.stems[0].not_before is None
    assert row.history[-1].detail == {"key": "stems/vocal.mp3", "bytes": 1000, "sha256": "ab" * 32}
    assert row.history[-1].at == receipt().stored_at


def test_an_alias_keeps_its_receipt_and_adds_no_bytes(ledger: Ledger) -> None:
    mine = listed(ledger)
    stored(ledger, mine, VOCAL, receipt(size=700))
    stored(ledger, mine, BASS, receipt("bass", size=700, alias_of="vocal"))
    row = next(stem for stem in shown(ledger).stems if stem.name == BASS)
    assert row.receipt is not None
    assert row.receipt.alias_of == VOCAL
    seen = overview(ledger)
    assert (seen.stems[StemState.STORED], seen.bytes_stored) == (2, 700)


@pytest.mark.parametrize("field", ["sha256", "size"])
def test_a_receipt_that_cannot_be_true_is_refused_by_the_tables(ledger: Ledger, field: str) -> None:
    mine = listed(ledger, 1, "vocal")
    wrong = replace(receipt(), sha256="") if field == "sha256" else replace(receipt(), size=0)
    with pytest.raises(IllegalMove):
        stored(ledger, mine, VOCAL, wrong)
    assert _stem(ledger, VOCAL) is StemState.WANTED


_STEM_WRITES: dict[str, Callable[[Ledger, Claim], object]] = {
    "stored": lambda ledger, mine: stored(ledger, mine, VOCAL, receipt(size=5)),
    "failed": lambda ledger, mine: _fail(ledger, mine, VOCAL, None),
    "refused": lambda ledger, mine: _fail(ledger, mine, VOCAL, StemEvent.REFUSED),
    "gone": lambda ledger, mine: _fail(ledger, mine, VOCAL, StemEvent.GONE),
    "retried": lambda ledger, mine: ledger.progress.stem_retried(mine, VOCAL, now=NOW),
}


@pytest.mark.parametrize("write", _STEM_WRITES.values(), ids=_STEM_WRITES.keys())
def test_stored_is_final(ledger: Ledger, write: Callable[[Ledger, Claim], object]) -> None:
    mine = listed(ledger)
    stored(ledger, mine)
    before = shown(ledger)
    with pytest.raises(IllegalMove):
        write(ledger, mine)
    assert shown(ledger) == before


@pytest.mark.parametrize("name", ["stored", "failed", "gone", "retried"])
def test_a_stem_nobody_listed_cannot_be_written(ledger: Ledger, name: str) -> None:
    mine = listed(ledger, 1, "bass")
    with pytest.raises(IllegalMove):
        _STEM_WRITES[name](ledger, mine)


def test_stem_failed_counts_tries_and_how_many_were_gone(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal")
    _fail(ledger, mine, VOCAL, None, gone=True)
    _fail(ledger, mine, VOCAL, None)
    (stem,) = shown(ledger).stems
    assert (stem.state, stem.attempts, stem.gone) == (StemState.WANTED, 2, 1)
    assert (stem.reason, stem.not_before) == ("why", NOW + DAY)
    assert events(ledger) == [(None, "listed")], "no move, no history"


def test_a_refused_stem_can_be_retried_refused_again_and_lost(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal")
    _fail(ledger, mine, VOCAL, StemEvent.REFUSED)
    with pytest.raises(IllegalMove):
        _fail(ledger, mine, VOCAL, None)
    row = ledger.progress.stem_retried(mine, VOCAL, now=NOW)
    assert (row.state, row.attempts, row.not_before) == (StemState.WANTED, 1, None)
    _fail(ledger, mine, VOCAL, StemEvent.REFUSED)
    _fail(ledger, mine, VOCAL, StemEvent.GONE)
    assert _stem(ledger, VOCAL) is StemState.LOST
    assert events(ledger)[1:] == [(VOCAL, word) for word in ("refused", "retried", "refused", "gone")]


# --- the end


def test_archived_ends_the_task_for_good(ledger: Ledger) -> None:
    mine = listed(ledger)
    stored(ledger, mine)
    stored(ledger, mine, BASS)
    finish(ledger, mine, Archived(), now=NOW + DAY)
    row = shown(ledger)
    assert (row.state, row.ended_at, row.not_before, row.leased_until) == (TaskState.ARCHIVED, NOW + DAY, None, None)
    assert events(ledger)[-1] == (None, "all_stored")
    assert no_claim(ledger, now=NOW + 30 * DAY)
    assert retry(ledger) == retry(ledger, [row.task_id]) == []


@pytest.mark.parametrize("last", [None, StemEvent.REFUSED, StemEvent.GONE])
def test_archived_with_a_stem_that_is_not_stored_is_illegal(ledger: Ledger, last: StemEvent | None) -> None:
    mine = listed(ledger)
    stored(ledger, mine)
    if last is not None:
        _fail(ledger, mine, BASS, last)
    with pytest.raises(IllegalMove):
        finish(ledger, mine, Archived())
    assert shown(ledger).state is TaskState.LISTED


def test_archived_without_any_stem_is_illegal_while_more_may_be_listed(ledger: Ledger) -> None:
    take_in(ledger, 1)
    mine = relisted(ledger, claim(ledger), record(), settled=False)
    with pytest.raises(IllegalMove):
        finish(ledger, mine, Archived())


def test_archived_or_lost_without_listing_is_illegal(ledger: Ledger) -> None:
    take_in(ledger, 1)
    mine = claim(ledger)
    for outcome in (Archived(), Lost("gone")):
        with pytest.raises(IllegalMove):
            finish(ledger, mine, outcome)


def test_settled_task_of_which_nothing_was_wanted_is_archived_and_never_lost(ledger: Ledger) -> None:
    take_in(ledger, 1)
    mine = relisted(ledger, claim(ledger), record())
    with pytest.raises(IllegalMove):
        finish(ledger, mine, Lost("gone"))
    finish(ledger, mine, Archived())
    assert shown(ledger).state is TaskState.ARCHIVED


@pytest.mark.parametrize("last", [None, StemEvent.REFUSED, StemEvent.STORED])
def test_lost_while_a_stem_may_still_be_had_is_illegal(ledger: Ledger, last: StemEvent | None) -> None:
    mine = listed(ledger, 1, "vocal")
    if last is StemEvent.STORED:
        stored(ledger, mine)
    elif last is not None:
        _fail(ledger, mine, VOCAL, last)
    with pytest.raises(IllegalMove):
        finish(ledger, mine, Lost("gone"))


def test_lost_with_the_rest_stored_ends_the_task_with_its_reason(ledger: Ledger) -> None:
    mine = listed(ledger)
    stored(ledger, mine)
    _fail(ledger, mine, BASS, StemEvent.GONE)
    finish(ledger, mine, Lost("bass (410)"))
    row = shown(ledger)
    assert (row.state, row.reason, row.ended_at) == (TaskState.LOST, "bass (410)", NOW)
    assert row.history[-1].detail == {"reason": "bass (410)"}


@pytest.mark.parametrize(
    ("outcome", "state", "event"),
    [
        (Failed("no audio"), TaskState.FAILED, "provider_failed"),
        (Missing("unknown"), TaskState.MISSING, "never_seen"),
    ],
)
def test_the_ends_of_a_queued_task(ledger: Ledger, outcome: Outcome, state: TaskState, event: str) -> None:
    take_in(ledger, 1)
    answer = RecordInfo(Phase.FAILED, flag="CREATE_TASK_FAILED", document='{"code":500}')
    finish(ledger, claim(ledger), outcome, record=answer)
    row = shown(ledger)
    assert (row.state, row.ended_at, row.flag) == (state, NOW, "CREATE_TASK_FAILED")
    assert events(ledger) == [(None, event)]


@pytest.mark.parametrize("outcome", [Failed("x"), Missing("x")])
def test_the_ends_of_a_queued_task_are_illegal_for_a_listed_one(ledger: Ledger, outcome: Outcome) -> None:
    with pytest.raises(IllegalMove):
        finish(ledger, listed(ledger), outcome)


def test_refused_is_illegal_for_a_queued_task(ledger: Ledger) -> None:
    take_in(ledger, 1)
    with pytest.raises(IllegalMove):
        finish(ledger, claim(ledger), Refused("x", NOW))


def test_the_answer_is_kept_until_the_store_holds_it(ledger: Ledger, ledger_url: str) -> None:
    def kept() -> object:
        return rows(ledger_url, "SELECT document FROM tasks")[0][0]

    mine = listed(ledger, 1, "vocal")
    stored(ledger, mine)
    assert kept() == '{"code":200}'
    finish(ledger, mine, Archived(), record=record("vocal"))
    assert kept() == "", "record-info.json holds it now, and a million of them would fill the disk"


# --- later


def test_not_ready_counts_an_ask_and_sets_when_it_was_first_asked(ledger: Ledger) -> None:
    take_in(ledger, 1)
    pending = RecordInfo(Phase.PENDING, flag="PENDING", created_at=NOW - DAY)
    finish(ledger, claim(ledger), Later(NOW + DAY, "not ready"), record=pending)
    row = shown(ledger)
    assert (row.asks, row.attempts, row.not_before, row.reason) == (1, 0, NOW + DAY, "not ready")
    assert (row.first_asked_at, row.created_at, row.flag) == (NOW, NOW - DAY, "PENDING")
    finish(ledger, claim(ledger, now=NOW + DAY), Later(NOW + 2 * DAY, "x"), record=pending, now=NOW + DAY)
    assert (shown(ledger).first_asked_at, shown(ledger).asks) == (NOW, 2)


def test_not_ready_for_days_leaves_one_row_of_history(ledger: Ledger) -> None:
    take_in(ledger, 1)
    for number in range(50):
        at = NOW + number * timedelta(minutes=1)
        finish(ledger, claim(ledger, now=at), Later(at, f"not ready {number}"), now=at)
    (move,) = shown(ledger).history
    assert move.at == NOW + timedelta(minutes=49)
    assert move.detail == {"reason": "not ready 49", "times": 50, "since": NOW.isoformat()}


def test_relisted_for_days_leaves_one_row_of_history(ledger: Ledger) -> None:
    mine = listed(ledger, settled=False)
    for _ in range(20):
        mine = relisted(ledger, mine, record("vocal", "bass"), settled=False)
    assert events(ledger) == [(None, "listed"), (None, "relisted")]
    assert shown(ledger).history[-1].detail["times"] == 20


def _sources(claim: Claim) -> tuple[StemSource, ...]:
    return tuple(StemSource(stem.name, stem.url or stem.url_shown, stem.field) for stem in claim.stems)


def test_relisted_elsewhere_keeps_the_address_of_before_of_what_is_not_stored(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal", "bass", "drums")
    stored(ledger, mine)
    _fail(ledger, mine, BASS, StemEvent.REFUSED)
    there = tuple(replace(each, url=f"https://new.example/{each.name}.mp3?s=1") for each in _sources(mine))
    mine = relisted(ledger, mine, RecordInfo(Phase.DONE, there))
    relisted(ledger, mine, RecordInfo(Phase.DONE, tuple(replace(each, url=f"{each.url}2") for each in there)))
    moves = [line for line in shown(ledger).history if line.event == StemEvent.MOVED]
    assert [(line.stem, line.before, line.after, line.detail) for line in moves] == [
        (BASS, "refused", "refused", {"from": "https://cdn.example/bass.mp3"}),
        (DRUMS, "wanted", "wanted", {"from": "https://cdn.example/drums.mp3"}),
    ]


def test_relisted_elsewhere_while_the_provider_is_at_work_is_no_move(ledger: Ledger) -> None:
    mine = listed(ledger, settled=False)
    there = tuple(replace(each, url=f"https://new.example/{each.name}.mp3") for each in _sources(mine))
    relisted(ledger, mine, RecordInfo(Phase.PENDING, there), settled=False)
    assert events(ledger) == [(None, "listed"), (None, "relisted")]


def test_stem_that_moved_between_two_looks_of_the_schedule_is_refused_again(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal")
    _fail(ledger, mine, VOCAL, StemEvent.REFUSED)
    assert ledger.intakes.acknowledge([tid(1)], now=NOW, at_risk=DAY) == [tid(1)]
    ledger.progress.stem_retried(mine, VOCAL, now=NOW)
    [source] = _sources(mine)
    mine = relisted(ledger, mine, RecordInfo(Phase.DONE, (replace(source, url="https://new.example/vocal.mp3"),)))
    _fail(ledger, mine, VOCAL, StemEvent.REFUSED)
    assert shown(ledger).acknowledged_at is not None


def test_a_failed_try_counts_an_attempt_and_no_ask(ledger: Ledger) -> None:
    take_in(ledger, 1)
    finish(ledger, claim(ledger), Later(NOW + DAY, "api.busy", fault=True))
    row = shown(ledger)
    assert (row.asks, row.attempts, row.first_asked_at, row.history) == (0, 1, None, ())
    finish(ledger, claim(ledger, now=NOW + DAY), Later(NOW + DAY, "x", fault=True))
    assert shown(ledger).attempts == 2


def test_refused_with_a_time_is_taken_up_then(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal")
    _fail(ledger, mine, VOCAL, StemEvent.REFUSED)
    finish(ledger, mine, Refused("html", NOW + DAY))
    row = shown(ledger)
    assert (row.state, row.reason, row.not_before, row.attempts) == (TaskState.LISTED, "html", NOW + DAY, 0)
    assert no_claim(ledger)
    assert claim(ledger, now=NOW + DAY).stems[0].state is StemState.REFUSED


def test_refused_without_a_time_waits_for_the_operator_and_is_not_open_work(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal")
    _fail(ledger, mine, VOCAL, StemEvent.REFUSED)
    finish(ledger, mine, Refused("too large"))
    assert no_claim(ledger, now=NOW + 1000 * DAY)
    assert open_work(ledger).tasks == 0
    assert overview(ledger, at_risk=30 * DAY).at_risk_count == 1
    assert retry(ledger) == [mine.task_id]
    assert claim(ledger).stems[0].state is StemState.WANTED


@pytest.mark.parametrize("outcome", [Paused(Dep.PROVIDER, "401", "set a key", lasting=True), Yielded()])
def test_paused_and_yielded_touch_no_counter(ledger: Ledger, outcome: Outcome) -> None:
    take_in(ledger, 1)
    finish(ledger, claim(ledger), Later(NOW, "api.busy", fault=True))
    before = shown(ledger)
    finish(ledger, claim(ledger, now=NOW), outcome, now=NOW + DAY)
    assert shown(ledger) == before


def test_an_outcome_written_by_one_process_is_seen_by_the_next(ledger_url: str) -> None:
    first = ledger_at(ledger_url)
    mine = listed(first, 1, "vocal")
    stored(first, mine)
    first.close()
    second = ledger_at(ledger_url)
    taken = second.claims.claim(owner="next", now=NOW + LEASE, lease=LEASE)
    assert taken is not None
    assert taken.stems[0].receipt == receipt()
    second.close()
