"""What only IB has of risk: its order conditions, its margin estimate, its shortable tick, a contract's order types."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal

from ..domain.order import NewOrder, OrderType, Side, TimeInForce
from ..domain.reports import WireOrder
from ..errors import RiskRefusal
from ..order_port import OrderPort
from ..risk import RULES, OrderContext, Refusal, RiskEngine, RiskPolicy, RiskView, Rule
from ..risk_rules import EVERY, OPENING
from .ib_order_conditions import check_conditions

_ZERO = Decimal(0)

#: Words of a contract's orderTypes list (message 10) for our types; IB's own list writes STPLMT and MIDPX.
ORDER_TYPE_WORDS: dict[OrderType, frozenset[str]] = {
    OrderType.MARKET: frozenset({"MKT"}),
    OrderType.LIMIT: frozenset({"LMT"}),
    OrderType.STOP: frozenset({"STP"}),
    OrderType.STOP_LIMIT: frozenset({"STPLMT", "STP LMT"}),
    OrderType.TRAIL: frozenset({"TRAIL"}),
    OrderType.MARKET_ON_CLOSE: frozenset({"MOC"}),
    OrderType.LIMIT_ON_CLOSE: frozenset({"LOC"}),
    OrderType.MIDPRICE: frozenset({"MIDPX", "MIDPRICE"}),
}
#: The same list names TIFs; DAY is never missing from what a contract takes.
TIF_WORDS: dict[TimeInForce, str] = {
    TimeInForce.GTC: "GTC",
    TimeInForce.GTD: "GTD",
    TimeInForce.IOC: "IOC",
    TimeInForce.OPG: "OPG",
}

#: Tick 46 (generic 236): above this many, at least 1 000 shares can be shorted; above the second, with a locate.
SHORTABLE, LOCATE = 2.5, 1.5
AT_LEAST_SHORTABLE = Decimal(1_000)


def shortable_shares(difficulty: float | None, shares: float | None) -> Decimal | None:
    """Shares to borrow by ticks 46 and 89; None when IB told nothing.

    A locate (1.5 to 2.5) counts as none: the order would be held with error 404 for nobody knows how long.
    """
    if difficulty is None:
        return None
    if difficulty <= SHORTABLE:
        return _ZERO
    return Decimal(str(shares)).to_integral_value(ROUND_FLOOR) if shares is not None else AT_LEAST_SHORTABLE


def order_type_offered(c: OrderContext) -> Refusal | None:
    words = c.details.order_types if c.details is not None else frozenset()
    if not words:
        return None
    if not words & ORDER_TYPE_WORDS[c.order.type]:
        kinds = ", ".join(sorted(kind for kind, names in ORDER_TYPE_WORDS.items() if words & names))
        return Refusal(f"the contract does not offer {c.order.type}", "use another type", c.order.type, kinds)
    tif, offered = TIF_WORDS.get(c.order.tif), words & frozenset(TIF_WORDS.values())
    if tif is not None and offered and tif not in offered:
        limit = ", ".join(["DAY", *sorted(offered)])
        return Refusal(f"the contract does not offer TIF {tif}", "use another TIF", tif, limit)
    return None


def order_conditions(c: OrderContext) -> Refusal | None:
    instrument = c.details.instrument if c.details is not None else c.instrument
    refused = check_conditions(c.order, instrument, now=c.now, session=c.session, day=c.trading_day, waits=c.waits)
    return None if refused is None else Refusal(refused.why, refused.next, refused.value, refused.limit)


def excess_liquidity(c: OrderContext) -> Refusal | None:
    """IB liquidates when this reaches zero (fault O44)."""
    left = None
    if c.summary is not None and c.summary.excess_liquidity is not None:
        left = c.usd(c.summary.excess_liquidity, c.summary.currency)
    if left is None or left >= c.policy.margin_buffer:
        return None
    return Refusal(
        f"excess liquidity is {left:.2f} USD", "close something first", left, c.policy.margin_buffer, fits=_ZERO
    )


def _with_ib_rules() -> tuple[Rule, ...]:
    """The common rules, with IB's own where an order is looked at as written and where money is."""
    written = (
        Rule("order_type_offered", order_type_offered, EVERY, "types and TIFs that the contract offers"),
        Rule("order_conditions", order_conditions, EVERY, "type, TIF, session, security type and cut-off"),
    )
    money = Rule("excess_liquidity", excess_liquidity, OPENING, "margin left before IB liquidates")
    rules: list[Rule] = []
    for rule in RULES:
        rules.append(rule)
        if rule.name == "tick_size":
            rules.extend(written)
        if rule.name == "daily_loss":
            rules.append(money)
    return tuple(rules)


IB_RULES = _with_ib_rules()


@dataclass(frozen=True, slots=True)
class _Margin:
    """One of the account's margins after an order: `left` of it in USD, and the least that must be left."""

    name: str
    left: Decimal
    limit: Decimal

    @property
    def room(self) -> Decimal:
        """Negative: too little is left."""
        return self.left - self.limit


class IBRiskManager(RiskEngine):
    """The risk engine with IB's rules, and the broker's own margin estimate for orders that could need it."""

    def __init__(self, policy: RiskPolicy, view: RiskView) -> None:
        super().__init__(policy, view, IB_RULES)

    def needs_what_if(self, order: NewOrder) -> bool:
        """Whether margin could refuse an order that passed `check`: it opens, and excess liquidity, were it to pay the
        whole value, would fall below the buffer. Shorts always ask, since they may need more than their value."""
        context = OrderContext(order, self.view, self.policy)
        if not context.occasion.opens:
            return False
        summary, unit = context.summary, context.unit_value
        if order.side is Side.SELL or summary is None or summary.excess_liquidity is None or unit is None:
            return True
        excess = context.usd(summary.excess_liquidity, summary.currency)
        return excess is None or excess - order.quantity * unit < self.policy.margin_buffer

    async def check_margin(self, wire: WireOrder, port: OrderPort) -> None:
        """Ask the broker what the order would leave. Raises RiskRefusal (rule `margin`) below the buffer, or when the
        broker told nothing: unknown is not enough (fault O34). The port's own errors pass: then nothing is sent.
        """
        after = await self._after(wire, port)
        if after is not None and after.room >= 0:
            return
        order = wire.intent
        raise RiskRefusal(
            f"{order.side} {order.quantity} {order.instrument} {order.type}",
            "the broker told no margin" if after is None else f"it would leave {after.left:.2f} USD of {after.name}",
            "try again" if after is None else "order fewer",
            rule="margin",
            value="unknown" if after is None else after.left,
            limit=self.policy.margin_buffer if after is None else after.limit,
            largest=_ZERO if after is None else await self._largest_by_margin(wire, port, after),
            symbol=order.instrument.symbol,
        )

    async def _after(self, wire: WireOrder, port: OrderPort) -> _Margin | None:
        """What the order would leave, by the broker's own answer; None when it told nothing that can be judged."""
        answer = await port.what_if(wire)
        return self._judged(answer.excess_liquidity_after, answer.available_funds_after, answer.currency)

    def _judged(self, excess: Decimal | None, funds: Decimal | None, currency: str) -> _Margin | None:
        """The tighter of two limits: excess liquidity above the buffer, and initial margin covered by equity."""
        rate = Decimal(1) if currency == "USD" else self.view.fx_rate(currency)
        if excess is None or not excess.is_finite() or rate is None:
            return None
        margins = [_Margin("excess liquidity", excess * rate, self.policy.margin_buffer)]
        if funds is not None and funds.is_finite():
            margins.append(_Margin("available funds", funds * rate, _ZERO))
        return min(margins, key=lambda margin: margin.room)

    async def _largest_by_margin(self, wire: WireOrder, port: OrderPort, after: _Margin) -> Decimal:
        """By the broker's answers at two sizes, as a straight line; confirmed by asking again, three times at most."""
        quantity, step = wire.intent.quantity, self._step(wire.intent)
        summary = self.view.account(wire.account)
        if summary is None:
            return _ZERO
        before = self._judged(summary.excess_liquidity, summary.available_funds, summary.currency)
        for _attempt in range(3):
            if before is None or before.room <= after.room:
                return _ZERO
            share = before.room / (before.room - after.room)
            candidate = max((quantity * share / step).to_integral_value(ROUND_FLOOR) * step, _ZERO)
            candidate = min(candidate, quantity - step)
            if candidate <= 0:
                return _ZERO
            told = await self._after(_resized(wire, candidate), port)
            if told is None:
                return _ZERO
            if told.room >= 0:
                return candidate
            quantity, after = candidate, told
        return _ZERO

    def _step(self, order: NewOrder) -> Decimal:
        details = self.view.details(order.instrument)
        return max(details.size_increment, Decimal(1)) if details is not None else Decimal(1)


def _resized(wire: WireOrder, quantity: Decimal) -> WireOrder:
    return replace(wire, intent=replace(wire.intent, quantity=quantity))
