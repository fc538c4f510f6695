"""The documents name nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from archiver.cli import Exit, app

ROOT = Path(__file__).parents[2]
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
