"""The documents name nothing that is not there, and every command in them is one that the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from archiver.commands.app import app
from archiver.commands.invocation import Exit
from archiver.core.errors import ArchiverError
from archiver.logs import EVENTS
from archiver.settings import KEYS
from tests import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = ("archiver", "config", "deploy", "tests")
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *(p for room in ROOMS for p in (ROOT / room).rglob("*.md"))]
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors_of(path: Path) -> set[str]:
    """Return the names that a heading has as the target of a link, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_of_a_document_leads_somewhere(name: str) -> None:
    here = (ROOT / name).parent
    dead = []
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]+))?\)", text_of(name)):
        target = here / path if path else ROOT / name
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            dead.append(f"{path}#{anchor}")
    assert dead == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_path_that_a_document_names_exists(name: str) -> None:
    paths = re.findall(r"(?<![\w/.-])((?:tests|deploy|config)/[\w./-]+\.\w+)", text_of(name))
    assert [path for path in sorted(set(paths)) if not (ROOT / path).exists()] == []


def commands_in(text: str) -> Iterator[Sequence[str]]:
    """Yield the words behind `stem-archiver` of each command line in code, in blocks and in sentences."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in lines:
        if "stem-archiver" not in line:
            continue
        for command in _simple_commands(line):
            words = list(_behind_wrappers(command))
            if words and words[0].rpartition("/")[2] == "stem-archiver" and words[1:2] != ["COMMAND"]:
                yield words[1:]


def _simple_commands(line: str) -> Iterator[Sequence[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    for word in lexer:
        if word in {"|", "||", "&&", ";", "&"}:
            yield command
            command = []
        else:
            command.append(word)
    yield command


def _behind_wrappers(words: Sequence[str]) -> Iterator[str]:
    """Yield the command that is run in the end: behind assignments, `docker exec` and `kubectl exec ... --`."""
    words = [word for number, word in enumerate(words) if not re.match(r"[A-Z_]+=", word) or number]
    if words[:2] == ["docker", "exec"]:
        words = words[3:]
    elif words[:1] == ["kubectl"]:
        words = words[words.index("--") + 1 :] if "--" in words else []
    for word in words:
        if word[:1] in "<>":
            return
        yield word


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_of_a_document_is_one_that_the_program_takes(name: str) -> None:
    wrong = []
    for words in commands_in(text_of(name)):
        done = CliRunner().invoke(app, [*words, "--help"])
        if done.exit_code != 0:
            wrong.append((words, done.output))
    assert wrong == []


def test_commands_are_found_behind_whatever_runs_them() -> None:
    text = """```sh
A=1 stem-archiver status   # a comment
kubectl -n stem-archiver create secret generic stem-archiver
kubectl -n stem-archiver exec -i stem-archiver-0 -- stem-archiver backfill - <ids.txt
docker exec stems stem-archiver enqueue ID
echo x | /opt/stem-archiver/bin/stem-archiver get \\
  ID && systemctl status stem-archiver
```
and `stem-archiver show ID` in a sentence; `systemctl status stem-archiver`.
"""
    assert [" ".join(words) for words in commands_in(text)] == [
        "status",
        "backfill -",
        "enqueue ID",
        "get ID",
        "show ID",
    ]


def test_documents_have_as_many_commands_as_they_seem_to() -> None:
    assert sum(1 for name in DOCUMENTS for _ in commands_in(text_of(name))) >= 80


COMMANDS = "archiver/commands/README.md"


def test_table_of_commands_names_of_each_only_options_that_it_has() -> None:
    wrong: list[tuple[list[str], str]] = []
    for row in re.findall(r"^\| (`[a-z].*) \|$", text_of(COMMANDS), re.MULTILINE):
        path = re.findall(r"[a-z]+", re.split(r"[A-Z\[]| -", row.strip("`").partition("`")[0])[0])
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", row))
        known = [option for option in options if CliRunner().invoke(app, [*path, option, "x", "--help"]).exit_code == 0]
        wrong += [(path, option) for option in options if option not in known]
    assert wrong == []


FILES = re.compile(
    r"\.(?:md|toml|env|txt|json|sh|py|yml|yaml|lock|conf|service|timer|jsonl|mp3|bin|mid|db|tf|part|sock|whl)$"
)


def error_codes() -> set[str]:
    """Return every code of an error that the package can raise, by its classes and their literals."""
    found: set[str] = set()
    for path in (ROOT / "archiver").rglob("*.py"):
        found |= set(
            re.findall(r'"((?:api|cdn|store|provider|ledger|origin|record)\.[a-z_0-9]+)"', path.read_text("utf-8"))
        )
    assert issubclass(ArchiverError, Exception)
    return found


@pytest.mark.parametrize(
    "name", [name for name in DOCUMENTS if name.startswith(("README", "config", "deploy", COMMANDS))]
)
def test_every_setting_event_or_error_that_a_document_names_exists(name: str) -> None:
    dotted = {word for word in re.findall(r"`([a-z_0-9]+\.[a-z_0-9]+)`", text_of(name)) if not FILES.search(word)}
    assert sorted(dotted - set(EVENTS) - set(KEYS) - error_codes()) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_metric_and_alert_that_a_document_names_is_in_the_runbook(name: str) -> None:
    runbook = text_of("deploy/RUNBOOK.md")
    named = set(re.findall(r"\b(stem_archiver_\w+[a-z]|StemArchiver\w+)\b", text_of(name)))
    assert [word for word in sorted(named) if f"`{word}" not in runbook] == []


def test_tests_readme_names_every_folder_of_tests() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").exists()}
    named = set(
        re.findall(r"^\| `(\w+)/` \|", (ROOT / "tests" / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named == folders


def test_readme_and_the_table_of_commands_name_every_command() -> None:
    command = get_command(app)
    commands = getattr(command, "commands")  # noqa: B009 - typer's type does not say that it is a group
    table = text_of(COMMANDS)
    assert {name for name in commands if not re.search(rf"^\| `{name}\b", table, re.MULTILINE)} == set()
    groups = {name: getattr(each, "rich_help_panel") for name, each in commands.items()}  # noqa: B009 - as above
    table = README.partition("## Commands and exit codes")[2].partition("`stem-archiver COMMAND --help`")[0]
    rows = re.findall(r"^\| ([A-Z][a-z ]+) \| (`.+`) \|$", table, re.MULTILINE)
    assert {name: group for group, names in rows for name in re.findall(r"`([a-z]+)`", names)} == groups


def _commands(group: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer's type does not say that it is a group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {path}", each) for path, each in _commands(command))
        else:
            yield name, command


EVERY_COMMAND = dict(_commands(get_command(app)))


def test_table_of_commands_names_every_option_but_help() -> None:
    rows = re.findall(r"^\| (`[a-z].*) \|$", text_of(COMMANDS), re.MULTILINE)
    unsaid: list[tuple[str, list[str]]] = []
    for path, command in EVERY_COMMAND.items():
        said = " ".join(row for row in rows if re.search(rf"`{path}\b", row.partition(" | ")[0]))
        shown = (each for each in command.params if each.opts[0].startswith("-") and not each.hidden)
        spelled = [[*each.opts, *each.secondary_opts] for each in shown]
        unsaid += [(path, each) for each in spelled if not any(re.search(rf"{one}\b", said) for one in each)]
    assert unsaid == []


@pytest.mark.parametrize(("path", "help_text"), [(path, str(each.help)) for path, each in EVERY_COMMAND.items()])
def test_help_of_a_command_names_its_exit_codes_and_an_example_that_can_be_read(path: str, help_text: str) -> None:
    [codes] = re.findall(r"(?m)^\s*Exit codes: (.+)$", help_text)
    assert {int(code) for code in re.findall(r"\b(\d+)\b", codes)} <= {0, 1, 2, 3, 130, 143}
    [example] = re.findall(r"(?m)^\s*Example: (.+)$", help_text)
    words = example.rpartition("| ")[2].split()
    assert words[0] == "stem-archiver"
    assert path in example
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


@pytest.mark.parametrize("name", ["README.md", COMMANDS])
def test_document_names_every_exit_code(name: str) -> None:
    table = dict(re.findall(r"^\| ([\d, ]+) \| (.+) \|$", text_of(name), re.MULTILINE))
    assert list(table) == ["0", "1", "2", "3", "130, 141, 143"]
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


def test_what_the_runbook_says_that_status_says_is_what_it_says() -> None:
    code = [f"archiver/{name}.py" for name in ("commands/overview", "service/presence", "core/fixity", "core/model")]
    said = re.sub(r"\s+", " ", " ".join(text_of(name) for name in ["tests/golden/files/status.txt", *code]))
    symptoms = text_of("deploy/RUNBOOK.md").partition("## Symptoms\n")[2].partition("\n## ")[0]
    columns = [row.split(" | ")[1] for row in symptoms.splitlines() if row.startswith("| ")][1:]
    quoted = [words for column in columns for words in re.findall(r"`([^`]+)`", column)]
    parts = [part.strip(" :") for words in quoted for part in re.split(r"\.{3}|\d[\w:]*", words)]
    fragments = {re.sub(r"\s+", " ", part) for part in parts if len(part) > 2}
    assert len(fragments) > 20
    assert [part for part in sorted(fragments) if part not in said] == []
