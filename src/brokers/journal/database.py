"""One SQLite connection, its transactions, and the hash chain that every event joins."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, JournalError
from ..sqlite_wal import use_wal
from .codec import moment_text
from .schema import MIGRATIONS, journal_error

log = logging.getLogger(__name__)

MEMORY = ":memory:"
#: PRAGMA synchronous by name (SQLite documentation, "PRAGMA synchronous").
SYNCHRONOUS = {"NORMAL": 1, "FULL": 2}
#: A commit that grows the log past this many pages checkpoints by itself; `checkpoint` keeps it from coming to that.
_LOG_PAGES = 20_000


#: Seconds to wait for other processes that open the same file; later waits hold up the event loop and are short.
_OPENING = 5.0


def chain_hash(previous: str, seq: int, time: str, kind: str, key: str, body: str) -> str:
    """The hash of an event: SHA-256 over the hash before it and all of its own fields."""
    text = "\x1f".join((previous, str(seq), time, kind, key, body))
    return hashlib.sha256(text.encode()).hexdigest()


class Transaction:
    """One open write transaction. Events appended to it enter the chain when it commits."""

    def __init__(self, connection: sqlite3.Connection, now: str) -> None:
        self.now = now
        self.execute: Callable[..., sqlite3.Cursor] = connection.execute
        row = connection.execute(
            "SELECT head_seq, head_hash, halt_reason, door, epoch FROM state WHERE id = 1"
        ).fetchone()
        if row is None:
            raise JournalError("order journal", "its state row is missing", "the file was tampered with; move it away")
        self.seq: int = row[0]
        self._hash: str = row[1]
        self.halt_reason: str | None = row[2]
        self.door: str | None = row[3]
        self.epoch: int = row[4]
        self._first = self.seq

    def append(self, kind: str, key: str, body: str) -> int:
        """Append one event; answers its number."""
        self.seq += 1
        self._hash = chain_hash(self._hash, self.seq, self.now, kind, key, body)
        self.execute(
            "INSERT INTO events (seq, time, kind, key, body, hash) VALUES (?, ?, ?, ?, ?, ?)",
            (self.seq, self.now, kind, key, body, self._hash),
        )
        return self.seq

    def store_head(self) -> None:
        if self.seq != self._first:
            self.execute("UPDATE state SET head_seq = ?, head_hash = ? WHERE id = 1", (self.seq, self._hash))


class Database:
    """The journal's file. Usable from any thread; several processes may share the file."""

    def __init__(self, path: str | Path, synchronous: str, busy_timeout: float, now: Callable[[], datetime]) -> None:
        if synchronous not in SYNCHRONOUS:
            raise ConfigurationError(
                f"journal synchronous={synchronous!r}", "it is not a level", f"choose one of {', '.join(SYNCHRONOUS)}"
            )
        self.path = str(path)
        self.is_memory = self.path == MEMORY
        self._level = SYNCHRONOUS[synchronous]
        self._now = now
        self._lock = threading.RLock()
        #: Seconds of the last transaction: statements, and the commit with its sync to the disk.
        self.last_write = 0.0
        self.last_sync = 0.0
        self.commits_since_checkpoint = 0
        what = f"order journal {self.path}"
        try:
            if not self.is_memory:
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path,
                timeout=max(_OPENING, busy_timeout),
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
        except OSError as failure:
            raise JournalError(what, str(failure), "choose a folder that this user may write to") from failure
        except sqlite3.Error as failure:
            raise journal_error(what, failure) from failure
        # A journal that its owner forgot is closed with it, not when the interpreter ends.
        weakref.finalize(self, self._connection.close)
        try:
            self._prepare(what)
        except sqlite3.Error as failure:
            self._connection.close()
            raise journal_error(what, failure) from failure
        except JournalError:
            self._connection.close()
            raise
        self._connection.execute(f"PRAGMA busy_timeout = {int(busy_timeout * 1000)}")

    def _prepare(self, what: str) -> None:
        run = self._connection.execute
        mode = use_wal(self._connection, _OPENING)
        if mode != "wal" and not self.is_memory:
            raise JournalError(what, f"its file system keeps SQLite in mode {mode}", "put the journal on a local disk")
        run(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        run("PRAGMA fullfsync = 1")
        self._set_level(self._level)
        run("BEGIN IMMEDIATE")
        try:
            self._migrate(what)
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    def _migrate(self, what: str) -> None:
        run = self._connection.execute
        run("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)")
        applied = {row[0] for row in run("SELECT name FROM migrations")}
        unknown = applied - {name for name, _ in MIGRATIONS}
        if unknown:
            raise JournalError(what, f"a later version wrote it ({', '.join(sorted(unknown))})", "upgrade moondev-ibkr")
        for name, script in MIGRATIONS:
            if name in applied:
                continue
            for statement in script.split(";"):
                if statement.strip():
                    run(statement)
            run("INSERT INTO migrations VALUES (?, ?)", (name, moment_text(self._now())))

    def _set_level(self, level: int) -> None:
        self._connection.execute(f"PRAGMA synchronous = {level}")
        self._current_level = level

    @property
    def synchronous(self) -> int:
        """The level in force on the connection now (1 NORMAL, 2 FULL)."""
        with self._lock:
            return int(self._connection.execute("PRAGMA synchronous").fetchone()[0])

    @contextmanager
    def transaction(self, what: str, *, durable: bool = True) -> Iterator[Transaction]:
        """A write transaction; commits at the end, rolls back on any exception.

        `durable` syncs to the disk as `synchronous` says. Without it the write survives the end of this process but
        not a power failure, until the next durable one: right for what the broker can tell again.
        Raises JournalError.
        """
        with self._lock:
            started = time.perf_counter()
            connection = self._connection
            try:
                level = self._level if durable else SYNCHRONOUS["NORMAL"]
                if level != self._current_level:
                    self._set_level(level)
                connection.execute("BEGIN IMMEDIATE")
                change = Transaction(connection, moment_text(self._now()))
                yield change
                change.store_head()
                written = time.perf_counter()
                self._commit()
            except sqlite3.Error as failure:
                self._roll_back()
                raise journal_error(f"{what} in the order journal {self.path}", failure) from failure
            except BaseException:
                self._roll_back()
                raise
            ended = time.perf_counter()
            self.last_write, self.last_sync = written - started, ended - written
            self.commits_since_checkpoint += 1

    def _commit(self) -> None:
        self._connection.execute("COMMIT")

    def _roll_back(self) -> None:
        # A full disk makes SQLite roll back by itself, and a closed journal has nothing to roll back: a second failure
        # here would hide the first one.
        try:
            if self._connection.in_transaction:
                self._connection.rollback()
        except sqlite3.Error as failure:
            log.warning("the order journal %s could not roll back: %s", self.path, failure)

    def query(self, sql: str, parameters: tuple[Any, ...] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a read. Raises JournalError."""
        with self._lock:
            try:
                return self._connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as failure:
                raise journal_error(f"reading the order journal {self.path}", failure) from failure

    def checkpoint(self) -> None:
        """Move the log into the file, on a connection of its own: writers are not held up. Safe in any thread."""
        if self.is_memory:
            return
        self.commits_since_checkpoint = 0
        try:
            connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
            try:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                connection.close()
        except sqlite3.Error as failure:
            raise journal_error(f"checkpoint of the order journal {self.path}", failure) from failure

    def close(self) -> None:
        with self._lock:
            self._connection.close()
