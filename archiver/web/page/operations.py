"""Operations: each is a command's own code, asked for once more before it is done, and listed under Events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from archiver.core.model import Dependency, TaskId, task_id
from archiver.core.said import title_of
from archiver.web.page.doings import Doings
from archiver.web.page.forms import Form
from archiver.web.page.operating import FAULTS, Operations
from archiver.web.page.parts import Parts, View
from archiver.web.page.words import counted, long_span

SPANS: Mapping[str, timedelta | None] = {
    "": None,
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "8h": timedelta(hours=8),
    "1d": timedelta(days=1),
}
"""For how long a dependency may be paused; None until somebody resumes it."""

_MOST_IDS = 20_000


@dataclass(frozen=True, slots=True)
class _Asked:
    """An operation as a form asks for it."""

    question: str
    do: Callable[[], str]
    """Returns what it came to."""
    what: str


def routes(parts: Parts) -> Sequence[Route]:
    """Return the routes of the operations; none where the page has no actions."""
    operations, doings = parts.operations, parts.doings
    if operations is None:
        return []
    plans: Mapping[str, Callable[[Form], _Asked]] = {
        "retry": lambda form: _retry(operations, form),
        "ack": lambda form: _ack(operations, form),
        "pause": lambda form: _pause(operations, form),
        "resume": lambda form: _resume(operations, form),
        "verify": lambda form: _verify(operations, doings, form),
        "title": lambda form: _title(operations, form),
    }

    def operate(request: Request) -> Response:
        form: Form = request.state.form
        try:
            asked = plans[request.path_params["name"]](form)
        except (KeyError, ValueError):
            return parts.pages.page(request, "absent.html", status=404)
        if form.one("sure") != "yes":
            fields = form.others("sure", "form_token")
            return parts.pages.page(request, "sure.html", question=asked.question, fields=fields, back=_back(form))
        return RedirectResponse(_back(form) if _done(doings, asked) else "/events", status_code=303)

    return [Route("/operations/{name}", operate, methods=["POST"])]


def _done(doings: Doings, asked: _Asked) -> bool:
    """Do it, and note what it came to; return False where it failed."""
    try:
        came_to = asked.do()
    except FAULTS as error:
        doings.note(asked.what, str(error), is_fault=True)
        return False
    doings.note(asked.what, came_to)
    return True


def _back(form: Form) -> str:
    """Return the view that the form stood in: a path of ours, whatever was sent."""
    path = form.one("back")
    return quote(path, safe="/?=&%-._~") if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


def _ids(form: Form) -> list[TaskId]:
    """Return the ids that the form names; raise ValueError for anything else, and for none."""
    named = [task_id(each) for text in form.all("ids") for each in text.split()]
    if not named or len(named) > _MOST_IDS:
        raise ValueError("no ids, or too many")
    return list(dict.fromkeys(named))


def _these(ids: Sequence[TaskId]) -> str:
    return f"task {ids[0]}" if len(ids) == 1 else counted(len(ids), "task")


def _retry(operations: Operations, form: Form) -> _Asked:
    ids = None if form.one("all") == "failed" else _ids(form)
    these = "all refused, failed, missing, lost and quarantined tasks" if ids is None else _these(ids)

    def do() -> str:
        back = operations.retry(ids)
        left = "" if ids is None or len(back) == len(ids) else f"; {len(ids) - len(back)} left alone"
        return f"{counted(len(back), 'task')} tried again{left}"

    return _Asked(f"Put {these} back to work?", do, f"retry {these}")


def _ack(operations: Operations, form: Form) -> _Asked:
    if form.one("rejected"):
        question = "Acknowledge all rejected lines? They count no longer."
        return _Asked(
            question,
            lambda: f"{counted(operations.acknowledge_rejects(), 'line')} acknowledged",
            "acknowledge rejected lines",
        )
    ids = _ids(form)

    def do() -> str:
        return f"{counted(len(operations.acknowledge(ids)), 'task')} acknowledged"

    question = f"Acknowledge {_these(ids)}? It counts no longer as needing you, and nothing else changes."
    return _Asked(question, do, f"acknowledge {_these(ids)}")


_WHICH: Mapping[str, Sequence[Dependency]] = {
    "provider": (Dependency.PROVIDER,),
    "store": (Dependency.STORE,),
    "both": tuple(Dependency),
}
_NAMES: Mapping[str, str] = {"provider": "the provider", "store": "the store", "both": "provider and store"}


def _pause(operations: Operations, form: Form) -> _Asked:
    which, span = form.one("which"), SPANS[form.one("for")]
    dependencies = _WHICH[which]
    length = f"for {long_span(span)}" if span else "until somebody resumes it"

    def do() -> str:
        operations.hold(dependencies, span)
        return f"paused {length}"

    question = f"Pause {_NAMES[which]} {length}? Deadlines go on all the same."
    return _Asked(question, do, f"pause {_NAMES[which]}")


def _resume(operations: Operations, form: Form) -> _Asked:
    which = form.one("which")
    dependencies = _WHICH[which]

    def do() -> str:
        return "no longer paused" if operations.lift(dependencies) else "nothing was paused"

    return _Asked(f"End the pause of {_NAMES[which]}?", do, f"resume {_NAMES[which]}")


def _verify(operations: Operations, doings: Doings, form: Form) -> _Asked:
    ids = _ids(form)
    what = f"verify {_these(ids)}"

    def do() -> str:
        operations.verify(ids, lambda came_to, is_fault: doings.note(what, came_to, is_fault=is_fault))
        return "begun: every byte is read again; what it comes to is listed here"

    return _Asked(f"Read every byte of {_these(ids)} again now? The store may charge for it.", do, what)


def _title(operations: Operations, form: Form) -> _Asked:
    task, title = task_id(form.one("ids")), title_of(form.one("title"))
    if not title:
        raise ValueError("no title")

    def do() -> str:
        return "done" if operations.give_title(task, title) else "left alone: no such task is known"

    question = f"Call task {task} “{title}”? Where it has ended, its manifest keeps what it was called before."
    return _Asked(question, do, f"call task {task} “{title}”")


VIEW = View("/operations", "", routes)
