"""Rows of the journal's tables: how each is written, and how an order is read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ..domain.order import Fill, exec_base_id, exec_revision
from ..domain.order_states import TERMINAL, OrderState
from ..domain.reports import CommissionReport
from .codec import (
    decimal_text,
    fill_data,
    instrument_data,
    instrument_key,
    order_from,
    order_text,
    quoted,
    to_json,
)
from .database import Transaction
from .rows import DoorLease, ForeignPosition, IntentRow, Observed, OrderRow

_TERMINAL = ", ".join(f"'{state.value}'" for state in sorted(TERMINAL))

INSERT_ORDER = f"""
    INSERT INTO orders (key, state, intent, pending, order_id, client_id, perm_ids, parent_key, leg, reason,
        cancel_asked, created_at, updated_at, changed)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET state = excluded.state, intent = excluded.intent, pending = excluded.pending,
        order_id = excluded.order_id, client_id = excluded.client_id, perm_ids = excluded.perm_ids,
        reason = excluded.reason, cancel_asked = excluded.cancel_asked, updated_at = excluded.updated_at,
        changed = excluded.changed
    WHERE orders.state NOT IN ({_TERMINAL}) OR excluded.state IN ({_TERMINAL})
"""

#: An intent has no row in `orders` until what became of it is written, a moment after it was sent: until then it
#: stands as it was asked for, and an order leaves with two pages less to write.
ORDER_COLUMNS = f"""
    coalesce(o.state, '{OrderState.INTENT.value}'), coalesce(o.intent, i.request), o.pending,
    coalesce(o.order_id, i.order_id), coalesce(o.client_id, i.client_id), coalesce(o.perm_ids, '[]'),
    coalesce(o.parent_key, i.parent_key), coalesce(o.leg, i.leg), coalesce(o.reason, ''),
    coalesce(o.cancel_asked, 0), coalesce(o.created_at, i.created_at), coalesce(o.updated_at, i.created_at),
    coalesce(o.changed, 0), i.request, i.account, i.door
"""
ALL_ORDERS = f"SELECT {ORDER_COLUMNS} FROM intents i LEFT JOIN orders o ON o.key = i.key"
#: Those that a change or an intent after event :since is about.
CHANGED_ORDERS = f"""
    {ALL_ORDERS} WHERE i.key IN (
        SELECT key FROM orders WHERE changed > :since
        UNION SELECT key FROM events WHERE seq > :since AND kind = 'INTENT'
    )
"""
#: A change of an order whose row is not written yet.
INSERT_PENDING = f"""
    INSERT INTO orders (key, state, intent, pending, order_id, client_id, perm_ids, parent_key, leg, reason,
        cancel_asked, created_at, updated_at, changed)
    SELECT key, '{OrderState.INTENT.value}', request, :pending, order_id, client_id, '[]', parent_key, leg, '',
        0, created_at, created_at, :changed
    FROM intents WHERE key = :key
"""

#: The lowest order id that no order of a client ever had: `intents` holds those given out, `order_ids` the end of those
#: reserved beside them. Asked of the index, so that an intent need not keep a counter up to date.
_NEXT_ID = """
    max(
        coalesce((SELECT next_id FROM order_ids WHERE client_id = :client), 1),
        coalesce((SELECT max(order_id) + 1 FROM intents WHERE client_id = :client AND order_id > 0), 1)
    )
"""
_NEXT_ID_AND_KNOWN = f"SELECT {_NEXT_ID}, EXISTS (SELECT 1 FROM intents WHERE key = :key)"


def next_order_id(change: Transaction, client_id: int, floor: int, keys: Sequence[str]) -> int | None:
    """The first of as many free order ids as there are `keys`, not below `floor`; None when a key is in use."""
    first = 1
    for key in keys:
        first, is_known = change.execute(_NEXT_ID_AND_KNOWN, {"client": client_id, "key": key}).fetchone()
        if is_known:
            return None
    return max(floor, first)


def intents_of_others(change: Transaction, seen: int, client_id: int) -> bool:
    """Whether another client has recorded an intent after event number `seen`."""
    found = change.execute(
        "SELECT EXISTS (SELECT 1 FROM events e JOIN intents i ON i.key = e.key"
        " WHERE e.seq > ? AND e.kind = 'INTENT' AND i.client_id != ?)",
        (seen, client_id),
    )
    return bool(found.fetchone()[0])


def reserve(change: Transaction, client_id: int, floor: int, count: int) -> int:
    first: int = max(floor, change.execute(f"SELECT {_NEXT_ID}", {"client": client_id}).fetchone()[0])
    change.execute(
        "INSERT INTO order_ids VALUES (?, ?) ON CONFLICT (client_id) DO UPDATE SET next_id = excluded.next_id",
        (client_id, first + count),
    )
    return first


def insert_intent(change: Transaction, row: IntentRow, client_id: int, order_id: int, lease: DoorLease) -> None:
    key = row.intent.key
    request = order_text(row.intent)
    body = (
        f'{{"account":{quoted(row.account)},"client_id":{client_id},"door":"{lease.door}","epoch":{lease.epoch},'
        f'"leg":{row.leg},"order_id":{order_id},"request":{request},"root":"{row.root}"}}'
    )
    change.append("INTENT", key, body)
    change.execute(
        "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key,
            row.root,
            row.leg,
            row.parent_key,
            row.account,
            client_id,
            order_id,
            lease.door,
            lease.epoch,
            request,
            change.now,
        ),
    )


def write_observed(change: Transaction, observed: Observed) -> None:
    for kind, key, body in observed.notes:
        change.append(kind, key, body)
    for key, order in observed.orders.items():
        write_order(change, key, order)
    for fill in observed.fills:
        write_fill(change, fill)
    for report in observed.commissions:
        write_commission(change, report)


def write_order(change: Transaction, key: str, row: OrderRow) -> None:
    created = row.created_at.isoformat() if row.created_at else change.now
    updated = row.updated_at.isoformat() if row.updated_at else change.now
    change.execute(
        INSERT_ORDER,
        (
            key,
            row.state.value,
            order_text(row.intent),
            order_text(row.pending) if row.pending else None,
            row.order_id,
            row.client_id,
            to_json(list(row.perm_ids)),
            row.parent_key,
            row.leg,
            row.reason,
            int(row.cancel_asked),
            created,
            updated,
            change.seq,
        ),
    )


def write_pending(change: Transaction, key: str, text: str, seq: int) -> None:
    """The change of an order that is sent now, as JSON, and its event's number."""
    done = change.execute("UPDATE orders SET pending = ?, changed = ? WHERE key = ?", (text, seq, key))
    if not done.rowcount:
        change.execute(INSERT_PENDING, {"key": key, "pending": text, "changed": seq})


def write_fill(change: Transaction, fill: Fill) -> None:
    base, revision = exec_base_id(fill.exec_id), exec_revision(fill.exec_id)
    old = change.execute(
        "SELECT revision, signed_quantity, order_key FROM executions WHERE base_id = ?", (base,)
    ).fetchone()
    if old is not None and old[0] >= revision:
        return
    text = to_json(fill_data(fill))
    signed = fill.quantity * fill.side.sign
    where = instrument_key(fill.instrument)
    change.append("FILL" if old is None else "CORRECTION", fill.order_key or "", text)
    change.execute(
        "INSERT OR REPLACE INTO executions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            base,
            fill.exec_id,
            revision,
            fill.order_key,
            fill.account,
            where,
            decimal_text(signed),
            decimal_text(fill.price),
            fill.time.astimezone(UTC).isoformat(),
            text,
        ),
    )
    if fill.order_key is not None:
        before = Decimal(old[1]) if old is not None and old[2] is not None else Decimal(0)
        move_holding(change, fill.account, where, signed - before)


def write_commission(change: Transaction, report: CommissionReport) -> None:
    base, revision = exec_base_id(report.exec_id), exec_revision(report.exec_id)
    old = change.execute("SELECT revision FROM commissions WHERE base_id = ?", (base,)).fetchone()
    if old is not None and old[0] > revision:
        return
    amount = decimal_text(report.commission)
    realized = None if report.realized_pnl is None else decimal_text(report.realized_pnl)
    body = {"exec_id": report.exec_id, "commission": amount, "currency": report.currency, "realized_pnl": realized}
    change.append("COMMISSION", "", to_json(body))
    change.execute(
        "INSERT OR REPLACE INTO commissions VALUES (?, ?, ?, ?, ?)",
        (base, revision, amount, report.currency, realized),
    )


def maybe_decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def order_row(row: tuple[Any, ...]) -> OrderRow:
    state, intent, pending, order_id, client_id, perms, parent, leg, reason, asked, created, updated = row[:12]
    return OrderRow(
        intent=order_from(intent),
        state=OrderState(state),
        order_id=order_id,
        client_id=client_id,
        perm_ids=tuple(json.loads(perms)),
        pending=order_from(pending) if pending else None,
        parent_key=parent,
        leg=leg,
        reason=reason,
        cancel_asked=bool(asked),
        created_at=datetime.fromisoformat(created),
        updated_at=datetime.fromisoformat(updated),
        changed=row[12],
        request=order_from(row[13]),
        account=row[14],
        door=row[15],
    )


def move_holding(change: Transaction, account: str, key: str, by: Decimal) -> None:
    where = (account, key)
    row = change.execute("SELECT quantity FROM holdings WHERE account = ? AND instrument_key = ?", where).fetchone()
    total = decimal_text((Decimal(row[0]) if row else Decimal(0)) + by)
    change.execute(
        "INSERT INTO holdings VALUES (?, ?, ?)"
        " ON CONFLICT (account, instrument_key) DO UPDATE SET quantity = excluded.quantity",
        (*where, total),
    )


def set_foreign(change: Transaction, row: ForeignPosition) -> None:
    key, quantity = instrument_key(row.instrument), decimal_text(row.quantity)
    change.append("FOREIGN", "", to_json({"account": row.account, "instrument_key": key, "quantity": quantity}))
    change.execute(
        "INSERT OR REPLACE INTO foreign_positions VALUES (?, ?, ?, ?)",
        (row.account, key, to_json(instrument_data(row.instrument)), quantity),
    )


def set_door(change: Transaction, door: str) -> DoorLease:
    lease = DoorLease(door, change.epoch + 1)
    change.append("DOOR", "", to_json({"door": door, "epoch": lease.epoch}))
    change.execute("UPDATE state SET door = ?, epoch = ? WHERE id = 1", (door, lease.epoch))
    return lease
