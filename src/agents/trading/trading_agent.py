"""The trading agent: a strategy's signals become protected orders, one after another and each by the same steps.

Validate, look at what is held and works, size, place a bracket whose stop rests at the broker. What a signal led to is
always answered, and a signal that cannot be followed never keeps the others from being followed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import Any

from ...brokers.base_broker import BaseBroker
from ...brokers.domain.account import Position
from ...brokers.domain.instrument import Instrument, InstrumentDetails, SecType
from ...brokers.domain.market_data import Quote
from ...brokers.domain.order import NewOrder, Order, OrderType, Side
from ...brokers.domain.order_states import OrderState
from ...brokers.errors import (
    BrokerError,
    MismatchDetected,
    NotOwned,
    OrderRejected,
    OutcomeUnknown,
    RiskRefusal,
    StaleData,
    TradingHalted,
    UnknownOrder,
    UsageError,
)
from ...brokers.smart_orders import SmartOrderPolicy, priced, protected, smart_limit
from .aegs_holdings import trading_date
from .caution import cautious_quantity, tightened_stop
from .strategy_signal import Direction, StrategySignal, signal_key

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TradingSettings:
    """`position_fraction` of net liquidation is a signal's target value at strength 1. Stop and target are fractions of
    the entry's limit price; `target_fraction` None enters with a stop alone. `take_largest` enters with the largest
    size that fits when a risk rule refuses the asked one; off, the refusal is the answer. A quote older than
    `quote_age` (market time) is asked for again.
    """

    position_fraction: Decimal = Decimal("0.02")
    stop_fraction: Decimal = Decimal("0.10")
    target_fraction: Decimal | None = Decimal("0.20")
    take_largest: bool = False
    quote_age: timedelta = timedelta(seconds=5)
    pricing: SmartOrderPolicy = field(default_factory=SmartOrderPolicy)

    def __post_init__(self) -> None:
        for name, high in (("position_fraction", Decimal(1)), ("stop_fraction", Decimal(1)), ("target_fraction", None)):
            value: Decimal | None = getattr(self, name)
            if value is not None and not (value.is_finite() and value > 0 and (high is None or value < high)):
                raise UsageError(f"{name} {value}", "it must be above 0" + (" and below 1" if high else ""))


class OutcomeKind(StrEnum):
    """What a signal led to."""

    ENTERED = "ENTERED"  #: a bracket was placed
    CLOSING = "CLOSING"  #: the owned position is being closed, or its working entry was cancelled
    SKIPPED = "SKIPPED"  #: nothing to do: held, working, placed before, nothing owned, no whole share
    NOTHING = "NOTHING"  #: the signal asks for nothing
    INVALID = "INVALID"  #: the signal cannot be read
    REFUSED = "REFUSED"  #: a risk rule, the kill switch or the broker said no
    FAILED = "FAILED"  #: data or the link failed before an order was placed
    UNKNOWN = "UNKNOWN"  #: how the order stands at the broker is in doubt; it is never repeated


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one signal led to, and `why` in words. `symbol` as the signal spelled it where it could not be read.

    `orders` are those placed or found; `quantity` is shares asked for, None where it did not come to that; `largest` is
    the largest order that would have fitted when a size rule refused, None otherwise.
    """

    symbol: str
    kind: OutcomeKind
    why: str
    signal: StrategySignal | None = None
    orders: tuple[Order, ...] = ()
    quantity: Decimal | None = None
    largest: Decimal | None = None


#: The first row that fits says what an error means for its signal.
_FAILURES: tuple[tuple[type[BrokerError], OutcomeKind], ...] = (
    (RiskRefusal, OutcomeKind.REFUSED),
    (TradingHalted, OutcomeKind.REFUSED),
    (NotOwned, OutcomeKind.REFUSED),
    (OrderRejected, OutcomeKind.REFUSED),
    (OutcomeUnknown, OutcomeKind.UNKNOWN),
    (MismatchDetected, OutcomeKind.UNKNOWN),
    (BrokerError, OutcomeKind.FAILED),
)


class TradingAgent:
    """Follows strategies' signals through any BaseBroker. `outcomes` is its diary, oldest first."""

    def __init__(self, broker: BaseBroker, settings: TradingSettings | None = None) -> None:
        self.broker = broker
        self.settings = settings or TradingSettings()
        self.outcomes: list[Outcome] = []
        #: Two calls at once would both find a symbol free.
        self._one_at_a_time = asyncio.Lock()

    async def execute_strategy(self, signals: Iterable[StrategySignal | Mapping[str, Any]]) -> list[Outcome]:
        """Follow each signal, in order; answers one Outcome a signal, in the same order.

        Takes StrategySignals and the host's dictionaries. Where a BUY and a SELL of one symbol come together, only the
        SELL is followed. Calling it again with the same signals places nothing twice.
        """
        async with self._one_at_a_time:
            read = [_read(signal) for signal in signals]
            sold = {row.symbol for row in read if isinstance(row, StrategySignal) and row.direction is Direction.SELL}
            outcomes = [await self._follow(row, sold) for row in read]
            self.outcomes += outcomes
        return outcomes

    async def positions(self) -> list[Position]:
        """What this journal owns, as the broker tells it now; raises rather than answer with an old list."""
        return await self.broker.owned_positions()

    async def _follow(self, row: StrategySignal | Outcome, sold: set[str]) -> Outcome:
        if isinstance(row, Outcome):
            return _told(row)
        try:
            if row.direction is Direction.NOTHING:
                outcome = Outcome(row.symbol, OutcomeKind.NOTHING, row.reason or "the signal asks for nothing", row)
            elif row.direction is Direction.SELL:
                outcome = await self._close(row)
            elif row.symbol in sold:
                why = "a SELL of the same symbol came with it, and only that is followed"
                outcome = Outcome(row.symbol, OutcomeKind.SKIPPED, why, row)
            else:
                outcome = await self._enter(row)
        except BrokerError as error:
            outcome = _failed(row, error)
        return _told(outcome)

    # Selling

    async def _close(self, signal: StrategySignal) -> Outcome:
        held = await self._held(signal.symbol)
        entries = [order for order in self._working(signal.symbol) if not order.intent.reduce_only]
        if held < 0:
            return _skipped(signal, f"{held} shares are held short, and a SELL does not close a short")
        if held == 0 and not entries:
            return _skipped(signal, "this journal owns nothing of it")
        if held:
            # A close that could not be priced would leave the position behind without its stop.
            quote = await self._two_sided(signal.symbol, Side.SELL)
            if (closing := self._closing(signal.symbol, held, quote)) is not None:
                return _skipped(signal, f"order {closing.key} is closing it already", closing)
        orders = await self.broker.flatten(signal.symbol)
        why = signal.reason or f"SELL of {held} shares" + (f", {len(entries)} entries cancelled" if entries else "")
        return _placed(Outcome(signal.symbol, OutcomeKind.CLOSING, why, signal, tuple(orders), held))

    def _closing(self, symbol: str, held: Decimal, quote: Quote) -> Order | None:
        """A working order that already closes all of `held` at a price that the market still pays."""
        for order in self._working(symbol):
            intent, limit = order.intent, order.intent.limit_price
            sells_all = intent.reduce_only and intent.side is Side.SELL and order.remaining >= held
            is_leg = order.parent_key is not None or intent.type is not OrderType.LIMIT
            if sells_all and not is_leg and limit is not None and float(limit) <= (quote.bid or 0):
                return order
        return None

    # Buying

    async def _enter(self, signal: StrategySignal) -> Outcome:
        key = signal_key(signal, trading_date(await self.broker.market_time()))
        if (known := self._known(key)) is not None:
            return _skipped(signal, f"order {key} was placed for it before and is {known.state}", known)
        held = await self._held(signal.symbol)
        if held:
            return _skipped(signal, f"{held} shares are held already")
        if working := self._working(signal.symbol):
            return _skipped(signal, f"order {working[0].key} works already", working[0])
        details = await self.broker.details(signal.symbol)
        quote = await self._two_sided(signal.symbol, Side.BUY)
        quantity, why = await self._quantity(signal, smart_limit(quote, Side.BUY, details, self.settings.pricing))
        if quantity < 1:
            return _skipped(signal, why)
        order = NewOrder(details.instrument, Side.BUY, quantity, key=key, reason=_reason(signal))
        return await self._place(signal, priced(order, quote, details, self.settings.pricing), details, why)

    async def _quantity(self, signal: StrategySignal, limit: Decimal) -> tuple[Decimal, str]:
        """Whole shares to buy at `limit`, and how that came about. Cautions only ever make it fewer."""
        account = await self.broker.account()
        equity = account.net_liquidation
        if equity is None:
            raise StaleData(f"size of {signal.symbol}", "the account's net liquidation is not known", "wait for it")
        value = max(equity, Decimal(0)) * self.settings.position_fraction * signal.strength
        base = (value / limit).to_integral_value(rounding=ROUND_FLOOR)
        quantity = cautious_quantity(base, signal.cautions)
        why = f"{value:.2f} {account.currency} of {equity:.2f} buys {base} at {limit}"
        if quantity < base:
            why += f", {quantity} after {', '.join(c.reason for c in signal.cautions if c.factor < 1)}"
        return quantity, why

    async def _place(self, signal: StrategySignal, entry: NewOrder, details: InstrumentDetails, why: str) -> Outcome:
        stop, target = tightened_stop(self.settings.stop_fraction, signal.cautions), self.settings.target_fraction
        asked, largest = entry.quantity, None
        try:
            order = await self.broker.place(protected(entry, stop, target, details))
        except RiskRefusal as refusal:
            largest = refusal.largest
            if not self.settings.take_largest or largest is None or not 1 <= largest < asked:
                return replace(_failed(signal, refusal), quantity=asked)
            _told(replace(_failed(signal, refusal), quantity=asked))
            why += f"; {asked} refused by rule {refusal.rule}, the largest that fits is taken: {largest}"
            order = await self.broker.place(protected(replace(entry, quantity=largest), stop, target, details))
        quantity = order.intent.quantity
        return _placed(Outcome(signal.symbol, OutcomeKind.ENTERED, why, signal, (order,), quantity, largest))

    # What is there

    async def _held(self, symbol: str) -> Decimal:
        """Signed shares of the symbol that this journal owns."""
        owned = await self.positions()
        return sum((row.quantity for row in owned if _is_stock(row.instrument, symbol)), Decimal(0))

    def _working(self, symbol: str) -> list[Order]:
        return [order for order in self.broker.open_orders() if order.instrument.symbol == symbol and not order.foreign]

    async def _two_sided(self, symbol: str, side: Side) -> Quote:
        quote = await self.broker.quote(symbol, max_age=self.settings.quote_age)
        if not quote.is_two_sided:
            raise StaleData(
                f"price for {side} {symbol}", f"no two-sided quote (bid {quote.bid}, ask {quote.ask})", "wait for one"
            )
        return quote

    def _known(self, key: str) -> Order | None:
        try:
            return self.broker.order(key)
        except UnknownOrder:
            return None


def _read(signal: StrategySignal | Mapping[str, Any]) -> StrategySignal | Outcome:
    """The signal, or the outcome that says why it cannot be one."""
    if isinstance(signal, StrategySignal):
        return signal
    if not isinstance(signal, Mapping):
        return Outcome(repr(signal), OutcomeKind.INVALID, f"{type(signal).__name__} is neither a signal nor a mapping")
    try:
        return StrategySignal.from_host(signal)
    except UsageError as error:
        return Outcome(str(signal.get("token")), OutcomeKind.INVALID, str(error))


def _is_stock(instrument: Instrument, symbol: str) -> bool:
    return instrument.sec_type is SecType.STOCK and instrument.symbol == symbol


def _skipped(signal: StrategySignal, why: str, order: Order | None = None) -> Outcome:
    return Outcome(signal.symbol, OutcomeKind.SKIPPED, why, signal, () if order is None else (order,))


def _placed(outcome: Outcome) -> Outcome:
    """The outcome, or UNKNOWN where an order of it is."""
    doubtful = [order.key for order in outcome.orders if order.state is OrderState.UNKNOWN]
    if not doubtful:
        return outcome
    return replace(outcome, kind=OutcomeKind.UNKNOWN, why=f"{outcome.why}; order {doubtful[0]} is UNKNOWN")


def _failed(signal: StrategySignal, error: BrokerError) -> Outcome:
    kind = next(kind for row, kind in _FAILURES if isinstance(error, row))
    largest = error.largest if isinstance(error, RiskRefusal) else None
    return Outcome(signal.symbol, kind, str(error), signal, largest=largest)


def _told(outcome: Outcome) -> Outcome:
    quiet = (OutcomeKind.ENTERED, OutcomeKind.CLOSING, OutcomeKind.SKIPPED, OutcomeKind.NOTHING)
    level = logging.INFO if outcome.kind in quiet else logging.WARNING
    log.log(level, "%s %s: %s", outcome.kind, outcome.symbol, outcome.why)
    return outcome


def _reason(signal: StrategySignal) -> str:
    words = [signal.strategy, f"strength {signal.strength}", signal.reason, *(c.reason for c in signal.cautions)]
    return "; ".join(word for word in words if word)
