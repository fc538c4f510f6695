"""Adding, events and the question before an operation, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import pytest

from tests.browser.judging import judged, let_in
from tests.fixtures.ledgers import tid
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


@pytest.mark.parametrize(("path", "scheme", "width"), [("add", "light", 390), ("events", "dark", 390)])
def test_view_pleases_axe_and_the_csp_and_does_not_scroll_sideways(
    chromium: Browser, page: PageSite, state: StorageState, path: str, scheme: Literal["light", "dark"], width: int
) -> None:
    found = judged(chromium, f"{page.url}{path}", state=state, scheme=scheme, width=width, name=path)
    assert (found.violations, found.complaints, found.scrolls_by, found.small_targets) == ([], [], 0, [])


def test_ids_are_added_and_a_task_retried_by_keyboard_alone(
    chromium: Browser, page: PageSite, state: StorageState
) -> None:
    context = chromium.new_context(storage_state=state)
    tab = context.new_page()
    tab.goto(page.url)
    tab.focus(f'[aria-label="Retry {tid(202)}"]')
    tab.keyboard.press("Enter")
    tab.wait_for_selector("text=back to work?")
    tab.keyboard.press("Enter")  # the button has the focus
    tab.wait_for_selector("#needs")
    assert tab.locator(f'[aria-label="Retry {tid(202)}"]').count() == 0
    tab.keyboard.press("g")
    tab.keyboard.press("a")
    tab.wait_for_selector("#ids")
    tab.focus("#ids")
    tab.keyboard.type(f"{tid(700)}\nhello there")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("text=1 new · 0 known · 1 rejected")
    tab.click("text=Add 1 id")
    tab.wait_for_selector("text=1 id appended to the queue file")
    assert page.settings.queue.path.read_text() == f"{tid(700)}\n"
    context.close()


def test_all_keys_are_told_by_a_key_and_by_a_button_and_lead_to_rows_and_to_the_search(
    chromium: Browser, page: PageSite, state: StorageState
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = chromium.new_context(storage_state=state, viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(page.url)
    tab.keyboard.press("?")
    keys = tab.get_by_role("dialog", name="Keys")
    assert keys.get_by_text("next row; Enter opens it").is_visible()
    assert Axe().run(tab).response["violations"] == []
    tab.keyboard.press("j")
    assert keys.is_visible(), "keys of the view rest"
    tab.keyboard.press("Escape")
    assert not keys.is_visible()
    tab.get_by_role("button", name="All keys").press("Enter")
    tab.keyboard.press("Enter")  # Close has the focus
    assert not keys.is_visible()
    tab.keyboard.press("/")
    tab.wait_for_selector("#ask-title:focus")
    tab.keyboard.press("Tab")
    tab.evaluate("document.activeElement.blur()")
    for pressed, row in (("j", 1), ("j", 2), ("j", 3), ("k", 2)):
        tab.keyboard.press(pressed)
        assert tab.locator(f".tasks tbody tr:nth-child({row}) a:focus").count() == 1, pressed
    name = tab.evaluate("document.activeElement.textContent")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/task/**")
    assert name in tab.inner_text("h1")
    context.close()


def test_all_that_match_are_tried_again_with_a_question_and_what_it_came_to(
    chromium: Browser, page: PageSite, state: StorageState
) -> None:
    context = chromium.new_context(storage_state=state, viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(f"{page.url}tasks?state=lost&state=missing")
    tab.get_by_role("button", name="Try all that match again").click()
    tab.wait_for_selector("text=Put 1 task back to work")
    tab.get_by_role("link", name="No").click()
    tab.wait_for_url("**/tasks?state=lost&state=missing")
    tab.get_by_role("button", name="Try all that match again").click()
    tab.get_by_role("button", name="Yes").click()
    tab.wait_for_url("**/tasks/retry")
    tab.wait_for_selector("text=1 of 1 tasks tried again; done")
    assert tab.get_by_role("button", name="Stop").is_visible()
    lost = page.ledger.reports.show(tid(201))
    assert lost is not None
    assert lost.state.value in {"queued", "listed"}
    context.close()
