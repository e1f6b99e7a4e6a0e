"""Turning on SQLite's write-ahead log where several processes may open the same new file at once."""

from __future__ import annotations

import sqlite3
import time

#: Seconds between two attempts; whoever holds the file is making it, which takes milliseconds.
_PAUSE = 0.005


def use_wal(connection: sqlite3.Connection, patience: float) -> str:
    """The journal mode in force afterwards: "wal", "memory" for a database in memory, or what its file system allows.

    SQLite answers "database is locked" here at once, whatever the connection's timeout, when another process is about
    to write the same file: it is tried again for `patience` seconds. Raises sqlite3.Error.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as failure:
            if failure.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE)
