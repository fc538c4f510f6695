"""Structured logs: one event a line, and nothing secret, no URL query and no control character in any.

All events take one road, ours and those of the libraries: they are reduced to plain values, cleaned
value by value, and then written as JSON or, on a terminal, as a line for people.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import Literal, TextIO, cast

from archiver.core.hiding import hidden
from archiver.core.log_budget import MINUTE, Line, LogBudget
from archiver.core.log_line import line
from archiver.core.redaction import Cleaner, Plain
from archiver.core.tracebacks import lines_of

with hidden("rich", "greenlet"):  # for colours and tasks that no log of ours has: 5 MB of every process
    import structlog
    from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger, Processor, WrappedLogger

EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "queue.accepted": "an id is in the ledger; from here on it is not forgotten",
        "queue.rejected": "a line of the queue file is no task id; it is kept in the ledger with the reason",
        "queue.restarted": "the queue file was rotated, replaced or truncated, and is read from its start; "
        "a warning where the old one was not found",
        "queue.unreadable": "the queue file cannot be read now; it is looked at again at the next poll",
        "task.claimed": "a task is being worked on",
        "record.fetched": "the provider answered for a task; `kind` is `auto` where none asked in turn knows it",
        "record.blemished": "the provider's JSON is broken where nobody needs it; it was read, its places are named",
        "record.not_taken": "an address in a record is not asked for: what it is instead of audio, or why it cannot be",
        "record.not_ready": "the provider is still at work; the task is asked about again later",
        "task.listed": "the stems of a task, and its deadline, are known",
        "stem.started": "a stem is being fetched",
        "stem.stored": "a stem is complete in the store, with its size and SHA-256",
        "stem.aliased": "a stem has the same bytes as another of its task; only one object is kept",
        "stem.doubtful": "a stem is stored as it came, but may not be what it should be: of no known format, "
        "without sound, cut short, or far shorter than its record says",
        "stem.preempted": "a slow transfer was broken off for what waits; no try is counted, "
        "and what came is `kept` where it can be",
        "stem.resumed": "a transfer that was broken off goes on by Range, from the byte at which it was",
        "stem.begun_anew": "a transfer that was broken off could not go on "
        "(the origin offers another version, or not the rest): it begins anew",
        "stem.retry": "a try at a stem failed; it is tried again later",
        "stem.refused": "a stem will not improve by itself; an operator must look at it",
        "stem.lost": "a stem can no longer be had",
        "stem.link_refreshed": "the provider gave a fresh link for a stem",
        "stem.link_rescue": "the last resort for a spent link was tried, and the provider did or did not offer another",
        "stem.unknown_name": "the record names a stem nobody has heard of; it is archived all the same",
        "task.later": "a try at a task failed; it is taken up again later",
        "task.archived": "every stem is stored and the manifest is written",
        "task.quarantined": "processes died while at a task, twice or more in a row: it is tried last, and alone",
        "task.refused": "nothing is left of a task but stems that an operator must look at",
        "task.lost": "audio of a task can no longer be had; what could be saved is saved",
        "task.failed": "the provider made no audio for a task",
        "task.missing": "the provider does not know the id, long after it was first asked",
        "task.adopted": "the bucket has the manifest of a task that was new here: what it tells was taken from there",
        "stem.adopted": "the bucket has a stem that was not known to be stored: it was taken from there",
        "stem.not_adopted": "an object in a task's folder says that it is a stem, and is not taken for one",
        "manifest.broken": "a broken manifest stands in the bucket; it is copied aside before a sound one replaces it",
        "task.released": "a task was given back unfinished",
        "task.crashed": "work on a task ended in a bug worth reporting; the task is taken up again later",
        "thread.refused": "no further thread could be started; work goes on with those there are, the rest waits",
        "lease.lost": "another process took a task over; what was held for it is dropped",
        "concurrency.changed": "how many transfers are let at one time with a host of the CDN, or the store, changed",
        "api.retry": "a call to the provider failed and is repeated",
        "dependency.paused": "the provider (an account), origin (a host) or store refuses us or is down; it is probed",
        "dependency.resumed": "a paused dependency works again",
        "dependency.held": "the operator paused a dependency: it is left alone until `resume`, or the time given",
        "dependency.released": "the operator's pause of a dependency is over",
        "callback.listening": "callbacks of the provider are taken at this address",
        "callback.unavailable": "callbacks cannot be taken: callback.listen cannot be used; tasks are polled meanwhile",
        "callback.heard": "the provider called about a task, which looks of that `kind`; it is asked about at once, "
        "if it was waiting for that",
        "callback.unknown": "the provider called about a task that the ledger does not know",
        "callback.refused": "requests were no callback, or not signed by the provider; said once a minute at most",
        "notify.failed": "people could not be told; it is tried again with the next message",
        "heartbeat.failed": "the dead man's switch could not be pinged; said again once a ping got through",
        "backup.taken": "the open part of the ledger was backed up into the bucket",
        "backup.failed": "the ledger could not be backed up into the bucket; it is tried again in five minutes",
        "fixity.checked": "a check of the archive ended: how closely it looked, what it judged and found; `whole` is "
        "false where it was broken off",
        "fixity.broken_off": "a check that the service makes by itself could not go on; it does so later",
        "fixity.fault": "an object of the archive is not as it should be: what was expected there, and what was "
        "found; said once",
        "fixity.doubted": "an object that the page read whole for somebody had other bytes than its receipt tells: "
        "`verify` judges it",
        "fixity.unknown": "an object that neither the ledger nor a manifest knows; said once",
        "fixity.acknowledged": "an operator acknowledged a fault: it counts apart until it is found otherwise",
        "fixity.mended": "a fault was found mended by a later check",
        "fixity.reported": "the sealed report of the day stands in the bucket",
        "fixity.report_failed": "the report of the day could not be put; it is tried again in ten minutes",
        "trim.done": "stems and history of tasks archived long ago left the ledger: their manifests hold them",
        "trim.left_alone": "a task stays whole in the ledger: its manifest is missing, broken or says something else",
        "trim.failed": "the ledger could not be trimmed; it is tried again in an hour",
        "store.proven": "what the store can do was tried and is known, with the guarantees that it cannot give",
        "store.degraded": "the store cannot give a guarantee, and what follows; said at each start",
        "upload.aborted": "a multipart upload that nobody owned any more was aborted",
        "upload.abort_failed": "such an upload could not be aborted now; it is tried again at the next sweep",
        "upload.abort_deferred": "an upload that failed could not be aborted at once; the next sweep does it",
        "deadline.at_risk": "how many open tasks have a deadline that is near or past; said whenever that changes",
        "deadline.forecast": "how many stems will expire before they are reached, at the present pace",
        "task.stuck": "nothing of a task, or of one transfer, moved for five minutes: it is given up and tried again",
        "daemon.started": "the daemon is at work",
        "daemon.draining": "a signal came: no new work is begun, what fits into shutdown_grace is finished",
        "daemon.stalled": "jobs or transfers of the daemon make no progress; systemd kills it and starts it again",
        "daemon.recovered": "what made no progress goes on again",
        "daemon.stopped": "the daemon ended, its leases given back",
        "settings.reloaded": "SIGHUP, or a key file changed: the settings were read again; which took effect, "
        "and which need a restart",
        "settings.refused": "the settings, credentials or certificates have faults; those in effect stay in effect",
        "clock.set_back": "this machine's clock was set back; all jobs run at once, and nothing waits longer",
        "clock.set_ahead": "this machine's clock was set ahead; what waits is due so much earlier",
        "job.failed": "a job of the daemon failed; it runs again at its next time",
        "job.deferred": "jobs were queued for tasks that are due; workers will do them",
        "job.skipped": "a job had nothing to do: its task is not due, or is another's, or what it needs is paused",
        "job.rescued": "a worker is gone; the job that it was at waits for another, or another of its task does",
        "lease.expired": "what a dead process held was given back",
        "ledger.fault": "the ledger cannot be used; no work is done without it",
        "ledger.away": "the ledger's server is away; what was under way is tried again for a minute",
        "http.listening": "metrics and health are served at this address",
        "http.unavailable": "metrics and health cannot be served: http.listen cannot be used; archiving goes on",
        "http.failed": "a request for a page, or a callback, could not be answered: a bug worth reporting",
        "page.broke_off": "audio on its way to a browser broke off, or did not begin: the store did not give it",
        "page.ended": "the page that `run` keeps at work ended; it is started again, unless its settings are at fault",
        "page.operated": "somebody asked the page for an operation, and what it came to",
        "page.unmeasured": "a stem that somebody looks at could not be decoded and measured, and why",
        "page.without_ledger": "the page could not read the ledger: it says so, and tries again at the next request",
        "backfill.started": "a backfill took its ids in",
        "backfill.progress": "where a backfill stands and what it waits for; every ten seconds, where no terminal is",
        "backfill.finished": "a backfill ended, with what it left unfinished",
        "backfill.failed": "a backfill could not go on: its ledger or its file of ids cannot be used",
        "descriptors.raised": "more files may be open from now on: the limit was raised to the most that is allowed",
        "listener.flooded": "more connections came than are held, and the oldest were hung up on; said once a minute",
        "log.suppressed": "so many lines of an event, or of a library, were not written in the last minute",
        "process.crashed": "an exception that nobody caught: a bug worth reporting",
    }
)
"""The meaning of every event of ours. Lines of libraries carry `logger` and are not listed."""

_KIND = 100
_STAMPING: Sequence[Processor] = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
_NOISY = ("httpx", "httpcore", "botocore", "boto3", "s3transfer", "urllib3", "apscheduler", "alembic", "sqlalchemy")

_JARGON = ("apscheduler", "asyncio")
"""Libraries whose own lines tell an operator nothing that events of ours do not; seen at debug alone."""

_SENDING: Sequence[Processor] = (
    structlog.stdlib.filter_by_level,
    *_STAMPING,
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
)

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

Notify = Callable[[str, Mapping[str, object]], None]
"""Called with every event of ours and its fields, whatever its level; must return at once and never raise."""


def configure(
    level: Level,
    format: Format,  # noqa: A002 - named as the setting is
    stream: TextIO | None = None,
    *,
    secrets: Iterable[str] = (),
    notify: Notify | None = None,
    alerted: Collection[str] = (),
) -> FilteringBoundLogger:
    """Send all events from `level` up to `stream` (standard error) and return the logger for ours.

    Libraries are logged from WARNING up; warnings and uncaught exceptions take the same road, without
    local variables. `secrets` are values to be masked wherever they occur, also encoded; those under
    four characters are not, since masking them would blank ordinary words. `auto` is console on a
    terminal, json elsewhere. A megabyte a minute is written at most, first of all the events that are
    `alerted` (see archiver.core.log_budget). Calling it again replaces the earlier set-up.
    """
    out = sys.stderr if stream is None else stream
    as_json = format == "json" or (format == "auto" and not out.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    cleaner = Cleaner(secrets)
    handler = _Handler(out, LogBudget(alerted), cleaner)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_STAMPING, structlog.stdlib.add_logger_name],
            processors=_writing(cleaner, _json if as_json else _Console(out)),
        )
    )
    _take_over_stdlib(handler, threshold)
    structlog.configure(
        # The thresholds are those of `logging`, so that a logger can be made once and follows as they change.
        processors=[*([] if notify is None else [_Notifier(notify, cleaner, alerted)]), *_SENDING],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    log = cast("FilteringBoundLogger", structlog.get_logger("archiver"))
    _report_crashes(log)
    return log


def _writing(cleaner: Cleaner, written: Processor) -> list[Processor]:
    """Return the processors that make a line of an event, whoever logged it."""
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.ExceptionRenderer(_frames),
        _Shape(cleaner),
        written,
    ]


def set_level(level: Level) -> None:
    """Log events from `level` up from now on; all else stays as `configure` made it."""
    _set_thresholds(logging.getLevelNamesMapping()[level.upper()])


def mask(secrets: Iterable[str]) -> None:
    """Mask these, too, from now on; to be called before such a secret is used for the first time."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler):
            handler.cleaner.learn(secrets)


_OF_STRUCTLOG = {"event", "exc_info"}
"""Keys that are no fields."""


class _Notifier:
    """The first step, before the level is looked at."""

    def __init__(self, notify: Notify, cleaner: Cleaner, alerted: Collection[str]) -> None:
        self._notify, self._cleaner, self._alerted = notify, cleaner, alerted

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        name, fields = event["event"], {key: value for key, value in event.items() if key not in _OF_STRUCTLOG}
        if name in self._alerted:  # by what was learned since the start, too
            fields = cast("dict[str, object]", self._cleaner.value(fields))
        self._notify(name, fields)
        return event


class _Shape:
    """The last step before writing: when, how grave, what, then the fields; all of it clean."""

    def __init__(self, cleaner: Cleaner) -> None:
        self._cleaner = cleaner

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> dict[str, Plain]:
        head = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
        return cast("dict[str, Plain]", self._cleaner.value({**head, **event}))


def _json(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    return json.dumps(event)


class _Console:
    """Writes an event for people; on a terminal in colour, and with the time on the wall's clock."""

    def __init__(self, stream: TextIO) -> None:
        self._encoding = stream.encoding or "utf-8"
        self._is_terminal = stream.isatty()
        self._has_colour = self._is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> str:
        if self._is_terminal:
            event["timestamp"] = datetime.fromisoformat(event["timestamp"]).astimezone().strftime("%H:%M:%S")
        text = line(event, colour=self._has_colour)
        return text.encode(self._encoding, "backslashreplace").decode(self._encoding)


def _frames(exc_info: ExcInfo) -> list[str]:
    return list(lines_of(traceback.TracebackException(*exc_info, lookup_lines=False, compact=True)))


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to the stream within the budget, and says every minute what was left out.

    A record that cannot be formatted is reported without its content.
    """

    def __init__(self, stream: TextIO, budget: LogBudget, cleaner: Cleaner) -> None:
        super().__init__(stream)
        self.cleaner = cleaner
        self._budget = budget
        self._summary: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it."""
        try:
            self._write(record)
        except Exception:  # noqa: BLE001 - logging's way: a line that fails costs no work
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Replace the default, which prints the record as it is, secrets included."""
        fields = {"name": record.name, "levelname": "ERROR", "levelno": logging.ERROR}
        with suppress(Exception):
            self._write(logging.makeLogRecord({**fields, "msg": "a line of this logger could not be formatted"}))

    def close(self) -> None:
        """Say what was left out."""
        if self._summary is not None:
            self._summary.cancel()
            self._summarize()
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        line, now = _line_of(record), time.monotonic()
        if (room := self._budget.room(line, now)) > 0:
            text = self.format(record) + self.terminator
            if (size := len(text.encode("utf-8", "backslashreplace"))) <= room:
                self._budget.write(line, size, now)
                self.stream.write(text)
                self.flush()
                return
        self._budget.leave_out(line)
        if self._summary is None:
            summary = threading.Timer(MINUTE, self._summarize)
            summary.daemon = True
            with suppress(RuntimeError):  # no thread to be had: the next one that is left out tries again
                summary.start()
                self._summary = summary

    def _summarize(self) -> None:
        with self.lock or nullcontext():
            self._summary = None
            left_out, worst = self._budget.left_out()
        log = structlog.get_logger("archiver")
        for name, lines in left_out.items():
            (log.error if worst >= logging.ERROR else log.warning)("log.suppressed", of=name, lines=lines)


_SUBJECT = ("task_id", "stem", "account", "dependency", "host", "job", "owner")
"""Fields that say what an event is about."""


def _line_of(record: logging.LogRecord) -> Line:
    event = record.msg
    if isinstance(event, dict):
        name = str(event.get("event"))
        about = tuple([str(event[field]) for field in _SUBJECT if field in event])
        return Line(name, record.levelno, name, about, is_about_a_stem="stem" in event)
    return Line(record.name, record.levelno, str(event)[:_KIND], is_library=True)


def _take_over_stdlib(handler: logging.Handler, threshold: int) -> None:
    """Make `handler` the only way out, and keep libraries quiet below WARNING."""
    root = logging.getLogger()
    for other in list(root.handlers):
        root.removeHandler(other)
    root.addHandler(handler)
    for name in _NOISY:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    # Its lines may quote the URLs of its services; what came of a message is said by events of ours.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    _set_thresholds(threshold)
    logging.captureWarnings(capture=True)


def _set_thresholds(threshold: int) -> None:
    for name in (None, *_NOISY):
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    for name in _JARGON:
        logging.getLogger(name).setLevel(logging.WARNING if threshold <= logging.DEBUG else logging.CRITICAL + 1)
    logging.getLogger("archiver").setLevel(threshold)


def _report_crashes(log: FilteringBoundLogger) -> None:
    def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            log.critical("process.crashed", exc_info=(kind, error, trace))

    def thread_crashed(args: threading.ExceptHookArgs) -> None:
        if not issubclass(args.exc_type, SystemExit):
            error = args.exc_value or args.exc_type()
            thread = args.thread.name if args.thread else ""
            log.critical("process.crashed", thread=thread, exc_info=(args.exc_type, error, args.exc_traceback))

    sys.excepthook = crashed
    threading.excepthook = thread_crashed
