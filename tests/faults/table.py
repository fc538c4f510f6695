"""The fault matrix as a document: written after each run, and kept in this folder's README.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

    .venv/bin/pytest -q tests/faults/test_matrix.py
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
