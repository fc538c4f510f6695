"""The application: every view's routes behind the safeguards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from archiver.core.errors import LedgerFault
from archiver.web.page import add, events, operations, overview, retrying, task, tasks
from archiver.web.page.parts import Parts, View
from archiver.web.page.rendering import STATIC, Link

VIEWS: tuple[View, ...] = (overview.VIEW, tasks.VIEW, add.VIEW, events.VIEW, operations.VIEW, retrying.VIEW, task.VIEW)
"""All views, in the order of the navigation."""

Handler = Callable[[Request, Exception], Awaitable[Response]]


def links(*, operates: bool) -> list[Link]:
    """Return the views that the navigation names; with those that change something, where it `operates`."""
    return [Link(view.path, view.title, view.key) for view in VIEWS if view.title and (operates or not view.is_action)]


def application(parts: Parts) -> Starlette:
    """Return the application of these parts."""
    routes = [Route(f"{STATIC}{{name}}", parts.pages.assets.answer)]
    for view in VIEWS:
        routes += view.routes(parts)
    handlers = {404: _absent(parts), 405: _absent(parts), LedgerFault: _without_ledger(parts)}
    return Starlette(routes=routes, exception_handlers=handlers)


def _absent(parts: Parts) -> Handler:
    async def answer(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        return parts.pages.page(request, "absent.html", status=status)

    return answer


def _without_ledger(parts: Parts) -> Handler:
    async def answer(request: Request, error: Exception) -> Response:
        parts.log.warning("page.without_ledger", error=str(error), hint=getattr(error, "hint", ""))
        return parts.pages.page(request, "without_ledger.html", status=503)

    return answer
