"""The page as an operator starts it, and beside `run`: it hangs or dies, and archiving goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from archiver.demo.records import EmulatedTask
from tests.fakes.waiting import until
from tests.fixtures.ledgers import ready_ledger
from tests.worlds.site import Process, Site, stems_of

IDLE = 47_000
"""Kilobytes of memory that the page may have while nobody looks, without what is mapped from files; with that 60 MB."""

ABSENT = """
import sys
sys.modules |= dict.fromkeys(("starlette", "jinja2", "anyio"))
from archiver.__main__ import main
main()
"""


def page_of(process: Process) -> int:
    """The page's process, which `run` started."""
    found = Path(f"/proc/{process.popen.pid}/task").glob("*/children")
    pids = [int(pid) for each in found for pid in each.read_text().split()]
    pages = [pid for pid in pids if b"--beside" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return pages[0] if pages else 0


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_page_beside_run_is_stopped_and_killed_and_archiving_goes_on(site: Site) -> None:
    site.configure(page={"listen": "127.0.0.1:0", "with_run": True})
    with site.daemon(apart=True) as run:
        until(lambda: page_of(run) and "lets one browser in, once" in run.log)
        first = page_of(run)
        os.kill(first, signal.SIGSTOP)
        one = EmulatedTask(task_id="page-task-000001", stems=stems_of("vocal"))
        site.emulator.add(one)
        site.run("enqueue", one.task_id)
        site.wait_for([one.task_id])
        os.kill(first, signal.SIGKILL)
        assert run.wait_event("page.ended")["code"] == -signal.SIGKILL
        two = EmulatedTask(task_id="page-task-000002", stems=stems_of("vocal"))
        site.emulator.add(two)
        site.run("enqueue", two.task_id)
        site.wait_for([two.task_id])
        until(lambda: page_of(run) not in {0, first})
        second = page_of(run)
        os.kill(second, signal.SIGSTOP)  # a stopped one is ended by force
        assert run.stop() == 0
        assert is_gone(second)


def without_extra(command: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", ABSENT, command]
    return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=90, check=False)


def test_page_prints_its_link_is_small_and_ends_by_a_signal_or_with_its_input(tmp_path: Path) -> None:
    ready_ledger(tmp_path).close()
    environ = os.environ | {
        "ARCHIVER_LEDGER__URL": f"sqlite:///{tmp_path}/ledger.db",
        "ARCHIVER_STORE__BUCKET": "my-stems",
        "ARCHIVER_PAGE__LISTEN": "127.0.0.1:0",
    }
    words = [sys.executable, "-m", "archiver", "page", "--beside"]
    with subprocess.Popen(words, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout is not None
        assert page.stdin is not None
        shown = page.stdout.readline() + page.stdout.readline()
        assert re.search(r"in, once: http://127\.0\.0\.1:\d+/enter#[\w-]{43}\n$", shown)
        taken = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{page.pid}/status").read_text(), re.MULTILINE)
        assert taken is not None
        assert int(taken[1]) < IDLE
        page.stdin.close()
        assert page.wait(60) == 0


def test_page_without_its_extra_says_how_to_install_it_and_nothing_else_loads_it(tmp_path: Path) -> None:
    ready_ledger(tmp_path).close()
    environ = os.environ | {
        "ARCHIVER_LEDGER__URL": f"sqlite:///{tmp_path}/ledger.db",
        "ARCHIVER_STORE__BUCKET": "my-stems",
    }
    done = without_extra("page", environ)
    assert done.returncode == 2
    assert done.stderr.startswith("stem-archiver: the page needs starlette")
    assert done.stderr.endswith("; install it with: pip install 'stem-archiver[page]'\n")
    done = without_extra("status", environ)
    assert (done.returncode, done.stderr) == (0, "")
