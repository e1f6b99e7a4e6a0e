"""The journal's tables as a list of migrations, and what SQLite's failures mean."""

from __future__ import annotations

import sqlite3

from ..errors import JournalError, JournalLocked

#: Applied in order, once each; the names of those applied are stored in the table `migrations`. Append, never edit.
MIGRATIONS: tuple[tuple[str, str], ...] = (
    (
        "m001_events_and_state",
        """
        CREATE TABLE events (
            seq INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL,
            hash TEXT NOT NULL
        );
        CREATE TABLE state (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            halt_reason TEXT, halted_at TEXT,
            door TEXT, epoch INTEGER NOT NULL,
            head_seq INTEGER NOT NULL, head_hash TEXT NOT NULL
        );
        INSERT INTO state (id, epoch, head_seq, head_hash) VALUES (1, 0, 0, '');
        """,
    ),
    (
        "m002_orders",
        """
        CREATE TABLE intents (
            key TEXT PRIMARY KEY, root TEXT NOT NULL, leg INTEGER NOT NULL, parent_key TEXT,
            account TEXT NOT NULL, client_id INTEGER NOT NULL, order_id INTEGER NOT NULL,
            door TEXT NOT NULL, epoch INTEGER NOT NULL, request TEXT NOT NULL, created_at TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX intents_root ON intents (root);
        CREATE UNIQUE INDEX intents_order_id ON intents (client_id, order_id) WHERE order_id > 0;
        CREATE TABLE orders (
            key TEXT PRIMARY KEY, state TEXT NOT NULL, intent TEXT NOT NULL, pending TEXT,
            order_id INTEGER, client_id INTEGER, perm_ids TEXT NOT NULL, parent_key TEXT, leg INTEGER NOT NULL,
            reason TEXT NOT NULL, cancel_asked INTEGER NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
            changed INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX orders_changed ON orders (changed);
        CREATE TABLE order_ids (client_id INTEGER PRIMARY KEY, next_id INTEGER NOT NULL);
        """,
    ),
    (
        "m003_fills_and_positions",
        """
        CREATE TABLE executions (
            base_id TEXT PRIMARY KEY, exec_id TEXT NOT NULL, revision INTEGER NOT NULL, order_key TEXT,
            account TEXT NOT NULL, instrument_key TEXT NOT NULL, signed_quantity TEXT NOT NULL, price TEXT NOT NULL,
            time TEXT NOT NULL, fill TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX executions_order ON executions (order_key);
        CREATE TABLE commissions (
            base_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, amount TEXT NOT NULL, currency TEXT NOT NULL,
            realized_pnl TEXT
        ) WITHOUT ROWID;
        CREATE TABLE holdings (
            account TEXT NOT NULL, instrument_key TEXT NOT NULL, quantity TEXT NOT NULL,
            PRIMARY KEY (account, instrument_key)
        ) WITHOUT ROWID;
        CREATE TABLE foreign_positions (
            account TEXT NOT NULL, instrument_key TEXT NOT NULL, instrument TEXT NOT NULL, quantity TEXT NOT NULL,
            PRIMARY KEY (account, instrument_key)
        ) WITHOUT ROWID;
        """,
    ),
    (
        "m004_blocks_and_day_starts",
        """
        CREATE TABLE blocks (instrument_key TEXT PRIMARY KEY, reason TEXT NOT NULL, since TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE day_starts (
            account TEXT NOT NULL, day TEXT NOT NULL, net_liquidation TEXT NOT NULL, transfers TEXT NOT NULL,
            currency TEXT NOT NULL, PRIMARY KEY (account, day)
        ) WITHOUT ROWID;
        """,
    ),
    # Nobody looks an intent up by its bracket, and every index is one more page to write before an order leaves.
    ("m005_no_index_of_roots", "DROP INDEX intents_root"),
)

#: SQLite's primary result code -> (why, what to do next).
FAILURES: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space, then place again; nothing was sent"),
    sqlite3.SQLITE_READONLY: (
        "the file or its folder is read-only",
        "give this user write permission to the journal and its folder; nothing was sent",
    ),
    sqlite3.SQLITE_BUSY: (
        "another process holds the write lock",
        "end the process that hangs, or wait and place again; nothing was sent",
    ),
    sqlite3.SQLITE_LOCKED: ("another connection holds the write lock", "place again; nothing was sent"),
    sqlite3.SQLITE_CORRUPT: (
        "the file is damaged",
        "move it away, keep it for the record, and reconcile with a fresh journal; nothing was sent",
    ),
    sqlite3.SQLITE_NOTADB: (
        "the file is not a journal",
        "choose another path, or move that file away; nothing was sent",
    ),
    sqlite3.SQLITE_IOERR: ("the disk failed", "check the disk; nothing was sent"),
    sqlite3.SQLITE_CANTOPEN: (
        "the file cannot be opened",
        "check that the folder exists and that this user may write to it",
    ),
}

_LOCK_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def journal_error(what: str, failure: sqlite3.Error) -> JournalError:
    """SQLite's failure in the words of the exception tree."""
    code = getattr(failure, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else -1
    why, advice = FAILURES.get(primary, (str(failure), "see the cause; nothing was sent"))
    kind = JournalLocked if primary in _LOCK_CODES else JournalError
    return kind(what, why, advice, sqlite=getattr(failure, "sqlite_errorname", None), text=str(failure))
