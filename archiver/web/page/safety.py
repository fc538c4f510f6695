"""The safeguards before every view: whose name is asked for, who asks, and whether a change is meant."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from archiver.web.page.addresses import Hosts
from archiver.web.page.forms import Form
from archiver.web.page.rendering import STATIC, Pages
from archiver.web.page.sessions import COOKIE, LASTS, Sessions

ENTER = "/enter"
FORM_TOKEN = "form_token"  # noqa: S105 - the name of a form's field
_FORM = "application/x-www-form-urlencoded"
_METHODS = frozenset({"GET", "HEAD", "POST"})
_FIELDS_MAX = 200_000

_PERMISSIONS = ", ".join(
    f"{name}=()"
    for name in (
        "accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "hid", "magnetometer",
        "microphone", "midi", "payment", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking",
    )
)  # fmt: skip


def headers(stores: Sequence[str] = ()) -> dict[str, str]:
    """Return the fields of every answer; audio may come from the origins of `stores` too."""
    more = "".join(f" {origin}" for origin in stores)
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self'{more}; media-src 'self' blob:{more}; worker-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        # Not no-referrer: by that a form's Origin would be null, and its POST be refused.
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": _PERMISSIONS,
        "X-Frame-Options": "DENY",
    }


@dataclass(frozen=True, slots=True)
class Door:
    """Those who are let in, by the names that they ask for."""

    hosts: Hosts
    sessions: Sessions
    pages: Pages
    stores: Sequence[str] = ()
    """The origins that audio comes from beside this one."""


class Guarded:
    """The application behind the safeguards: an ASGI application itself.

    To a foreign Host nothing of the archive is answered, and to a browser that was not let in nothing but the way in.
    What is no GET or HEAD must be a form of our own page.
    """

    def __init__(self, application: ASGIApp, door: Door) -> None:
        self._application = application
        self._door = door
        self._headers = headers(door.stores)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    fields[name] = value
                fields.setdefault("Cache-Control", "no-store")
            await send(message)

        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        answer = self._refusal(request) or await self._entry(request)
        if answer is not None:
            await answer(scope, receive, sealed)
        elif request.method == "POST":
            await self._change(request, sealed)
        else:
            await self._application(scope, receive, sealed)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if not self._door.hosts.knows(host):
            return PlainTextResponse("Misdirected Request\n", status_code=421)
        if request.method not in _METHODS:
            return PlainTextResponse("Method Not Allowed\n", status_code=405, headers={"Allow": "GET, HEAD, POST"})
        if request.method == "POST" and not self._is_own_form(request, host):
            return PlainTextResponse("Forbidden: no form of this page\n", status_code=403)
        return None

    def _is_own_form(self, request: Request, host: str) -> bool:
        fields = request.headers
        return (
            fields.get("sec-fetch-site") == "same-origin"
            and self._door.hosts.is_own(fields.get("origin", ""), host)
            and fields.get("content-type", "").partition(";")[0].strip().lower() == _FORM
        )

    async def _entry(self, request: Request) -> Response | None:
        """Return the answer to who is not in yet; None for who is, whose forms' token is noted."""
        path, sessions = request.url.path, self._door.sessions
        form_token = sessions.form_token(request.cookies.get(COOKIE, ""))
        request.state.form_token = form_token or ""
        if path == ENTER:
            return await self._entered(request) if request.method == "POST" else self._way_in(request, 200)
        if form_token is None and not path.startswith(STATIC):
            return self._way_in(request, 403)
        return None

    def _way_in(self, request: Request, status: int, *, wrong: bool = False) -> Response:
        return self._door.pages.page(request, "enter.html", status=status, wrong=wrong, is_in=False)

    async def _entered(self, request: Request) -> Response:
        form = Form(_fields(await request.body()))
        cookie = self._door.sessions.enter(form.one("token").strip())
        if cookie is None:
            return self._way_in(request, 403, wrong=True)
        answer = RedirectResponse("/", status_code=303)
        seconds = int(LASTS.total_seconds())
        answer.set_cookie(COOKIE, cookie, max_age=seconds, secure=True, httponly=True, samesite="strict")
        return answer

    async def _change(self, request: Request, send: Send) -> None:
        body = await request.body()
        wanted: str = request.state.form_token
        form = Form(_fields(body))
        request.state.form = form
        if not wanted or not hmac.compare_digest(form.one(FORM_TOKEN).encode(), wanted.encode()):
            answer = PlainTextResponse("Forbidden: open the page anew, and try again\n", status_code=403)
            await answer(request.scope, request.receive, send)
            return

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._application(request.scope, again, send)


def _fields(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        return []
