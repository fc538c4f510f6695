"""The overview: what is safe, what is not, what will be lost and when, and what needs a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from archiver.web.page.asking import due_by
from archiver.web.page.figures import Figures, Kept
from archiver.web.page.fixity_map import fixity_map
from archiver.web.page.parts import Parts, View
from archiver.web.page.plot import day_plot, deadline_plot

_MINUTE = timedelta(minutes=1)
_ADVISED = timedelta(days=90)
LIVE = "/overview/live"
LASTS = timedelta(seconds=10)
"""The age up to which the last figures are shown while new ones are made."""
PATIENCE = 0.07
"""Seconds that a view waits for new ones before that; what is asked for behind it waits until they are there."""


def routes(parts: Parts) -> Sequence[Route]:
    """Return the routes of this view."""
    kept = Kept[tuple[str, Figures]](LASTS)

    def current(patience: float | None) -> tuple[str, Figures]:
        """Return the figures and their mark: the ledger's changes, and the minute, as spans move."""
        now = parts.clock()
        mark = f"{parts.figures.plots.changes()}-{int(now.timestamp() / _MINUTE.total_seconds()):x}"
        done = [each.at for each in parts.doings.last()[:1]]  # what somebody did here is seen at once

        def make() -> tuple[str, Figures]:
            return mark, parts.figures.look(now)

        return kept.of(mark, now, make, since=done, patience=patience)

    def show(request: Request) -> Response:
        return parts.pages.page(request, "overview.html", **_drawn(parts, current(PATIENCE)[1]))

    def live(request: Request) -> Response:
        mark, figures = current(None)
        its_mark = f'"{mark}-{request.state.form_token[:8]}"'  # forms are another browser's with another token
        fields = {"ETag": its_mark, "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == its_mark:
            return Response(status_code=304, headers=fields)
        answer = parts.pages.page(request, "figures.html", **_drawn(parts, figures))
        answer.headers.update(fields)
        return answer

    return [Route("/", show), Route(LIVE, live)]


def _drawn(parts: Parts, figures: Figures) -> dict[str, Any]:
    now, at_risk = figures.now, parts.words.at_risk
    within = parts.words.within or _ADVISED
    return {
        "figures": figures,
        "overview": figures.overview,
        "outlook": figures.outlook,
        "now": now,
        "at_risk": at_risk,
        "within": parts.words.within,
        "by_deadline": due_by,
        "live": LIVE,
        "plots": [
            (name, deadline_plot(figures.outlook, now, at_risk, width, height))
            for name, width, height in (("wide", 1100, 260), ("narrow", 340, 240))
        ],
        "day": day_plot(figures.archived, now),
        "map": fixity_map(figures.slices, now, within),
    }


def drawn(parts: Parts) -> dict[str, Any]:
    """Return the facts of the overview as they are now."""
    return _drawn(parts, parts.figures.look(parts.clock()))


VIEW = View("/", "Overview", routes, key="o")
