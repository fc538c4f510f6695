from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from structlog.typing import FilteringBoundLogger

from archiver.logs import Format, Level, configure, mask, set_level
from archiver.ports.runtime import EventLog
from tests import ROOT
from tests.fakes.threads import no_threads

pytestmark = pytest.mark.usefixtures("logging_as_it_was")

SECRET = "planted-secret"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Lines:
    """A stream and what was written to it."""

    def __init__(self, stream: io.StringIO) -> None:
        self.stream = stream

    def text(self) -> str:
        return self.stream.getvalue()

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.text().splitlines()]


def set_up(level: Level = "info", style: Format = "json") -> tuple[FilteringBoundLogger, Lines]:
    stream = io.StringIO()
    return configure(level, style, stream, secrets=[SECRET]), Lines(stream)


def test_event_in_json_is_one_line_with_time_level_and_name_first() -> None:
    log, lines = set_up()
    log.info("stem.stored", task_id="abc", stem="vocal", bytes=3, seconds=0.5)
    assert lines.text().count("\n") == 1
    (event,) = lines.events()
    assert list(event) == ["timestamp", "level", "event", "task_id", "stem", "bytes", "seconds"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(event.pop("timestamp")))
    assert event == {
        "level": "info",
        "event": "stem.stored",
        "task_id": "abc",
        "stem": "vocal",
        "bytes": 3,
        "seconds": 0.5,
    }


def test_logger_is_what_the_ports_ask_for() -> None:
    log: EventLog = set_up()[0]
    log.warning("stem.retry", task_id="abc")


@pytest.mark.parametrize(("stream", "as_json"), [(io.StringIO(), True), (Terminal(), False)])
def test_auto_format_is_console_on_a_terminal_and_json_elsewhere(stream: io.StringIO, as_json: bool) -> None:
    configure("info", "auto", stream).info("daemon.started")
    assert stream.getvalue().startswith("{") is as_json


def test_console_line_is_for_people_and_quotes_what_could_be_mistaken() -> None:
    log, lines = set_up(style="console")
    log.warning("stem.retry", task_id="abc", reason="odd level=error", n=1, empty="")
    line = re.sub(r"^\S+ ", "", lines.text())
    assert line == 'warning  stem.retry         task_id=abc reason="odd level=error" n=1 empty=""\n'


def test_console_line_has_no_field_that_is_null() -> None:
    log, lines = set_up(style="console")
    log.info("stem.stored", task_id="abc", account=None, n=0)
    assert lines.text().endswith("stem.stored        task_id=abc n=0\n")


def on_terminal(monkeypatch: pytest.MonkeyPatch, **environ: str) -> str:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    configure("info", "auto", stream, secrets=[SECRET]).error("job.failed", job=SECRET, note="\x1b[2J")
    return stream.getvalue()


def test_line_on_a_terminal_is_in_colour_with_a_short_time_of_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        before = datetime.now(UTC)
        text = on_terminal(monkeypatch, TZ="Asia/Tokyo")
        after = datetime.now(UTC)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    shown = re.fullmatch(
        r"\x1b\[2m(\d\d:\d\d:\d\d)\x1b\[0m \x1b\[31merror   \x1b\[0m \x1b\[1mjob.failed\x1b\[0m {8} .*\n", text
    )
    assert shown, text
    tokyo = [f"{moment + timedelta(hours=9):%H:%M:%S}" for moment in (before, after)]
    assert tokyo[0] <= shown[1] <= tokyo[1] or tokyo[0] > tokyo[1]


def test_colours_are_the_only_sequences_that_reach_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = on_terminal(monkeypatch)
    assert set(re.findall(r"\x1b.{1,5}?m", text)) == {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m"}
    assert "\x1b[2J" not in text
    assert SECRET not in text


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_line_on_a_terminal_has_no_colour_where_that_is_asked_for(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b" not in on_terminal(monkeypatch, **{name: value})


def test_console_stream_that_cannot_write_a_character_gets_its_escape() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    configure("info", "console", stream).info("stem.stored", key="vocál")
    assert b"voc\\xe1l" in raw.getvalue()


@pytest.mark.parametrize(("level", "logged"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_level_is_the_least_that_is_logged(level: Level, logged: int) -> None:
    log, lines = set_up(level)
    log.debug("task.claimed")
    log.info("task.claimed")
    log.warning("task.claimed")
    log.error("task.claimed")
    assert len(lines.events()) == logged


def test_configure_again_replaces_the_earlier_set_up() -> None:
    _, first = set_up()
    log, second = set_up()
    log.info("daemon.started")
    logging.getLogger("elsewhere").warning("hello")
    assert first.text() == ""
    assert len(second.events()) == 2


@pytest.mark.parametrize(
    "name",
    ["httpx", "httpcore.http11", "botocore", "boto3", "urllib3", "apscheduler.scheduler", "alembic", "sqlalchemy"],
)
def test_library_is_heard_from_warning_up_and_cleaned(name: str) -> None:
    _, lines = set_up("debug")
    library = logging.getLogger(name)
    library.debug("quiet")
    library.info("quiet")
    library.warning("GET %s with %s", "https://host/path?sig=abc", SECRET)
    (event,) = lines.events()
    assert (event["logger"], event["event"]) == (name, "GET https://host/path with ***")


def test_library_with_a_road_of_its_own_is_brought_back() -> None:
    own = io.StringIO()
    library = logging.getLogger("botocore")
    library.addHandler(logging.StreamHandler(own))
    library.setLevel(logging.DEBUG)
    _, lines = set_up("debug")
    library.debug(SECRET)
    library.warning("now")
    assert own.getvalue() == ""
    assert len(lines.events()) == 1


def test_library_nobody_thought_of_is_quiet_below_warning_too() -> None:
    _, lines = set_up("debug")
    logging.getLogger("elsewhere").info("quiet")
    assert lines.text() == ""


def test_level_above_warning_holds_for_libraries_too() -> None:
    _, lines = set_up("error")
    logging.getLogger("httpx").warning("quiet")
    logging.getLogger("elsewhere").warning("quiet")
    assert lines.text() == ""


def test_library_line_that_cannot_be_formatted_is_reported_without_its_content() -> None:
    _, lines = set_up()
    logging.getLogger("elsewhere").warning("%d", SECRET)
    (event,) = lines.events()
    assert (event["level"], event["logger"]) == ("error", "elsewhere")
    assert "could not be formatted" in str(event["event"])
    assert SECRET not in lines.text()


def test_stream_that_is_broken_costs_no_work() -> None:
    stream = io.StringIO()
    log = configure("info", "json", stream)
    stream.close()
    log.info("stem.stored")


def test_warning_of_python_is_logged() -> None:
    _, lines = set_up()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"old ways with {SECRET}", stacklevel=1)
    (event,) = lines.events()
    assert event["logger"] == "py.warnings"
    assert "old ways with ***" in str(event["event"])


# --- exceptions


def fail() -> None:
    local = "a local variable"
    raise ValueError(f"first line\nsecond line, {SECRET}, https://host/p?sig={len(local)}") from KeyError(SECRET)


def test_exception_is_told_without_secrets_locals_and_line_ends() -> None:
    log, lines = set_up()
    try:
        fail()
    except ValueError:
        log.exception("job.failed", job="intake")
    (event,) = lines.events()
    frames = event["exception"]
    assert isinstance(frames, list)
    assert frames[0] == "ValueError: first line\\nsecond line, ***, https://host/p"
    assert "caused by" in frames
    assert "KeyError: '***'" in frames
    assert any(frame.endswith(" in fail") for frame in frames)
    assert "a local variable" not in lines.text()


def test_exception_group_is_told_with_its_parts() -> None:
    log, lines = set_up()
    log.error("job.failed", exc_info=ExceptionGroup("several", [ValueError("one"), KeyError("two")]))
    frames = lines.events()[0]["exception"]
    assert isinstance(frames, list)
    assert {"ValueError: one", "KeyError: 'two'"} <= set(frames)


def test_exception_on_the_console_is_indented_below_its_event() -> None:
    log, lines = set_up(style="console")
    try:
        fail()
    except ValueError:
        log.exception("job.failed")
    first, *below = lines.text().splitlines()
    assert first.endswith("job.failed")
    assert below
    assert all(line.startswith("    ") for line in below)


def test_field_named_exception_may_be_a_text() -> None:
    log, lines = set_up(style="console")
    log.error("job.failed", exception="text")
    assert lines.text().endswith("exception=text\n")


def in_main(error: BaseException) -> None:
    sys.excepthook(type(error), error, None)


def in_thread(error: BaseException) -> None:
    def run() -> None:
        raise error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.mark.parametrize("crash", [in_main, in_thread])
def test_exception_nobody_caught_is_logged_and_cleaned(crash: Callable[[BaseException], None]) -> None:
    _, lines = set_up()
    crash(ValueError(SECRET))
    (event,) = lines.events()
    assert (event["level"], event["event"]) == ("critical", "process.crashed")
    assert isinstance(event["exception"], list)
    assert event["exception"][0] == "ValueError: ***"


@pytest.mark.parametrize(("crash", "error"), [(in_main, KeyboardInterrupt()), (in_thread, SystemExit(0))])
def test_end_that_was_asked_for_is_no_crash(crash: Callable[[BaseException], None], error: BaseException) -> None:
    _, lines = set_up()
    crash(error)
    assert lines.text() == ""


def test_level_that_is_set_later_holds_for_loggers_that_are_out_already_and_keeps_secrets_masked() -> None:
    log, lines = set_up("info")
    log.debug("task.claimed")
    set_level("debug")
    log.debug("task.claimed", task_id=SECRET)
    logging.getLogger("httpx").info("GET a whole URL")
    set_level("error")
    log.warning("task.later")
    logging.getLogger("botocore").warning("a library's")
    (event,) = lines.events()
    assert (event["event"], event["task_id"]) == ("task.claimed", "***")


def test_every_event_of_ours_is_notified_of_with_its_fields_whatever_its_level_and_no_line_of_a_library() -> None:
    seen: list[tuple[str, Mapping[str, object]]] = []
    stream = io.StringIO()
    log = configure("error", "json", stream, notify=lambda event, fields: seen.append((event, fields)))
    for level in ("debug", "info", "warning", "error", "exception"):
        getattr(log, level)("task.lost", task_id=level)
    logging.getLogger("httpx").error("of a library")
    assert seen == [("task.lost", {"task_id": level}) for level in ("debug", "info", "warning", "error", "exception")]
    logged = [(event["event"], event.get("task_id")) for event in Lines(stream).events()]
    assert logged == [("task.lost", "error"), ("task.lost", "exception"), ("of a library", None)]


def test_logger_that_was_made_before_the_level_was_changed_notifies_all_the_same() -> None:
    seen: list[str] = []
    log = configure("error", "json", io.StringIO(), notify=lambda event, _: seen.append(event))
    log.info("dependency.resumed")
    set_level("warning")
    log.info("dependency.released")
    assert seen == ["dependency.resumed", "dependency.released"]


# --- floods


def test_line_that_is_left_out_where_no_thread_can_be_had_is_told_all_the_same() -> None:
    log, lines = set_up()
    library = logging.getLogger("elsewhere")

    def out_of_threads(number: int) -> None:
        library.error("out of threads (%d) %s", number, "x" * 1_000)

    with no_threads():
        for number in range(500):
            out_of_threads(number)
    log.error("task.lost", task_id="abc", reason="gone")
    out_of_threads(500)
    [handler] = logging.getLogger().handlers
    handler.close()
    told = {str(event["event"]).partition(" (")[0] for event in lines.events()}
    assert told == {"out of threads", "task.lost", "log.suppressed"}


@pytest.mark.long
def test_flood_of_a_librarys_lines_is_counted_beyond_its_share_and_told_at_the_end() -> None:
    log, lines = set_up()
    library = logging.getLogger("elsewhere")
    for number in range(20_000):
        library.error("out of descriptors (%d)", number)
    log.error("task.lost", task_id="abc", reason="gone")
    [handler] = logging.getLogger().handlers
    handler.close()
    assert len(lines.text()) < 110_000
    events = lines.events()
    *noise, lost, summary = events
    assert (lost["event"], lost["task_id"]) == ("task.lost", "abc")
    assert (summary["level"], summary["event"], summary["of"]) == ("error", "log.suppressed", "elsewhere")
    assert summary["lines"] == 20_000 - len(noise)


def test_summary_names_a_warning_only_where_nothing_worse_was_left_out() -> None:
    log, lines = set_up()
    for number in range(30):
        log.info("stem.retry", task_id="abc", stem="vocal", n=number)
    [handler] = logging.getLogger().handlers
    handler.close()
    summary = lines.events()[-1]
    assert (summary["level"], summary["event"], summary["of"]) == ("warning", "log.suppressed", "stem.retry")
    assert (summary["lines"], len(lines.events())) == (10, 21)


def test_flood_of_lines_that_cannot_be_formatted_is_bounded_too() -> None:
    _, lines = set_up()
    for _ in range(5_000):
        logging.getLogger("elsewhere").error("%d", SECRET)
    assert len(lines.text()) < 110_000
    [handler] = logging.getLogger().handlers
    handler.close()
    assert lines.events()[-1]["event"] == "log.suppressed"


WITHOUT_DESCRIPTORS = r"""
import os, resource
from archiver.logs import configure
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))
try:
    open("/dev/null")
except OSError:
    log = configure("info", "json")
    log.error("job.failed", error="bell \x07 \u2028", host="b\xfccher.example".encode("idna"))
"""


def test_process_without_a_descriptor_left_still_writes_every_character_and_every_host() -> None:
    words = [sys.executable, "-c", WITHOUT_DESCRIPTORS]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    event = json.loads(done.stderr)
    assert (event["error"], event["host"]) == (r"bell \x07 \u2028", "xn--bcher-kva.example")


@pytest.mark.parametrize("library", ["apscheduler.scheduler", "apscheduler.executors.default", "asyncio"])
def test_jargon_of_a_library_is_seen_at_debug_alone(library: str) -> None:
    _, lines = set_up()
    logging.getLogger(library).error("Execution of job skipped: maximum number of running instances reached (1)")
    assert lines.text() == ""
    set_level("debug")
    logging.getLogger(library).error("Execution of job skipped: maximum number of running instances reached (1)")
    assert len(lines.events()) == 1


def test_secret_that_is_learned_at_work_is_masked_in_the_log_and_in_what_alerts_get() -> None:
    alerted: list[Mapping[str, object]] = []
    stream = io.StringIO()
    log = configure(
        "info", "json", stream, notify=lambda _, fields: alerted.append(fields), alerted={"dependency.paused"}
    )
    log.warning("dependency.paused", reason="key new-secret-1")
    mask(["new-secret-1"])
    log.warning("dependency.paused", reason="key new-secret-1 again")
    first, second = stream.getvalue().splitlines()
    assert "new-secret-1" in first
    assert "new-secret-1" not in second
    assert alerted[-1] == {"reason": "key *** again"}
