"""The fault matrix as a document: written after each run, and kept in this folder's README.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

INTRODUCTION = """\
# The fault matrix

One row a fault, over the four hops: the provider's API, the CDN, S3, and the host. Each row is a case of
`tests/faults/test_matrix.py`: the real service with its real adapters, on loopback, against a scripted API and
CDN, and SeaweedFS behind a proxy that breaks things; only time is simulated, so that waits cost nothing. The rows
that need a process of their own (full disks, limits, permissions) run the command.

A task meets the fault; then the fault ends, the operator mends what only he can, and a fresh id comes. After each
row hold, or it fails:

* **conservation**: every id is archived, or stands in a state that `status` and `show` give a reason for, and the
  log has said so at the right level; there is no silent end
* **integrity**: every object, read back, equals its source, and the sealed manifest says so
* **no extras**: no object without a manifest entry, and no multipart upload after the next sweep
* **liveness**: the fresh id is archived within two poll intervals (60 s) after the fault
* **no secret**: none of ten planted secrets is in the log, the ledger's files, the bucket's documents or `status`

"Seen" is what the run saw that wrote this file. To write it anew, after adding a row to `api_faults.py`,
`cdn_faults.py`, `s3_faults.py`, `host_faults.py` or `process_faults.py`:

    .venv/bin/pytest -q -m "slow or not slow" tests/faults/test_matrix.py
    cp var/test-output/fault-matrix.md tests/faults/README.md

A test holds the rows of this file to those of the matrix.
"""
NOT_RUN = "(not run)"


class Row(Protocol):
    """What the matrix says of a fault."""

    @property
    def hop(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def end(self) -> str: ...

    @property
    def title(self) -> str: ...


def document(rows: Iterable[Row], seen: Mapping[str, str]) -> str:
    """Return the matrix as Markdown; `seen` is what came of the rows, by their titles."""
    lines = ["| hop | fault | expected | seen |", "|---|---|---|---|"]
    lines += [f"| {row.hop} | {row.name} | {row.end} | {_cell(seen.get(row.title, NOT_RUN))} |" for row in rows]
    return INTRODUCTION + "\n" + "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def rows_of(text: str) -> list[tuple[str, str, str]]:
    """Return hop, fault and expected end of each row of a document."""
    cells = [[cell.strip() for cell in line.split(" | ")] for line in text.splitlines() if line.startswith("| ")]
    return [(hop.removeprefix("| "), fault, expected) for hop, fault, expected, *_ in cells[1:]]


# ---------------------------------------------------------------- the hostile neighbourhood

NEIGHBOURHOOD = """\
# The hostile neighbourhood

One row a kind of bad neighbour (`neighbours.py`), beside 1,000 honest tasks that come at random, about one each 1.25 s:
the real path, ledger (SQLite), breakers, workers and transfer threads, with provider, CDN and bucket played, in
simulated time (`tests/worlds/simulated.py`). The neighbour is there a minute before. After each row hold, or it fails:

* **every honest task is archived**
* **lag**: of 99 in 100 from its coming to its end at most twice that of the same arrivals without the neighbour
* **visible**: `status` shows the neighbour, or the metric of the oldest transfer or of the clock did, beside honest
  tasks and at the end (last column)
* **pauses**: only what is in trouble is paused, and no longer than one probe interval after its trouble has ended

Each row is of the run that wrote it last. To write them all anew into this file, or by `-k NAME` some:

    sh tests/run.sh -q -m slow --update tests/faults/test_neighbourhood.py

| neighbour | archived | lag alone, s | lag beside it, s | ratio | it is seen by |
|---|---|---|---|---|---|
"""


def parts(readme: str) -> tuple[str, str]:
    """Return what the file says of the matrix, and of the neighbourhood."""
    matrix, heading, rest = readme.partition(NEIGHBOURHOOD.partition("\n")[0] + "\n")
    return matrix, heading + rest


def with_row(readme: str, names: Iterable[str], row: Sequence[str]) -> str:
    """Return the file with this row of the neighbourhood, and those of the other names as they were."""
    matrix, table = parts(readme)
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines() if line.startswith("| ")}
    rows[row[0]] = _line(row)
    lines = [rows.get(name) or _line((name, NOT_RUN)) for name in names]
    return matrix.rstrip() + "\n\n" + NEIGHBOURHOOD + "".join(f"{line}\n" for line in lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"
