"""Files that the page gives away."""

from __future__ import annotations

from importlib.resources import files

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
