"""Adding ids by pasting them: a preview of what is new, known or rejected, and then the queue file."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from archiver.core.model import AccountName
from archiver.web.page.forms import Form
from archiver.web.page.operating import FAULTS
from archiver.web.page.parts import Parts, View
from archiver.web.page.words import counted

SHOWN = 200
"""Rows of each kind that the preview names."""


def routes(parts: Parts) -> Sequence[Route]:
    """Return the routes of this view; none where the page has no actions."""
    operations, accounts = parts.operations, {str(name): name for name in parts.figures.accounts}
    if operations is None:
        return []

    def show(request: Request) -> Response:
        return parts.pages.page(
            request, "add.html", text="", preview=None, accounts=list(accounts), account="", shown=0
        )

    def take(request: Request) -> Response:
        form: Form = request.state.form
        text, account = form.one("ids"), form.one("account")
        if form.one("sure") != "yes":
            found = operations.preview(text)
            facts = {"text": text, "preview": found, "accounts": list(accounts), "account": account, "shown": SHOWN}
            return parts.pages.show(request, "add.html", facts)
        of: AccountName | None = accounts.get(account)
        try:
            came_to = f"{counted(operations.add(text, of), 'id')} appended to the queue file; taken in at the next look"
        except FAULTS as error:
            parts.doings.note("add ids", str(error), is_fault=True)
        else:
            parts.doings.note("add ids", came_to)
        return RedirectResponse("/events", status_code=303)

    return [Route("/add", show), Route("/add", take, methods=["POST"])]


VIEW = View("/add", "Add", routes, key="a", is_action=True)
