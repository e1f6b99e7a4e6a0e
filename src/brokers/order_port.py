"""The seam between an order's life cycle and the wire that carries it: one port, filled by TWS, portal and paper."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from .domain.account import Position
from .domain.order import Fill, WhatIf
from .domain.reports import BrokerOrder, CommissionReport, OrderError, StatusReport, WireOrder


class OrderListener(Protocol):
    """What a port calls, on the event loop's thread, in the order in which the broker told it. Must not raise."""

    def on_broker_order(self, order: BrokerOrder) -> None: ...

    def on_status(self, report: StatusReport) -> None: ...

    def on_execution(self, fill: Fill) -> None: ...

    def on_commission(self, report: CommissionReport) -> None: ...

    def on_order_error(self, error: OrderError) -> None: ...

    def on_link_lost(self, reason: str) -> None:
        """No message can be trusted to arrive from here on."""
        ...

    def on_link_restored(self, reason: str) -> None:
        """The link is back (reconnect, 1101, 1102): what was missed must be asked for."""
        ...


class OrderPort(Protocol):
    """A door to the broker for orders.

    Writes return when the bytes were handed to the operating system; they do not wait for the broker's answer.
    They raise NotConnected when it is proven that nothing left, OutcomeUnknown when it is not.
    Reads raise (LinkLost, DeadlineExceeded, RequestFailed) and never answer "empty" for "don't know".
    A permId is positive. The portal has numbers of its own for the same orders; whether they are the same is not known,
    so they are told as negative permIds: one order may have one name of each kind, and is forked (O16) by two of one.
    """

    @property
    def name(self) -> str:
        """Names the door in journals and events: "tws", "portal", "paper"."""
        ...

    @property
    def client_id(self) -> int: ...

    @property
    def is_healthy(self) -> bool:
        """Whether an order may be sent now: connected, ready, broker side up."""
        ...

    @property
    def next_order_id(self) -> int:
        """The lowest order id that this session may use (IB nextValidId and what was used since)."""
        ...

    @property
    def reading_time(self) -> float:
        """Seconds that a complete reading of orders, executions and positions may take by the door's own limits alone,
        beside its answers."""
        ...

    def set_listener(self, listener: OrderListener) -> None: ...

    def shows_orders_of(self, door: str) -> bool:
        """Whether an order sent through `door` ("tws", "portal", "paper") would be among this port's answers, so that
        its absence is evidence (faults.md Q4). A door shows its own; whether it shows another's has to be learnt."""
        ...

    async def verify_link(self, deadline: float) -> None:
        """A round trip, unless bytes arrived in the last second (fault C10). Raises LinkLost or DeadlineExceeded."""
        ...

    async def place(self, order: WireOrder) -> None: ...

    async def modify(self, order: WireOrder) -> None:
        """Sends the whole order again under its live order id."""
        ...

    async def cancel(self, order_id: int, perm_id: int | None = None, client_id: int | None = None) -> None: ...

    async def cancel_everything(self) -> None:
        """IB reqGlobalCancel: every open order of the account, also other clients' and manual ones."""
        ...

    async def what_if(self, order: WireOrder) -> WhatIf: ...

    async def open_orders(self) -> Sequence[BrokerOrder]:
        """All open orders of the account, every client's, statuses included."""
        ...

    async def completed_orders(self) -> Sequence[BrokerOrder]: ...

    async def executions(self, since: datetime | None = None) -> Sequence[Fill]:
        """Executions that the broker still tells (IB: since midnight), commissions merged where told."""
        ...

    async def positions(self) -> Sequence[Position]: ...
