"""`deploy show` and `deploy list`, and `config example`: what this installation carries, printed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from archiver.commands.invocation import Exit, fail

_WHAT = "systemd, compose, kubernetes, alerts, policy, or a file that `deploy list` names"


def show(what: Annotated[str, typer.Argument(metavar="WHAT", help=f"{_WHAT[0].upper()}{_WHAT[1:]}.")]) -> None:
    """Print what runs the service for good: a unit, a compose file, resources of Kubernetes, alerts, or a policy.

    kubernetes is all resources in one; policy is the rights that the bucket's user needs, with ${bucket} and ${prefix}
    to be filled in. Nothing is written anywhere: redirect it into a file.

    Exit codes: 0 printed; 2 there is no such file, or this installation carries none.

    Example: stem-archiver deploy show systemd
    """
    from archiver.app.shipped import MAIN, deploy_files, kubernetes, shipped

    with _carried():
        files = deploy_files()
        if what == "kubernetes":
            text = kubernetes()
        elif what in MAIN or what in files:
            text = shipped(MAIN.get(what, f"deploy/{what}"))
        else:
            fail(f"deploy has no {what!a}", Exit.USAGE, f"there are: {', '.join(MAIN)}; `deploy list` names every file")
    typer.echo(text, nl=False)


def list_files() -> None:
    """Name every file that `deploy show` can print.

    Exit codes: 0 named; 2 this installation carries none.

    Example: stem-archiver deploy list
    """
    from archiver.app.shipped import deploy_files

    with _carried():
        for name in deploy_files():
            typer.echo(name)


def example() -> None:
    """Print settings to begin with: every one of them, with what it means and its default.

    Exit codes: 0 printed; 2 this installation carries none.

    Example: stem-archiver config example
    """
    from archiver.app.shipped import EXAMPLE, shipped

    with _carried():
        typer.echo(shipped(EXAMPLE), nl=False)


@contextmanager
def _carried() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        fail(
            "this installation carries no such files",
            Exit.USAGE,
            "a wheel and a checkout do; the container image leaves them out",
        )
