"""Files that the page gives away."""

from __future__ import annotations

import gzip
from importlib.resources import files

import pytest
from starlette.requests import Request
from starlette.responses import Response

from archiver.web.page.rendering import Assets

MOST = 12_000
"""Bytes of all styles together."""


def test_styles_are_small_and_have_their_words_still() -> None:
    styles = {name: data for name, data in Assets(files("archiver.web.page") / "static").all() if name.endswith(".css")}
    assert sum(map(len, styles.values())) <= MOST
    assert all(data.count(b"{") == data.count(b"}") > 0 for data in styles.values())
    assert b'span:not(:last-child)::after{content:" \xc2\xb7";' in styles["task.css"]


def test_script_is_given_as_it_was_written() -> None:
    folder = files("archiver.web.page") / "static"
    assert dict(Assets(folder).all())["page.js"] == (folder / "page.js").read_bytes()


def given(accepted: str, known: str = "") -> Response:
    fields = [(b"accept-encoding", accepted.encode()), (b"if-none-match", known.encode())]
    scope = {"type": "http", "path_params": {"name": "page.js"}, "query_string": b"", "headers": fields}
    return Assets(files("archiver.web.page") / "static").answer(Request(scope))


@pytest.mark.parametrize("accepted", ["gzip", "br, GZIP", "deflate, gzip;q=0.1"])
def test_script_is_packed_for_who_takes_that_under_a_tag_of_its_own(accepted: str) -> None:
    packed, plain = given(accepted), given("")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(bytes(packed.body)) == plain.body
    assert packed.headers["etag"] != plain.headers["etag"]
    assert given(accepted, packed.headers["etag"]).status_code == 304
    assert given(accepted, plain.headers["etag"]).status_code == 200


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "gzip; q=0.000", "gzip2"])
def test_script_is_not_packed_for_who_does_not_take_that(accepted: str) -> None:
    answer = given(accepted)
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"
    assert bytes(answer.body).startswith(b"//")
