"""Every question to a model and what became of it, in one SQLite file: audit, cache, and the day's cost.

A row is written before the question leaves, with the most that it can cost, and completed afterwards. Several processes
may share the file. Text goes through the redactor first, so that no secret reaches the disk.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

from ...brokers.errors import RequestFailed
from ...brokers.sqlite_wal import open_shared
from .chat_backend import Completion
from .request import Rung
from .troubles import Trouble, failed

FILE = "llm.sqlite3"
#: Seconds that another process may hold the file.
BUSY = 5.0
_MICRO = Decimal(1_000_000)
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS prompts (hash TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS calls (
        id INTEGER PRIMARY KEY, asked_at TEXT NOT NULL, day TEXT NOT NULL, purpose TEXT NOT NULL, rung TEXT NOT NULL,
        subject TEXT NOT NULL, backend TEXT NOT NULL, model TEXT NOT NULL, host TEXT, digest TEXT,
        schema_version TEXT NOT NULL, cache_key TEXT, system_hash TEXT NOT NULL, prompt TEXT NOT NULL, answer TEXT,
        outcome TEXT NOT NULL, trouble TEXT, error TEXT, prompt_tokens INTEGER, completion_tokens INTEGER,
        cached_tokens INTEGER, queued REAL, seconds REAL, server_seconds REAL, writing_seconds REAL,
        cost_micros INTEGER NOT NULL, source INTEGER)""",
    "CREATE INDEX IF NOT EXISTS calls_by_key ON calls (cache_key) WHERE cache_key IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS calls_by_day ON calls (day)",
)


@dataclass(frozen=True, slots=True)
class Call:
    """A question about to leave. `most` is the most that it can cost in USD, 0 for a model of one's own."""

    purpose: str
    rung: Rung
    subject: str
    backend: str
    model: str
    schema_version: str
    system: str
    prompt: str
    most: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of it. `cost` None keeps the most that it can have cost; `key` None keeps it out of the cache."""

    host: str | None = None
    digest: str | None = None
    key: str | None = None
    completion: Completion | None = None
    trouble: str | None = None
    error: str | None = None
    queued: float | None = None
    seconds: float | None = None
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """An earlier answer to the same question, valid then."""

    id: int
    text: str
    host: str | None


class CallLog:
    """The file at `path`, opened when first needed and made when missing. `daily_cap` is USD for a UTC day, None for no
    cap; `now` tells UTC. For any thread."""

    def __init__(
        self,
        path: Path,
        *,
        redact: Callable[[str], str],
        daily_cap: Decimal | None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path, self._redact, self._cap, self._now = path, redact, daily_cap, now
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None
        self._systems: set[str] = set()

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def begin(self, call: Call) -> int:
        """Write it down and answer its number. Raises RequestFailed: over the daily cap, or not writable."""
        when = self._now().astimezone(UTC)
        system = self._redact(call.system)
        name = hashlib.sha256(system.encode(errors="replace")).hexdigest()
        most, day = _micros(call.most), when.date().isoformat()
        row = {
            "asked_at": when.isoformat(timespec="milliseconds"),
            "day": day,
            "purpose": call.purpose,
            "rung": call.rung.value,
            "subject": self._redact(call.subject),
            "backend": call.backend,
            "model": call.model,
            "schema_version": call.schema_version,
            "system_hash": name,
            "prompt": self._redact(call.prompt),
            "outcome": "asked",
            "cost_micros": most,
        }
        with self._writing():
            if most and self._cap is not None:
                self._refuse_over_cap(day, call)
            if name not in self._systems:
                self._db.execute("INSERT OR IGNORE INTO prompts VALUES (?, ?)", (name, system))
            number = self._insert(row)
        self._systems.add(name)
        return number

    def end(self, number: int, ending: Ending) -> None:
        """Complete a row. Raises RequestFailed when it cannot be written."""
        done = ending.completion
        text = None if done is None else self._redact(done.content)
        # An answer that the redactor changed is not the answer that was given: it never serves as one.
        key = ending.key if done is not None and text == done.content else None
        row: dict[str, Any] = {
            "host": ending.host,
            "digest": ending.digest,
            "cache_key": key,
            "answer": text,
            "outcome": "failed" if ending.trouble else "answered",
            "trouble": ending.trouble,
            "error": None if ending.error is None else self._redact(ending.error),
            "prompt_tokens": done.prompt_tokens if done else None,
            "completion_tokens": done.completion_tokens if done else None,
            "cached_tokens": done.cached_tokens if done else None,
            "queued": ending.queued,
            "seconds": ending.seconds,
            "server_seconds": done.seconds if done else None,
            "writing_seconds": done.writing_seconds if done else None,
        }
        if ending.cost is not None:
            row["cost_micros"] = _micros(ending.cost)
        changes = ", ".join(f"{name} = :{name}" for name in row)
        with self._writing():
            self._db.execute(f"UPDATE calls SET {changes} WHERE id = :id", row | {"id": number})

    def earlier(self, key: str) -> Stored | None:
        """The newest valid answer under that key, None when there is none. Raises RequestFailed."""
        with self._reading():
            row = self._db.execute(
                "SELECT id, answer, host FROM calls WHERE cache_key = ? ORDER BY id DESC LIMIT 1", (key,)
            ).fetchone()
        return None if row is None else Stored(row["id"], row["answer"], row["host"])

    def answered_from(self, stored: Stored, call: Call) -> None:
        """Write down that an earlier answer was given again. Raises RequestFailed."""
        when = self._now().astimezone(UTC)
        with self._writing():
            self._db.execute(
                """INSERT INTO calls (asked_at, day, purpose, rung, subject, backend, model, host, digest,
                schema_version, system_hash, prompt, answer, outcome, cost_micros, source)
                SELECT ?, ?, ?, ?, subject, backend, model, host, digest, schema_version, system_hash, prompt, answer,
                'cached', 0, id FROM calls WHERE id = ?""",
                (
                    when.isoformat(timespec="milliseconds"),
                    when.date().isoformat(),
                    call.purpose,
                    call.rung.value,
                    stored.id,
                ),
            )

    def spent(self, day: str | None = None) -> Decimal:
        """USD of a UTC day (YYYY-MM-DD, None for today), what is under way at its most. Raises RequestFailed."""
        chosen = day or self._now().astimezone(UTC).date().isoformat()
        with self._reading():
            return self._spent(chosen)

    def rows(self, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What a SELECT answers. Raises RequestFailed."""
        with self._reading():
            return [dict(row) for row in self._db.execute(query, values)]

    @property
    def _db(self) -> sqlite3.Connection:
        """The connection; only under the lock."""
        if self._opened is None:
            self._opened = open_shared(self.path, BUSY, _SCHEMA)
            self._opened.row_factory = sqlite3.Row
        return self._opened

    def _insert(self, row: Mapping[str, Any]) -> int:
        names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
        number = self._db.execute(f"INSERT INTO calls ({names}) VALUES ({marks})", row).lastrowid
        assert number is not None
        return number

    def _spent(self, day: str) -> Decimal:
        (micros,) = self._db.execute("SELECT COALESCE(SUM(cost_micros), 0) FROM calls WHERE day = ?", (day,)).fetchone()
        return Decimal(micros) / _MICRO

    def _refuse_over_cap(self, day: str, call: Call) -> None:
        spent = self._spent(day)
        assert self._cap is not None
        if spent + call.most > self._cap:
            raise failed(
                Trouble.COST_CAP,
                f"question to {call.model}",
                f"it may cost {call.most:.4f} USD, and {spent:.4f} of {self._cap:.2f} are spent today",
                "wait for the next UTC day, or raise IB_LLM_DAILY_COST",
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, which other processes' transactions come before or after."""
        with self._reading():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except (OSError, sqlite3.Error) as error:
                raise self._broken(error) from error

    def _broken(self, error: Exception) -> RequestFailed:
        return failed(Trouble.LOG_FAILED, f"log of models {self.path}", str(error), "see the disk and the file")


def _micros(cost: Decimal) -> int:
    """Millionths of a USD, rounded up: a sum of them never hides what was spent."""
    return int((cost * _MICRO).to_integral_value(ROUND_CEILING))
