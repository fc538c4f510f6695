"""The daemon of `run` and `worker`: its jobs as a table, and all that it listens to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from archiver import __version__
from archiver.adapters.notify.heartbeat import Ping
from archiver.adapters.queue_file import QueueFile
from archiver.adapters.systemd import Systemd
from archiver.app.adapters import only_run, open_messenger
from archiver.app.assembly import Parts, Role, assembled
from archiver.app.backup import backup_schedule
from archiver.app.fixity import report_schedule
from archiver.app.ledger import ledger_room
from archiver.app.listeners import pages, serving_pages, taking_callbacks
from archiver.app.machine import THIS_MACHINE, Machine
from archiver.app.places import queue_name
from archiver.app.rolling import Watching, daily_list, rolling_read
from archiver.app.rotation import FileWatch, Reload, renewals, was_overlooked
from archiver.app.standing import fixity_standing, queue_standing
from archiver.app.starting import answering
from archiver.app.trimming import trim_schedule
from archiver.app.tunables import callback_tunables, tunables
from archiver.core.reports import Overview
from archiver.pipeline.cluster import RENEW_EVERY
from archiver.ports.runtime import EventLog
from archiver.preservation.backup import BackupSchedule
from archiver.service.alerts import AlertDelivery, Alerts, Heartbeat
from archiver.service.daemon import Daemon, Job
from archiver.service.deadlines import DeadlineWatch, Pressing
from archiver.service.housekeeping import Rescue
from archiver.service.intake import QueueIntake
from archiver.service.liveness import Liveness
from archiver.service.quarantine import QuarantineWatch
from archiver.service.shutdown import Shutdown
from archiver.service.supervision import Hangup, Supervision
from archiver.service.wakeups import Wakeups
from archiver.settings import Settings
from archiver.web.callbacks import Callbacks
from archiver.web.metrics import Metrics, Sources

_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)

_LAST_WORDS = 5.0
"""Seconds that a message may take while the daemon ends."""

_WORK = "work"
"""The name by which liveness knows the dispatcher and the transfers, beside the jobs of the daemon."""
_WORK_WITHIN = timedelta(minutes=10)
"""The time that all tasks in flight may be silent at once: transfers to a slow store are so for minutes."""

_PROOF_WITHIN = timedelta(hours=1)
"""The time that a proof of the store may take: a slow one is proven by many requests of a minute each."""


@dataclass(frozen=True, slots=True)
class DaemonProcess:
    """A process that runs until it is asked to end: `run`, or a worker."""

    parts: Parts
    liveness: Liveness
    """Knows the daemon's jobs by name, and `work`."""
    metrics: Metrics
    wakeups: Wakeups
    files: FileWatch
    """Those whose change is heeded without a signal."""
    delivery: AlertDelivery | None
    """None where nobody is to be alerted."""
    backups: BackupSchedule | None = None
    """None where this process takes none."""
    asked: Callable[[], bool] = lambda: False
    """Returns whether the process is to end."""

    def run(self, shutdown: Shutdown, hangup: Hangup, read: Callable[[], Settings]) -> None:
        """Run until asked to end; raise LedgerFault when the ledger ended it.

        `read` reads the settings again, on SIGHUP. Raises SettingsFault, before anything is begun, when an extra
        that the settings need is not installed.
        """
        parts, settings, clock, log = self.parts, self.parts.settings, self.parts.machine.clock, self.parts.log
        parts.heed(shutdown)
        self.liveness.expect(_WORK, _WORK_WITHIN)
        renewed, callbacks = renewals(parts.adapters), self._callbacks()
        reload = Reload(
            settings, read=read, tunes=tunables(parts) | callback_tunables(callbacks), log=log, renewals=renewed
        )
        if was_overlooked(settings, read):
            hangup.ask()
        manager = Systemd.of(os.environ, os.getpid())
        supervision = Supervision(manager, self.liveness, parts.presence.doing, hangup, reload, log)
        daemon = Daemon(
            self.jobs() | {"rotation": Job(partial(self.files, hangup.ask), 10 * _SECOND)},
            shutdown=shutdown,
            supervision=supervision,
            clock=clock,
            log=log,
            steady=parts.machine.steady,
            set_back=parts.clock_set_back,
        )
        with serving_pages(settings.http, pages(self.metrics, self.liveness, parts.breakers), log):
            with taking_callbacks(settings.callback, callbacks, log):
                queue = str(settings.queue.path)
                log.info("daemon.started", version=__version__, owner=parts.adapters.owner, queue=queue)
                fault = daemon.run(lambda: parts.dispatcher.fault)
            try:
                parts.stop(shutdown)
            finally:
                log.info("daemon.stopped")
                if self.delivery is not None:
                    self.delivery.close(_LAST_WORDS)
        if fault is not None:
            raise fault

    # --- the jobs

    def jobs(self) -> dict[str, Job]:
        """Return the jobs of this role by name."""
        parts, jobs = self.parts, {name: Job(run, every) for name, run, every in self._table()}
        if parts.role is Role.RUN:
            intake = self._intake()
            jobs["intake"] = Job(intake, intake.every, wanted=intake.has_changed)
        proofs = {"proof": (parts.renew_proof, 60 * _MINUTE), "probe": (parts.probe_store, _SECOND)}
        return jobs | {name: Job(*its, hung_after=_PROOF_WITHIN) for name, its in proofs.items()}

    def _table(self) -> Iterator[tuple[str, Callable[[], object], timedelta]]:
        parts, engine = self.parts, self.parts.adapters.engine
        yield "dispatch", self._dispatch, _SECOND
        yield "housekeeping", self._housekeeping, 30 * _SECOND
        if parts.role is Role.RUN:
            deadlines = self._deadline_watch()
            yield "deadlines", self._watches(deadlines), _MINUTE
            yield "strays", parts.abort_strays, 10 * _MINUTE
            yield "expiry", parts.expire, 60 * _MINUTE
            yield "fixity_report", report_schedule(parts), 10 * _MINUTE
            yield "fixity_list", daily_list(parts, self._watching("fixity_list")), _MINUTE
            pressing = Pressing(parts.adapters.ledger.claims, parts.adapters.owner, parts.machine.clock)
            yield "fixity_read", rolling_read(parts, self._watching("fixity_read"), pressing), 5 * _SECOND
            if parts.settings.ledger.trim_after:
                yield "trim", trim_schedule(parts), 10 * _SECOND
        if self.backups is not None:
            yield "backup", self.backups, _MINUTE
        if parts.role is Role.WORKER:
            yield "leases", parts.dispatcher.renew, RENEW_EVERY
        if engine is not None:
            yield "rescue", Rescue(engine, parts.log), 2 * _SECOND
        if self.delivery is not None:
            yield "notices", self.delivery.flush, _SECOND

    def _callbacks(self) -> Callbacks:
        parts = self.parts
        return Callbacks(
            key=parts.settings.callback.key(), wake=self.wakeups.request, clock=parts.machine.clock, log=parts.log
        )

    def _watching(self, job: str) -> Watching:
        return Watching(partial(self.liveness.progress, job), self.asked, self.metrics.verified)

    def _dispatch(self) -> None:
        self.parts.breakers.reload()
        self.wakeups()
        self.parts.dispatcher.pump()

    def _housekeeping(self) -> None:
        self.parts.dispatcher.renew()
        self.parts.housekeeping.free_leases()
        self.parts.housekeeping.abort_uploads()
        self.parts.presence.note()

    def _intake(self) -> QueueIntake:
        name = queue_name(self.parts.settings)

        def progress() -> None:
            self.liveness.progress("intake")
            self.parts.dispatcher.pump()

        return QueueIntake(
            queue=QueueFile(str(self.parts.settings.queue.path), name=name),
            path=name,
            intakes=self.parts.adapters.ledger.intakes,
            clock=self.parts.machine.clock,
            log=self.parts.log,
            checkpoint=self.parts.machine.checkpoint,
            progress=progress,
            looked=self.parts.presence.looked,
            every=self.parts.settings.queue.poll_interval,
        )

    def _deadline_watch(self) -> DeadlineWatch:
        parts, settings = self.parts, self.parts.settings
        reports, at_risk = parts.adapters.ledger.reports, settings.schedule.at_risk
        return DeadlineWatch(reports, parts.machine.clock, at_risk, parts.log, settings.provider.retention)

    def _watches(self, deadlines: DeadlineWatch) -> Callable[[], None]:
        """Return the watch over deadlines and quarantine; after each look the heartbeat says that all is well."""
        parts, settings = self.parts, self.parts.settings
        watches: list[Callable[[], None]] = [deadlines, QuarantineWatch(parts.adapters.ledger.reports, parts.log)]
        if (url := settings.notify.heartbeat()) is not None:
            ping = Ping(url, user_agent=settings.provider.user_agent)
            watches.append(Heartbeat(ping, self.liveness.late, parts.log))

        def look() -> None:
            for watch in watches:
                watch()

        return look


@contextmanager
def daemon(
    settings: Settings,
    role: Role,
    *,
    log: EventLog,
    alerts: Alerts | None = None,
    asked: Callable[[], bool] = lambda: False,
    machine: Machine = THIS_MACHINE,
) -> Iterator[DaemonProcess]:
    """Put the daemon together, ready to run, and close it all at the end; see `assembled` for `asked`, and the errors.

    `alerts` must gather the events of `log`; None where nobody is to be alerted.
    """
    files, delivery = FileWatch.of(settings), None
    if alerts is not None:
        send, interval = open_messenger(settings), settings.notify.min_interval
        delivery = AlertDelivery(alerts, send=send, clock=machine.clock, min_interval=interval, log=log)
    liveness = Liveness(machine.monotonic)
    progress = partial(liveness.progress, _WORK)
    metrics = Metrics(__version__, progress=progress)
    with (
        only_run(settings, machine) if role is Role.RUN else nullcontext(),
        answering(settings.http, Systemd.of(os.environ, os.getpid()), log) as started,
        assembled(
            settings,
            role,
            log=log,
            observer=metrics,
            progress=progress,
            answered=metrics.api_answered,
            asked=asked,
            machine=machine,
        ) as parts,
    ):
        started()
        liveness.tasks = parts.watch
        backups = _backups(parts, liveness, asked)
        metrics.watch(_sources(parts, liveness, backups))
        yield DaemonProcess(parts, liveness, metrics, _wakeups(parts), files, delivery, backups, asked)


def _wakeups(parts: Parts) -> Wakeups:
    intakes, add_unknown = parts.adapters.ledger.intakes, parts.settings.callback.add_unknown
    return Wakeups(intakes, parts.machine.clock, parts.log, add_unknown=add_unknown)


def _backups(parts: Parts, liveness: Liveness, asked: Callable[[], bool]) -> BackupSchedule | None:
    if parts.role is not Role.RUN or not parts.settings.ledger.backup_every:
        return None
    return backup_schedule(parts, partial(liveness.progress, "backup"), asked)


def _sources(parts: Parts, liveness: Liveness, backups: BackupSchedule | None) -> Sources:
    """Return where the gauges are read from."""
    adapters, settings, clock = parts.adapters, parts.settings, parts.machine.clock

    def overview() -> Overview:
        at_risk, retention = settings.schedule.at_risk, settings.provider.retention
        return adapters.ledger.reports.overview(now=clock(), at_risk=at_risk, retention=retention)

    return Sources(
        overview=overview,
        queue=lambda: queue_standing(settings, adapters.ledger),
        poll=settings.queue.poll_interval,
        paused=parts.breakers.paused,
        late=liveness.late,
        budget=adapters.accounts.budget,
        limits=adapters.transfers.limits,
        oldest_transfer=lambda: max(adapters.transfers.oldest(), parts.watch.oldest_writing()),
        clock_ahead=parts.look.ahead,
        gaps=lambda: [gap.subject for gap in parts.proof.gaps],
        clock=clock,
        backup_age=lambda: None if backups is None else backups.age,
        fixity=lambda: fixity_standing(parts.terms.settings, adapters.ledger, clock()),
        room=lambda: ledger_room(settings, adapters.ledger),
    )
