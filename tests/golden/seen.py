"""Texts that users see of the program. No other file of these tests names a module of the package."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import httpx
from prometheus_client.parser import text_string_to_metric_families
from typer.main import get_command
from typer.testing import CliRunner

from archiver import __version__
from archiver.commands.app import app
from archiver.core import misses, reading, refusals, states
from archiver.core.errors import ArchiverError
from archiver.core.records.record import record_of
from archiver.demo import song
from archiver.demo.emulator import Emulator
from archiver.demo.kinds import line_of
from archiver.demo.records import EmulatedTask
from archiver.demo.seaweed import S3Server
from archiver.demo.show import demo_tasks
from archiver.logs import EVENTS
from archiver.service.alerts import ALERTS
from tests import ROOT
from tests.fixtures.ledgers import rows
from tests.fixtures.record_kinds import KIND_EXAMPLES, KindExample
from tests.house import ledger_at
from tests.worlds.site import Finished, Json, Site, measured, stems_of

NAME = "stem-archiver"
WIDE, NARROW = 100, 80
AGAIN = f"backfill  # again, at {NARROW} columns"
NEWEST_SCHEMA = max((Path(__file__).parents[1] / "fixtures" / "schemas").glob("*.sql"))
"""A ledger with a task in every state."""

_MASKS = (
    (rf"\b{re.escape(__version__)}\b", "VERSION"),
    (r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d", r"0000-00-00\g<1>00:00:00"),
    (r"(?<=00:00:00\.)\d+", lambda found: "0" * len(found[0])),
    (r"(?<=postgresql://127\.0\.0\.1:)\d+/\w+", "0/DATABASE"),
    (r"(?<=lease until )\d\d:\d\d:\d\d", "00:00:00"),
    (r"\b\d{13}\b", "0" * 13),  # milliseconds since 1970
    (r'(?<="seal": "sha256:)[0-9a-f]{64}', "0" * 64),
    (r'(?<="etag": ")[0-9a-f]{32}', "0" * 32),
    (r'(?<="seconds": )[\d.]+', "0.0"),
    (r"(?<= in )[\d.]+(?= s\b)", "0.0"),
    (r"(?<=differ by )\d+(?= s)", "0"),
)


def masked(text: str, *places: tuple[object, str]) -> str:
    """Return `text` without what differs from run to run, and with `places` under the names given for them."""
    for place, name in places:
        text = text.replace(str(place), name)
    for pattern, shown in _MASKS:
        text = re.sub(pattern, shown, text)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def called(folder: Path, *words: str, columns: int = WIDE, **environ: str) -> Finished:
    """Call a command in this process, with nothing of this machine's in its environment."""
    clean = dict.fromkeys(os.environ) | {"HOME": "/home/me", "COLUMNS": str(columns)} | environ
    done = CliRunner().invoke(app, list(words), prog_name=NAME, env=clean, catch_exceptions=False)
    places = (folder, "FOLDER")
    return Finished(done.exit_code, *(masked(click.unstyle(text), places) for text in (done.stdout, done.stderr)))


def session(done: Finished, *words: str, note: str = "") -> str:
    """Return a command and what it said, as a terminal shows it, then its exit code."""
    return f"$ {shlex.join([NAME, *words])}{note}\n{done.out}{done.err}=> {done.code}\n"


# ---------------------------------------------------------------- without a site


def help_pages(folder: Path) -> str:
    return "\n".join(_help_pages(folder))


def _help_pages(folder: Path, *path: str) -> Iterator[str]:
    page = called(folder, *path, "--help")
    yield session(page, *path, "--help")
    command = functools.reduce(lambda group, name: getattr(group, "commands")[name], path, get_command(app))  # noqa: B009 - typer's type does not say that it is a group
    for name in getattr(command, "commands", ()):
        yield from _help_pages(folder, *path, name)


def help_of_the_process() -> str:
    """Return what `python -m archiver --help` prints, which calls itself that."""
    environ = {"COLUMNS": str(WIDE), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **measured()}
    done = subprocess.run(
        [sys.executable, "-m", "archiver", "--help"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return masked(done.stdout).replace("python -m archiver", NAME)


def settings(folder: Path) -> str:
    empty = folder / "empty.toml"
    empty.touch()
    return "\n".join(
        session(called(folder, "--config", str(empty), *words), *words)
        for words in (("config", "show"), ("config", "show", "--json"))
    )


def settings_faults(folder: Path) -> str:
    """The faults of a file with keys that do not exist, of one in which no value makes sense, and of an empty one."""
    keys = json.loads(called(folder, "config", "show", "--json").out)
    file = folder / "archiver.toml"
    file.touch()
    file.chmod(0o644)
    plain = [f"{key} = false" for key in keys if "." not in key]
    file.write_text("\n".join([*plain, 'provider.key = ""', "store = { buckets = 1 }"]) + "\n")
    words = ("config", "validate")
    top = called(folder, "--config", str(file), *words)
    tables = defaultdict(list)
    for key in keys:
        section, _, name = key.rpartition(".")
        tables[section].append(name)
    lines = [f"{name} = [[]]" for name in tables.pop("")]
    for section, names in tables.items():
        lines += [f"[{section}]", *(f"{name} = [[]]" for name in names)]
    file.write_text("\n".join(lines) + "\n")
    each = called(folder, "--config", str(file), *words)
    file.write_text("")
    none = called(folder, "--config", str(file), *words)
    return "\n".join(session(done, *words) for done in (top, each, none))


def events(folder: Path) -> str:
    return "".join(f"{name}\n    {meaning}\n" for name, meaning in EVENTS.items())


def alerts(folder: Path) -> str:
    """The events that people are alerted to, and in which words."""
    return "".join(f"{name}\n    {words}\n" for name, words in ALERTS.items())


def moves(folder: Path) -> str:
    tables = (*states.TASK_MOVES.items(), *states.STEM_MOVES.items())
    rows = "".join(f"{before:<8} --{event}--> {after}\n" for (before, event), after in tables)
    return f"{rows}open: {', '.join(sorted(states.OPEN_TASK_STATES))}\n"


def errors(folder: Path) -> str:
    """Every error by its code: its verdict, whether only the operator can mend it, what may be down, and the hint."""
    told = (
        f"{error.code}: {error.verdict}{', lasting' if error.lasting else ''}"
        f"{f', {error.down} may be down' if error.down else ''}\n    {error.hint or '-'}\n"
        for error in sorted(_kinds(ArchiverError), key=lambda error: error.code)
    )
    return "".join(dict.fromkeys(told))


def _kinds(error: type[ArchiverError]) -> Iterator[type[ArchiverError]]:
    if error.__module__ in {ArchiverError.__module__, misses.__name__, reading.__name__, refusals.__name__}:
        yield error
    for kind in error.__subclasses__():
        yield from _kinds(kind)


# ---------------------------------------------------------------- on a ledger with a task in every state


def known_ledger(folder: Path) -> Path:
    """Make the ledger as it would be a moment later with deadlines in 36.5 hours, and settings for it."""
    script = NEWEST_SCHEMA.read_text(encoding="utf-8")
    deadline = datetime.now(UTC) + timedelta(hours=36, minutes=30)
    later = int(deadline.timestamp() * 1_000_000) - max(map(int, re.findall(r"\b\d{16}\b", script)))
    script = re.sub(r"\b(\d{16})\b", lambda time: str(int(time[1]) + later), script)
    with closing(sqlite3.connect(folder / "ledger.db")) as db:
        db.executescript(script)
    file = folder / "archiver.toml"
    file.touch(mode=0o600)
    file.write_text(
        f'[provider]\napi_key = "{"k" * 32}"\n[store]\nbucket = "my-bucket"\n'
        f'[queue]\npath = "{folder}/queue.txt"\n[ledger]\nurl = "sqlite:///{folder}/ledger.db"\n'
        '[http]\nlisten = "127.0.0.1:1"\n'
    )
    return file


def sessions(folder: Path, *lines: str) -> str:
    """Return what commands say, one after the other, of the ledger with a task in every state."""
    config = str(known_ledger(folder))
    return "\n".join(
        session(
            called(folder, "--config", config, *shlex.split(line.replace("FOLDER", str(folder)))), *shlex.split(line)
        )
        for line in lines
    )


def status(folder: Path) -> str:
    return _at_both_widths(folder, "status", "status --json")


def show(folder: Path) -> str:
    return _at_both_widths(folder, *(f"show task-{number:06}" for number in range(1, 8)), "show task-000002 --json")


def _at_both_widths(folder: Path, *lines: str) -> str:
    config = str(known_ledger(folder))
    said = []
    for words in map(str.split, lines):
        wide, narrow = (called(folder, "--config", config, *words, columns=columns) for columns in (WIDE, NARROW))
        if wide == narrow:
            said.append(session(_folded(wide), *words, note="  # at 100 and at 80 columns"))
        else:
            said += [session(wide, *words, note="  # 100 columns"), session(narrow, *words, note="  # 80 columns")]
    return "\n".join(said)


def _folded(done: Finished) -> Finished:
    """Return it with its JSON, if that is what it printed, on more than one line."""
    try:
        return Finished(done.code, f"{json.dumps(json.loads(done.out), indent=1)}\n", done.err)
    except ValueError:
        return done


def exit_codes(folder: Path) -> str:
    """One command for each way to end, and what is said then."""
    (folder / "mine.db").write_text("my notes\n" * 100)
    return sessions(
        folder,
        "--version",
        "",
        "backup",
        "show",
        "show --jason task-000001",
        "--config FOLDER/nowhere.toml status",
        "config validate",
        "enqueue new-task-1 new-task-2",
        "enqueue no/id",
        "enqueue new-task-3 --account nobody",
        "show new-task-1",
        "retry",
        "retry new-task-1 task-000001",
        "retry task-000003",
        "retry --all-failed",
        "pause --store --for 2h",
        "pause --store --for ever",
        "pause",
        "status",
        "resume --provider",
        "resume",
        "resume",
        "health",
        "backfill --max-wait soon",
        "backfill --limit 0",
        "ledger copy sqlite:///FOLDER/ledger.db sqlite:///FOLDER/copy.db",
        "ledger copy sqlite:///FOLDER/ledger.db sqlite:///FOLDER/copy.db",
        "ledger copy sqlite:///FOLDER/ledger.db sqlite:///FOLDER/mine.db",
        "ledger copy FOLDER/ledger.db FOLDER/copy.db",
        "ledger backup FOLDER/mine.db",
        "ledger backup FOLDER/nowhere/file",
        "ledger restore FOLDER/mine.db",
        "ledger restore FOLDER/nowhere",
        "verify --plan",
        "verify --plan --json new-task-1",
        "verify --max-cost 1",
        "verify no/id",
    )


# ---------------------------------------------------------------- the ledger's schema


def sqlite_schema(folder: Path) -> str:
    file = folder / "new.db"
    ledger_at(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file)) as db:
        made = db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name")
        facts = [
            f"-- {name}: {db.execute(f'PRAGMA {name}').fetchone()[0]}"
            for name in ("application_id", "user_version", "journal_mode", "encoding", "auto_vacuum", "page_size")
        ]
        [revision] = db.execute("SELECT version_num FROM alembic_version").fetchone()
        return masked("\n".join([*facts, f"-- revision: {revision}", *(f"{sql};" for (sql,) in made)]))


_OURS = "n.nspname = 'public' AND c.relname !~ '^procrastinate'"


def postgres_schema(folder: Path, url: str) -> str:
    """The tables as PostgreSQL tells them; those of the queue of jobs are its library's."""
    ledger_at(url).close()
    done = called(folder, "status", ARCHIVER_LEDGER__URL=url)
    columns = rows(
        url,
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text, "
        "pg_get_expr(d.adbin, d.adrelid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        f"LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE c.relkind = 'r' AND {_OURS} "
        "ORDER BY c.relname, a.attnum",
    )
    constraints = rows(
        url,
        "SELECT c.relname, k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k "
        "JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE k.contype <> 'n' AND {_OURS} ORDER BY 1, 2",
    )
    indexes = rows(
        url,
        "SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
        f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS} ORDER BY 1, 2",
    )
    parts: dict[object, list[str]] = defaultdict(list)
    for table, name, kind, not_null, identity, default in columns:
        ending = f"{' not null' if not_null else ''}{' identity' if identity else ''}"
        parts[table].append(f"    {name} {kind}{ending}{f' default {default}' if default else ''}")
    for table, name, definition in constraints:
        parts[table].append(f"    {name}: {definition}")
    for table, definition in indexes:
        parts[table].append(f"    {definition}")
    tables = "".join(f"{table}\n" + "\n".join(lines) + "\n" for table, lines in parts.items())
    return f"{session(done, 'status')}\n{tables}"


# ---------------------------------------------------------------- the demo's tasks, through processes


@dataclass(frozen=True, slots=True)
class Run:
    """The demo's tasks, archived by processes on a site of their own, and what was seen on the way."""

    said: Mapping[str, Finished]
    """By command, in their order."""
    health: httpx.Response
    metrics: httpx.Response
    daemon: Sequence[Json]
    objects: Mapping[str, tuple[str, bytes]]
    places: tuple[tuple[object, str], ...]

    def session(self, command: str) -> str:
        done = self.said[command]
        err = "".join(line for line in done.err.splitlines(keepends=True) if not line.startswith("{"))
        out, err = (masked(text, *self.places) for text in (done.out, err))
        words, mark, note = command.partition("  # ")
        return session(_folded(Finished(done.code, out, err)), *words.split(), note=mark + note)


def run_of(folder: Path, s3: S3Server, bucket: str) -> Run:
    """Archive the demo's tasks, with audio that is cheaper to make, and a few more."""
    names = dict.fromkeys(("origin", "vocal", "instrumental", *song.INSTRUMENTS))
    audio = {name: stem[:] for name, stem in stems_of(*names, size=5_000).items()}
    tasks = (*demo_tasks(datetime.now(UTC).replace(microsecond=0), audio), *_beside_the_demo())
    with Emulator(audio) as emulator:
        emulator.add(*tasks)
        site = Site(folder, s3, bucket, emulator)
        # One transfer at a time: of two stems with the same bytes the later one is the alias.
        site.configure(schedule={"pending_first": "50ms", "pending_max": "50ms"}, download={"concurrency": 1})
        site.extra_env["COLUMNS"] = str(WIDE)
        site.queue.write_text("".join(f"{line_of(task)}\n" for task in tasks) + "no id\n")
        commands = ("check", "backfill --dry-run", "backfill", "backfill --json")
        said = {command: site.run(*command.split()) for command in commands}
        site.extra_env["COLUMNS"] = str(NARROW)
        said[AGAIN] = site.run("backfill")
        site.configure(http={"listen": "127.0.0.1:0"})
        with site.daemon() as daemon:
            url = f"http://{daemon.wait_event('http.listening')['address']}"
            daemon.wait_event("queue.rejected")
            health, metrics = (httpx.get(f"{url}/{page}", trust_env=False) for page in ("healthz", "metrics"))
            daemon.stop()
            logged = daemon.events
        places = ((folder, "FOLDER"), (bucket, "BUCKET"), (emulator.base_url, "API"), (emulator.cdn_url, "CDN"))
    return Run(said, health, metrics, logged, dict(_objects(s3, bucket)), places)


def _beside_the_demo() -> Iterator[EmulatedTask]:
    """Yield tasks that the demo has not: two stems of the same bytes, one that is no audio, an advanced separation."""
    created = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
    [same] = stems_of("same", size=5_000).values()
    page = b"<!DOCTYPE html><html><body>gone</body></html>"
    for task_id, stems in (
        ("more-same-bytes", {"instrumental": same, "vocal": same}),
        ("more-no-audio", {"instrumental": same[:], "vocal": page}),
    ):
        yield EmulatedTask(task_id=task_id, created_at=created, stems=stems)
    two = stems_of("vocal", "instrumental", size=5_000)
    yield EmulatedTask(task_id="more-advanced", created_at=created, kind="split_stem_advanced", stems=two)


def _objects(s3: S3Server, bucket: str) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """Yield each key, what is kept beside its bytes, and these."""
    kept = ("ContentType", "ContentEncoding", "ContentDisposition", "CacheControl", "Metadata")
    with closing(s3.client()) as client:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for key in (entry["Key"] for entry in page.get("Contents", ())):
                found = client.get_object(Bucket=bucket, Key=key)
                facts: Mapping[str, object] = {**found}
                yield key, ("  ".join(str(facts[name]) for name in kept if facts.get(name)), found["Body"].read())


def check(run: Run) -> str:
    return run.session("check")


def backfill(run: Run) -> str:
    return "\n".join(map(run.session, ("backfill --dry-run", "backfill", AGAIN, "backfill --json")))


def logged_fields(run: Run) -> str:
    """Each event that this run logs, with its levels and its fields, in their order.

    The sentences of libraries are left out: a busy machine makes APScheduler tell, at debug, of a job that still runs.
    """
    found: dict[str, set[str]] = defaultdict(set)
    lines = (*(line for done in run.said.values() for line in done.events), *run.daemon)
    for line in (each for each in lines if " " not in str(each["event"])):
        fields = " ".join(name for name in line if name not in {"timestamp", "level", "event"})
        found[f"{line['event']} ({line['level']})"].add(fields or "-")
    return "".join(
        f"{event}\n" + "".join(f"    {fields}\n" for fields in sorted(found[event])) for event in sorted(found)
    )


def objects(run: Run) -> str:
    return "".join(f"{key}  {kept}\n" for key, (kept, _) in run.objects.items())


def manifests(run: Run) -> str:
    """Each manifest, with what was stored in the order of the stems: they are stored side by side."""
    objects = {
        key: (kept, _in_order(data) if key.endswith("/manifest.json") else data)
        for key, (kept, data) in run.objects.items()
    }
    return _documents(replace(run, objects=objects), "manifest.json")


def _in_order(manifest: bytes) -> bytes:
    document = json.loads(manifest)
    document["events"].sort(key=lambda event: (event["before"] == "listed", event["stem"] or ""))
    return (json.dumps(document, indent=1) + "\n").encode()


def record_infos(run: Run) -> str:
    return _documents(run, "record-info.json").replace(', "', ',\n "')


def _documents(run: Run, name: str) -> str:
    return "\n".join(
        f"## {key}\n{masked(data.decode(), *run.places)}"
        for key, (_, data) in run.objects.items()
        if key.endswith(f"/{name}")
    )


def pages(run: Run) -> str:
    """Status, headers and body of /healthz; of /metrics the names, types, meanings, labels and buckets."""
    heads = {"health": run.health, "metrics": run.metrics}
    answers = {
        name: f"{page.status_code}\n"
        + "".join(f"{key}: {value}\n" for key, value in page.headers.items() if key not in {"date", "content-length"})
        for name, page in heads.items()
    }
    body = masked(run.health.text, *run.places)
    return f"GET /healthz\n{answers['health']}{body}\nGET /metrics\n{answers['metrics']}\n{_metrics(run.metrics.text)}"


def _metrics(page: str) -> str:
    return "".join(
        f"{family.name} ({family.type})\n    {family.documentation}\n"
        + "".join(f"    {line}\n" for line in _labels(family.samples))
        for family in text_string_to_metric_families(page)
        if not family.name.startswith("process_")
    )


def _labels(samples: Sequence[Json]) -> Sequence[str]:
    """Return each sample's name and labels without its value; the version is the only label that is not closed."""
    return [
        masked(f"{sample.name}{{{', '.join(f'{key}={value}' for key, value in sample.labels.items())}}}").strip()
        for sample in samples
    ]


def record_kinds(folder: Path) -> str:
    """Return what each body of the examples is read as."""
    return masked("".join(map(_reading, KIND_EXAMPLES)))


def _reading(example: KindExample) -> str:
    record = record_of(example.body.get("data"), example.kind)
    facts = record.facts
    lines = [
        f"{example.name} as {record.kind}: {record.phase}, flag {record.flag!r}",
        f"    error {record.error_code} {record.error_message!r}, from {record.created_at} to {record.completed_at}",
        f"    facts: {facts.title!r} {facts.tags!r} {facts.model!r} {facts.duration} tracks {len(facts.tracks)}",
        *(f"    parent: {'task' if each.is_task else 'track'} {each.id} ({each.field})" for each in facts.parents),
        *(
            f"    {each.name} {each.media}{each.written_as and '.'}{each.written_as} {each.field} {each.duration} "
            f"{each.url or each.not_taken or repr(each.content)}{each.fallback and ' or '}{each.fallback}"
            for each in record.stems
        ),
        *(f"    not taken: {each.field} {each.url}: {each.kind}" for each in record.left_out),
    ]
    return "\n".join(lines) + "\n"


WITHOUT_A_SITE = {
    "help": help_pages,
    "settings": settings,
    "settings-faults": settings_faults,
    "events": events,
    "alerts": alerts,
    "moves": moves,
    "errors": errors,
    "status": status,
    "show": show,
    "exit-codes": exit_codes,
    "ledger-sqlite": sqlite_schema,
    "record-kinds": record_kinds,
}
OF_A_RUN = {
    "check": check,
    "backfill": backfill,
    "logged": logged_fields,
    "objects": objects,
    "manifests": manifests,
    "record-infos": record_infos,
    "pages": pages,
}
OF_POSTGRES = "ledger-postgresql"
