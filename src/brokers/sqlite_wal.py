"""SQLite files with a write-ahead log, which several processes may open at once, new ones too."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

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


def open_shared(path: Path, patience: float, schema: Iterable[str]) -> sqlite3.Connection:
    """The file at `path` for any thread, made with its folder when missing, with the statements of `schema` carried
    out; whoever else writes is waited for up to `patience` seconds. A loss of power can cost the last commits. Raises
    OSError and sqlite3.Error, and nothing stays open then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        use_wal(connection, patience)
        for statement in ("PRAGMA synchronous=NORMAL", *schema):
            connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection
