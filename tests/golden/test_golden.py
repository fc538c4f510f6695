"""Users see what they saw: every text of it stands in `files/`, and changes only with `--update`, as a diff."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.golden import seen

FILES = Path(__file__).parent / "files"


@dataclass(frozen=True, slots=True)
class Golden:
    """The files, and whether they are to be written anew."""

    folder: Path
    update: bool

    def hold(self, name: str, text: str) -> None:
        """Fail, with the difference, unless `text` is what its file says; or write it."""
        file = self.folder / f"{name}.txt"
        if self.update:
            file.write_text(text, encoding="utf-8")
            return
        kept = file.read_text(encoding="utf-8") if file.exists() else ""
        if text != kept:
            before, now = (each.splitlines(keepends=True) for each in (kept, text))
            difference = "".join(difflib.unified_diff(before, now, f"{name}.txt", "seen now"))
            pytest.fail(
                f"users see something else than {file} says:\n{difference}\nIf that is meant: "
                f"pytest --update {Path(__file__).parent}, then read the diff of git.",
                pytrace=False,
            )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(FILES, update=request.config.getoption("--update"))


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> seen.Run:
    new_bucket = request.getfixturevalue("fresh_buckets")
    return seen.run_of(tmp_path_factory.mktemp("site"), request.getfixturevalue("s3_server"), new_bucket())


@pytest.mark.parametrize("name", seen.WITHOUT_A_SITE)
def test_text_is_as_its_file_says(golden: Golden, tmp_path: Path, name: str) -> None:
    golden.hold(name, seen.WITHOUT_A_SITE[name](tmp_path))


@pytest.mark.long
@pytest.mark.parametrize("name", seen.OF_A_RUN)
def test_text_of_a_run_of_the_demos_tasks_is_as_its_file_says(golden: Golden, run: seen.Run, name: str) -> None:
    golden.hold(name, seen.OF_A_RUN[name](run))


@pytest.mark.long
def test_schema_on_postgresql_is_as_its_file_says(golden: Golden, tmp_path: Path, postgres_url: str) -> None:
    golden.hold(seen.OF_POSTGRES, seen.postgres_schema(tmp_path, postgres_url))


def test_process_prints_the_help_that_the_file_holds() -> None:
    page = (FILES / "help.txt").read_text(encoding="utf-8").partition("=> 0\n")[0]
    assert page == f"$ stem-archiver --help\n{seen.help_of_the_process()}"


def test_every_file_is_compared_with_something() -> None:
    compared = {*seen.WITHOUT_A_SITE, *seen.OF_A_RUN, seen.OF_POSTGRES}
    assert {file.stem for file in FILES.iterdir()} == compared


def test_difference_fails_with_the_way_to_update_and_is_written_by_it_alone(tmp_path: Path) -> None:
    kept = tmp_path / "greeting.txt"
    kept.write_text("hello\nworld\n")
    with pytest.raises(pytest.fail.Exception, match=r"(?s)-world\n\+you\n.*--update"):
        Golden(tmp_path, update=False).hold("greeting", "hello\nyou\n")
    assert kept.read_text() == "hello\nworld\n"
    Golden(tmp_path, update=True).hold("greeting", "hello\nyou\n")
    assert kept.read_text() == "hello\nyou\n"
    Golden(tmp_path, update=False).hold("greeting", "hello\nyou\n")


def test_sentences_of_libraries_are_no_events_of_ours() -> None:
    sentence = 'Execution of job "dispatch" skipped: maximum number of running instances reached (1)'
    lines = [{"event": sentence, "level": "warning"}, {"event": "daemon.started", "level": "info", "owner": "me"}]
    run = seen.Run({}, httpx.Response(200), httpx.Response(200), lines, {}, ())
    assert seen.logged_fields(run) == "daemon.started (info)\n    owner\n"
