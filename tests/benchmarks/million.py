"""The commands on a ledger with a million archived tasks: `status`, and a backfill of the same million ids.

.venv/bin/python -m tests.benchmarks.million
"""

from __future__ import annotations

import sys

from archiver.core.intake import Intake
from tests.benchmarks.backfill import measured
from tests.benchmarks.ground import ground, memory_folder
from tests.benchmarks.peers import settings
from tests.benchmarks.test_ledger_benchmark import MILLION
from tests.fixtures.ledgers import NOW, archive_all, open_ledger, tid


def main() -> None:
    with memory_folder() as folder, ground(folder) as site:
        ids = tuple(tid(number) for number in range(MILLION))
        ledger = open_ledger(folder)
        ledger.intakes.take_in(Intake(ids=ids), source="queue", now=NOW)
        archive_all(ledger)
        ledger.close()
        (folder / "ids").write_text("".join(f"{task_id}\n" for task_id in ids))
        config = folder / "archiver.toml"
        config.touch(mode=0o600)
        config.write_text(settings(site, folder, site.sink, "192MiB"))
        command = [sys.executable, "-m", "archiver", "--config", str(config)]
        for words in (["status"], ["status"], ["backfill", str(folder / "ids")]):
            cost = measured([*command, *words], site.env())
            print(f"{words[0]:<10} {cost.seconds:6.2f} s {cost.cpu:6.2f} CPU-s", flush=True)


if __name__ == "__main__":
    main()
