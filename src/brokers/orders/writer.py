"""Writes what the broker told to the journal, behind the messages rather than between them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

from ..domain.order import Fill
from ..domain.reports import CommissionReport
from ..errors import JournalError
from ..journal import Journal, Observed, instrument_key
from .book import Record

log = logging.getLogger(__name__)

#: Seconds that all but fills wait for others: long enough that an order's answer, on a slow machine too, is not held up
#: by writing that it was sent. What a crash loses in it, the broker tells again.
_DELAY = 0.01
#: Commits between two checkpoints of the journal's log, kept off the loop's thread.
_CHECKPOINT_EVERY = 500


class JournalWriter:
    """Collects observations and writes them in one transaction, a moment later or together with the next intent.

    Nothing collected is dropped: after a failure it stays queued, and no intent leaves before it is written.
    """

    def __init__(self, journal: Journal, on_failure: Callable[[JournalError], None], retry_delay: float) -> None:
        self._journal = journal
        self._on_failure = on_failure
        self._retry_delay = retry_delay
        self._pending = Observed()
        self._dirty: dict[str, Record] = {}
        self._scheduled: asyncio.TimerHandle | None = None
        #: The loop's time of `_scheduled`, kept here: uvloop's handle for "at once" does not know it.
        self._due = 0.0
        self._checkpoint: asyncio.Future[None] | None = None
        self._closed = False
        self.failures = 0
        #: (account, instrument key) -> signed quantity of owned fills that are collected and not written yet.
        self.unwritten: dict[tuple[str, str], Decimal] = {}

    def touch(self, record: Record) -> None:
        """Write the order as it stands; foreign orders are not journalled."""
        if not record.order.foreign:
            self._dirty[record.key] = record
            self._schedule()

    def note(self, kind: str, key: str, body: str) -> None:
        self._pending.notes.append((kind, key, body))
        self._schedule()

    def fill(self, fill: Fill, change: Decimal) -> None:
        """`change` is what it moves the owned position by: signed, 0 for a foreign execution."""
        if change:
            where = (fill.account, instrument_key(fill.instrument))
            self.unwritten[where] = self.unwritten.get(where, Decimal(0)) + change
        self._pending.fills.append(fill)
        self._schedule(0.0)

    def commission(self, report: CommissionReport) -> None:
        self._pending.commissions.append(report)
        self._schedule(0.0)

    def _schedule(self, delay: float = _DELAY) -> None:
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        if self._scheduled is not None:
            if self._due <= due:
                return
            self._scheduled.cancel()
        self._due = due
        self._scheduled = loop.call_later(delay, self._flush)

    def _flush(self) -> None:
        self._scheduled = None
        try:
            self.flush()
        except JournalError as failure:
            self._on_failure(failure)
            self._schedule(self._retry_delay)

    def flush(self) -> None:
        """Write what is collected now. Raises JournalError, and keeps it."""
        with self.taken() as pending:
            if pending:
                self._journal.write(pending)

    @contextmanager
    def taken(self) -> Iterator[Observed]:
        """What is collected, for the caller to write in a transaction of its own; kept when the block fails."""
        pending, dirty = self._pending, self._dirty
        pending.orders = {key: record.row() for key, record in dirty.items()}
        try:
            yield pending
        except BaseException as failure:
            if isinstance(failure, JournalError):
                self.failures += 1
            raise
        self._pending, self._dirty = Observed(), {}
        self.unwritten.clear()
        if self._journal.database.commits_since_checkpoint > _CHECKPOINT_EVERY:
            self._start_checkpoint()

    def _start_checkpoint(self) -> None:
        if self._checkpoint is not None and not self._checkpoint.done():
            return
        loop = asyncio.get_running_loop()
        self._checkpoint = loop.run_in_executor(None, self._journal.database.checkpoint)
        self._checkpoint.add_done_callback(_log_checkpoint)

    def open(self) -> None:
        """Write by itself again, what was collected after `close` first."""
        self._closed = False
        if self._pending or self._dirty:
            self._schedule()

    async def close(self) -> None:
        """Write the rest and wait for a checkpoint under way; later news waits for `open`. Raises JournalError."""
        self._closed = True
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        if self._checkpoint is not None:
            await asyncio.wait([self._checkpoint])
        self.flush()


def _log_checkpoint(done: asyncio.Future[None]) -> None:
    failure = None if done.cancelled() else done.exception()
    if failure is not None:
        log.warning("the journal's log was not checkpointed: %s", failure)
