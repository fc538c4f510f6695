"""Documents: templates filled in, and the files beside them."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from archiver.web.page.words import FILTERS

STATIC = "/static/"
_BLANKS = re.compile(rb"\s+")
_NEEDLESS = re.compile(rb" ?([{};,]) ?|(?<=:) ")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOR_EVER = "private, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Link:
    """A view in the navigation."""

    path: str
    title: str
    key: str


class Assets:
    """The files of `static/`, each by an address that has its hash in it, and packed for who takes that.

    Documents are never packed: their length would tell of what they hold.
    """

    def __init__(self, folder: Traversable) -> None:
        found = (each for each in folder.iterdir() if _type_of(each.name))
        self._files = {each.name: _given(each.name, each.read_bytes()) for each in found}
        self._packed = {name: gzip.compress(data, mtime=0) for name, data in self._files.items()}
        self._marks = {name: hashlib.sha256(data).hexdigest()[:12] for name, data in self._files.items()}

    def url(self, name: str) -> str:
        """Return the address of a file; raise KeyError where there is none."""
        return f"{STATIC}{name}?v={self._marks[name]}"

    def all(self) -> Iterable[tuple[str, bytes]]:
        """Return each file with its name."""
        return self._files.items()

    def answer(self, request: Request) -> Response:
        """Give the file that the path names."""
        name = request.path_params["name"]
        if (data := self._files.get(name)) is None:
            return Response("Not Found\n", status_code=404, media_type="text/plain")
        current = request.query_params.get("v") == self._marks[name]
        headers = {"Cache-Control": _FOR_EVER if current else "no-cache", "Vary": "Accept-Encoding"}
        headers["ETag"] = f'"{self._marks[name]}"'
        if _takes_gzip(request.headers.get("accept-encoding", "")):
            data = self._packed[name]
            headers |= {"ETag": f'"{self._marks[name]}-gzip"', "Content-Encoding": "gzip"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=_type_of(name), headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Return whether an Accept-Encoding names it, with no weight of zero."""
    weights = dict(each.replace(" ", "").lower().partition(";q=")[::2] for each in accepted.split(","))
    return (weights.get("gzip", "0") or "1").strip("0.") != ""


def _given(name: str, data: bytes) -> bytes:
    """Return a file as it is given away: rules without the blanks that are for who writes them."""
    return _NEEDLESS.sub(rb"\1", _BLANKS.sub(b" ", data)) if name.endswith(".css") else data


def _type_of(name: str) -> str | None:
    return next((kind for suffix, kind in _TYPES.items() if name.endswith(suffix)), None)


class Pages:
    """Fills in templates, which know what all views share, with autoescape always on."""

    def __init__(self, links: Sequence[Link], shared: Mapping[str, object]) -> None:
        self.assets = Assets(files("archiver.web.page") / "static")
        self._templates = Environment(
            loader=PackageLoader("archiver.web.page"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {"asset": self.assets.url, "links": links, **shared}
        self._templates.filters |= FILTERS

    def text(self, template: str, **facts: object) -> str:
        """Return a template of `templates/` filled in."""
        return self._templates.get_template(template).render(**facts)

    def show(self, request: Request, template: str, facts: Mapping[str, object]) -> Response:
        """Return a document of these facts."""
        return self.page(request, template, **facts)  # type: ignore[arg-type]  # no fact is named `status`

    def page(self, request: Request, template: str, *, status: int = 200, **facts: object) -> Response:
        """Return a document that answers the request; its template extends base.html."""
        facts = {"path": request.url.path, "form_token": getattr(request.state, "form_token", ""), **facts}
        return HTMLResponse(self.text(template, **facts), status_code=status)
