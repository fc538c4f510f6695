"""What the service archived comes back from the bucket alone."""

from __future__ import annotations

import shutil
from dataclasses import replace

from tests.acceptance.test_backfill import FAILED, TWELVE, TWO
from tests.worlds.site import PREFIX, Site


def test_what_was_archived_comes_back_byte_for_byte_without_ledger_and_provider(site: Site) -> None:
    named = replace(TWO, task_id="titled-task-0009")
    site.emulator.add(TWO, TWELVE, FAILED, named)
    lines = [TWO.task_id, TWELVE.task_id, FAILED.task_id, f'{named.task_id} title="My / Song"']
    assert site.run("backfill", "-", stdin="\n".join(lines) + "\n").code == 1
    shutil.rmtree(site.ledger.parent)
    asked = len(site.emulator.requests)
    done = site.run("restore", "back", "--names", "title")
    assert done.code == 0, done.out + done.err
    assert len(site.emulator.requests) == asked
    in_bucket = {key.removeprefix(PREFIX): data for key, data in site.objects().items()}
    stored = {name: data for name, data in in_bucket.items() if "/" in name and not name.startswith("_archive/")}
    back = site.folder / "back"
    found = {str(file.relative_to(back)): file.read_bytes() for file in back.rglob("*") if file.is_file()}
    titled = {
        name.replace("My _ Song (titled-task-0009)", "titled-task-0009").replace("My _ Song - ", ""): data
        for name, data in found.items()
    }
    assert titled == stored
    assert any(name.startswith("My _ Song (titled-task-0009)/My _ Song - ") for name in found)
    done = site.run("get", FAILED.task_id, "-o", "failed")
    assert (done.code, "no audio" in done.err) == (1, True), done.out + done.err
