"""The documents name nothing that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from archiver.commands.app import app
from archiver.commands.invocation import Exit
from tests import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["README.md", "SECURITY.md", "CHANGELOG.md", "tests/README.md"])
def test_every_path_that_a_document_names_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    paths = re.findall(r"\b((?:tests|deploy|config)/[\w./-]+\.\w+)", text)
    missing = [path for path in {*links, *paths} if not (ROOT / path).exists()]
    assert missing == []


def test_tests_readme_names_every_folder_of_tests() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").exists()}
    named = set(
        re.findall(r"^\| `(\w+)/` \|", (ROOT / "tests" / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named == folders


def test_readme_names_every_command() -> None:
    command = get_command(app)
    commands = getattr(command, "commands")  # noqa: B009 - typer's type does not say that it is a group
    assert {name for name in commands if not re.search(rf"^\| `{name}\b", README, re.MULTILINE)} == set()


def _commands(group: object, *path: str) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, command in getattr(group, "commands").items():  # noqa: B009 - as above
        if hasattr(command, "commands"):
            yield from _commands(command, *path, name)
        else:
            yield (*path, name), str(command.help)


@pytest.mark.parametrize(("path", "help_text"), list(_commands(get_command(app))))
def test_help_of_a_command_names_its_exit_codes_and_an_example_that_can_be_read(
    path: tuple[str, ...], help_text: str
) -> None:
    [codes] = re.findall(r"(?m)^\s*Exit codes: (.+)$", help_text)
    assert {int(code) for code in re.findall(r"\b(\d+)\b", codes)} <= {0, 1, 2, 3, 130, 143}
    [example] = re.findall(r"(?m)^\s*Example: (.+)$", help_text)
    words = example.rpartition("| ")[2].split()
    assert words[0] == "stem-archiver"
    assert " ".join(path) in example
    understood = CliRunner().invoke(app, [*words[1:], "--help"])
    assert understood.exit_code == 0, understood.output


@pytest.mark.parametrize(("begun", "completed"), [("pau", "pause"), ("config v", "validate"), ("--vers", "--version")])
def test_completion_of_a_shell_completes_commands_and_options(begun: str, completed: str) -> None:
    environ = {
        "_STEM_ARCHIVER_COMPLETE": "complete_bash",
        "COMP_WORDS": f"stem-archiver {begun}",
        "COMP_CWORD": str(len(begun.split())),
    }
    done = CliRunner().invoke(app, [], prog_name="stem-archiver", env=environ)
    assert done.output.split() == [completed]


def test_readme_names_every_exit_code() -> None:
    table = dict(re.findall(r"^\| ([\d, ]+) \| (.+) \|$", README, re.MULTILINE))
    assert list(table) == ["0", "1", "2", "3", "130, 143"]
    assert {int(code) for code in Exit} == {0, 1, 2, 3, 128}


def test_security_names_for_every_threat_a_module_and_tests_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    threats = re.split(r"(?m)^### ", text.partition("## Known limits")[0])[1:]
    assert len(threats) >= 15
    for threat in threats:
        title = threat.splitlines()[0]
        modules = re.findall(r"`((?:archiver|deploy)/[\w/.-]+)`", threat)
        tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", threat)
        assert modules, title
        assert tests, title
        assert [module for module in modules if not (ROOT / module).is_file()] == []
        missing = [name for file, name in tests if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")]
        assert missing == [], title
