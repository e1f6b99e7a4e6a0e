"""The order journal: what was meant, what was sent, what came back; durable and in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..domain.instrument import Instrument
from ..domain.order import Fill, NewOrder
from ..errors import ConfigurationError, DoorFenced, JournalLocked, TradingHalted
from ..risk_view import DayStart
from .chain import first_break
from .codec import (
    decimal_text,
    fill_from,
    instrument_from,
    instrument_key,
    moment_text,
    order_text,
    to_json,
)
from .database import MEMORY, Database, Transaction
from .leases import ClientIds, ClientLease
from .rows import ChainBreak, DoorLease, ForeignPosition, IntentRow, Observed, OrderRow
from .tables import (
    ALL_ORDERS,
    CHANGED_ORDERS,
    insert_intent,
    intents_of_others,
    maybe_decimal,
    move_holding,
    next_order_id,
    order_row,
    reserve,
    set_door,
    set_foreign,
    write_observed,
    write_order,
    write_pending,
)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Journal:
    """Append-only order journal in SQLite (WAL). `path` ":memory:" keeps it in this process.

    `synchronous` FULL syncs every intent to the disk before it is sent; NORMAL survives the end of the process but may
    lose the last moments of a power failure. `busy_timeout` is seconds to wait for another process's write lock.
    `now` is market time (aware UTC). Every method raises JournalError (JournalLocked) when the file fails.
    """

    def __init__(
        self,
        path: str | Path = MEMORY,
        *,
        synchronous: str = "FULL",
        busy_timeout: float = 0.5,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.database = Database(path, synchronous, busy_timeout, now)
        self._client_ids = ClientIds(self.database.path, self.database.is_memory)

    @property
    def path(self) -> str:
        return self.database.path

    def close(self) -> None:
        self.database.close()

    # Intents

    def record_intents(
        self,
        rows: Sequence[IntentRow],
        *,
        client_id: int,
        floor: int,
        lease: DoorLease,
        allow_halted: bool = False,
        observed: Observed | None = None,
        seen: int | None = None,
    ) -> tuple[int, ...] | None:
        """Make intents durable, all or none, and reserve their order ids (ascending, one each).

        `floor` is the lowest id that the broker would accept. `allow_halted` is for the closes of an emergency stop.
        `observed` is written in the same transaction. With `seen`, the number of the last event that the caller judged
        by: answers an empty tuple, with no intent written, when another client recorded an intent after it. Answers
        None, with no intent written, when a key is known. Raises TradingHalted, DoorFenced, JournalError.
        """
        with self.database.transaction("recording an intent") as change:
            self._check_may_write(change, lease, allow_halted)
            if observed:
                write_observed(change, observed)
            if seen is not None and intents_of_others(change, seen, client_id):
                return ()
            first = next_order_id(change, client_id, floor, [row.intent.key for row in rows])
            if first is None:
                return None
            for order_id, row in enumerate(rows, first):
                insert_intent(change, row, client_id, order_id, lease)
        return tuple(range(first, first + len(rows)))

    def _check_may_write(self, change: Transaction, lease: DoorLease, allow_halted: bool) -> None:
        if change.halt_reason is not None and not allow_halted:
            why = f"the kill switch is on: {change.halt_reason}"
            raise TradingHalted("new order", why, "resume first; cancels pass")
        if (change.door, change.epoch) != (lease.door, lease.epoch):
            raise DoorFenced(
                f"new order through door {lease.door} (epoch {lease.epoch})",
                f"door {change.door} (epoch {change.epoch}) is the one that writes now",
                "place it through that door; nothing was sent",
            )

    def record_change(self, key: str, changed: NewOrder, *, lease: DoorLease) -> None:
        """Make a modify durable before it is sent. Raises TradingHalted, DoorFenced, JournalError."""
        with self.database.transaction("recording a change") as change:
            self._check_may_write(change, lease, allow_halted=changed.reduce_only)
            text = order_text(changed)
            seq = change.append("MODIFY", key, text)
            write_pending(change, key, text, seq)

    def reserve_order_ids(self, client_id: int, floor: int, count: int = 1) -> int:
        """The first of `count` order ids that no order of this client ever had, not below `floor` (fault C11)."""
        with self.database.transaction("reserving order ids") as change:
            return reserve(change, client_id, floor, count)

    def last_event(self) -> int:
        """The number of the journal's last event, other processes' included."""
        return int(self.database.query("SELECT head_seq FROM state WHERE id = 1", {})[0][0])

    def load_orders(self, since: int = 0) -> list[OrderRow]:
        """Orders changed after event number `since`, oldest first."""
        order = "ORDER BY coalesce(o.created_at, i.created_at), i.client_id, i.order_id"
        # From the beginning on, those are all: nothing is gained by looking for them event by event.
        return self._orders(f"{CHANGED_ORDERS if since else ALL_ORDERS} {order}", {"since": since})

    def load_order(self, key: str) -> OrderRow | None:
        rows = self._orders(f"{ALL_ORDERS} WHERE i.key = :key", {"key": key})
        return rows[0] if rows else None

    def sent_times(self, since: datetime) -> list[datetime]:
        """Moments at or after `since` at which an order or a change was recorded, ascending."""
        rows = self.database.query(
            "SELECT time FROM events WHERE kind IN ('INTENT', 'MODIFY') AND time >= ? ORDER BY time",
            (moment_text(since),),
        )
        return [datetime.fromisoformat(row[0]) for row in rows]

    def _orders(self, sql: str, parameters: dict[str, Any]) -> list[OrderRow]:
        return [order_row(row) for row in self.database.query(sql, parameters)]

    # What the broker told

    def write(self, observed: Observed) -> None:
        """Book what was learnt, in one transaction. Executions count once per base id; a later revision replaces.

        Synced to the disk only when fills are among it: the broker can tell the rest again.
        """
        durable = bool(observed.fills)
        with self.database.transaction("writing what the broker told", durable=durable) as change:
            write_observed(change, observed)

    def load_fills(self, order_key: str | None = None) -> list[Fill]:
        """Executions with their commissions, oldest first; of one order when `order_key` is given, foreign ones too
        otherwise."""
        where, parameters = ("WHERE e.order_key = ?", (order_key,)) if order_key is not None else ("", ())
        rows = self.database.query(
            "SELECT e.fill, c.amount, c.currency, c.realized_pnl FROM executions e"
            f" LEFT JOIN commissions c ON c.base_id = e.base_id {where} ORDER BY e.time, e.base_id",
            parameters,
        )
        return [
            fill_from(text, maybe_decimal(amount), currency, maybe_decimal(realized))
            for text, amount, currency, realized in rows
        ]

    # Positions that this journal owns, and those that it does not

    def holding(self, account: str, instrument: Instrument) -> Decimal:
        """Signed quantity that booked fills and adoptions add up to."""
        rows = self.database.query(
            "SELECT quantity FROM holdings WHERE account = ? AND instrument_key = ?",
            (account, instrument_key(instrument)),
        )
        return Decimal(rows[0][0]) if rows else Decimal(0)

    def holdings(self) -> dict[tuple[str, str], Decimal]:
        """(account, instrument key) -> signed quantity, zero ones left out."""
        rows = self.database.query("SELECT account, instrument_key, quantity FROM holdings")
        return {(account, key): Decimal(text) for account, key, text in rows if text != "0"}

    def foreign_positions(self) -> dict[tuple[str, str], ForeignPosition]:
        rows = self.database.query("SELECT account, instrument_key, instrument, quantity FROM foreign_positions")
        return {
            (account, key): ForeignPosition(account, instrument_from(json.loads(text)), Decimal(quantity))
            for account, key, text, quantity in rows
        }

    def set_foreign_positions(self, rows: Iterable[ForeignPosition]) -> None:
        with self.database.transaction("recording foreign positions", durable=False) as change:
            for row in rows:
                set_foreign(change, row)

    def adopt(self, position: ForeignPosition | None, orders: Iterable[tuple[IntentRow, OrderRow]], door: str) -> None:
        """Take over a foreign position and foreign orders, durably and in one transaction."""
        with self.database.transaction("adopting") as change:
            if position is not None:
                key = instrument_key(position.instrument)
                body = {"account": position.account, "instrument_key": key, "quantity": decimal_text(position.quantity)}
                change.append("ADOPT", "", to_json(body))
                move_holding(change, position.account, key, position.quantity)
                set_foreign(change, ForeignPosition(position.account, position.instrument, Decimal(0)))
            for intent, order in orders:
                lease = DoorLease(door, change.epoch)
                # Its order id is not ours: number 0 keeps it out of the index of ids that this journal gave out.
                insert_intent(change, intent, order.client_id or 0, 0, lease)
                write_order(change, intent.intent.key, order)

    # Kill switch, doors, blocks, day starts

    @property
    def halted(self) -> str | None:
        """Why trading is halted; None while it is not."""
        rows = self.database.query("SELECT halt_reason FROM state WHERE id = 1")
        return None if not rows or rows[0][0] is None else str(rows[0][0])

    def halt(self, reason: str) -> None:
        with self.database.transaction("halting") as change:
            change.append("HALT", "", to_json({"reason": reason}))
            change.execute("UPDATE state SET halt_reason = ?, halted_at = ? WHERE id = 1", (reason, change.now))

    def resume(self) -> None:
        """Lift the kill switch and every block."""
        with self.database.transaction("resuming") as change:
            change.append("RESUME", "", "{}")
            change.execute("UPDATE state SET halt_reason = NULL, halted_at = NULL WHERE id = 1")
            change.execute("DELETE FROM blocks")

    def door(self) -> DoorLease | None:
        """Which door writes now; None before the first claim."""
        rows = self.database.query("SELECT door, epoch FROM state WHERE id = 1")
        return None if not rows or rows[0][0] is None else DoorLease(rows[0][0], rows[0][1])

    def claim_door(self, door: str) -> DoorLease:
        """The lease of `door`: granted when none is live or it is live already. Raises DoorFenced otherwise."""
        with self.database.transaction("claiming a door") as change:
            if change.door is None:
                return set_door(change, door)
            if change.door != door:
                raise DoorFenced(
                    f"door {door}",
                    f"door {change.door} has the pen of this journal",
                    f"use that door (IB_FAILOVER as it was), or give the pen back: moondev-ibkr doors --to {door}",
                )
            return DoorLease(door, change.epoch)

    def switch_door(self, door: str) -> DoorLease:
        """Fence every other door: from here on only intents under the epoch answered are accepted (promise Q18)."""
        with self.database.transaction("switching doors") as change:
            return set_door(change, door)

    def block(self, instrument: Instrument, reason: str) -> None:
        """Block new exposure in one instrument, over restarts, until `resume`."""
        with self.database.transaction("blocking an instrument") as change:
            key = instrument_key(instrument)
            change.append("BLOCK", "", to_json({"instrument_key": key, "reason": reason}))
            change.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", (key, reason, change.now))

    def blocks(self) -> dict[str, str]:
        """Instrument key -> reason."""
        return dict(self.database.query("SELECT instrument_key, reason FROM blocks"))

    def day_start(self, account: str, day: date) -> DayStart | None:
        """How the loss day began; None while nothing was recorded."""
        rows = self.database.query(
            "SELECT net_liquidation, transfers, currency FROM day_starts WHERE account = ? AND day = ?",
            (account, day.isoformat()),
        )
        return DayStart(day, Decimal(rows[0][0]), Decimal(rows[0][1]), rows[0][2]) if rows else None

    def set_day_start(self, account: str, day: date, net_liquidation: Decimal, currency: str = "USD") -> DayStart:
        """Record how a day began; the first writer of a day wins, and what stands is answered."""
        with self.database.transaction("recording a day's start") as change:
            value = decimal_text(net_liquidation)
            added = change.execute(
                "INSERT OR IGNORE INTO day_starts VALUES (?, ?, ?, '0', ?)", (account, day.isoformat(), value, currency)
            ).rowcount
            if added:
                body = {"account": account, "currency": currency, "day": day.isoformat(), "net_liquidation": value}
                change.append("DAY_START", "", to_json(body))
        return self.day_start(account, day) or DayStart(day, net_liquidation, currency=currency)

    def add_transfer(self, account: str, day: date, amount: Decimal) -> None:
        """Count money paid in (positive) or out since the day's start, in the day start's currency."""
        with self.database.transaction("recording a transfer") as change:
            where = (account, day.isoformat())
            row = change.execute("SELECT transfers FROM day_starts WHERE account = ? AND day = ?", where).fetchone()
            if row is None:
                raise ConfigurationError(f"transfer of {amount}", f"no start of {day} is recorded for {account}")
            total = decimal_text(Decimal(row[0]) + amount)
            change.append("TRANSFER", "", to_json({"account": account, "amount": decimal_text(amount)}))
            change.execute("UPDATE day_starts SET transfers = ? WHERE account = ? AND day = ?", (total, *where))

    # Client ids

    def lease_client_id(self, first: int, count: int = 32) -> ClientLease:
        """The lowest free client id from `first` on; a restart gets its own again. Raises JournalLocked for none."""
        for client_id in range(first, first + count):
            lease = self._client_ids.take(client_id)
            if lease is not None:
                return lease
        raise JournalLocked(
            f"client id {first} to {first + count - 1}",
            "living processes hold them all",
            "end one of them, or start with another client id",
        )

    def is_client_alive(self, client_id: int) -> bool:
        """Whether a living process holds this client id."""
        return self._client_ids.is_held(client_id)

    # Audit

    def verify(self) -> ChainBreak | None:
        """The first event at which chain, tables and positions no longer agree; None when all is well (promise Q21)."""
        return first_break(self.database)

    def event_count(self) -> int:
        return int(self.database.query("SELECT head_seq FROM state WHERE id = 1")[0][0])
