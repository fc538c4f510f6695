"""A static copy in Chromium: from a disk each stem plays by itself, from a web server they play together."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.archives import Bucket, lay, settings_of
from tests.browser.judging import judged
from tests.browser.sounds import Sound, mp3
from tests.fixtures.ledgers import ready_ledger
from tests.house import page_copy

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

TASK = "ae63b4cc88d52611159371f6af5571e7"
PATIENCE = 60_000


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy with the files that `restore` writes beside it."""
    folder, bucket = tmp_path_factory.mktemp("copy"), Bucket()
    with closing(ready_ledger(folder)) as ledger:
        stems = {name: mp3(Sound(seconds=12, channels=1, seed=at)) for at, name in enumerate(("bass", "vocal"))}
        lay(ledger, bucket, TASK, stems, title="A song", lost="guitar")
        page_copy(settings_of(folder), ledger, folder / "copy")
    for key, data in bucket.store.objects.items():
        file = folder / "copy" / key.removeprefix("stems/")
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
    return folder / "copy"


def test_from_a_disk_each_stem_plays_by_itself_and_links_lead_on(chromium: Browser, copy: Path) -> None:
    page = chromium.new_page()
    page.goto(f"file://{copy}/index.html")
    assert "is" in page.inner_text("#sentence")
    page.click("text=Tasks")
    page.click("a.name")
    assert "A song" in page.inner_text("h1")
    assert page.locator("audio:visible").count() == 2
    assert page.locator("#play:visible").count() == 0
    assert "plays by itself" in page.inner_text("#player")
    seconds = page.evaluate(
        "async () => { const audio = document.querySelector('audio'); await audio.play(); return audio.duration; }"
    )
    assert seconds == pytest.approx(12, abs=0.2)
    colour = page.evaluate("getComputedStyle(document.querySelector('.task-head .id')).fontSize")
    assert colour != page.evaluate("getComputedStyle(document.querySelector('h1')).fontSize"), "its style was read"
    page.close()


class Ranged(SimpleHTTPRequestHandler):
    """Files, with ranges, as any web server has them."""

    def do_GET(self) -> None:
        """Answer one request."""
        file, asked = (
            Path(self.translate_path(self.path)),
            re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or ""),
        )
        if asked is None:
            super().do_GET()
            return
        data = file.read_bytes()
        first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(data[first : last + 1])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Say nothing."""


@pytest.fixture(scope="module")
def served(copy: Path) -> Iterator[str]:
    """Give the address of the copy, served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranged, directory=str(copy)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_from_a_web_server_stems_play_together(chromium: Browser, served: str) -> None:
    page = chromium.new_page()
    reports = list[str]()
    page.on("console", lambda said: reports.append(said.text) if said.type in {"error", "warning"} else None)
    page.goto(f"{served}/_page/task/{TASK}.html")
    page.click("#play")
    page.wait_for_selector("#player[data-state=playing]", timeout=PATIENCE)
    assert page.get_attribute("#player", "data-mode") == "windows"
    assert page.locator("audio").count() == 0
    assert reports == []
    page.close()


def test_from_a_web_server_without_ranges_stems_play_together_too_and_are_decoded_whole_once_that_is_seen(
    chromium: Browser, served: str
) -> None:
    page = chromium.new_page()
    page.route("**/*.mp3", lambda route: route.continue_(headers=route.request.headers | {"range": ""}))
    page.goto(f"{served}/_page/task/{TASK}.html")
    page.click("#play")
    page.wait_for_selector("#player[data-state=playing]", timeout=PATIENCE)
    page.evaluate("document.querySelector('#player').desk.seek(9)")
    page.wait_for_timeout(500)
    page.evaluate("document.querySelector('#player').desk.seek(2)")
    page.wait_for_selector("#player[data-state=playing][data-mode=whole]", timeout=PATIENCE)
    assert "or the server gives no parts of files" in page.inner_text("#said")
    page.close()


@pytest.mark.parametrize("path", ["index.html", "_page/tasks-1.html", f"_page/task/{TASK}.html"])
def test_every_document_is_free_of_faults_on_a_phone(chromium: Browser, served: str, path: str) -> None:
    state = chromium.new_context().storage_state()
    found = judged(chromium, f"{served}/{path}", state=state, scheme="dark", width=390, name="copy")
    assert (found.violations, found.complaints, found.scrolls_by, found.small_targets) == ([], [], 0, [])
