"""Client ids: one per process, freed by the operating system when the process ends."""

from __future__ import annotations

import sqlite3
import threading
import weakref

from .schema import journal_error


class ClientLease:
    """A client id that no other process of this journal can hold meanwhile.

    The lock is SQLite's own on a file beside the journal: it works on every platform and dies with the process, so
    that a restart gets the same client id again (fault C07).
    """

    def __init__(self, client_id: int, connection: sqlite3.Connection | None, held: set[int]) -> None:
        self.client_id = client_id
        self._connection = connection
        if connection is not None:
            # A forgotten lease ends with its holder, as it would with the process.
            weakref.finalize(self, connection.close)
        self._held = held

    def release(self) -> None:
        self._held.discard(self.client_id)
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class ClientIds:
    """Hands out client ids for one journal file."""

    def __init__(self, path: str, is_memory: bool) -> None:
        self._path = path
        self._is_memory = is_memory
        self._held: set[int] = set()
        self._guard = threading.Lock()

    def take(self, client_id: int) -> ClientLease | None:
        """The lease, or None while another holds it. Raises JournalError."""
        with self._guard:
            if client_id in self._held:
                return None
            connection = None if self._is_memory else self._lock(client_id)
            if connection is None and not self._is_memory:
                return None
            self._held.add(client_id)
            return ClientLease(client_id, connection, self._held)

    def _lock(self, client_id: int) -> sqlite3.Connection | None:
        path = f"{self._path}.client-{client_id}"
        try:
            connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as failure:
            raise journal_error(f"lock of client id {client_id} at {path}", failure) from failure
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as failure:
            connection.close()
            if getattr(failure, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                return None
            raise journal_error(f"lock of client id {client_id} at {path}", failure) from failure
        return connection

    def is_held(self, client_id: int) -> bool:
        """Whether a living process holds this client id."""
        if client_id in self._held:
            return True
        lease = self.take(client_id)
        if lease is None:
            return True
        lease.release()
        return False
