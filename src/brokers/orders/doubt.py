"""Orders in doubt, and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.order import Order
from ..domain.order_states import OrderState
from .book import OrderBook, Record


@dataclass(frozen=True, slots=True)
class Doubt:
    """`door` is the one that it was sent through. `evidence` says for people what was seen and what was not."""

    order: Order
    door: str
    evidence: str


def doubts(book: OrderBook, now: float) -> list[Doubt]:
    """UNKNOWN orders, and those with a change or a cancel whose outcome is not known. `now` is monotonic."""
    found = []
    for record in book.open.values():
        seen = _evidence(record, now)
        if seen:
            found.append(Doubt(record.order, record.door, "; ".join(seen)))
    return found


def _evidence(record: Record, now: float) -> list[str]:
    order, seen = record.order, []
    if order.state is OrderState.UNKNOWN:
        seen.append(f"UNKNOWN: {order.reason}" if order.reason else "UNKNOWN")
        if record.acknowledged:
            seen.append(f"the broker showed it as {', '.join(map(str, record.lives)) or 'taken'}")
        else:
            seen.append("the broker never showed it")
        if record.absent_since is not None:
            seen.append(f"not among the broker's orders and executions for {now - record.absent_since:.0f} s")
    if record.pending is not None:
        seen.append("a change was sent and not answered")
    if record.cancel_kept:
        seen.append("a cancel waits for the link, or its answer was lost")
    if seen and record.told_filled > order.filled:
        seen.append(f"told filled {record.told_filled}, executions add up to {order.filled}")
    return seen
