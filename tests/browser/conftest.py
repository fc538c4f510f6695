"""Fixtures of all tests in a real browser: one Chromium a worker, and a context of its own for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.browser.archives import Bucket, settings_of
from tests.browser.sites import Site, serving
from tests.fakes.events import Events
from tests.fixtures.ledgers import ready_ledger
from tests.house import Ledger, page_on

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]


@pytest.fixture(scope="package")
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


@dataclass
class Archive:
    """An archive and its page, and a browser that was let in."""

    page: Page
    url: str
    bucket: Bucket
    ledger: Ledger
    events: Events
    reports: list[str]
    """What the browser complained of: scripts that broke, policies that were not kept."""


@pytest.fixture(scope="module")
def archive(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Give an archive that tests of a file lay tasks into, each under ids of its own."""
    folder, bucket, events = tmp_path_factory.mktemp("archive"), Bucket(), Events()
    settings = settings_of(folder)
    with closing(ready_ledger(folder)) as ledger, page_on(settings, events, bucket) as served:
        context = chromium.new_context()
        page, reports = context.new_page(), list[str]()
        page.on("console", lambda said: reports.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: reports.append(str(error)))
        page.goto(served.link)
        page.wait_for_url(served.url)
        yield Archive(page, served.url, bucket, ledger, events, reports)
        context.close()
