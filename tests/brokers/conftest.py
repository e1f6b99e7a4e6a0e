"""A view of the account that risk tests set by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.account import AccountSummary, Position
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails
from moondev_ibkr.brokers.domain.market_data import Quote
from moondev_ibkr.brokers.domain.order import NewOrder, Order, OrderType, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.sessions import Session, TradingDay
from moondev_ibkr.brokers.risk import DayStart, RiskEngine, RiskPolicy, same_contract

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)  # a Friday, 10:00 in New York
DAY = TradingDay(
    date(2026, 11, 20),
    datetime(2026, 11, 20, 9, 0, tzinfo=UTC),
    datetime(2026, 11, 20, 14, 30, tzinfo=UTC),
    datetime(2026, 11, 20, 21, 0, tzinfo=UTC),
    datetime(2026, 11, 21, 1, 0, tzinfo=UTC),
)
ACCOUNT = "DU0000001"
AAPL = Instrument("AAPL", primary_exchange="NASDAQ", con_id=265598)


@dataclass
class RiskWorld:
    """A RiskView: one margin account with 100 000 USD, AAPL at 99.98 to 100.02, an open market. Change what the story
    needs; `order` and `working` make orders of AAPL."""

    time: datetime = NOW
    session_now: Session = Session.REGULAR
    day: TradingDay | None = DAY
    summary: AccountSummary | None = field(
        default_factory=lambda: AccountSummary(
            ACCOUNT,
            NOW,
            net_liquidation=Decimal(100_000),
            settled_cash=Decimal(100_000),
            excess_liquidity=Decimal(100_000),
            account_type="INDIVIDUAL",
        )
    )
    start: DayStart | None = field(default_factory=lambda: DayStart(date(2026, 11, 20), Decimal(100_000)))
    quotes: dict[str, Quote] = field(default_factory=dict)
    detail: dict[str, InstrumentDetails] = field(default_factory=dict)
    held: list[Position] = field(default_factory=list)
    owned: dict[str, Decimal] = field(default_factory=dict)
    live: list[Order] = field(default_factory=list)
    past: list[Order] = field(default_factory=list)
    sent: list[datetime] = field(default_factory=list)
    rates: dict[str, Decimal] = field(default_factory=dict)
    halt_reason: str | None = None
    doubts: dict[str, str] = field(default_factory=dict)
    borrow: dict[str, Decimal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.set_quote(99.98, 100.02)
        self.detail["AAPL"] = InstrumentDetails(AAPL)

    # Setting the scene

    def set_quote(self, bid: float | None, ask: float | None, symbol: str = "AAPL", **changes: Any) -> None:
        when = changes.pop("time", self.time)
        self.quotes[symbol] = Quote(Instrument(symbol), when, bid=bid, ask=ask, last=bid, **changes)

    def hold(self, quantity: int, *, owned: int | None = None, symbol: str = "AAPL", price: int = 100) -> None:
        instrument = AAPL if symbol == "AAPL" else Instrument(symbol)
        self.held.append(Position(ACCOUNT, instrument, Decimal(quantity), Decimal(price), Decimal(price)))
        self.owned[symbol] = Decimal(quantity if owned is None else owned)

    def order(self, side: str = "BUY", quantity: float | Decimal = 10, **fields: Any) -> NewOrder:
        if "limit_price" in fields:
            fields.setdefault("type", OrderType.LIMIT)
        instrument = fields.pop("instrument", AAPL)
        return NewOrder(instrument, Side(side), Decimal(str(quantity)), **fields)

    def working(self, side: str = "BUY", quantity: int = 10, **fields: Any) -> Order:
        """Add a working order; fields of Order and NewOrder alike."""
        own = {name: fields.pop(name) for name in ("parent_key", "foreign", "filled", "state") if name in fields}
        own.setdefault("state", OrderState.WORKING)
        if "filled" in own:
            own["filled"] = Decimal(own["filled"])
        row = Order(self.order(side, quantity, **fields), created_at=self.time, **own)
        self.live.append(row)
        return row

    def summarise(self, **changes: Any) -> None:
        assert self.summary is not None
        self.summary = replace(self.summary, **changes)

    def engine(self, **limits: Any) -> RiskEngine:
        return RiskEngine(RiskPolicy(**limits), self)

    # The view

    def now(self) -> datetime:
        return self.time

    def default_account(self) -> str:
        return ACCOUNT

    def session(self, instrument: Instrument) -> Session:
        return self.session_now

    def trading_day(self, instrument: Instrument) -> TradingDay | None:
        return self.day

    def quote(self, instrument: Instrument) -> Quote | None:
        return self.quotes.get(instrument.symbol)

    def details(self, instrument: Instrument) -> InstrumentDetails | None:
        return self.detail.get(instrument.symbol)

    def positions(self, account: str) -> list[Position]:
        return [row for row in self.held if row.account == account]

    def owned_position(self, account: str, instrument: Instrument) -> Decimal:
        return self.owned.get(instrument.symbol, Decimal(0))

    def working_orders(self, account: str) -> list[Order]:
        return [row for row in self.live if (row.intent.account or ACCOUNT) == account]

    def recent_orders(self, since: datetime) -> list[Order]:
        return [row for row in self.past if row.created_at is not None and row.created_at >= since]

    def messages_sent(self, since: datetime) -> int:
        return sum(1 for moment in self.sent if moment >= since)

    def account(self, account: str) -> AccountSummary | None:
        return self.summary

    def day_start(self, account: str) -> DayStart | None:
        return self.start

    def fx_rate(self, currency: str) -> Decimal | None:
        return self.rates.get(currency)

    def kill_switch(self) -> str | None:
        return self.halt_reason

    def in_doubt(self, instrument: Instrument) -> str | None:
        return next((why for symbol, why in self.doubts.items() if same_contract(Instrument(symbol), instrument)), None)

    def shortable_shares(self, instrument: Instrument) -> Decimal | None:
        return self.borrow.get(instrument.symbol)

    def pass_time(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def world() -> RiskWorld:
    return RiskWorld()
