"""Retry of all tasks that a view shows, however many: asked once more, then with what was done, and a stop."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from archiver.core.listing import TaskFilter, TaskOrder, TaskPage, TaskPlace
from archiver.ports.listing import Moment
from archiver.web.page.asking import PATH, asked_in
from archiver.web.page.batches import AT_ONCE, Batches, may_be_retried
from archiver.web.page.forms import Form
from archiver.web.page.parts import Parts, View
from archiver.web.page.words import counted

AT = f"{PATH}/retry"
_FIELDS_MAX = 40


def routes(parts: Parts) -> Sequence[Route]:
    """Return the routes of this operation; none where the page has no actions."""
    operations, batches = parts.operations, Batches(parts.doings)
    if operations is None:
        return []

    def begin(request: Request) -> Response:
        form: Form = request.state.form
        asked = asked_in(parse_qsl(form.one("view"), max_num_fields=_FIELDS_MAX))
        moment = Moment(parts.clock(), parts.words.at_risk, parts.words.retention)
        wanted = may_be_retried(asked.wanted)
        if form.one("sure") != "yes":
            question = f"Put {_number(parts, wanted, moment)} back to work, where there is anything to try again?"
            fields = form.others("sure", "form_token")
            return parts.pages.page(request, "sure.html", question=question, fields=fields, back=asked.path())
        batches.begin(f"retry all of {asked.path()}", partial(_look, parts, wanted, moment), operations.retry)
        return RedirectResponse(AT, status_code=303)

    def stop(request: Request) -> Response:
        del request
        batches.stop()
        return RedirectResponse(AT, status_code=303)

    def show(template: str, request: Request) -> Response:
        return parts.pages.page(request, template, batch=batches.last)

    return [
        Route(AT, begin, methods=["POST"]),
        Route(AT, partial(show, "batch.html")),
        Route(f"{AT}/live", partial(show, "batch_progress.html")),
        Route(f"{AT}/stop", stop, methods=["POST"]),
    ]


def _look(parts: Parts, wanted: TaskFilter, moment: Moment, start: TaskPlace | None) -> TaskPage:
    # In the order of their acceptance, which no retry changes: each is met once.
    return parts.listings.page(wanted, TaskOrder.NEWEST, moment, start=start, size=AT_ONCE)


def _number(parts: Parts, wanted: TaskFilter, moment: Moment) -> str:
    count = parts.listings.count(wanted, moment)
    return counted(count.tasks, "task") if count.is_exact else f"all of more than {counted(count.tasks, 'task')}"


VIEW = View(AT, "", routes)
