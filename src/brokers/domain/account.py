"""Accounts, positions and P&L as the broker tells them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from .instrument import Instrument


@dataclass(frozen=True, slots=True)
class Position:
    """`quantity` is signed: negative is short. `average_cost` per share, in the instrument's currency, fees included
    (IB's avgCost; times the multiplier for derivatives). Market figures None when the broker gave none."""

    account: str
    instrument: Instrument
    quantity: Decimal
    average_cost: Decimal
    market_price: Decimal | None = None
    market_value: Decimal | None = None
    unrealized_pnl: Decimal | None = None
    realized_pnl: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """IB account values of one account, in `currency`; None when not told.

    `day_trades_remaining` None means the broker reports no finite number (IB sends -1 for unlimited).
    """

    account: str
    time: datetime
    currency: str = "USD"
    net_liquidation: Decimal | None = None
    total_cash: Decimal | None = None
    settled_cash: Decimal | None = None
    buying_power: Decimal | None = None
    available_funds: Decimal | None = None
    excess_liquidity: Decimal | None = None
    initial_margin: Decimal | None = None
    maintenance_margin: Decimal | None = None
    gross_position_value: Decimal | None = None
    equity_with_loan: Decimal | None = None
    realized_pnl: Decimal | None = None
    unrealized_pnl: Decimal | None = None
    day_trades_remaining: int | None = None
    account_type: str = ""


@dataclass(frozen=True, slots=True)
class PnL:
    """Profit and loss in the account's base currency; None when the broker has not computed it.

    `daily` since the broker's own day start, unrealised included (IB reqPnL).
    """

    account: str
    time: datetime
    daily: Decimal | None = None
    unrealized: Decimal | None = None
    realized: Decimal | None = None
    instrument: Instrument | None = None
    quantity: Decimal | None = None
    market_value: Decimal | None = None
