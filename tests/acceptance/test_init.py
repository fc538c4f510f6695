"""From nothing to the first archived song, by `init` and the steps that it names."""

from __future__ import annotations

import re
import shlex

from archiver.demo.emulator import API_KEY
from archiver.demo.records import EmulatedTask
from tests.worlds.site import PREFIX, Site, stems_of

SONG = EmulatedTask(task_id="first-song-0001", kind="separate_vocal", stems=stems_of("vocal", "instrumental", seed="i"))


def test_steps_that_init_names_archive_the_first_song(site: Site) -> None:
    (site.folder / "archiver.toml").unlink()
    site.extra_env |= {
        "ARCHIVER_PROVIDER__BASE_URL": site.emulator.base_url,
        "ARCHIVER_DOWNLOAD__ALLOW_HTTP": "true",
        "ARCHIVER_DOWNLOAD__ALLOW_PRIVATE_ADDRESSES": "true",
    }
    site.emulator.add(SONG)
    store = ("--bucket", site.bucket, "--endpoint-url", site.s3.endpoint_url, "--region", "us-east-1")

    made = site.run("init", "--yes", "--key-file", "-", *store, "--prefix", PREFIX, stdin=f"{API_KEY}\n")

    assert made.code == 0, made.out + made.err
    assert "accepts the key" in made.out
    steps = [
        shlex.split(step, comments=True)[1:] for step in re.findall(r"^  (stem-archiver .+)$", made.out, re.MULTILINE)
    ]
    assert [words[-1] for words in steps] == ["ID", "backfill", "run"]
    for words in steps[:2]:
        done = site.run(*(SONG.task_id if word == "ID" else word for word in words))
        assert done.code == 0, done.err
    site.oracles(SONG)


def test_fault_that_check_finds_is_said_and_the_files_stay_to_be_mended(site: Site) -> None:
    (site.folder / "archiver.toml").unlink()
    site.extra_env |= {"ARCHIVER_PROVIDER__BASE_URL": site.emulator.base_url, "ARCHIVER_DOWNLOAD__ALLOW_HTTP": "true"}
    store = ("--bucket", "nobodys-bucket", "--endpoint-url", site.s3.endpoint_url, "--region", "us-east-1")

    made = site.run("init", "--yes", "--key-file", "-", *store, stdin=f"{API_KEY}\n")

    assert made.code == 1, made.out
    assert re.search(r"^fail bucket: .*nobodys-bucket", made.out, re.MULTILINE), made.out
    assert "mend what failed" in made.out
    assert (site.folder / "kie-api-key").read_text() == f"{API_KEY}\n"
