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

    async def prepare(self, order: NewOrder, *, replaces: Order | None = None) -> None:
        """Freshen what `check` reads (quotes, positions); may wait. Called before `check`, outside the hot section.

        `replaces` as in `check`. Raises what `check` raises where waiting for an answer can be spared.
        """
        ...

    def check(
        self, order: NewOrder, *, replaces: Order | None, parent: NewOrder | None = None, emergency: bool = False
    ) -> None:
        """Synchronous, in process. Raises RiskRefusal, NotOwned or TradingHalted.

        `replaces` is the live order that a modify changes, None for a new order. `parent` is the entry whose bracket
        `order` is a leg of. `emergency` lets an exit of the emergency stop pass the kill switch.
        """
        ...


@dataclass(frozen=True, slots=True)
class OrderSettings:
    """Limits of an order's life cycle; seconds on the monotonic clock.

    `account` is used by orders that name none. `ack_deadline` is how long an order may stay without any answer before
    it is UNKNOWN. `quiet_time` is how long it must stay unseen between two complete queries before it counts as absent
    (faults.md Q4). `sync_deadline` is how long a new order waits for a reconciliation under way. `protect_within` is
    how long a filled entry may stay without its stop (Q17), `protect_delay` how long partial fills may settle before
    the stop is resized. `execution_grace` is how long a status may run ahead of its executions.
    """

    account: str = ""
    ack_deadline: float = 3.0
    write_deadline: float = 3.0
    link_deadline: float = 1.0
    cancel_deadline: float = 3.0
    sync_deadline: float = 5.0
    quiet_time: float = 30.0
    retry_delay: float = 1.0
    protect_within: float = 5.0
    protect_delay: float = 0.5
    execution_grace: float = 1.0
