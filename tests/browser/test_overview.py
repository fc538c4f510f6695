"""The overview in a real browser: what axe and the CSP say, that nothing is cut off, and that it stays fresh."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.browser.judging import judged, let_in
from tests.fixtures.ledgers import take_in
from tests.fixtures.page_site import PageSite, page_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, StorageState

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    with page_site(tmp_path_factory.mktemp("page")) as site:
        yield site


@pytest.fixture(scope="module")
def state(chromium: Browser, page: PageSite) -> StorageState:
    return let_in(chromium, page)


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1280),
        ("dark", 390),
        pytest.param("light", 390, marks=[pytest.mark.slow, pytest.mark.timeout(120)]),
        pytest.param("dark", 1280, marks=[pytest.mark.slow, pytest.mark.timeout(120)]),
    ],
)
def test_overview_pleases_axe_and_the_csp_and_does_not_scroll_sideways(
    chromium: Browser, page: PageSite, state: StorageState, scheme: Literal["light", "dark"], width: int
) -> None:
    found = judged(chromium, page.url, state=state, scheme=scheme, width=width, name="overview")
    assert found.violations == []
    assert found.complaints == []
    assert found.scrolls_by == 0
    assert found.small_targets == []


def test_figures_stay_fresh_and_leave_alone_what_is_open(
    chromium: Browser, page: PageSite, state: StorageState
) -> None:
    from playwright.sync_api import expect

    context = chromium.new_context(storage_state=state)
    tab = context.new_page()
    tab.goto(page.url)
    tab.click("#deadlines-table summary")
    tab.evaluate("document.activeElement.blur()")
    before = tab.inner_text('[data-figure="tasks.open"]')
    take_in(page.ledger, 998)
    expect(tab.locator('[data-figure="tasks.open"]')).to_have_text(str(int(before) + 1), timeout=60_000)
    assert tab.locator("#deadlines-table").get_attribute("open") is not None
    context.close()


def test_overview_is_whole_without_script(chromium: Browser, page: PageSite, state: StorageState) -> None:
    context = chromium.new_context(storage_state=state, java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.url)
    assert re.search(r"tasks are safe", tab.inner_text("h1"))
    tab.click("#deadlines-table summary")
    assert tab.locator("#deadlines-table tbody tr").count() > 10
    context.close()


def test_way_in_pleases_axe_and_takes_a_token_that_is_pasted(chromium: Browser, tmp_path: Path) -> None:
    with page_site(tmp_path, fills=False) as site:
        found = judged(chromium, f"{site.url}enter", state=None, scheme="light", width=390, name="enter")
        assert (found.violations, found.complaints, found.scrolls_by) == ([], [], 0)
        context = chromium.new_context(java_script_enabled=False)
        tab = context.new_page()
        tab.goto(site.url)
        tab.fill("#token", site.link.partition("#")[2])
        tab.click("button")
        assert "The archive is empty" in tab.inner_text("h1")
        context.close()


def test_step_of_the_plot_leads_to_its_tasks(chromium: Browser, page: PageSite, state: StorageState) -> None:
    context = chromium.new_context(storage_state=state, viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(page.url)
    plot = tab.locator(".plot.wide").bounding_box()
    assert plot is not None
    tab.mouse.click(plot["x"] + plot["width"] * 0.6, plot["y"] + plot["height"] * 0.5)
    tab.wait_for_url("**/tasks?order=deadline&deadline_to=*")
    assert "T" in tab.input_value("#deadline-to")
    assert 5 < tab.locator(".tasks tbody tr").count() < 20
    context.close()
