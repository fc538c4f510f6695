"""`enqueue`: what it takes for ids, and what it says of those that are known."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from archiver.commands import app
from archiver.core.intake import Intake
from archiver.core.model import Failed
from archiver.core.named_ids import NamedIds
from tests.fixtures.ledgers import claim, finish, ready_ledger, take_in, tid

ID, OTHER = "3e63b4cc88d52611159371f6af5571e7", "e649edb7abfd759285bd41a47a634b10"
Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    config = tmp_path / "archiver.toml"
    config.write_text(f'[queue]\npath = "{tmp_path}/queue.txt"\n[ledger]\nurl = "sqlite:///{tmp_path}/ledger.db"\n')

    def call(*words: str, stdin: str = "") -> Result:
        words = ("--config", str(config), *words)
        return CliRunner().invoke(app.app, words, input=stdin, env={"ARCHIVER_CONFIG": None})

    return call


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    return tmp_path / "queue.txt"


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        ([ID, OTHER], ""),
        ([f"https://api.example/x?taskId={ID}", json.dumps({"data": {"taskId": OTHER}})], ""),
        (["-"], f"{ID}\n\n# note\n{OTHER}"),
        (["FILE"], ""),
        ([f"{ID},{OTHER}", ID, ID], ""),
    ],
    ids=["ids", "a link and an answer", "standard input", "a file", "commas and doubles"],
)
def test_enqueue_takes_ids_however_they_are_named_each_once(
    call: Call, queue: Path, tmp_path: Path, words: list[str], stdin: str
) -> None:
    file = tmp_path / "ids.txt"
    file.write_text(f"{ID}\n{OTHER}\n")
    done = call("enqueue", *(str(file) if word == "FILE" else word for word in words), stdin=stdin)
    assert (done.exit_code, queue.read_text()) == (0, f"{ID}\n{OTHER}\n")
    assert "2 appended" in done.stdout


def test_enqueue_of_what_stands_in_the_queue_file_says_so_and_appends_nothing(call: Call, queue: Path) -> None:
    call("enqueue", ID)
    again = call("enqueue", ID)
    assert (again.exit_code, queue.read_text()) == (0, f"{ID}\n")
    assert f"{ID} stands in the queue file already" in again.stdout
    assert "0 appended" in again.stdout
    assert "not read yet" not in again.stdout, "there is no ledger that could tell"


def test_enqueue_of_what_the_ledger_has_not_read_yet_says_that_too(call: Call, tmp_path: Path) -> None:
    ready_ledger(tmp_path).close()
    call("enqueue", ID)
    assert f"{ID} stands in the queue file already, not read yet" in call("enqueue", ID).stdout


def test_many_ids_in_many_batches_take_time_in_proportion_to_their_number() -> None:
    found, began = NamedIds(), time.process_time()
    for first in range(0, 40_000, 5_000):
        found.take(Intake(ids=tuple(tid(number) for number in range(first, first + 5_000))))
    assert len(found.ids) == 40_000
    assert time.process_time() - began < 2


def test_enqueue_of_a_name_that_is_no_id_and_no_file_says_both(call: Call) -> None:
    assert "nor is it a file" in call("enqueue", "no/such/file").stderr


def test_enqueue_of_what_the_ledger_knows_says_its_state_and_how_to_try_it_again(
    call: Call, queue: Path, tmp_path: Path
) -> None:
    ledger = ready_ledger(tmp_path)
    take_in(ledger, 1, 2)
    finish(ledger, claim(ledger), Failed("it made nothing"))
    ledger.close()
    done = call("enqueue", tid(1), tid(2), ID)
    assert (done.exit_code, queue.read_text()) == (0, f"{ID}\n")
    assert f"{tid(1)} is known already: failed; to try again: stem-archiver retry {tid(1)}" in done.stdout
    assert f"{tid(2)} is known already: queued" in done.stdout


def test_enqueue_of_a_file_with_a_bad_line_appends_the_others_and_names_it(
    call: Call, queue: Path, tmp_path: Path
) -> None:
    file = tmp_path / "ids.txt"
    file.write_text(f"{ID}\nshort\n{OTHER}\n")
    done = call("enqueue", str(file))
    assert (done.exit_code, queue.read_text()) == (1, f"{ID}\n{OTHER}\n")
    assert f"{file}: line 2: expected a task id" in done.stderr


@pytest.mark.parametrize("words", [["-"], ["# nothing"], [f"{ID}", "no/id"]])
def test_enqueue_without_an_id_or_with_a_word_that_is_none_appends_nothing(
    call: Call, queue: Path, words: list[str]
) -> None:
    done = call("enqueue", *words, stdin="\n# nothing\n")
    assert (done.exit_code, queue.exists()) == (2, False)


def test_enqueue_beside_a_file_that_is_no_ledger_appends_all(call: Call, queue: Path, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("no database")
    assert call("enqueue", ID).exit_code == 0
    assert queue.read_text() == f"{ID}\n"


def test_enqueue_appends_what_is_said_by_options_and_what_a_line_says_comes_first(call: Call, queue: Path) -> None:
    line = json.dumps({"taskId": OTHER, "kind": "wav", "title": "Its own"})
    done = call("enqueue", ID, line, "--kind", "music", "--title", 'Harbour "Lights"', "--parent", OTHER[::-1])
    assert done.exit_code == 0
    assert queue.read_text() == (
        f'{ID} kind=music title="Harbour \\"Lights\\"" parent={OTHER[::-1]}\n'
        f'{OTHER} kind=wav title="Its own" parent={OTHER[::-1]}\n'
    )


def test_enqueue_of_a_task_as_its_own_parent_appends_nothing_that_would_be_rejected(call: Call, queue: Path) -> None:
    done = call("enqueue", OTHER, ID, "--parent", ID)
    assert (done.exit_code, queue.exists()) == (2, False)
    assert f"{ID} cannot be its own parent" in done.stderr


@pytest.mark.parametrize("words", [["--kind", "vocals"], ["--parent", "short"]])
def test_enqueue_of_what_cannot_be_said_appends_nothing(call: Call, queue: Path, words: list[str]) -> None:
    done = call("enqueue", ID, *words)
    assert (done.exit_code, queue.exists()) == (2, False)
    assert "names is no" in done.stderr


def test_enqueue_appends_a_known_id_again_where_an_option_says_more_of_it(
    call: Call, queue: Path, tmp_path: Path
) -> None:
    with contextlib.closing(ready_ledger(tmp_path)) as ledger:
        take_in(ledger, 1)
    assert call("enqueue", tid(1), "--kind", "auto").exit_code == 0
    assert not queue.exists() or queue.read_text() == ""
    assert call("enqueue", tid(1), "--kind", "jobs").exit_code == 0
    assert queue.read_text() == f"{tid(1)} kind=jobs\n"
