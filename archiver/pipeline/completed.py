"""Stems whose objects are complete, until they are written down."""

from __future__ import annotations

from queue import SimpleQueue

from archiver.core.model import Receipt, StemName, StemRow
from archiver.pipeline.context import TaskContext
from archiver.pipeline.listing import Listing


class CompletedStems:
    """Those of one attempt: its transfers hand them over and wait for no ledger, the task's own thread writes them."""

    def __init__(self, context: TaskContext, listing: Listing) -> None:
        self._context = context
        self._listing = listing
        self._waiting: SimpleQueue[tuple[StemRow, Receipt]] = SimpleQueue()

    def add(self, row: StemRow, receipt: Receipt) -> None:
        """Hand over a stem, as it will be, whose object is complete; safe for many threads."""
        self._waiting.put((row, receipt))

    def write_down(self) -> BaseException | None:
        """Write down together all that were handed over; return what kept them from it. For one thread."""
        try:
            self._write_down()
        except BaseException as failure:  # noqa: BLE001 - whoever waits for other transfers raises it after them
            return failure
        return None

    def _write_down(self) -> None:
        rows, receipts = list[StemRow](), dict[StemName, Receipt]()
        while not self._waiting.empty():
            row, receipt = self._waiting.get()
            rows.append(row)
            receipts[row.name] = receipt
        if not rows:
            return
        with self._listing.changing:
            self._listing.keep_sources(rows)
            self._context.outside.progress.stored(self._listing.claim, receipts)
            for row in rows:
                self._context.checkpoint("stem.recorded")
                self._listing.note(row)
