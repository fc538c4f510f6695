"""A view judged in a browser: by axe, by the CSP, by its width. Its picture is kept where PAGE_SHOTS names a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.fixtures.page_site import PageSite

if TYPE_CHECKING:
    from playwright.sync_api import Browser, StorageState

SHOTS = "PAGE_SHOTS"


@dataclass(slots=True)
class Found:
    """What was found."""

    violations: list[str] = field(default_factory=list)
    """Of axe's rules."""
    complaints: list[str] = field(default_factory=list)
    """Reports of the CSP, and what the console says."""
    scrolls_by: int = 0
    """Pixels by which the document is wider than the window."""
    small_targets: list[str] = field(default_factory=list)


def let_in(chromium: Browser, page: PageSite) -> StorageState:
    """Return what a browser keeps that was let in by the link."""
    context = chromium.new_context()
    tab = context.new_page()
    tab.goto(page.link)
    tab.wait_for_selector("#sentence")
    assert tab.url == page.url  # no token in the address
    kept = context.storage_state()
    context.close()
    return kept


def judged(
    chromium: Browser, url: str, *, state: StorageState | None, scheme: Literal["light", "dark"], width: int, name: str
) -> Found:
    """Open the view as that browser, and judge it."""
    from axe_playwright_python.sync_playwright import Axe

    found = Found()
    context = chromium.new_context(
        storage_state=state, color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=False
    )
    tab = context.new_page()
    tab.add_init_script(
        "window.reports = []; document.addEventListener('securitypolicyviolation', (event) => "
        "window.reports.push(event.violatedDirective + ' ' + event.blockedURI));"
    )
    tab.on("console", lambda message: found.complaints.append(message.text))
    tab.on("pageerror", lambda error: found.complaints.append(str(error)))
    tab.goto(url)
    tab.wait_for_load_state("networkidle")
    found.scrolls_by = max(0, tab.evaluate("document.documentElement.scrollWidth") - width)
    if folder := os.environ.get(SHOTS):
        tab.screenshot(path=str(Path(folder) / f"{name}-{width}-{scheme}.png"), full_page=True)
    found.complaints += tab.evaluate("window.reports")
    found.small_targets = tab.evaluate(_SMALL, 44)
    for violation in Axe().run(tab).response["violations"]:
        found.violations += [f"{violation['id']}: {node['html'][:120]}" for node in violation["nodes"]]
    context.close()
    return found


_SMALL = """(least) => [...document.querySelectorAll("button, summary, nav a, input, select, .button")]
    .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < least
        && !/checkbox|radio/.test(each.type ?? ""))
    .map((each) => each.outerHTML.slice(0, 100))"""
