"""A static copy of the page: whole or not there, read without a program, every link to a file that is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from archiver.app.page_copy import copy_page
from archiver.core.errors import Interrupted, SettingsFault
from archiver.core.intake import Intake
from archiver.core.model import task_id
from archiver.settings import Settings
from tests.browser.archives import MADE, Bucket, lay, settings_of
from tests.fakes.events import Events
from tests.fixtures.archived import noise
from tests.fixtures.ledgers import ready_ledger
from tests.house import Ledger, command

TASK = "3e63b4cc88d52611159371f6af5571e7"
HOSTILE = "4e63b4cc88d52611159371f6af5571e7"
SECRET = "planted-secret-0123456789"


class Links(HTMLParser):
    """The links of a document, its texts, and whatever could run in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [value for name in ("href", "src", "data-url") if (value := found.get(name))]
        if tag == "script":
            self.scripts.append(found)
        assert not [name for name in found if name.startswith("on")], found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = settings_of(tmp_path)
    return found.model_copy(update={"provider": found.provider.model_copy(update={"api_key": SECRET})})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(ready_ledger(tmp_path)) as made:
        yield made


def archived(ledger: Ledger) -> None:
    lay(ledger, Bucket(), TASK, {"vocal": noise(2000, 1), "bass": noise(1000, 2)}, title="So\u202eng", lost="guitar")
    lay(ledger, Bucket(), HOSTILE, {"vocal": noise(500, 3)}, title="<script>alert(1)</script>\" onerror=x '")


def copied(settings: Settings, ledger: Ledger, into: Path, **more: Any) -> Any:  # noqa: ANN401 - any option of it
    return copy_page(settings, Events(), ledger, into, **more)


def test_every_link_leads_to_a_file_that_is_there_or_that_restore_writes(
    settings: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    archived(ledger)
    into = tmp_path / "copy"
    done = copied(settings, ledger, into)
    assert (done.tasks, done.left_out, done.unread) == (2, 0, 0)
    wanted = set()
    for document in into.rglob("*.html"):
        for link in Links(document.read_text()).links:
            if not link.startswith("#"):
                assert not re.match(r"/|\w+:", link), link
                wanted.add((document.parent / unquote(link)).resolve().relative_to(into.resolve()))
    missing = {str(each) for each in wanted if not (into / each).exists()}
    files = {
        f"{task}/{name}" for task in (TASK, HOSTILE) for name in ("manifest.json", "record-info.json", "vocal.mp3")
    }
    assert missing == files | {f"{TASK}/bass.mp3"}


def test_documents_run_nothing_of_others_and_hold_no_secret(settings: Settings, ledger: Ledger, tmp_path: Path) -> None:
    archived(ledger)
    copied(settings, ledger, tmp_path / "copy")
    texts = {each: each.read_text() for each in (tmp_path / "copy").rglob("*.html")}
    assert len(texts) == 4
    for text in texts.values():
        assert "Content-Security-Policy" in text
        assert {each["src"] for each in Links(text).scripts} <= {"../static/task.js", "../static/copy.js"}
        assert SECRET not in text
        assert "<form" not in text
        assert "\u202e" not in text
    page = texts[tmp_path / "copy/_page/task" / f"{TASK}.html"]
    assert page.count("<audio") == 2
    assert "lost on" in page


def test_files_are_looked_for_where_they_were_restored(settings: Settings, ledger: Ledger, tmp_path: Path) -> None:
    archived(ledger)
    copied(settings, ledger, tmp_path / "copy", restored=tmp_path / "there" / "stems")
    page = (tmp_path / "copy/_page/task" / f"{HOSTILE}.html").read_text()
    assert f'src="../../../there/stems/{HOSTILE}/vocal.mp3"' in page


def test_of_more_tasks_the_newest_are_copied_and_the_rest_is_counted(
    settings: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    ids = [task_id(f"{at:032x}") for at in range(450)]
    for at in range(0, 450, 50):
        ledger.intakes.take_in(Intake(ids=tuple(ids[at : at + 50])), source="q", now=MADE + timedelta(seconds=at))
    done = copied(settings, ledger, tmp_path / "copy", most=401)
    assert (done.tasks, done.left_out) == (401, 49)
    lists = sorted((tmp_path / "copy/_page").glob("tasks-*.html"))
    assert [each.name for each in lists] == ["tasks-1.html", "tasks-2.html", "tasks-3.html"]
    assert sum(each.read_text().count('class="name"') for each in lists) == 401
    assert "49 older ones are not in this copy" in (tmp_path / "copy/index.html").read_text()
    assert (tmp_path / f"copy/_page/task/{ids[-1]}.html").exists()
    assert not (tmp_path / f"copy/_page/task/{ids[0]}.html").exists()


def test_copy_of_an_empty_archive_is_one_too(settings: Settings, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    assert copied(settings, ledger, tmp_path / "copy").tasks == 0
    assert "There is no task yet." in (tmp_path / "copy/_page/tasks-1.html").read_text()


def test_copy_that_is_broken_off_leaves_no_directory_and_the_next_one_begins_anew(
    settings: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    archived(ledger)
    into = tmp_path / "copy"
    with pytest.raises(Interrupted):
        copied(settings, ledger, into, stopped=(tmp_path / ".copy.part/_page/task").exists)
    assert not into.exists()
    assert (tmp_path / ".copy.part").exists()
    assert copied(settings, ledger, into).tasks == 2
    assert sorted(each.name for each in into.iterdir()) == ["_page", "index.html"]
    assert not (tmp_path / ".copy.part").exists()


@pytest.mark.parametrize("what", ["file", "full", "part"])
def test_nothing_that_stands_there_is_touched(settings: Settings, ledger: Ledger, tmp_path: Path, what: str) -> None:
    mine = {"file": tmp_path / "copy", "full": tmp_path / "copy/mine", "part": tmp_path / ".copy.part/mine"}[what]
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(SettingsFault):
        copied(settings, ledger, tmp_path / "copy")
    assert mine.read_text() == "mine"


def exported(folder: Path, *words: str) -> tuple[int, str, str]:
    env = {
        "ARCHIVER_STORE__BUCKET": "my-stems",
        "ARCHIVER_LEDGER__URL": f"sqlite:///{folder}/ledger.db",
        "ARCHIVER_QUEUE__PATH": str(folder / "queue.txt"),
    }
    done = command("page", "export", *words, env=env)
    return done.exit_code, done.stdout, done.stderr


def test_command_says_where_it_stands_and_what_is_in_it(ledger: Ledger, tmp_path: Path) -> None:
    archived(ledger)
    code, out, err = exported(tmp_path, str(tmp_path / "copy"))
    assert (code, out, err) == (0, f"{tmp_path}/copy/index.html: 2 tasks\n", "")
    code, out, err = exported(tmp_path, str(tmp_path / "copy"))
    assert (code, out) == (2, "")
    assert "is no empty directory" in err


def test_command_without_a_ledger_leaves_nothing(tmp_path: Path) -> None:
    code, out, _ = exported(tmp_path, str(tmp_path / "copy"))
    assert (code, out) == (2, "")
    assert list(tmp_path.iterdir()) == []
