"""The tasks: any filter in an order, a page at a time; the whole view is in its address."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from archiver.core.listing import TaskOrder, TaskPage, TaskPlace
from archiver.core.model import StemRow
from archiver.core.states import TaskState
from archiver.ports.listing import Moment
from archiver.web.page.asking import PATH, SPANS, Asked, asked_in
from archiver.web.page.exports import AT_ONCE, Page, as_csv, as_json, in_parts
from archiver.web.page.parts import Parts, View

SIGNS = {
    TaskState.QUEUED: ("→", "info", "queued"),
    TaskState.LISTED: ("→", "info", "in work"),
    TaskState.ARCHIVED: ("✓", "good", "safe"),
    TaskState.LOST: ("✕", "bad", "lost"),
    TaskState.FAILED: ("✕", "bad", "never made"),
    TaskState.MISSING: ("✕", "bad", "unknown to the provider"),
}
"""Of each state sign, colour and word."""

ORDERS = {
    TaskOrder.NEWEST: "added last first",
    TaskOrder.DEADLINE: "open ones, nearest deadline first",
    TaskOrder.ENDED: "ended last first",
    TaskOrder.SIZE: "most bytes stored first",
}


def routes(parts: Parts) -> Sequence[Route]:
    """Return the routes of this view."""

    def show(request: Request) -> Response:
        asked, moment = asked_in(request.query_params.multi_items()), _moment(parts)
        page = parts.listings.page(asked.wanted, asked.order, moment, start=asked.start, back=asked.back)
        count = parts.listings.count(asked.wanted, moment)
        facts = _choices(parts) | {"asked": asked, "page": page, "count": count}
        return parts.pages.page(request, "tasks.html", status=200, **facts)

    def file(writes: Callable[[Page], Iterator[str]], kind: str, suffix: str, request: Request) -> Response:
        asked, moment = asked_in(request.query_params.multi_items()), _moment(parts)
        content = in_parts(writes(partial(_part, parts, asked, moment)))
        name = f'attachment; filename="tasks{suffix}"'
        return StreamingResponse(content, media_type=kind, headers={"Content-Disposition": name})

    return [
        Route(PATH, show),
        Route(f"{PATH}.csv", partial(file, as_csv, "text/csv; charset=utf-8", ".csv")),
        Route(f"{PATH}.json", partial(file, as_json, "application/json", ".json")),
    ]


def _moment(parts: Parts) -> Moment:
    return Moment(parts.clock(), parts.words.at_risk, parts.words.retention)


def _part(parts: Parts, asked: Asked, moment: Moment, start: TaskPlace | None) -> TaskPage:
    return parts.listings.page(asked.wanted, asked.order, moment, start=start, size=AT_ONCE)


def _unmarked(_: StemRow) -> tuple[str, ...]:
    return ()


def _choices(parts: Parts) -> dict[str, object]:
    accounts = [str(account) for account in parts.figures.accounts]
    return {
        "can_retry": parts.operations is not None,
        "marks": _unmarked if parts.soundings is None else parts.soundings.marks,
        "signs": SIGNS,
        "orders": ORDERS,
        "spans": dict(zip(SPANS, ("Added", "Created", "Deadline", "Ended"), strict=True)),
        "accounts": accounts if len(accounts) > 1 else [],
    }


VIEW = View(PATH, "Tasks", routes, key="t")
