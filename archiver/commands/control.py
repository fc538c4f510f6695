"""`pause`, `resume`, `health` and `check`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.commands.invocation import (
    FOR_WORK,
    Exit,
    JsonFlag,
    at_work,
    fail,
    faults,
    ledger_of,
    settings_of,
    terminal,
)

if TYPE_CHECKING:
    from archiver.core.model import Dependency
    from archiver.settings import Loaded

ProviderFlag = Annotated[bool, typer.Option("--provider", help="Only the provider: nothing is asked.")]
RaceFlag = Annotated[bool, typer.Option("--race", help="Let 8 writers race for a new key; one small object stays.")]
StoreFlag = Annotated[bool, typer.Option("--store", help="Only the store: nothing is fetched or stored.")]

_NAMES = {"provider": "provider", "store": "store", "origin": "origin (the hosts that audio is fetched from)"}


def pause(
    context: typer.Context,
    provider: ProviderFlag = False,
    store: StoreFlag = False,
    span: Annotated[str, typer.Option("--for", metavar="SPAN", help="End by itself after 90s, 15m, 2h ...")] = "",
) -> None:
    """Leave the provider, the store or both alone until `resume`, here and in every process on this ledger.

    A running daemon begins nothing more within seconds and goes on taking ids in; a backfill ends with 3.

    Deadlines go on all the same.

    Exit codes: 0 paused; 2 usage or settings, or no ledger; 3 the ledger failed.

    Example: stem-archiver pause --store --for 2h
    """
    from archiver.app.clock import utc_now
    from archiver.settings import parse_duration

    try:
        until = utc_now() + parse_duration(span) if span else None
    except (ValueError, OverflowError) as error:
        fail(f"--for {error}", Exit.USAGE, "write it like 90s, 15m or 2h")
    with ledger_of(settings_of(context)) as ledger:
        for dependency in _dependencies(provider=provider, store=store):
            ledger.pauses.hold(dependency, until=until, now=utc_now())
            end = "until `stem-archiver resume`" if until is None else f"until {until:%Y-%m-%d %H:%M:%S} UTC"
            typer.echo(f"{_NAMES[dependency.value]} is paused {end}")


def resume(context: typer.Context, provider: ProviderFlag = False, store: StoreFlag = False) -> None:
    """End the pause of the provider, the store or all, whether `pause` began it or a refusal.

    What is still refused is paused again at the next try.

    Exit codes: 0 also when nothing was paused; 2 settings, or no ledger; 3 the ledger failed.

    Example: stem-archiver resume
    """
    with ledger_of(settings_of(context)) as ledger:
        lifted = [each for each in _dependencies(provider=provider, store=store) if ledger.pauses.lift(each)]
        for dependency in lifted:
            typer.echo(f"{_NAMES[dependency.value]} is no longer paused")
        if not lifted:
            typer.echo("nothing was paused")


def _dependencies(*, provider: bool, store: bool) -> list[Dependency]:
    from archiver.core.model import Dependency

    flags = {Dependency.PROVIDER: provider, Dependency.STORE: store, Dependency.ORIGIN: False}
    return [dependency for dependency, wanted in flags.items() if wanted or not (provider or store)]


def health(
    context: typer.Context,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, max=3600, metavar="SECONDS", help="How long to wait.")
    ] = 3,
) -> None:
    """Ask the running daemon at http.listen whether it is alive and progressing. For supervisors.

    Exit codes: 0 it is; 1 it is not, or does not answer; 2 usage or settings.

    Example: stem-archiver health --timeout 2
    """
    address = settings_of(context).settings.http.address()
    from archiver.web.health import ask

    if address is None or not address[1]:
        fail("http.listen names no port to ask at", Exit.USAGE, "set it to host:port, for the daemon and for this")
    alive, said = ask(*address, seconds=timeout)
    typer.echo(said, err=not alive)
    raise typer.Exit(Exit.DONE if alive else Exit.UNARCHIVED)


def check(context: typer.Context, as_json: JsonFlag = False, race: RaceFlag = False) -> None:
    """Try everything before you rely on it: settings, provider, bucket, clock, file modes, ledger's server.

    Exit codes: 0 nothing failed; 1 something did; 2 settings.

    Example: stem-archiver check
    """
    right = found_right(settings_of(context, *FOR_WORK), as_json=as_json, race=race)
    raise typer.Exit(Exit.DONE if right else Exit.UNARCHIVED)


def found_right(loaded: Loaded, *, as_json: bool = False, race: bool = False) -> bool:
    """Try these settings, print what is found, and return whether nothing failed."""
    from archiver.app.check import findings
    from archiver.commands.format import print_json
    from archiver.commands.printing import print_findings
    from archiver.logs import configure

    settings = loaded.settings
    log = configure("error", settings.log.format, secrets=settings.secrets())
    at_work()
    with faults():
        found = list(findings(loaded, log, race=race))
    if as_json:
        print_json({"findings": found}, sys.stdout)
        return all(finding.level != "fail" for finding in found)
    return print_findings(terminal(), found)
