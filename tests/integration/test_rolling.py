"""`run` on a real store, as it holds the archive against it by itself: by a listing each day, and by every byte."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from archiver.core.fixity import Fixity
from archiver.core.slices import LISTING, Course, slice_of
from archiver.demo.seaweed import S3Server
from tests.worlds.world import PREFIX, VICTIM, World, world

PLAIN: dict[str, ssl.SSLContext | None] = {"none": None}


@pytest.fixture
def whole(tmp_path: Path, s3_server: S3Server, bucket: str) -> Iterator[World]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with closing(s3_server.client()) as client, world(tmp_path, s3_server, bucket, client, PLAIN) as made:
        yield made
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_service_lists_and_reads_what_it_archived_and_tells_of_damage_within_the_span(whole: World) -> None:
    whole.settings["verify"] = {"within": "1d"}
    whole.publish(VICTIM)
    whole.accept(VICTIM)
    with whole.running() as service:
        service.step()
        ledger = service.ledger
        with ledger.db.write() as db:
            wanted = f"({LISTING}, {slice_of(VICTIM)})"
            db.exec_driver_sql(f"DELETE FROM slices WHERE course = 'read' AND number NOT IN {wanted}")
        service.until_archived(VICTIM, timedelta(minutes=10))
        key = next(key for key in whole.objects(".mp3") if key.startswith(f"{PREFIX}{VICTIM}/"))
        body = whole.objects(".mp3")[key]
        whole.put(key, bytes([body[0] ^ 1]) + body[1:])
        service.pass_time(timedelta(hours=20), step=3600)
        checks = {event["check"] for event in whole.events if event["event"] == "fixity.checked"}
        [read] = ledger.rounds.standings(Course.READ, now=whole.time.at)
        assert (read.ended_at is not None, read.checked.faults) == (True, 1)
        assert ledger.faults.counts() == {Fixity.MISMATCH: 1}
        assert checks == {"list"}
        page = service.process.metrics.page().decode()
    assert 'stem_archiver_fixity_objects_total{result="mismatch"}' in page
    assert "stem_archiver_fixity_late 0.0" in page
    assert [event["key"] for event in whole.events if event["event"] == "fixity.fault"] == [key]
