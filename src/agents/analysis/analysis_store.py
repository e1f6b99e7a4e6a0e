"""What outlives an analysis: rows of reports under way, and which finding was told where. One SQLite file."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...brokers.errors import ConfigurationError, RequestFailed
from ...brokers.sqlite_wal import open_shared

#: Name of the file in the state folder.
FILE = "analysis.sqlite"
#: Seconds to wait for another process's write.
BUSY = 5.0
#: Seconds after which a delivery that nobody finished counts as failed: its process died.
ABANDONED = 120.0

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS rows (report TEXT, symbol TEXT, content TEXT NOT NULL, PRIMARY KEY (report, symbol))",
    """CREATE TABLE IF NOT EXISTS deliveries (
        finding TEXT, sink TEXT, state TEXT NOT NULL, since REAL NOT NULL, content TEXT NOT NULL,
        PRIMARY KEY (finding, sink))""",
)


class AnalysisStore:
    """The file at `path`, made when missing; `now` tells seconds since 1970. For any thread and several processes.

    Raises ConfigurationError when the file cannot be opened, RequestFailed when it cannot be read or written.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self.path, self._now = path, now
        self._lock = threading.Lock()
        try:
            self._db = open_shared(path, BUSY, _SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"analysis file {path}", str(error), "see the folder's rights, or move it"
            ) from None

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def keep_row(self, report: str, symbol: str, content: str) -> None:
        """Keep what is done of a symbol, in place of what was kept before."""
        with self._using() as db:
            db.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", (report, symbol, content))

    def kept_rows(self, report: str) -> dict[str, str]:
        """Symbol -> content of a report that is under way; empty when none is."""
        with self._using() as db:
            return dict(db.execute("SELECT symbol, content FROM rows WHERE report = ?", (report,)).fetchall())

    def drop_rows(self, report: str) -> None:
        """The report is whole and lies elsewhere."""
        with self._using() as db:
            db.execute("DELETE FROM rows WHERE report = ?", (report,))

    def claim(self, finding: str, sink: str, content: Mapping[str, Any]) -> bool:
        """Whether the caller shall tell it: nobody has, nor is anybody about to."""
        moment = self._now()
        with self._using() as db:
            done = db.execute(
                """INSERT INTO deliveries VALUES (?, ?, 'sending', ?, ?) ON CONFLICT (finding, sink) DO UPDATE
                SET state = 'sending', since = excluded.since, content = excluded.content
                WHERE state = 'failed' OR (state = 'sending' AND since < ?)""",
                (finding, sink, moment, json.dumps(content, sort_keys=True), moment - ABANDONED),
            )
            return done.rowcount > 0

    def settle(self, finding: str, sink: str, *, delivered: bool) -> None:
        """What became of a claimed delivery."""
        with self._using() as db:
            db.execute(
                "UPDATE deliveries SET state = ?, since = ? WHERE finding = ? AND sink = ?",
                ("delivered" if delivered else "failed", self._now(), finding, sink),
            )

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise RequestFailed(f"analysis file {self.path}", str(error), "look at the disk") from None
