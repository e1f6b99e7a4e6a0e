"""The order manager: intent, risk, journal, wire, and what the broker answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ..base_broker import PositionDifference
from ..domain.account import Position
from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.order import Bracket, Fill, NewOrder, Order, OrderChange
from ..domain.reports import BrokerOrder, CommissionReport, OrderError, StatusReport
from ..journal import Journal
from ..order_port import OrderPort
from .contracts import DetailsLookup, OrderSettings, RiskGate
from .events import EventStream


@dataclass(frozen=True, slots=True)
class CancelOutcome:
    """Keys proven cancelled or done, and keys that may still work after the deadline."""

    cancelled: tuple[str, ...]
    still_working: tuple[str, ...]


class OrderManager:
    """SHAPE ONLY (bodies follow): the public surface that brokers build on."""

    def __init__(
        self,
        port: OrderPort,
        journal: Journal,
        gate: RiskGate,
        clock: Clock,
        details: DetailsLookup,
        settings: OrderSettings | None = None,
    ) -> None: ...

    async def start(self) -> None:
        """Load the journal, claim the door, listen to the port (already connected), reconcile."""

    async def stop(self) -> None:
        """Cancel timers and tasks, flush the journal, end the event streams. Does not close journal or port."""

    async def place(self, order: NewOrder | Bracket, *, closing: bool = False) -> Order: ...

    async def modify(self, key: str, change: OrderChange) -> Order: ...

    async def cancel(self, key: str) -> Order: ...

    async def cancel_all(self, instrument: Instrument | None = None, *, everything: bool = False) -> list[Order]: ...

    async def cancel_and_verify(self, *, everything: bool = False) -> CancelOutcome: ...

    async def adopt(self, instrument: Instrument, positions: Sequence[Position] | None = None) -> list[Order]: ...

    async def wait(self, key: str, timeout: float) -> Order: ...

    async def reconcile(self) -> list[PositionDifference]: ...

    def halt(self, reason: str) -> None: ...

    def resume(self) -> None: ...

    @property
    def halted(self) -> str | None: ...

    def order(self, key: str) -> Order: ...

    def orders(self) -> list[Order]: ...

    def open_orders(self) -> list[Order]: ...

    def working_orders(self) -> list[Order]: ...

    def fills(self) -> list[Fill]: ...

    def events(self) -> EventStream: ...

    def owned_position(self, account: str, instrument: Instrument) -> Decimal: ...

    def working_sells(self, account: str, instrument: Instrument) -> Decimal: ...

    def position_differences(self, positions: Iterable[Position]) -> list[PositionDifference]: ...

    def blocked(self, instrument: Instrument) -> str | None: ...

    def latency_report(self) -> dict[str, dict[str, float]]: ...

    def check_deadlines(self) -> None:
        """Act on deadlines that have passed on `clock.monotonic()`; the manager's own timer calls it."""

    def on_broker_order(self, order: BrokerOrder) -> None: ...

    def on_status(self, report: StatusReport) -> None: ...

    def on_execution(self, fill: Fill) -> None: ...

    def on_commission(self, report: CommissionReport) -> None: ...

    def on_order_error(self, error: OrderError) -> None: ...

    def on_link_lost(self, reason: str) -> None: ...

    def on_link_restored(self, reason: str) -> None: ...
