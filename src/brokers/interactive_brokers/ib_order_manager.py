"""What only IB has of orders: prices on its tick grids, sizes on its steps, each change reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal
from types import MappingProxyType
from typing import Any

from ..domain.instrument import InstrumentDetails, Rounding
from ..domain.order import Bracket, Fill, NewOrder, PriceField, Side
from ..errors import InvalidOrder
from ..orders import OrderManager

#: Which way a price goes to its tick: a limit never pays more than was asked, a stop never triggers earlier, a trail
#: is never tighter. Trailing percentages have no tick.
ROUNDING: Mapping[tuple[PriceField, Side], Rounding] = MappingProxyType(
    {
        (PriceField.LIMIT, Side.BUY): Rounding.DOWN,
        (PriceField.LIMIT, Side.SELL): Rounding.UP,
        (PriceField.STOP, Side.BUY): Rounding.UP,
        (PriceField.STOP, Side.SELL): Rounding.DOWN,
        (PriceField.TRAIL_AMOUNT, Side.BUY): Rounding.UP,
        (PriceField.TRAIL_AMOUNT, Side.SELL): Rounding.UP,
    }
)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One value that was moved onto the exchange's grid. `step` is the tick, or the size increment."""

    name: str
    asked: Decimal
    used: Decimal
    step: Decimal

    def __str__(self) -> str:
        return f"{self.name} {self.asked:f} -> {self.used:f} (step {self.step:f})"


@dataclass(frozen=True, slots=True)
class Rounded:
    """An order that the exchange's grids take, and what was changed for that; nothing is changed silently."""

    order: NewOrder
    adjustments: tuple[Adjustment, ...]


def rounded(order: NewOrder, details: InstrumentDetails, whole: Decimal = Decimal(1)) -> Rounded:
    """`order` on the grids of its contract (faults O26, O27, O47). `whole` is the door's own smallest step.

    Raises InvalidOrder when nothing is left of the quantity.
    """
    changes: dict[str, Any] = {}
    report: list[Adjustment] = []
    for name in PriceField:
        asked: Decimal | None = getattr(order, name.value)
        way = ROUNDING.get((name, order.side))
        if asked is None or way is None:
            continue
        reference = order.stop_price or order.limit_price if name is PriceField.TRAIL_AMOUNT else asked
        step = details.increment_at(reference if reference is not None else asked)
        used = _to_step(asked, step, way)
        if used != asked:
            changes[name.value] = used
            report.append(Adjustment(name.value, asked, used, step))
    size = max(details.size_increment, whole)
    quantity = (order.quantity / size).to_integral_value(ROUND_FLOOR) * size
    if quantity < max(details.min_size, size):
        why = f"the exchange takes at least {max(details.min_size, size):f}, in steps of {size:f}"
        raise InvalidOrder(f"{order.side} {order.quantity} {order.instrument}", why, "order more")
    if quantity != order.quantity:
        changes["quantity"] = quantity
        report.append(Adjustment("quantity", order.quantity, quantity, size))
    return Rounded(replace(order, **changes) if changes else order, tuple(report))


def rounded_bracket(bracket: Bracket, details: InstrumentDetails) -> tuple[Bracket, tuple[Adjustment, ...]]:
    """The bracket with entry, stop and target on their grids."""
    entry = rounded(bracket.entry, details)
    report = list(entry.adjustments)
    prices: dict[str, Decimal] = {}
    side = bracket.entry.side.opposite
    for name, kind in (("stop_price", PriceField.STOP), ("target_price", PriceField.LIMIT)):
        asked: Decimal | None = getattr(bracket, name)
        if asked is None:
            continue
        step = details.increment_at(asked)
        prices[name] = _to_step(asked, step, ROUNDING[kind, side])
        if prices[name] != asked:
            report.append(Adjustment(name, asked, prices[name], step))
    return Bracket(entry.order, prices["stop_price"], prices.get("target_price")), tuple(report)


def _to_step(price: Decimal, step: Decimal, way: Rounding) -> Decimal:
    steps = price / step
    down = steps.to_integral_value(ROUND_FLOOR)
    return (down if way is Rounding.DOWN or down == steps else down + 1) * step


class IBOrderManager(OrderManager):
    """The life cycle of orders at IB. Its conditions are rules of IBRiskManager; its ids come from the journal.

    `fill_listeners` hear of every execution as it arrives, before its commission.
    """

    fill_listeners: tuple[Callable[[Fill], None], ...] = ()

    def on_execution(self, fill: Fill) -> None:
        super().on_execution(fill)
        for listener in self.fill_listeners:
            listener(fill)
