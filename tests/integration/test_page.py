"""The page on a real ledger: its figures, what it shows to nobody, and a ledger that goes away."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from time import monotonic

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from archiver.core.attention import QueueStanding
from archiver.core.errors import LedgerAbsent, LedgerFault, SettingsFault
from archiver.core.fixity_standing import FixityStanding
from archiver.core.intake import Intake, Reject
from archiver.settings import Settings
from archiver.web.metrics import Metrics, Sources
from tests.fixtures.ledgers import accept, listed, rows, take_in
from tests.fixtures.page_site import PageSite, Visitor, figures_in, fill, page_settings, page_site
from tests.house import Ledger, command, ledger_for_reading, page_on, ready_ledger_at


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    with page_site(tmp_path_factory.mktemp("page")) as site:
        yield site


@pytest.fixture(scope="module")
def visitor(site: PageSite) -> Visitor:
    return Visitor(site)


def status(site: PageSite, folder: Path) -> dict[str, object]:
    file = folder / "archiver.toml"
    queue, url = site.settings.queue.path, site.settings.ledger.url
    file.write_text(
        f'[store]\nbucket = "my-stems"\n[queue]\npath = "{queue}"\n[ledger]\nurl = "{url}"\n[verify]\nwithin = "90d"\n'
    )
    said: dict[str, object] = json.loads(command("--config", str(file), "status", "--json").stdout)
    return said


def metrics(ledger: Ledger) -> dict[str, float]:
    watched = Metrics("1")
    now = datetime.now(UTC)
    watched.watch(
        Sources(
            overview=lambda: ledger.reports.overview(now=now, at_risk=timedelta(days=2)),
            queue=lambda: QueueStanding(""),
            poll=timedelta(seconds=30),
            paused=lambda: (),
            late=dict,
            budget=lambda: 0,
            limits=dict,
            oldest_transfer=lambda: 0.0,
            clock_ahead=timedelta,
            clock=lambda: now,
            gaps=lambda: (),
            backup_age=lambda: None,
            fixity=FixityStanding,
            room=lambda: None,
        )
    )
    return {
        f"{name.removeprefix('stem_archiver_')}{''.join(labels.values())}": value
        for family in text_string_to_metric_families(watched.page().decode())
        for name, labels, value, *_ in family.samples
    }


def test_figures_are_those_of_status_and_of_the_metrics(site: PageSite, visitor: Visitor, tmp_path: Path) -> None:
    page, said = figures_in(visitor.look("/").text), status(site, tmp_path)
    tasks, stems = said["tasks"], said["stems"]
    assert isinstance(tasks, dict)
    assert isinstance(stems, dict)
    assert page["tasks.archived"] == tasks["archived"] == 24
    assert page["tasks.open"] == tasks["queued"] + tasks["listed"] == 27
    assert page["tasks.lost"] == tasks["lost"] == 1
    assert page["tasks.failed"] == tasks["failed"] == 1
    assert page["tasks.missing"] == tasks["missing"] == 0
    assert page["stems.stored"] == stems["stored"] == 72
    assert page["bytes_stored"] == said["bytes_stored"] == 72_000
    for name in ("due", "working", "at_risk_count", "rejected_lines"):
        assert page[name] == said[name], name
    measured = metrics(site.ledger)
    assert page["tasks.archived"] == measured["tasksarchived"]
    assert page["tasks.lost"] == measured["taskslost"]
    assert page["stems.stored"] == measured["stemsstored"]
    assert page["bytes_stored"] == measured["stored_bytes"]
    assert page["at_risk_count"] == measured["tasks_at_risk"]
    assert page["due"] == measured["tasks_due"]
    assert page["working"] == measured["tasks_working"]
    assert page["rejected_lines"] == measured["rejected_lines"]


def test_sentence_says_what_is_safe_what_the_rest_takes_and_who_is_needed(visitor: Visitor) -> None:
    [sentence] = re.findall(r"<h1>(.*?)</h1>", visitor.look("/").text, re.DOTALL)
    words = re.sub(r"<[^>]+>", "", sentence)
    rest = r"The rest will be within 1 day \d+ hours?, each before its deadline\."
    assert re.fullmatch(rf"24 of 53 tasks are safe\. {rest} 5 tasks need you\.", words), words


def test_sentence_says_when_the_first_deadline_was_of_what_is_late_already(tmp_path: Path) -> None:
    with page_site(tmp_path, safe=1) as site:
        listed(site.ledger, 300, "vocal", deadline=datetime.now(UTC) - timedelta(days=7, hours=1))
        shown = re.sub(r"<[^>]+>", "", Visitor(site).look("/").text)
    assert re.search(r"will be lost at the present pace; the first deadline was 7 d [01] ?h? ?.*ago\.", shown)


def test_each_step_of_the_plot_leads_to_the_tasks_that_are_due_by_then(visitor: Visitor) -> None:
    text = visitor.look("/").text
    steps = re.findall(r'<td><a href="([^"]+)">.*?<td class="count">([\d,]+)', text)
    assert len(steps) > 10
    assert {link for link, _ in steps} == set(re.findall(r'<a href="([^"]+)" tabindex="-1"><rect', text))
    (first, few), (last, all_) = steps[0], steps[-1]
    assert few == "6", "stems of one task"
    assert visitor.look(unescape(first)).text.count('name="ids"') == 1
    listed = visitor.look(unescape(last)).text
    assert listed.count('name="ids"') == 21, f"{all_} stems, 6 a task, but of the refused one"


def test_live_figures_are_sent_again_only_once_something_changed(site: PageSite, visitor: Visitor) -> None:
    for _ in range(3):  # the minute may turn meanwhile
        first = visitor.look("/overview/live")
        again = visitor.look("/overview/live", **{"If-None-Match": first.fields["etag"]})
        if again.status == 304:
            break
    assert (first.status, again.status, again.text) == (200, 304, "")
    assert first.fields["cache-control"] == "private, no-cache"
    assert len(gzip.compress(first.text.encode())) < 8_000
    take_in(site.ledger, 999)
    changed = visitor.look("/overview/live", **{"If-None-Match": first.fields["etag"]})
    assert changed.status == 200
    assert figures_in(changed.text)["tasks.open"] == 28


SECRETS = (
    "sk-PLANTED-api-key", "sk-PLANTED-second", "hmac-PLANTED", "PLANTED-user", "PLANTED-password", "PLANTED-heartbeat",
    "PLANTED-telegram", "PLANTED-aws-secret", "PLANTED-query", "PLANTED-token-of-a-file",
)  # fmt: skip


def test_none_of_ten_planted_secrets_is_in_any_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "PLANTED-aws-secret")
    token = tmp_path / "token"
    token.write_text("PLANTED-token-of-a-file-0123456789\n")
    token.chmod(0o600)
    plain = page_settings(tmp_path, token_file=token).model_dump()
    plain["provider"] |= {"api_key": "sk-PLANTED-api-key-0123456789"}
    plain["callback"] |= {"hmac_key": "hmac-PLANTED-0123456789"}
    plain["download"] |= {"proxy": "http://PLANTED-user:PLANTED-password@proxy.example.com:3128", "bandwidth": "off"}
    plain["notify"] |= {
        "heartbeat_url": "https://ping.example.com/PLANTED-heartbeat",
        "urls": ["tgram://PLANTED-telegram/1"],
    }
    plain["verify"] |= {"bandwidth": "off", "prices": "none"}
    settings = Settings.model_validate(plain)
    with closing(ready_ledger_at(settings.ledger.url)) as ledger:
        fill(ledger, tmp_path, datetime.now(UTC), safe=1)
        claim = listed(ledger, 300, "vocal", query="?sig=PLANTED-query")
        ledger.claims.give_back(claim, reason="timed out", not_before=datetime.now(UTC))
        with page_on(settings) as served:
            visitor = Visitor(PageSite(settings, ledger, served.url, served.link))
            for path in ("/", "/overview/live", "/enter", "/nowhere", "/task-000300", "/tasks", "/events", "/add"):
                answer = visitor.look(path)
                assert answer.text
                assert [secret for secret in SECRETS if secret in answer.text + str(answer.fields)] == [], path


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.exe{{ 7 * 7 }}\"'" + "A" * 150


def test_hostile_words_are_shown_as_words(tmp_path: Path) -> None:
    with page_site(tmp_path, fills=False) as site:
        accept(site.ledger, Intake(rejects=(Reject("queue.txt", 0, HOSTILE, HOSTILE, 1),)), now=datetime.now(UTC))
        shown = Visitor(site).look("/").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(2)&gt;" in shown
    assert "<script>" not in shown
    assert "<img src=x" not in shown
    assert "{{ 7 * 7 }}" in shown


def test_empty_archive_says_how_it_begins(tmp_path: Path) -> None:
    with page_site(tmp_path, fills=False) as site:
        assert "The archive is empty" in Visitor(site).look("/").text


def test_ledger_that_goes_away_is_said_and_found_again(tmp_path: Path) -> None:
    with page_site(tmp_path, fills=False) as site:
        visitor = Visitor(site)
        assert visitor.look("/").status == 200
        file, aside = tmp_path / "ledger.db", tmp_path / "aside.db"
        site.ledger.close()
        file.rename(aside)
        gone = visitor.look("/")
        assert gone.status == 503
        assert "The ledger cannot be read just now" in gone.text
        aside.rename(file)
        assert visitor.look("/").status == 200


# --- the ledger, read only


def test_reader_writes_nothing_and_gives_a_long_statement_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with (
        closing(ready_ledger_at(url)) as ledger,
        closing(ledger_for_reading(url, timedelta(milliseconds=50))) as reader,
    ):
        take_in(ledger, 1)
        assert sum(reader.reports.overview(now=datetime.now(UTC), at_risk=timedelta(1)).tasks.values()) == 1
        with pytest.raises(LedgerFault, match="reading alone"):
            take_in(reader, 2)
        endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
        began = monotonic()
        with pytest.raises(LedgerFault, match="took longer than"), reader.db.read() as db:
            db.execute(text(endless))
        assert monotonic() - began < 20
        assert sum(reader.reports.overview(now=datetime.now(UTC), at_risk=timedelta(1)).tasks.values()) == 1


def test_reader_wants_a_ledger_that_is_there_and_of_this_schema(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with pytest.raises(LedgerAbsent):
        ledger_for_reading(url, timedelta(seconds=2))
    assert not (tmp_path / "ledger.db").exists()
    ready_ledger_at(url).close()
    rows(url, "UPDATE alembic_version SET version_num = '0009'")
    with pytest.raises(LedgerFault, match="has schema 0009"):
        ledger_for_reading(url, timedelta(seconds=2))


# --- where it may listen


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ({"listen": "0.0.0.0:0"}, "is not loopback"),
        ({"listen": "0.0.0.0:0", "hosts": "archive.example.com"}, "is not loopback"),
        ({"listen": ""}, "page.listen is empty"),
        ({"token_file": "/nowhere"}, "page.token_file: names a file that cannot be read"),
        ({"listen": "192.0.2.1:9466", "hosts": "archive.example.com", "token_file": "TOKEN"}, "cannot be listened on"),
    ],
)
def test_page_that_may_not_or_cannot_listen_says_so(tmp_path: Path, page: dict[str, object], says: str) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-enough-letters")
    token.chmod(0o600)
    page = {key: token if value == "TOKEN" else value for key, value in page.items()}
    settings = page_settings(tmp_path, **page)
    ready_ledger_at(settings.ledger.url).close()
    with pytest.raises(SettingsFault, match=re.escape(says)), page_on(settings):
        pass


def test_page_takes_a_token_of_16_characters_and_no_shorter_one(tmp_path: Path) -> None:
    token = tmp_path / "token"
    settings = page_settings(tmp_path, token_file=token)
    ready_ledger_at(settings.ledger.url).close()
    token.touch(mode=0o600)
    token.write_text("t" * 15)
    with pytest.raises(SettingsFault, match="shorter than 16 characters"), page_on(settings):
        pass
    token.write_text("t" * 16)
    with page_on(settings) as served:
        assert served.url
