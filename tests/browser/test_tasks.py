"""The tasks in a real browser: what axe and the CSP say, by keyboard alone, back, and records that are hostile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import pytest

from archiver.core.intake import Intake
from archiver.core.model import Failed, Stage, TaskId
from archiver.core.said import Said
from tests.browser.judging import judged
from tests.fixtures.ledgers import LEASE, accept, finish, tid
from tests.fixtures.page_site import PageSite, page_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, StorageState

pytestmark = pytest.mark.browser

HOSTILE = "<script>document.title='ours'</script>\u202e\u2066 " + "W" * 140


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    with page_site(tmp_path_factory.mktemp("page")) as site:
        now = datetime.now(UTC)
        long_id = TaskId("x" * 128)
        titles = {tid(3): Said(title="Harbour Lights"), tid(90): Said(title="Open Sea"), long_id: Said(title=HOSTILE)}
        accept(site.ledger, Intake(ids=(long_id,), said=titles), now=now)
        mine = site.ledger.claims.claim_task(long_id, owner="us", now=now, lease=LEASE, stages=[Stage.LIST])
        assert mine is not None
        finish(site.ledger, mine, Failed(HOSTILE * 50), now=now)
        yield site


@pytest.fixture(scope="module")
def state(chromium: Browser, page: PageSite) -> StorageState:
    """What a browser keeps that was let in by the link."""
    context = chromium.new_context()
    tab = context.new_page()
    tab.goto(page.link)
    tab.wait_for_selector("#sentence")
    kept = context.storage_state()
    context.close()
    return kept


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_tasks_please_axe_and_the_csp_and_do_not_scroll_sideways_whatever_titles_say(
    chromium: Browser, page: PageSite, state: StorageState, scheme: Literal["light", "dark"], width: int
) -> None:
    view = f"{page.url}tasks?ended_to=nonsense&id=x"
    found = judged(chromium, view, state=state, scheme=scheme, width=width, name="tasks")
    assert found.violations == []
    assert found.complaints == []
    assert found.scrolls_by == 0
    assert found.small_targets == []


def test_task_and_overview_stand_whatever_title_and_reason_say(
    chromium: Browser, page: PageSite, state: StorageState
) -> None:
    found = judged(chromium, f"{page.url}task/{'x' * 128}", state=state, scheme="light", width=390, name="failed")
    assert (found.violations, found.complaints, found.scrolls_by) == ([], [], 0)
    context = chromium.new_context(storage_state=state, viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(page.url)
    row = tab.locator(f"#needs tr:has([title='{'x' * 128}'])").bounding_box()
    assert row is not None
    assert row["height"] < 250, "pixels; the other rows must be seen"
    context.close()


def test_filter_is_used_by_keyboard_alone_the_view_is_in_its_address_and_back_works(
    chromium: Browser, page: PageSite, state: StorageState
) -> None:
    context = chromium.new_context(storage_state=state)
    tab = context.new_page()
    tab.goto(page.url)
    tab.keyboard.press("g")
    tab.keyboard.press("t")
    tab.wait_for_url("**/tasks")
    assert tab.title().startswith("Tasks")
    tab.focus("#ask-title")
    tab.keyboard.type("harbour")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**title=harbour**")
    assert tab.locator(".tasks tbody tr").count() == 1
    tab.locator(".tasks tbody a").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/task/**")
    tab.go_back()
    assert tab.input_value("#ask-title") == "harbour"
    assert tab.locator(".tasks tbody tr").count() == 1
    context.close()


def test_pages_lead_on_and_back_without_script(chromium: Browser, page: PageSite, state: StorageState) -> None:
    context = chromium.new_context(storage_state=state, java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{page.url}tasks")
    first = tab.locator(".tasks tbody a").all_inner_texts()
    tab.click("a[rel=next]")
    rest = tab.locator(".tasks tbody a").all_inner_texts()
    assert len(first) == 50
    assert rest
    assert not set(first) & set(rest)
    tab.click("a[rel=prev]")
    assert tab.locator(".tasks tbody a").all_inner_texts() == first
    tab.check("input[value=failed]")
    tab.click("button.main")
    assert tab.locator(".tasks tbody tr").count() == 2
    context.close()
