"""Fixtures of all tests in a real browser: one Chromium a run, and a context of its own for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.sites import Site, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Give Debian's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install --no-install-recommends chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Give a site of the static files, to which tests add theirs."""
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def blank(chromium: Browser, site: Site) -> Iterator[Page]:
    """Give an empty page of the site, that modules are imported into; for all tests of a file, for none changes it."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{site.address}/")
    yield page
    context.close()
