"""The paper account on disk: the exchange's state as JSON-able data, and back.

Kept: accounts, orders live and finished, today's executions, the counters behind every id. Not kept: what was on its
way between client and broker, prices (the source has them), and scripted faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from .book import Phase, WorkingOrder
from .exchange_state import ExchangeState
from .floor import Floor
from .hours import trade_date
from .ledger import Account, Booking, Holding
from .margin import MarginRules
from .models import AccountSettings
from .tickets import Execution

VERSION = 1


def to_plain(value: Any) -> Any:
    """Dataclasses, Decimals, dates, enums and containers as JSON-able data. TypeError for anything else."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if is_dataclass(value):
        return {row.name: to_plain(getattr(value, row.name)) for row in fields(value)}
    if isinstance(value, Mapping):
        return {str(to_plain(key)): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} cannot be kept in the account's state")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def from_plain(kind: Any, data: Any) -> Any:
    """The inverse of `to_plain` for a declared type. ValueError or KeyError for data of another shape."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        inner = [row for row in get_args(kind) if row is not NoneType]
        return None if data is None else from_plain(inner[0], data)
    if origin is tuple:
        return tuple(from_plain(get_args(kind)[0], item) for item in data)
    if origin is not None and issubclass(origin, Mapping):
        return dict(data)
    if kind is Decimal:
        return Decimal(data)
    if kind in (datetime, date):
        return kind.fromisoformat(data)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(data)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        return kind(**{name: from_plain(hints[name], item) for name, item in data.items()})
    return data


def snapshot(state: ExchangeState) -> dict[str, Any]:
    """See Exchange.snapshot."""
    book = state.book
    orders = [row for row in book.by_perm.values() if row.phase is not Phase.STAGED]
    return {
        "version": VERSION,
        "now": state.now.isoformat(),
        "accounts": [_account_to_plain(row) for row in state.ledger.accounts.values()],
        "orders": [to_plain(row) for row in orders],
        "executions": [to_plain(row) for row in state.executions.values()],
        "next_perm_id": book.next_perm_id,
        "next_manual_id": book.next_manual_id,
        "last_exec_number": state.last_exec_number,
        "highest_id": {str(client): number for client, number in book.highest_id.items()},
    }


def restore(state: ExchangeState, floor: Floor, data: Mapping[str, Any]) -> None:
    """See Exchange.restore."""
    if data.get("version") != VERSION:
        raise ValueError(f"the paper account's state has version {data.get('version')!r}; this program reads {VERSION}")
    if state.book.by_perm or state.executions:
        raise ValueError("a state can only be restored into an exchange that has seen no order")
    book = state.book
    book.next_perm_id = data["next_perm_id"]
    book.next_manual_id = data["next_manual_id"]
    book.highest_id = {int(client): number for client, number in data["highest_id"].items()}
    state.last_exec_number = data["last_exec_number"]
    saved = datetime.fromisoformat(data["now"])
    for row in data["accounts"]:
        account = _account_from_plain(state, row)
        state.ledger.accounts[account.settings.number] = account
    if trade_date(saved) == trade_date(state.now):
        executions = (from_plain(Execution, row) for row in data["executions"])
        state.executions.update({row.exec_id.rpartition(".")[0]: row for row in executions})
    else:
        state.ledger.start_day(trade_date(state.now))
    for row in data["orders"]:
        _restore_order(state, floor, from_plain(WorkingOrder, row))


def _restore_order(state: ExchangeState, floor: Floor, order: WorkingOrder) -> None:
    if order.phase is Phase.DONE:
        state.book.add(order)
        state.book.finish(order)
        return
    if order.phase is Phase.ROUTED:
        order.phase = Phase.HELD
    expires = order.expires_at
    state.book.add(order)
    if order.con_id not in state.markets:
        floor.end(order, why="The contract is not traded in this session")
        return
    if expires is not None and expires <= state.now:
        floor.end(order)
        return
    order.expires_at = None
    floor.schedule(order)
    floor.progress(order)


def _account_to_plain(account: Account) -> dict[str, Any]:
    return {
        "settings": to_plain(account.settings),
        "cash": str(account.cash),
        "commissions": str(account.commissions),
        "day_net_liquidation": str(account.day_net_liquidation),
        "unsettled": to_plain(account.unsettled),
        "holdings": to_plain(account.holdings),
        "today": {
            str(con_id): {"opening": to_plain(opening), "bookings": to_plain(bookings)}
            for con_id, (opening, bookings) in account.today.items()
        },
    }


def _account_from_plain(state: ExchangeState, data: Mapping[str, Any]) -> Account:
    settings = from_plain(AccountSettings, data["settings"])
    return Account(
        settings=settings,
        rules=MarginRules(settings.kind, state.settings.futures_margin),
        cash=Decimal(data["cash"]),
        commissions=Decimal(data["commissions"]),
        day_net_liquidation=Decimal(data["day_net_liquidation"]),
        unsettled={date.fromisoformat(day): Decimal(cash) for day, cash in data["unsettled"].items()},
        holdings={int(con_id): from_plain(Holding, row) for con_id, row in data["holdings"].items()},
        today={
            int(con_id): (
                from_plain(Holding, row["opening"]),
                [from_plain(Booking, item) for item in row["bookings"]],
            )
            for con_id, row in data["today"].items()
        },
    )
