"""`init`: from nothing to settings that `check` finds right."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from archiver.commands.invocation import Call, Exit, call_of, fail, standard_input

if TYPE_CHECKING:
    from archiver.app.setup import Setup, Way

_KEY = "provider.api_key"


class _Question(NamedTuple):
    setting: str
    option: str
    asked: str
    """Put to a person; empty where nobody is asked."""
    needed: bool = False


_QUESTIONS = (
    _Question("store.bucket", "--bucket", "Bucket", needed=True),
    _Question("store.endpoint_url", "--endpoint-url", "Address of the store (none for Amazon S3)"),
    _Question("store.region", "--region", "Region (none for what the address, or AWS, says)"),
    _Question("store.prefix", "--prefix", "What every key begins with (none for nothing)"),
    _Question("provider.base_url", "--base-url", ""),
)

KeyFile = Annotated[
    str | None, typer.Option("--key-file", metavar="FILE", help="Holds the provider's API key; - for standard input.")
]
WayOption = Annotated[
    str | None, typer.Option("--for", metavar="WAY", help="By what it is kept at work: hand, systemd or compose.")
]
BucketOption = Annotated[str | None, typer.Option("--bucket", metavar="NAME", help="Where the audio goes.")]
EndpointOption = Annotated[
    str | None, typer.Option("--endpoint-url", metavar="URL", help="Address of the store; none for Amazon S3.")
]
RegionOption = Annotated[str | None, typer.Option("--region", metavar="NAME", help="Region of the bucket.")]
PrefixOption = Annotated[str | None, typer.Option("--prefix", metavar="TEXT", help="What every key begins with.")]
YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: for scripts.")]
CheckFlag = Annotated[bool, typer.Option("--check/--no-check", help="Try the settings at once.")]


def init(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Where they are written; the working folder.", show_default=False),
    ] = None,
    bucket: BucketOption = None,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    prefix: PrefixOption = None,
    key_file: KeyFile = None,
    way: WayOption = None,
    check: CheckFlag = True,
    yes: YesFlag = False,
) -> None:
    """Ask for key and bucket, write settings (archiver.toml) and key (kie-api-key, 0600), and try them by `check`.

    Nothing is written over. What is not given is asked for, or taken from the environment (ARCHIVER_PROVIDER__API_KEY,
    ARCHIVER_STORE__BUCKET, ...). The key is never given on the command line, where other users could read it.

    --for systemd writes a unit, too, and goes to /etc/stem-archiver; --for compose writes .env (0600) and compose.yaml.

    The store's own credentials are not asked for: they are found as in every program for S3 (AWS_ACCESS_KEY_ID and kin,
    ~/.aws, the role of the machine).

    Exit codes: 0 written, and nothing is wrong with them; 1 written, but `check` finds a fault; 2 usage, or a file is
    there already; 3 they cannot be written.

    Example: stem-archiver init --yes --bucket my-stems --key-file key.txt
    """
    from archiver.app.setup import setup_at

    asks = not yes and sys.stdin is not None and sys.stdin.isatty()
    given = {"bucket": bucket, "endpoint_url": endpoint_url, "region": region, "prefix": prefix}
    chosen = _way(way, asks=asks)
    place = setup_at(chosen, _settings_file(call_of(context), folder, chosen), key_file)
    _refuse_to_overwrite(place)
    options = {f"store.{name}": value for name, value in given.items()}
    values = {_KEY: _key(key_file, asks=asks), **_answers(options, asks=asks)}
    _begin(place.holding(values), check=check)


def _way(way: str | None, *, asks: bool) -> Way:
    from archiver.app.setup import Way

    names = ", ".join(Way)
    while True:
        text = way if way is not None else _asked(f"Kept at work by ({names})", "hand") if asks else "hand"
        try:
            return Way(text.lower())
        except ValueError:
            if way is not None or not asks:
                fail(f"--for {text!a} is none", Exit.USAGE, f"there are: {names}")
            typer.echo(f"  there are: {names}")


def _settings_file(call: Call, folder: Path | None, way: Way) -> Path:
    """Return where the settings go: below DIR, else where every command will look for them."""
    from archiver.app.setup import SYSTEM_FOLDER, Way

    if way is Way.COMPOSE:
        return (folder or Path()).absolute() / ".env"
    named = call.config or (Path(given) if (given := os.environ.get("ARCHIVER_CONFIG")) else None)
    if folder is None and named is not None:
        return named.absolute()
    return (folder or (SYSTEM_FOLDER if way is Way.SYSTEMD else Path())).absolute() / "archiver.toml"


def _refuse_to_overwrite(setup: Setup) -> None:
    for path in setup.places():
        if path.exists() or path.is_symlink():
            _stands(path)


def _stands(path: object) -> None:
    fail(
        f"{path} is there already, and nothing is written over",
        Exit.USAGE,
        "change it with an editor and try it by `stem-archiver check`, or name another folder",
    )


def _key(file: str | None, *, asks: bool) -> str:
    """Return the key: from the file, the environment, or a person."""
    from archiver.settings.first import judged

    given, source = os.environ.get("ARCHIVER_PROVIDER__API_KEY"), "ARCHIVER_PROVIDER__API_KEY"
    if file is not None:
        source = "--key-file"
        try:
            given = (standard_input().readline() if file == "-" else _first_line(Path(file))).strip()
        except OSError as error:
            fail(f"--key-file: {error.strerror}", Exit.USAGE)
    if given is None and not asks:
        fail("the provider's API key is needed", Exit.USAGE, "give --key-file FILE, or - for standard input")
    while True:
        text = given if given is not None else _asked("API key of the provider (it is not shown)", hidden=True)
        try:
            return judged(_KEY, text.strip())
        except ValueError as error:
            if given is not None:
                fail(f"{source} {error}", Exit.USAGE)
            typer.echo(f"  {error}")


def _first_line(file: Path) -> str:
    with file.open(encoding="ascii", errors="replace") as lines:
        return lines.readline(5000)


def _answers(options: Mapping[str, str | None], *, asks: bool) -> dict[str, str]:
    """Return the settings beside the key that have a value."""
    from archiver.settings import variable

    found = {}
    for question in _QUESTIONS:
        option = options.get(question.setting)
        given = os.environ.get(variable(question.setting)) if option is None else option
        source = variable(question.setting) if option is None else question.option
        if text := _answer(question, given, source, asks=asks):
            found[question.setting] = text
    return found


def _answer(question: _Question, given: str | None, source: str, *, asks: bool) -> str:
    from archiver.settings.first import judged

    asks = asks and bool(question.asked)
    if given is None and question.needed and not asks:
        fail("the bucket is needed", Exit.USAGE, f"give {question.option} NAME")
    while True:
        text = given if given is not None else _asked(question.asked, None if question.needed else "") if asks else ""
        text = text.strip()
        try:
            return judged(question.setting, text) if text or question.needed else ""
        except ValueError as error:
            if given is not None:
                fail(f"{source} {error}", Exit.USAGE)
            typer.echo(f"  {error}")


def _asked(question: str, default: str | None = None, *, hidden: bool = False) -> str:
    try:
        return str(typer.prompt(question, default=default, show_default=bool(default), hide_input=hidden))
    except typer.Abort:
        typer.echo()
        fail("nothing was written", Exit.USAGE)


def _begin(setup: Setup, *, check: bool) -> None:
    """Write, try, and say what comes next."""
    from archiver.app.setup import write
    from archiver.commands.control import found_right
    from archiver.settings import load

    program = _program()
    files = setup.files(program)
    try:
        write(files)
    except FileExistsError as error:
        _stands(error.filename2 or error.filename)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", Exit.PAUSED, "choose another folder, or do it as root (sudo)")
    for file in files:
        typer.echo(f"written: {file.path} ({file.holds})")
    for path in setup.hidden(program):
        typer.echo(f"  the unit hides {path} from the service: install into /opt, settings into /etc/stem-archiver")
    right = True
    if check:
        config = setup.toml()
        right = found_right(load(config, {**os.environ, **setup.environ()}, search=()))
    typer.echo("next:" if right else "mend what failed, try it by `check`, and then:")
    for line in setup.next_steps(_called(setup)):
        typer.echo(f"  {line}")
    raise typer.Exit(Exit.DONE if right else Exit.UNARCHIVED)


def _program() -> list[str]:
    """Return the words that call this program, from anywhere."""
    called = Path(sys.argv[0])
    return [str(called.absolute())] if called.name == "stem-archiver" else [sys.executable, "-m", "archiver"]


def _called(setup: Setup) -> str:
    """Return how a person calls it with these settings."""
    from archiver.settings import SEARCH

    found = [path.absolute() for path in SEARCH]
    return "stem-archiver" if setup.settings in found else f"stem-archiver -c {shlex.quote(str(setup.settings))}"
