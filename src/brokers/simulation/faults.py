"""Scripted faults of both doors: what goes wrong in the field (reference faults.md), made to happen on the wire.

    FAULTS                         the one table: name -> where it bites, its arguments, what it does
    faults.arm("drop-ack")         arm one; arguments as text ("error", "162", "reqHistoricalData")
    faults.release("hold")         end one that lasts; without a name, all
    parse_fault("error:162:…")     NAME[:ARG…] -> (name, arguments)

One-shot faults disarm themselves when they have bitten. What is true (books, positions, executions) stays true: faults
change what a client is told, unless the row says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..domain.order import OrderType, Side
from ..domain.reports import BrokerStatus
from ..errors import InvalidRequest
from .events import CommissionCharged, ExchangeEvent, Executed, StatusChanged
from .portal.faults import PortalFaults
from .tickets import Execution, OrderTicket, OrderView
from .tws.link import LinkFaults

if TYPE_CHECKING:
    from .portal.door import PortalDoor
    from .tws.door import TwsDoor
    from .tws.request import Request
    from .tws.server import Connection, TwsServer
    from .tws.session import Session


class Place(StrEnum):
    """Where a fault bites."""

    LINK = "link"  #: the bytes of the connections
    REQUEST = "request"  #: a client's message, before it is served
    MESSAGE = "message"  #: one of the server's messages
    EVENT = "event"  #: what is told of orders and executions
    MARKET = "market"  #: market data
    NOTICE = "notice"  #: an error or system message to every client
    BROKER = "broker"  #: something that really happens at the broker
    PORTAL = "portal"  #: the Client Portal door


Arm = Callable[["Faults", Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row. `arguments` is how the command line words them, [] optional. `lasting`: until released."""

    name: str
    place: Place
    summary: str
    arm: Arm
    arguments: str = ""
    lasting: bool = False
    end: Callable[[Faults], None] | None = None


@dataclass(slots=True)
class Interception:
    """Waits for a request: of `kind` (IB's request name, "" any), and one that it `wants`. `act` gives True when the
    request was dealt with."""

    kind: str
    act: Callable[[Session, Request], bool]
    wants: Callable[[Request], bool] = lambda request: True


def _nothing(*_: Any) -> None:
    return None


def _no_portal() -> PortalDoor:
    raise InvalidRequest("a fault of the portal", "there is no such door")


@dataclass
class Faults:
    """What is armed now. `attach` before the first use; every flag is read by the door where it bites."""

    link: LinkFaults = field(default_factory=LinkFaults)
    portal: PortalFaults = field(default_factory=PortalFaults)
    silent_feed: bool = False
    no_market_data: bool = False
    competing: bool = False
    #: Options tell no computation; stocks' sizes are told in hundreds; P&L is told "unset" or "swapped", "" as it is.
    no_greeks: bool = False
    round_lots: bool = False
    pnl: str = ""
    order_ids_back: int = 0
    #: While True, order events reach no client (1100: they are lost, the books go on).
    deafened: bool = False
    restart: Callable[[float], None] = _nothing
    restart_portal: Callable[[float], None] = _nothing
    move: Callable[[int], None] = _nothing
    #: Gives the portal door, or raises InvalidRequest where it is closed.
    portal_door: Callable[[], PortalDoor] = _no_portal
    interceptions: list[Interception] = field(default_factory=list)
    #: Message names -> how many of them are still to be left out.
    muted: dict[str, int] = field(default_factory=dict)
    #: (client_id, order_id) of orders that nothing is told about.
    unheard: set[tuple[int, int]] = field(default_factory=set)
    drop_next_ack: int = 0
    stale_status: int = 0
    wrong_echo: int = 0
    forked: int = 0
    corrected: list[Decimal] = field(default_factory=list)
    armed: list[str] = field(default_factory=list)
    _door: TwsDoor | None = None
    _server: TwsServer | None = None

    def attach(self, door: TwsDoor, server: TwsServer) -> None:
        self._door, self._server = door, server

    @property
    def door(self) -> TwsDoor:
        if self._door is None:
            raise InvalidRequest("a fault", "the gateway is not running", "start it first")
        return self._door

    @property
    def server(self) -> TwsServer:
        if self._server is None:
            raise InvalidRequest("a fault", "the gateway is not running", "start it first")
        return self._server

    # arming

    def arm(self, name: str, *arguments: str) -> None:
        """Raises InvalidRequest for an unknown name or arguments that make no sense; nothing is armed then."""
        from .fault_table import FAULTS

        fault = FAULTS.get(name)
        if fault is None:
            raise InvalidRequest(f"fault {name!r}", "there is no such fault", f"choose among {', '.join(FAULTS)}")
        try:
            fault.arm(self, arguments)
        except (ValueError, IndexError, InvalidOperation) as problem:
            usage = f"{name}{fault.arguments}"
            raise InvalidRequest(f"fault {name!r} with {list(arguments)}", str(problem), f"write {usage}") from None
        if fault.lasting and name not in self.armed:
            self.armed.append(name)

    def release(self, name: str = "") -> list[str]:
        """Ends lasting faults; returns which. Without a name, all of them, and one-shot ones that have not bitten."""
        from .fault_table import FAULTS

        if name and name not in FAULTS:
            raise InvalidRequest(f"fault {name!r}", "there is no such fault", f"choose among {', '.join(FAULTS)}")
        ended = [other for other in self.armed if name in ("", other)]
        for other in ended:
            self.armed.remove(other)
            end = FAULTS[other].end
            if end is not None:
                end(self)
        if not name:
            self.portal.clear()
            self.interceptions.clear()
            self.muted.clear()
            self.unheard.clear()
            self.drop_next_ack = self.stale_status = self.wrong_echo = self.forked = 0
        return ended

    def tell_everybody(self, code: int, text: str) -> None:
        for session in self.door.sessions.values():
            session.error(-1, code, text)
        self.door.flush()

    # where the door asks

    def mutes(self, name: str) -> bool:
        """Whether this message is one of those to be left out."""
        left = self.muted.get(name, 0)
        if not left:
            return False
        self.muted[name] = left - 1
        if left == 1:
            del self.muted[name]
        return True

    def intercept(self, session: Session, request: Request) -> bool:
        """Whether an armed fault has dealt with this request."""
        if self.interceptions:
            from .tws.messages_in import spec_of

            name = spec_of(request).name
            for waiting in self.interceptions:
                if waiting.kind in ("", name) and waiting.wants(request):
                    self.interceptions.remove(waiting)
                    return waiting.act(session, request)
        return False

    def withholds(self, session: Session, event: ExchangeEvent) -> bool:
        """Whether this order event is kept from clients."""
        if self.deafened:
            return True
        if not (self.unheard or self.drop_next_ack):
            return False
        subject = _subject(event)
        if isinstance(event, StatusChanged) and self.drop_next_ack and subject not in self.unheard:
            fresh = not event.order.filled and event.order.status in (
                BrokerStatus.PRE_SUBMITTED,
                BrokerStatus.SUBMITTED,
            )
            if fresh:
                self.drop_next_ack -= 1
                self.unheard.add(subject)
        return subject in self.unheard

    def echo_changes(self, view: OrderView) -> dict[str, Any]:
        """What openOrder shows otherwise than it is."""
        changes: dict[str, Any] = {}
        if self.wrong_echo:
            self.wrong_echo -= 1
            changes["contract"] = self._another_contract(view)
        if self.forked:
            self.forked -= 1
            changes["permId"] = view.perm_id + 1_000_000
        return changes

    def _another_contract(self, view: OrderView) -> Any:
        from .tws.wire_contract import wire_contract

        for row in self.door.exchange.catalogue():
            if row.instrument.con_id != view.instrument.con_id:
                return wire_contract(row.instrument)
        return wire_contract(view.instrument)

    def after_status(self, session: Session, view: OrderView) -> None:
        """A stale status after a terminal one (fault O09)."""
        if self.stale_status and view.status in (BrokerStatus.FILLED, BrokerStatus.CANCELLED):
            from .tws.render import status_values

            self.stale_status -= 1
            values = status_values(view) | {
                "status": BrokerStatus.SUBMITTED.value,
                "filled": Decimal(0),
                "remaining": view.ticket.quantity,
                "avgFillPrice": Decimal(0),
                "lastFillPrice": Decimal(0),
            }
            session.send("orderStatus", **values)

    def after_execution(self, session: Session, execution: Execution) -> None:
        """A correction of the fill that was just told (fault O13)."""
        if self.corrected:
            shift = self.corrected.pop(0)
            door = self.door
            price = execution.price + shift

            def correct() -> None:
                door.exchange.correct_execution(execution.exec_id, price=price)

            door.timers.at(door.now, correct)

    def heard_nothing(self, connection: Connection, data: bytes) -> None:
        """Bytes that arrived on a half-open connection are never read."""


def _subject(event: ExchangeEvent) -> tuple[int, int]:
    if isinstance(event, StatusChanged):
        return event.order.ticket.key
    if isinstance(event, (Executed, CommissionCharged)):
        return (event.execution.client_id, event.execution.order_id)
    return (getattr(event, "client_id", 0), getattr(event, "order_id", 0))


def parse_fault(text: str) -> tuple[str, tuple[str, ...]]:
    """`NAME[:ARG…]` of the command line."""
    name, *arguments = text.split(":")
    return name, tuple(arguments)


def manual_ticket(faults: Faults, symbol: str, quantity: Decimal) -> OrderTicket:
    """An order that somebody placed by hand: at the market, negative quantity sells. Raises ValueError."""
    for row in faults.door.exchange.catalogue():
        if row.instrument.symbol == symbol.upper():
            return OrderTicket(
                client_id=0,
                order_id=0,
                con_id=row.instrument.con_id or 0,
                side=Side.BUY if quantity > 0 else Side.SELL,
                quantity=abs(quantity),
                type=OrderType.MARKET,
            )
    raise ValueError(f"no instrument {symbol!r}")


SECOND = timedelta(seconds=1)
