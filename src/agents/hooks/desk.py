"""What a host's helpers ask and do, over one broker and synchronously. Every read fails loud; every order is refused
or sent whole, and what was rounded or left over is said."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import TypeVar

from ...brokers.domain.account import AccountSummary, Position
from ...brokers.domain.instrument import Rounding, normalize_symbol
from ...brokers.domain.market_data import Quote
from ...brokers.domain.order import NewOrder, Order, OrderType, Side
from ...brokers.domain.order_states import OrderState
from ...brokers.errors import (
    BrokerError,
    DeadlineExceeded,
    InvalidOrder,
    NoData,
    NotConnected,
    NotOwned,
    OutcomeUnknown,
    StaleData,
)
from ...brokers.smart_orders import SmartOrderPolicy, smart_limit
from ...brokers.sync import SyncBroker
from .hook_settings import HookSettings

T = TypeVar("T")

#: A sale of this part of a position is meant as all of it: the host computes USD from a price that has moved since.
WHOLE = Decimal("0.98")
#: A position of this part of its target is at its target.
NEAR_ENOUGH = Decimal("0.97")
_BPS = Decimal(10_000)
#: The check of `Health.details` that tells of the link: a session can stand while IB behind it is away (1100).
_LINK = "link"
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Holding:
    """An owned position at its present price. `quantity` and `value` (USD) are signed, `pnl_percent` is in percent of
    the cost and positive when the position gains, also for a short."""

    symbol: str
    quantity: Decimal
    average_cost: Decimal
    price: float
    value: float
    pnl: float
    pnl_percent: float

    @property
    def is_long(self) -> bool:
        return self.quantity > 0


class Desk:
    """One for all façades of a process. `broker` answers the connected broker and may raise; `report` is told what a
    person should read. `read_failures` counts reads that raised."""

    def __init__(self, broker: Callable[[], SyncBroker], settings: HookSettings, report: Report) -> None:
        self.broker = broker
        self.settings = settings
        self.report = report
        self.read_failures = 0
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def say_once(self, text: str) -> None:
        """`report`, but the same sentence only once in the life of the process."""
        with self._lock:
            if text in self._said:
                return
            self._said.add(text)
        self.report(text)

    def live(self) -> SyncBroker:
        """The broker while its own link to the market stands; what it last heard is no answer then. Raises
        NotConnected."""
        broker = self.broker()
        health = broker.health()
        cut = next((text for name, fine, text in health.details if name == _LINK and not fine), None)
        if not health.connected or cut is not None:
            raise NotConnected("a read for the host", health.reason or cut or "no session", "wait, or run doctor")
        return broker

    def _read(self, question: Callable[[SyncBroker], T]) -> T:
        try:
            return question(self.live())
        except BrokerError:
            with self._lock:
                self.read_failures += 1
            raise

    # Reads

    def quote(self, symbol: str) -> Quote:
        """A quote no older than the settings allow (market time). Raises NotConnected, NoData, StaleData, …"""
        return self._read(lambda broker: broker.quote(symbol, max_age=self.settings.max_quote_age))

    def price(self, symbol: str) -> float:
        """Mid of a two-sided quote, else the last trade, else the previous close. Never 0: raises NoData."""
        quote = self.quote(symbol)
        price = quote.mid or quote.last or quote.close
        if price is None or price <= 0:
            raise NoData(f"price of {symbol}", "the broker told none", "the market may be closed")
        return price

    def bid_ask(self, symbol: str) -> tuple[float, float]:
        """Raises StaleData without a two-sided quote."""
        quote = self.quote(symbol)
        if quote.bid is None or quote.ask is None or not quote.is_two_sided:
            raise StaleData(
                f"bid and ask of {symbol}", f"bid {quote.bid}, ask {quote.ask}", "wait for the market to open"
            )
        return quote.bid, quote.ask

    def account(self) -> AccountSummary:
        """The default account; its net liquidation is there, or NoData is raised."""
        summary = self._read(lambda broker: broker.account())
        if summary.net_liquidation is None:
            raise NoData(f"net liquidation of {summary.account}", "the broker has not told it yet", "wait a moment")
        return summary

    def equity(self) -> float:
        """Net liquidation, account currency."""
        return float(self.account().net_liquidation or 0)

    def cash(self) -> float:
        """Available funds, else the cash balance. Raises NoData when neither was told."""
        summary = self.account()
        amount = summary.available_funds if summary.available_funds is not None else summary.total_cash
        if amount is None:
            raise NoData(f"cash of {summary.account}", "the broker has not told it yet", "wait a moment")
        return float(amount)

    def holdings(self) -> list[Holding]:
        """What this journal owns, at present prices. FOREIGN positions are not the host's and are left out."""
        rows = self._read(lambda broker: broker.owned_positions())
        return [self._holding(row) for row in rows]

    def holding(self, symbol: str) -> Holding | None:
        """None when flat; a failed read raises and is never taken for flat."""
        wanted = normalize_symbol(symbol)
        rows = self._read(lambda broker: broker.owned_positions())
        found = [row for row in rows if row.instrument.symbol == wanted]
        return self._holding(found[0]) if found else None

    def owned(self) -> list[str]:
        """Symbols of what this journal owns; no price is needed, so that what has none can be closed as well."""
        return [row.instrument.symbol for row in self._read(lambda broker: broker.owned_positions())]

    def _holding(self, row: Position) -> Holding:
        symbol = row.instrument.symbol
        price = float(row.market_price) if row.market_price else self.price(symbol)
        cost = float(row.average_cost)
        quantity = float(row.quantity)
        pnl = (price - cost) * quantity
        percent = pnl / (cost * abs(quantity)) * 100 if cost else 0.0
        return Holding(symbol, row.quantity, row.average_cost, price, price * quantity, pnl, percent)

    # Orders

    def buy(self, symbol: str, usd: float, slippage_bps: float | None = None) -> Order | None:
        """Buy at most `usd` worth, whole shares, as a limit at the touch inside the slippage cap. Answers the order
        once its fate is known, None when nothing of it filled (that is reported).

        Raises InvalidOrder when it buys no share, RiskRefusal with the largest order that fits, OutcomeUnknown, and
        what the broker raises.
        """
        return self._enter(symbol, Side.BUY, usd, slippage_bps)

    def buy_to(self, symbol: str, usd: float, slippage_bps: float | None = None) -> Order | None:
        """Buy until the owned position is worth `usd` (97 % of it is near enough, as the host has it); the host passes
        the size that it wants to hold, not what to add. None when it is held already, or nothing filled."""
        held = self.holding(symbol)
        target = _decimal(usd, f"BUY {symbol} up to {_money(usd)}")
        value = Decimal(str(held.value)) if held is not None else Decimal(0)
        if value >= NEAR_ENOUGH * target and held is not None:
            self.report(f"BUY {symbol} up to {_money(usd)}: {_money(held.value)} of it are held already")
            return None
        return self.buy(symbol, float(target - value), slippage_bps)

    def short(self, symbol: str, usd: float, slippage_bps: float | None = None) -> Order | None:
        """Sell short `usd` worth; refused by the rules unless shorting is allowed. Otherwise as `buy`."""
        return self._enter(symbol, Side.SELL, usd, slippage_bps)

    def buy_shares(self, symbol: str, shares: float, slippage_bps: float | None = None) -> Order | None:
        """As `buy`, by a number of shares, rounded down."""
        what = f"BUY {shares} {symbol}"
        quantity = _decimal(shares, what).to_integral_value(rounding=ROUND_FLOOR)
        return self._place_entry(symbol, Side.BUY, what, slippage_bps, lambda worst: quantity)

    def _enter(self, symbol: str, side: Side, usd: float, slippage_bps: float | None) -> Order | None:
        what = f"{side} {_money(usd)} of {symbol}"

        def affordable(worst: Decimal) -> Decimal:
            shares = _shares(usd, worst, what)
            exact = _decimal(usd, what) / worst
            if shares >= 1 and shares != exact:
                self.report(f"{what}: {exact:.2f} shares at {worst} at most, rounded down to {shares}")
            return shares

        return self._place_entry(symbol, side, what, slippage_bps, affordable)

    def _place_entry(
        self, symbol: str, side: Side, what: str, slippage_bps: float | None, size: Callable[[Decimal], Decimal]
    ) -> Order | None:
        """`size` of the worst price gives the shares."""
        policy = self._pricing(slippage_bps)
        broker = self.broker()
        details = broker.details(symbol)
        quote = self.quote(symbol)
        if quote.is_two_sided or not self._queues():
            worst = smart_limit(quote, side, details, policy)
            order = NewOrder(details.instrument, side, _at_least_one(size(worst), worst, what), reason=what)
            return self._settled(broker.place_smart_order(order, policy), what)
        worst = self._queued_limit(symbol, side, policy, quote)
        worst = details.round_price(worst, Rounding.DOWN if side is Side.BUY else Rounding.UP)
        quantity = _at_least_one(size(worst), worst, what)
        order = NewOrder(details.instrument, side, quantity, OrderType.LIMIT, limit_price=worst, reason=what)
        return self._settled(broker.place(order), what)

    def _queues(self) -> bool:
        """Whether the limits let an order wait at the broker for the next open."""
        return bool(self.broker().limits().get("queue_outside_session"))

    def _queued_limit(self, symbol: str, side: Side, policy: SmartOrderPolicy, quote: Quote) -> Decimal:
        reference = quote.last or quote.close
        if reference is None:
            raise NoData(f"price of {symbol}", "the broker told none", "the market may be closed")
        return Decimal(str(reference)) * (1 + side.sign * policy.max_slippage_bps / _BPS)

    def sell_usd(self, symbol: str, usd: float, slippage_bps: float | None = None) -> Order | None:
        """Sell `usd` worth of what is owned; nearly all of it is taken as all. Raises InvalidOrder when flat."""
        held = self._owned(symbol)
        what = f"SELL {_money(usd)} of {symbol}"
        if abs(_decimal(usd, what)) >= WHOLE * abs(Decimal(str(held.value))):
            return self.close(symbol)
        return self._reduce(held, _shares(abs(usd), Decimal(str(held.price)), what), what, slippage_bps)

    def sell_shares(self, symbol: str, shares: float, slippage_bps: float | None = None) -> Order | None:
        """Sell that many owned shares, rounded down; all of them are closed."""
        held = self._owned(symbol)
        what = f"SELL {shares} {symbol}"
        quantity = _decimal(shares, what).to_integral_value(rounding=ROUND_FLOOR)
        return (
            self.close(symbol) if quantity >= abs(held.quantity) else self._reduce(held, quantity, what, slippage_bps)
        )

    def sell_part(self, symbol: str, percent: float) -> Order | None:
        """Sell `percent` (above 0, at most 100) of what is owned, rounded down to whole shares."""
        held = self._owned(symbol)
        what = f"SELL {percent} % of {symbol}"
        share = _decimal(percent, what)
        if not 0 < share <= 100:
            raise InvalidOrder(what, "the percentage must be above 0 and at most 100")
        if share == 100:
            return self.close(symbol)
        quantity = (abs(held.quantity) * share / 100).to_integral_value(rounding=ROUND_FLOOR)
        return self._reduce(held, quantity, what, None)

    def _reduce(self, held: Holding, quantity: Decimal, what: str, slippage_bps: float | None) -> Order | None:
        if quantity < 1:
            raise InvalidOrder(what, f"it is less than one share of {abs(held.quantity)}", "sell more, or close it")
        side = Side.SELL if held.is_long else Side.BUY
        broker = self.broker()
        instrument = broker.details(held.symbol).instrument
        order = NewOrder(instrument, side, min(quantity, abs(held.quantity)), reduce_only=True, reason=what)
        return self._settled(broker.place_smart_order(order, self._pricing(slippage_bps)), what)

    def close(self, symbol: str) -> Order | None:
        """Cancel the owned orders of a symbol and close the owned position. None when there is nothing to close.

        Raises NotOwned when the account holds the symbol but this journal did not open it.
        """
        broker = self.broker()
        wanted = normalize_symbol(symbol)
        closing = broker.flatten(symbol)
        if closing:
            return self._settled(closing[0], f"close of {wanted}", leave_rest=True)
        if any(row.instrument.symbol == wanted and row.quantity for row in broker.positions()):
            raise NotOwned(
                f"close of {wanted}", "this journal did not open the position", f"moondev-ibkr adopt {wanted}"
            )
        return None

    def _owned(self, symbol: str) -> Holding:
        held = self.holding(symbol)
        if held is None:
            raise InvalidOrder(f"sale of {symbol}", "this journal owns none of it", "nothing was sent")
        return held

    def _pricing(self, slippage_bps: float | None) -> SmartOrderPolicy:
        """The host's slippage is in basis points; 0 and None mean our own, and nothing goes beyond the cap."""
        asked = self.settings.slippage if not slippage_bps else _decimal(slippage_bps, "slippage")
        return SmartOrderPolicy(max_slippage_bps=min(max(asked, Decimal(0)), self.settings.slippage_cap))

    def _settled(self, order: Order, what: str, *, leave_rest: bool = False) -> Order | None:
        """Wait for the end; a rest is cancelled, or left where the broker holds it for the open."""
        broker = self.broker()
        if order.state is OrderState.UNKNOWN:
            raise OutcomeUnknown(
                what, f"order {order.key} may be at the broker", "it ends by evidence; look at `orders`"
            )
        if not order.is_terminal:
            order = self._waited(broker, order)
        held = order.state is OrderState.PRE_SUBMITTED and self._queues()
        if not order.is_terminal and held:
            self.report(f"{what}: order {order.key} waits for the open")
            return order
        if not order.is_terminal and not leave_rest:
            broker.cancel(order.key)
            order = self._waited(broker, order)
        if order.filled < order.intent.quantity:
            rest = "still works" if not order.is_terminal else f"is {order.state}"
            said = f"{order.filled} of {order.intent.quantity} filled, the rest {rest}"
            self.report(f"{what}: {said}{f' ({order.reason})' if order.reason else ''}")
        return order if order.filled else None

    def _waited(self, broker: SyncBroker, order: Order) -> Order:
        try:
            return broker.wait(order.key, self.settings.fill_deadline)
        except DeadlineExceeded:
            return broker.order(order.key)


def _at_least_one(shares: Decimal, price: Decimal, what: str) -> Decimal:
    if shares < 1:
        raise InvalidOrder(what, f"it buys no whole share at {price}", "raise the position size of the host")
    return shares


def _as_decimal(value: object) -> Decimal:
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return Decimal("NaN")


def _decimal(value: float, what: str) -> Decimal:
    # Text is no amount: the bare host hands a chunk over as text in millionths of a dollar.
    number = Decimal("NaN") if isinstance(value, bool | str) else _as_decimal(value)
    if not number.is_finite():
        raise InvalidOrder(what, f"{value!r} is not a finite number")
    return number


def _shares(usd: float, price: Decimal, what: str) -> Decimal:
    amount = _decimal(usd, what)
    if amount <= 0:
        raise InvalidOrder(what, "the amount must be above zero")
    return (amount / price).to_integral_value(rounding=ROUND_FLOOR)


def _money(usd: object) -> str:
    return f"{usd:.2f} USD" if isinstance(usd, int | float) else f"{usd!r}"
