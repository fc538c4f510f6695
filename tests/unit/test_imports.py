"""Who in the tests may name which part of the package: house.py composes it, a part's own tests know that part."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT

TESTS = ROOT / "tests"
FREE = ("__version__", "core", "ports", "settings", "logs", "demo")
"""Plain data, protocols, settings, the log, and the stand-ins that the package itself ships."""

OWN = {
    "faults/test_floods.py": ("web",),
    "faults/test_kill_points_of_commands.py": ("app.backup", "preservation.backup"),
    "integration/test_floods.py": ("web",),
    "property/test_backfill_counts.py": ("app", "commands", "service", "pipeline.dispatch"),
    "property/test_http1.py": ("adapters.http1",),
    "acceptance/test_daemon_care.py": ("service", "adapters.systemd"),
    "contracts/test_downloader.py": ("adapters.downloader",),
    "integration/test_accounts.py": ("adapters.provider",),
    "integration/test_asgi.py": ("web",),
    "integration/test_bucket_policy.py": ("app.check", "service"),
    "integration/test_callbacks.py": ("web", "app.listeners", "app.clock"),
    "integration/test_deferring.py": ("pipeline.cluster",),
    "integration/test_notify.py": ("adapters.notify", "app.adapters"),
    "integration/test_owners.py": ("adapters.owners",),
    "integration/test_page.py": ("web",),
    "integration/test_page_copy.py": ("app.page_copy",),
    "integration/test_pages.py": ("web",),
    "integration/test_proving.py": ("adapters.proving",),
    "integration/test_queue_file.py": ("adapters.queue_file",),
    "integration/test_service_manager.py": ("adapters.systemd",),
    "integration/test_slow_line.py": ("service.liveness", "adapters.object_store"),
    "integration/test_sounds.py": ("adapters.sounds",),
    "integration/test_strays.py": ("service.housekeeping", "adapters.object_store"),
    "integration/test_wakeups.py": ("service.wakeups",),
}
"""The part that a file outside the folder of its room is the test of."""

EXCEPTIONS = {
    "faults/runner.py": ("app", "commands", "service"),  # is the command line with a checkpoint in it
    "faults/test_deadlines_beside_verify.py": ("preservation", "service.deadlines"),
    "faults/test_deadline_simulation.py": ("adapters.ledger",),  # plays a ledger that goes first in, first out
    "fixtures/gauges.py": ("web.metrics",),  # what its page is made of
    "golden/seen.py": ("commands", "service.alerts"),  # collects what users see, wherever it is said
    "integration/ledger/test_backups.py": ("app.backup",),  # a backup's file and its ledger meet there
    "integration/ledger/test_copy.py": ("app.ledger", "commands"),  # copying is a command too
    "integration/ledger/test_permits.py": ("adapters.provider", "app"),  # permits are there for the clients to share
    "integration/object_store/test_exchange.py": ("adapters.http1",),  # the answer is its
    "integration/test_slow_line.py": (
        "adapters.object_store.exchange",
        "service.liveness",
    ),  # bytes that move are progress
    "property/test_keys_and_metadata.py": ("adapters.downloader.sniff",),  # a pure function of it is half the property
    "property/universe.py": ("service",),  # does the daemon's chores by hand
    "unit/adapters/http1/test_connection.py": ("adapters.downloader.transport",),  # its wait is what is cut short
    "unit/commands/test_screen.py": ("service.backfill",),  # what is seen is made there
    "unit/commands/test_printing.py": ("app.preview", "service.backfill"),  # what is printed is made there
    "unit/app/test_starting.py": ("adapters.systemd",),  # what is said while a start lasts is said to it
    "unit/core/test_bandwidth.py": ("adapters.downloader.throttle",),  # the allowance by its only client
    "unit/deploy/test_alerts.py": ("commands",),  # alerts name commands
    "unit/deploy/test_container_files.py": ("commands",),  # images run commands
    "unit/pipeline/test_dispatch.py": ("adapters.ledger.claims",),  # a ledger that breaks on claiming
    "unit/pipeline/test_task.py": ("service.deadlines",),  # what it warns of is what the path then saves
    "unit/service/test_clock.py": ("adapters.systemd",),  # the daemon takes no other service manager
    "unit/service/test_intake.py": ("adapters.queue_file",),  # from a real file
    "unit/test_docs.py": ("commands",),  # documents name commands
}


def _imported(file: Path) -> Iterator[str]:
    """Each module of the package that the file names, without `archiver.`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "archiver":
            names = [f"archiver.{alias.name}" for alias in node.names]
        else:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name.partition(".")[2] for name in names if name.partition(".")[0] == "archiver")


def _own(name: str) -> tuple[str, ...]:
    """What the file is the test of: by its folder, or by the tables above."""
    kind, *rooms = Path(name).parts[:-1] or ("",)
    room = ".".join([*(("adapters",) if kind == "integration" else ()), *rooms])
    by_folder = (room,) if rooms and kind in ("unit", "integration") else ()
    return (*by_folder, *OWN.get(name, ()), *EXCEPTIONS.get(name, ()))


def _within(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def test_file_of_tests_names_only_its_own_part_of_the_package_and_what_is_free() -> None:
    foreign = {
        name: modules
        for file in TESTS.rglob("*.py")
        if (name := str(file.relative_to(TESTS))) != "house.py"
        and (modules := {each for each in _imported(file) if each and not _within(each, (*FREE, *_own(name)))})
    }
    assert foreign == {}, "let tests/house.py build it"


def test_every_row_of_the_tables_is_still_needed() -> None:
    for name, rooms in (*OWN.items(), *EXCEPTIONS.items()):
        modules = set(_imported(TESTS / name))
        assert [room for room in rooms if not any(_within(each, (room,)) for each in modules)] == [], name
