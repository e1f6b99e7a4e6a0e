"""What every broker with an order life cycle shares: orders, risk, the kill switch, reconciliation.

A broker adds what it alone knows: the wire for orders, market data, the account. It fills the abstract methods below;
the risk rules read the same caches that it keeps.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from .base_broker import BaseBroker, PositionDifference, StopReport, Subscription, Symbol
from .broker_gate import BrokerGate, BrokerRiskView
from .calendar import MarketCalendar, hours_of, session_of
from .domain.account import AccountSummary, Position
from .domain.clock import Clock
from .domain.instrument import Instrument, InstrumentDetails, Rounding
from .domain.market_data import BidAsk, Depth, Quote, Trade
from .domain.order import Bracket, Fill, NewOrder, Order, OrderChange, OrderType, Side, WhatIf
from .domain.reports import OrderEvent, WireOrder
from .domain.sessions import MarketHours, Session
from .domain.streams import BrokerStatistics, Snapshot
from .errors import BrokerError, DeadlineExceeded, InvalidOrder, NotConnected, TradingHalted
from .journal import Journal
from .order_port import OrderPort
from .orders import OrderManager, OrderSettings
from .risk import DayStart, RiskEngine, RiskPolicy, loss_day
from .smart_orders import SmartOrderPolicy, priced
from .streams.hub import StreamHub


@dataclass(frozen=True, slots=True)
class StopSettings:
    """`close_deadline`: real seconds until every close must be done. `collar` prices closes outside regular hours."""

    close_deadline: float = 15.0
    collar: SmartOrderPolicy = field(default_factory=lambda: SmartOrderPolicy(max_slippage_bps=Decimal(100)))


def as_instrument(symbol: Symbol) -> Instrument:
    """A US stock for text; raises InvalidInstrument."""
    return symbol if isinstance(symbol, Instrument) else Instrument(symbol)


def _place_of(position: Position) -> tuple[str, int | None]:
    return position.account, position.instrument.con_id


def _part_of(position: Position, quantity: Decimal) -> Position:
    """`quantity` of a position, its money figures in proportion; what was realised cannot be told apart."""
    share = quantity / position.quantity

    def cut(amount: Decimal | None) -> Decimal | None:
        return None if amount is None else amount * share

    return replace(
        position,
        quantity=quantity,
        market_value=cut(position.market_value),
        unrealized_pnl=cut(position.unrealized_pnl),
        realized_pnl=None,
    )


class ManagedBroker(BaseBroker):
    """Base of IBAdapter and PaperBroker. Subclasses set up `port` before `connect` ends and call `_start_trading`."""

    def __init__(
        self,
        *,
        port: OrderPort,
        journal: Journal,
        policy: RiskPolicy,
        calendar: MarketCalendar,
        clock: Clock,
        orders: OrderSettings | None = None,
        stop: StopSettings | None = None,
    ) -> None:
        self.clock = clock
        self.port = port
        self.journal = journal
        self.calendar = calendar
        self._stop_settings = stop or StopSettings()
        self.risk = RiskEngine(policy, BrokerRiskView(self))
        self.manager = self._make_manager(orders or OrderSettings())
        self._trading = False
        self._day_starts: dict[str, DayStart] = {}

    def _make_manager(self, settings: OrderSettings) -> OrderManager:
        """Subclasses with conditions of their own return their own manager."""
        gate = BrokerGate(self)
        return OrderManager(self.port, self.journal, gate, self.clock, self._qualified, settings)

    # What a broker alone knows; synchronous ones answer from caches and never wait

    @property
    @abc.abstractmethod
    def stream_hub(self) -> StreamHub: ...

    @abc.abstractmethod
    def cached_quote(self, instrument: Instrument) -> Quote | None: ...

    @abc.abstractmethod
    def cached_details(self, instrument: Instrument) -> InstrumentDetails | None: ...

    @abc.abstractmethod
    def cached_positions(self, account: str) -> Sequence[Position]: ...

    @abc.abstractmethod
    def cached_account(self, account: str) -> AccountSummary | None: ...

    @abc.abstractmethod
    def fx_rate(self, currency: str) -> Decimal | None: ...

    @abc.abstractmethod
    def shortable_shares(self, instrument: Instrument) -> Decimal | None: ...

    @abc.abstractmethod
    async def freshen(self, order: NewOrder) -> None:
        """Bring the caches that the risk rules read for `order` up to date; may wait."""

    def in_doubt(self, instrument: Instrument) -> str | None:
        """Why nothing may be opened in this contract, None when all is clear."""
        return self.manager.blocked(instrument)

    # Orders

    async def place(self, order: NewOrder | Bracket) -> Order:
        self._require_trading()
        self._require_account(order.entry if isinstance(order, Bracket) else order)
        return await self.manager.place(order)

    async def place_smart_order(self, order: NewOrder, policy: SmartOrderPolicy | None = None) -> Order:
        self._require_trading()
        self._require_account(order)
        chosen = policy or SmartOrderPolicy()
        if order.type is OrderType.MARKET and not chosen.allow_market:
            details = await self.details(order.instrument)
            order = priced(order, await self.quote(order.instrument), details, chosen)
        return await self.manager.place(order)

    async def modify(self, key: str, change: OrderChange) -> Order:
        self._require_trading()
        return await self.manager.modify(key, change)

    async def cancel(self, key: str) -> Order:
        return await self.manager.cancel(key)

    async def cancel_all(self, symbol: Symbol | None = None) -> list[Order]:
        return await self.manager.cancel_all(None if symbol is None else as_instrument(symbol))

    async def flatten(self, symbol: Symbol | None = None) -> list[Order]:
        self._require_trading()
        wanted = None if symbol is None else (await self.details(symbol)).instrument.con_id
        # Priced before anything is cancelled: what cannot be closed keeps its stop.
        closes = {_place_of(row): await self._flattening(row) for row in await self._owned_of(wanted)}
        for cancelled in await self.cancel_all(symbol):
            await self.wait(cancelled.key, self._stop_settings.close_deadline)
        closing = []
        for position in await self._owned_of(wanted):
            order = closes.get(_place_of(position)) or await self._flattening(position)
            closing.append(await self.manager.place(replace(order, quantity=abs(position.quantity))))
        return closing

    async def _owned_of(self, con_id: int | None) -> list[Position]:
        return [row for row in await self.owned_positions() if con_id in (None, row.instrument.con_id)]

    async def _flattening(self, position: Position) -> NewOrder:
        halted = self.manager.halted
        if halted is not None:
            raise TradingHalted(
                f"flatten {position.instrument}", f"trading is halted: {halted}", "its orders are left; resume, or kill"
            )
        return await self._closing_order(position, "flatten", allow_market=False)

    async def what_if(self, order: NewOrder) -> WhatIf:
        self._require_trading()
        self._require_account(order)
        details = await self.details(order.instrument)
        account = order.account or self.default_account()
        wire = WireOrder(self.port.next_order_id, replace(order, instrument=details.instrument), account)
        return await self.port.what_if(wire)

    def order(self, key: str) -> Order:
        return self.manager.order(key)

    def orders(self) -> list[Order]:
        return self.manager.orders()

    def open_orders(self) -> list[Order]:
        return self.manager.open_orders()

    def fills(self) -> list[Fill]:
        return self.manager.fills()

    async def wait(self, key: str, timeout: float) -> Order:
        return await self.manager.wait(key, timeout)

    def order_events(self) -> Subscription[OrderEvent]:
        return self.manager.events()

    async def reconcile(self) -> list[PositionDifference]:
        self._require_trading()
        return await self.manager.reconcile()

    async def adopt(self, symbol: Symbol) -> list[Order]:
        self._require_trading()
        details = await self.details(symbol)
        return await self.manager.adopt(details.instrument, await self.positions())

    def latency_report(self) -> dict[str, dict[str, float]]:
        return {**self.manager.latency_report(), **self.stream_hub.latencies()}

    def get_statistics(self) -> BrokerStatistics:
        hub = self.stream_hub
        return BrokerStatistics(
            at=self.clock.now(),
            window=hub.rates.window,
            rates=hub.event_rates(),
            counts=hub.counts(),
            streams=tuple(stream.statistics() for stream in hub.streams),
            failures=hub.failures(),
            latency=self.latency_report(),
        )

    def snapshot(self, symbol: Symbol) -> Snapshot | None:
        details = self.cached_details(as_instrument(symbol))
        if details is None:
            return None
        instrument, hub = details.instrument, self.stream_hub
        quote, number = self.cached_quote(instrument), instrument.con_id or 0
        snapshot = Snapshot(
            instrument,
            quote,
            quote.age(self.clock.now()) if quote is not None else None,
            hub.last(number, Trade),
            hub.last(number, BidAsk),
            hub.last(number, Depth),
        )
        return snapshot if snapshot != Snapshot(instrument) else None

    # Safety

    def limits(self) -> Mapping[str, object]:
        return MappingProxyType({row.name: getattr(self.risk.policy, row.name) for row in fields(self.risk.policy)})

    async def emergency_stop(self, reason: str, *, close: bool = True, everything: bool = False) -> StopReport:
        at, started = self.clock.now(), self.clock.monotonic()
        self.manager.halt(reason)
        refused_after = self.clock.monotonic() - started
        outcome = await self.manager.cancel_and_verify(everything=everything)
        closing = await self._close_positions(everything) if close else ()
        not_flat = await self._to_close(everything)
        return StopReport(at, reason, outcome.cancelled, outcome.still_working, closing, tuple(not_flat), refused_after)

    async def resume(self) -> None:
        self.manager.resume()

    async def _close_positions(self, everything: bool) -> tuple[str, ...]:
        """Place a close for every owned position and wait until each is done or the deadline has passed."""
        keys: list[str] = []
        for position in await self._to_close(everything):
            try:
                order = await self._closing_order(position, "emergency stop", allow_market=True)
                placed = await self.manager.place(order, closing=True)
                keys.append(placed.key)
            except BrokerError as error:
                # One position that cannot be closed must not keep the others open; it is reported as not flat.
                self.manager.alarm(f"{position.instrument} is not closed: {error}")
        waits = (self.manager.wait(key, self._stop_settings.close_deadline) for key in keys)
        for outcome in await asyncio.gather(*waits, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, DeadlineExceeded):
                raise outcome
        return tuple(keys)

    async def _closing_order(self, position: Position, reason: str, *, allow_market: bool) -> NewOrder:
        """MARKET in regular hours when allowed, else a limit inside the collar that works in extended hours."""
        details = await self.details(position.instrument)
        order = NewOrder(
            details.instrument,
            Side.SELL if position.quantity > 0 else Side.BUY,
            abs(position.quantity),
            account=position.account,
            reduce_only=True,
            reason=reason,
        )
        regular = self.session(details.instrument) is Session.REGULAR
        if regular and allow_market:
            return order
        quote = await self.quote(details.instrument)
        collar = self._stop_settings.collar
        last = quote.last or quote.close
        if not regular and not quote.is_two_sided and last and self.risk.policy.queue_outside_session:
            # Nobody quotes now: a limit below (above) the last price waits at the broker for the open.
            reach = 1 + order.side.sign * collar.max_slippage_bps / Decimal(10_000)
            limit = details.round_price(Decimal(str(last)) * reach, Rounding.NEAREST)
            return replace(order, type=OrderType.LIMIT, limit_price=limit)
        return replace(priced(order, quote, details, collar), outside_rth=not regular)

    async def _to_close(self, everything: bool) -> list[Position]:
        return [row for row in await self.positions() if row.quantity] if everything else await self.owned_positions()

    async def owned_positions(self, account: str | None = None) -> list[Position]:
        owned = []
        for position in await self.positions(account):
            mine = self.manager.owned_position(position.account, position.instrument)
            held = position.quantity
            quantity = max(min(mine, held), Decimal(0)) if held > 0 else min(max(mine, held), Decimal(0))
            if quantity:
                owned.append(position if quantity == held else _part_of(position, quantity))
        return owned

    def default_account(self) -> str:
        """The account of orders that name none."""
        return self.accounts()[0]

    # Sessions

    def session(self, instrument: Instrument) -> Session:
        """The session of the instrument at market time: its own hours first, then the stock calendar."""
        return session_of(self.cached_details(instrument), self.clock.now(), self.calendar)

    async def market_hours(self, symbol: Symbol, at: datetime | None = None) -> MarketHours:
        return hours_of(await self.details(symbol), at or await self.market_time(), self.calendar)

    async def _start_trading(self) -> None:
        await self.manager.start(self.default_account())
        self._trading = True
        self.note_day_start()

    async def _stop_trading(self) -> None:
        self._trading = False
        await self.manager.stop()

    def _require_trading(self) -> None:
        if not self._trading:
            raise NotConnected(f"broker {self.name}", "it is not connected", "call connect() first")

    def _require_account(self, order: NewOrder) -> None:
        accounts = self.accounts()
        if order.account is not None and order.account not in accounts:
            raise InvalidOrder(
                f"order {order.key} for account {order.account}",
                "this session does not hold that account",
                f"name one of {', '.join(accounts)}, or none",
            )

    async def _qualified(self, instrument: Instrument) -> InstrumentDetails:
        return await self.details(instrument)

    def note_day_start(self) -> None:
        """Keep each account's net liquidation at the first look of its loss day (New York midnight)."""
        day = loss_day(self.clock.now())
        for account in self.accounts():
            known = self._day_starts.get(account)
            if known is not None and known.day == day:
                continue
            start = self.journal.day_start(account, day)
            summary = self.cached_account(account)
            if start is None and summary is not None and summary.net_liquidation is not None:
                start = self.journal.set_day_start(account, day, summary.net_liquidation, summary.currency)
            if start is not None:
                self._day_starts[account] = start

    def day_start(self, account: str) -> DayStart | None:
        """How today's loss day began for the account; None when no net liquidation was told since."""
        start = self._day_starts.get(account)
        return start if start is not None and start.day == loss_day(self.clock.now()) else None
