"""The AEGS agent: buys what its score calls oversold, and never holds a share without a stop at the broker.

One cycle is one session. At the open it reviews what it holds (time exits, missing protection), scores the last 200
closed bars of every symbol, and enters the best ones with a bracket whose GTC stop and target rest at the broker.
What it holds is read back from the broker's orders and fills each time, so a restart loses nothing.

`start` follows the bars and the orders of a run of many sessions. A single `scan` or `scan_and_execute` needs no start:
it asks for the bars of the whole list in one round.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal

import pandas as pd

from ...brokers.base_broker import BaseBroker
from ...brokers.domain.instrument import InstrumentDetails, Rounding, normalize_symbol
from ...brokers.domain.order import NewOrder, Order, OrderChange, OrderType, Side, TimeInForce, leg_key
from ...brokers.domain.order_states import OrderState
from ...brokers.domain.reports import OrderEvent, OrderEventKind
from ...brokers.errors import BrokerError, RiskRefusal, UnknownOrder, UsageError
from ...brokers.smart_orders import SmartOrderPolicy, priced, protected, smart_limit
from .aegs_bars import DailyBars
from .aegs_holdings import KEY_PREFIX, Holding, entry_key, holdings, is_entry_key, trading_date
from .aegs_score import Score, ScoreKind, score

log = logging.getLogger(__name__)

#: (score from, lower percentage of net liquidation that the host advises), highest first.
SIZE_TIERS: tuple[tuple[int, Decimal], ...] = ((80, Decimal("0.03")), (70, Decimal("0.02")), (0, Decimal("0.01")))

#: (score from, target as a fraction of the entry price), highest first. The host's own backtests, and so the results
#: that it reports, take profit at 30 % whatever the score.
BACKTEST_TARGETS: tuple[tuple[int, Decimal], ...] = ((0, Decimal("0.30")),)
#: What its live scanner prints as advice instead: the near ends of 20-50 %, 15-30 % and 10-20 %.
ADVISED_TARGETS: tuple[tuple[int, Decimal], ...] = (
    (80, Decimal("0.20")),
    (70, Decimal("0.15")),
    (0, Decimal("0.10")),
)


@dataclass(frozen=True, slots=True)
class AegsSettings:
    """`entry_score` in points; fractions of the entry price; days are calendar days since the first fill.

    `targets` is the target by score, `BACKTEST_TARGETS` or `ADVISED_TARGETS`; the stop is the same in both. A position
    in profit is closed after `profit_exit_days`, any position after `forced_exit_days`. `history_deadline` is real
    seconds until every followed symbol's history must have come.
    """

    score: ScoreKind = ScoreKind.LIVE
    entry_score: int = 50
    stop_fraction: Decimal = Decimal("0.20")
    targets: tuple[tuple[int, Decimal], ...] = BACKTEST_TARGETS
    profit_exit_days: int = 30
    forced_exit_days: int = 60
    pricing: SmartOrderPolicy = field(default_factory=SmartOrderPolicy)
    history_deadline: float = 30.0

    def __post_init__(self) -> None:
        bounds = [bound for bound, _ in self.targets]
        if bounds != sorted(bounds, reverse=True) or not bounds or bounds[-1] > self.entry_score:
            raise UsageError(
                f"targets {self.targets}", "they are not a table from the highest score down to the entry's"
            )


@dataclass(frozen=True, slots=True)
class Signal:
    """A symbol's score at `time`; `price` is the last close."""

    symbol: str
    time: datetime
    score: Score
    price: float


@dataclass(frozen=True, slots=True)
class Action:
    """One line of the agent's diary: what was done and why. `points` None where no score was involved."""

    time: datetime
    symbol: str
    what: str
    why: str
    points: int | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    key: str | None = None


class AegsAgent:
    """Trades a list of symbols through any BaseBroker. `actions` is its diary, oldest first."""

    def __init__(
        self,
        broker: BaseBroker,
        symbols: list[str],
        settings: AegsSettings | None = None,
        on_action: Callable[[Action], None] | None = None,
    ) -> None:
        self.broker = broker
        self.symbols = list(dict.fromkeys(normalize_symbol(symbol) for symbol in symbols))
        self.settings = settings or AegsSettings()
        self.actions: list[Action] = []
        self.failures = 0
        #: The highest score of all scans so far.
        self.best: Signal | None = None
        self._on_action = on_action
        self._bars = DailyBars(broker, self._drop)
        self._details: dict[str, InstrumentDetails] = {}
        self._orders: asyncio.Task[None] | None = None
        #: Held while an order is placed, so that the diary tells the entry before its fill.
        self._placing = asyncio.Lock()

    async def start(self) -> None:
        """Subscribe to every symbol's daily bars and to order events. A symbol without history is left out, and
        that is said; with no symbol left the last error is raised."""
        self._orders = asyncio.create_task(self._follow_orders(), name="aegs orders")
        errors: list[BrokerError] = []
        for symbol in list(self.symbols):
            try:
                self._details[symbol] = await self.broker.details(symbol)
                self._bars.follow(symbol)
            except BrokerError as error:
                errors.append(error)
                self._drop(symbol, error)
        for symbol in list(self.symbols):
            try:
                await self._bars.until_ready(symbol, self.settings.history_deadline)
            except BrokerError as error:
                errors.append(error)
                self._drop(symbol, error)
        if not self.symbols and errors:
            raise errors[-1]

    async def stop(self) -> None:
        """End the subscriptions. Orders stay at the broker."""
        await self._bars.stop()
        if self._orders is not None:
            self._orders.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._orders
            self._orders = None

    async def run_cycle(self) -> list[Action]:
        """One session's work at its open; answers what was done."""
        done = len(self.actions)
        await self.review_positions()
        await self.scan_and_execute()
        return self.actions[done:]

    async def scan(self) -> list[Signal]:
        """Score every symbol, best first. A symbol that cannot be scored is reported and left out."""
        now = await self.broker.market_time()
        signals: list[Signal] = []
        for symbol, bars in (await self._bars.closed(self.symbols, now)).items():
            try:
                if isinstance(bars, BrokerError):
                    raise bars
                result = score(bars, self.settings.score)
                signals.append(Signal(symbol, now, result, result.indicators.close))
            except BrokerError as error:
                self._note(Action(now, symbol, "NOT SCORED", str(error)), failed=True)
        signals.sort(key=lambda signal: (-signal.score.points, signal.symbol))
        if signals and (self.best is None or signals[0].score.points > self.best.score.points):
            self.best = signals[0]
        return signals

    async def scan_and_execute(self) -> list[Signal]:
        """Enter every symbol whose score reaches `entry_score` and that is not held yet, strongest first."""
        signals = await self.scan()
        held = {holding.symbol for holding in self.holdings()}
        for signal in signals:
            if signal.score.points < self.settings.entry_score:
                continue
            if signal.symbol in held:
                continue
            try:
                await self._enter(signal)
            except BrokerError as error:
                refused = isinstance(error, RiskRefusal)
                self._note(self._signal_action(signal, "REFUSED" if refused else "FAILED", str(error)), failed=True)
        return signals

    async def review_positions(self) -> None:
        """Close what has been held long enough, and put back a protection that is gone."""
        now = await self.broker.market_time()
        for holding in self.holdings():
            try:
                await self._protect(holding, now)
                why = await self._exit_reason(holding, now)
                if why is not None:
                    await self._exit(holding, now, why)
            except BrokerError as error:
                self._note(Action(now, holding.symbol, "EXIT FAILED", str(error), key=holding.key), failed=True)

    def holdings(self) -> list[Holding]:
        """Open positions of this agent, from its entries' executions less those of their exits."""
        return holdings(self.broker.orders(), self.broker.fills())

    def closed_bars(self, symbol: str, now: datetime) -> pd.DataFrame:
        """The last 200 bars of days before `now`'s trading date, of a symbol that is followed."""
        return self._bars.followed(symbol, now)

    async def _enter(self, signal: Signal) -> None:
        key = entry_key(signal.symbol, trading_date(signal.time))
        if self._known(key):
            return
        account = await self.broker.account()
        quote = await self.broker.quote(signal.symbol)
        details = await self._details_of(signal.symbol)
        limit = smart_limit(quote, Side.BUY, details, self.settings.pricing)
        share = next(part for bound, part in SIZE_TIERS if signal.score.points >= bound)
        equity = account.net_liquidation or Decimal(0)
        quantity = (equity * share / limit).to_integral_value(rounding=ROUND_FLOOR)
        if quantity < 1:
            self._note(self._signal_action(signal, "SKIP", f"{share:.0%} of {equity} buys no share at {limit}"))
            return
        reason = f"{signal.score.points} points: {'; '.join(signal.score.reasons)}"
        order = NewOrder(details.instrument, Side.BUY, quantity, key=key, reason=reason)
        entry = priced(order, quote, details, self.settings.pricing)
        async with self._placing:
            intent = (await self._place_fitting(entry, details, signal)).intent
            self._note(
                self._signal_action(
                    signal, "ENTER", reason, key=key, quantity=intent.quantity, price=intent.limit_price
                )
            )

    async def _place_fitting(self, entry: NewOrder, details: InstrumentDetails, signal: Signal) -> Order:
        """Place the bracket; when a size rule names a smaller order that fits, take that one and say so."""
        stop = self.settings.stop_fraction
        target = next(part for bound, part in self.settings.targets if signal.score.points >= bound)
        try:
            return await self.broker.place(protected(entry, stop, target, details))
        except RiskRefusal as refusal:
            if refusal.largest is None or not 1 <= refusal.largest < entry.quantity:
                raise
            why = f"{entry.quantity} to {refusal.largest}: rule {refusal.rule}, limit {refusal.limit}"
            self._note(self._signal_action(signal, "REDUCED", why, key=entry.key))
            return await self.broker.place(protected(replace(entry, quantity=refusal.largest), stop, target, details))

    async def _protect(self, holding: Holding, now: datetime) -> None:
        """Every share held has a stop resting at the broker; a missing one is placed again."""
        covered = sum(
            (
                order.remaining
                for order in self.broker.open_orders()
                if order.key.startswith(f"{holding.key}-") and order.intent.type is OrderType.STOP
            ),
            Decimal(0),
        )
        if covered >= holding.quantity:
            return
        details = await self._details_of(holding.symbol)
        price = details.round_price(holding.entry_price * (1 - self.settings.stop_fraction), Rounding.UP)
        stop_order = NewOrder(
            details.instrument,
            Side.SELL,
            holding.quantity - covered,
            OrderType.STOP,
            stop_price=price,
            tif=TimeInForce.GTC,
            key=f"{holding.key}-s{now:%y%m%d}",
            oca_group=f"oca-{holding.key}",
            reduce_only=True,
            reason="protection was missing",
        )
        await self.broker.place(stop_order)
        self._note(
            Action(now, holding.symbol, "PROTECT", f"{covered} of {holding.quantity} had a stop", key=stop_order.key)
        )

    async def _exit_reason(self, holding: Holding, now: datetime) -> str | None:
        days = holding.days(now)
        if days >= self.settings.forced_exit_days:
            return f"held {days} days"
        if days < self.settings.profit_exit_days:
            return None
        bid = (await self.broker.quote(holding.symbol)).bid
        in_profit = bid is not None and Decimal(str(bid)) > holding.entry_price
        return f"held {days} days and in profit" if in_profit else None

    async def _exit(self, holding: Holding, now: datetime, why: str) -> None:
        """Make the resting target marketable: the OCA group then cancels the stop, with no moment unprotected."""
        details = await self._details_of(holding.symbol)
        quote = await self.broker.quote(holding.symbol)
        limit = smart_limit(quote, Side.SELL, details, self.settings.pricing)
        target = leg_key(holding.key, 2)
        if self._known(target) and self.broker.order(target).state in (OrderState.WORKING, OrderState.PRE_SUBMITTED):
            await self.broker.modify(target, OrderChange(limit_price=limit))
        else:
            target = f"{holding.key}-x{now:%y%m%d}"
            order = NewOrder(
                details.instrument,
                Side.SELL,
                holding.quantity,
                OrderType.LIMIT,
                limit_price=limit,
                key=target,
                oca_group=f"oca-{holding.key}",
                reduce_only=True,
                reason=why,
            )
            await self.broker.place(order)
        self._note(Action(now, holding.symbol, "EXIT", why, quantity=holding.quantity, price=limit, key=target))

    async def _follow_orders(self) -> None:
        async with contextlib.aclosing(self.broker.order_events()) as events:
            async for event in events:
                if event.order is not None and event.order.key.startswith(KEY_PREFIX) and event.kind in _EVENT_WORDS:
                    async with self._placing:
                        self._note(self._event_action(event, event.order))

    def _event_action(self, event: OrderEvent, order: Order) -> Action:
        fill = event.fill
        if fill is None:
            return Action(event.time, order.instrument.symbol, _EVENT_WORDS[event.kind], event.text, key=order.key)
        what, why = _EVENT_WORDS[event.kind], f"{order.filled} of {order.intent.quantity}"
        if not is_entry_key(order.key):
            entry_of, _, kind = order.key.rpartition("-")
            what = f"{_EXIT_WORDS.get(kind, 'EXIT')} {what}"
            if self._known(entry_of) and (paid := self.broker.order(entry_of).average_price) is not None:
                why += f", {(fill.price / paid - 1) * 100:+.1f} % on {paid:.2f}"
        if event.recovered:
            why += ", learnt after a gap"
        return Action(fill.time, order.instrument.symbol, what, why, None, fill.quantity, fill.price, order.key)

    async def _details_of(self, symbol: str) -> InstrumentDetails:
        if symbol not in self._details:
            self._details[symbol] = await self.broker.details(symbol)
        return self._details[symbol]

    def _known(self, key: str) -> bool:
        try:
            self.broker.order(key)
        except UnknownOrder:
            return False
        return True

    def _drop(self, symbol: str, error: BrokerError) -> None:
        if symbol in self.symbols:
            self.symbols.remove(symbol)
        self._note(Action(self.broker.clock.now(), symbol, "LEFT OUT", str(error)), failed=True)

    def _signal_action(
        self,
        signal: Signal,
        what: str,
        why: str,
        *,
        key: str | None = None,
        quantity: Decimal | None = None,
        price: Decimal | None = None,
    ) -> Action:
        return Action(signal.time, signal.symbol, what, why, signal.score.points, quantity, price, key)

    def _note(self, action: Action, *, failed: bool = False) -> None:
        self.actions.append(action)
        self.failures += failed
        log.log(logging.WARNING if failed else logging.INFO, "%s %s: %s", action.what, action.symbol, action.why)
        if self._on_action is not None:
            self._on_action(action)


_EVENT_WORDS = {
    OrderEventKind.FILL: "FILL",
    OrderEventKind.FILL_CORRECTED: "CORRECTED",
    OrderEventKind.MODIFY_REJECTED: "MODIFY REFUSED",
    OrderEventKind.CANCEL_REJECTED: "CANCEL REFUSED",
    OrderEventKind.ALARM: "ALARM",
}
_EXIT_WORDS = {"1": "STOP", "2": "TARGET"}
