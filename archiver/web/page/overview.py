"""The overview: what is safe, what is not, and what will be lost and when."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from archiver.web.page.parts import Parts, View


def routes(parts: Parts) -> Sequence[Route]:
    """Return the routes of this view."""

    def show(request: Request) -> Response:
        now, words = parts.clock(), parts.words
        overview = parts.reports.overview(now=now, at_risk=words.at_risk, retention=words.retention)
        return parts.pages.page(request, "overview.html", overview=overview)

    return [Route("/", show)]


VIEW = View("/", "Overview", routes, key="o")
