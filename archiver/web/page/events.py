"""Events: the last moves of all tasks, and what the page itself did."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from archiver.web.page.parts import Parts, View

MOVES = 100


def routes(parts: Parts) -> Sequence[Route]:
    """Return the routes of this view."""

    def facts() -> dict[str, object]:
        return {
            "moves": parts.figures.plots.moves(most=MOVES),
            "doings": parts.doings.last(),
            "now": parts.clock(),
        }

    def show(request: Request) -> Response:
        return parts.pages.show(request, "events.html", facts())

    def live(request: Request) -> Response:
        return parts.pages.show(request, "moves.html", facts())

    return [Route("/events", show), Route("/events/live", live)]


VIEW = View("/events", "Events", routes, key="e")
