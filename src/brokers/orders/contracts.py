"""What an order manager is given: the risk gate, the lookup of instruments, and its settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ..domain.instrument import Instrument, InstrumentDetails
from ..domain.order import NewOrder, Order

#: Qualifies an instrument (has con_id afterwards). Raises UnknownInstrument or AmbiguousInstrument.
DetailsLookup = Callable[[Instrument], Awaitable[InstrumentDetails]]


class RiskGate(Protocol):
    """The risk rules as the order manager sees them."""

    async def prepare(self, order: NewOrder) -> None:
        """Freshen what `check` reads (quotes, positions); may wait. Called before `check`, outside the hot section."""
        ...

    def check(self, order: NewOrder, *, replaces: Order | None) -> None:
        """Synchronous, in process. `replaces` is the live order that a modify changes, None for a new order.

        Raises RiskRefusal.
        """
        ...


@dataclass(frozen=True, slots=True)
class OrderSettings:
    """Limits of an order's life cycle; seconds on the monotonic clock.

    `account` is used by orders that name none. `quiet_time` is how long an order must stay unseen between two complete
    queries before it counts as absent (faults.md Q4). `protect_within` is how long an entry may stay without its stop
    (Q17). `execution_grace` is how long a status may run ahead of its executions before they are asked for.
    """

    account: str = ""
    ack_deadline: float = 3.0
    write_deadline: float = 3.0
    link_deadline: float = 1.0
    cancel_deadline: float = 3.0
    sync_deadline: float = 10.0
    quiet_time: float = 30.0
    retry_delay: float = 1.0
    protect_within: float = 5.0
    execution_grace: float = 1.0
