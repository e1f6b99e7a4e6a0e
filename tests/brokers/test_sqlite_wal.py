"""A new SQLite file that another process is making at the same moment is waited for, not refused."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.agents.analysis.analysis_store import AnalysisStore
from moondev_ibkr.agents.llm.call_log import CallLog
from moondev_ibkr.brokers.errors import BrokerError
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.journal.leases import ClientIds
from moondev_ibkr.brokers.sqlite_wal import use_wal

PATIENCE = 20.0


@contextmanager
def being_made(path: Path) -> Iterator[Callable[[], None]]:
    """Another connection is about to write the new file; the function lets it go on and end."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield lambda: other.execute("COMMIT")


def at_second_attempt(connection: sqlite3.Connection, then: Callable[[], None]) -> None:
    """Call `then` when a second statement begins: the first was refused."""
    attempts: list[str] = []

    def trace(statement: str) -> None:
        attempts.append(statement)
        if len(attempts) == 2:
            then()

    connection.set_trace_callback(trace)


def test_sqlite_refuses_at_once_and_the_switch_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    with being_made(path) as go_on, closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            connection.execute("PRAGMA journal_mode = WAL")
        at_second_attempt(connection, go_on)
        assert use_wal(connection, PATIENCE) == "wal"


def test_patience_ends(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    with being_made(path), closing(sqlite3.connect(path)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            use_wal(connection, 0.0)


def _journal(path: Path) -> None:
    Journal(path).close()


def _call_log(path: Path) -> None:
    with closing(CallLog(path, redact=str, daily_cap=None)) as calls:
        assert calls.spent() == Decimal(0)


def _analysis_store(path: Path) -> None:
    AnalysisStore(path).close()


def _client_lease(path: Path) -> None:
    ClientIds(str(path).removesuffix(".client-7"), is_memory=False).take(7)


@pytest.mark.parametrize("opened", [_journal, _call_log, _analysis_store])
def test_each_file_that_processes_share_waits_for_who_makes_it(
    opened: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shared.sqlite3"
    tried = threading.Event()
    real = sqlite3.connect

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            try:
                return super().execute(sql, *values)
            finally:
                tried.set()

    with being_made(path) as go_on:
        monkeypatch.setattr(sqlite3, "connect", lambda *args, **named: real(*args, factory=Watched, **named))
        waiting = threading.Thread(target=lambda: tried.wait(PATIENCE) and go_on())
        waiting.start()
        opened(path)
        waiting.join(PATIENCE)
    with closing(real(path)) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("opened", [_journal, _call_log, _analysis_store, _client_lease])
def test_a_file_that_is_no_database_is_an_error_of_ours_and_stays_open_nowhere(
    opened: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shared.sqlite3.client-7"
    path.write_text("no database, but long enough to be read as one" * 20)
    real, made = sqlite3.connect, []

    def connect(*args: Any, **named: Any) -> sqlite3.Connection:
        made.append(real(*args, **named))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(BrokerError, match=r"not a (database|journal)"):
        opened(path)
    assert made
    for connection in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
