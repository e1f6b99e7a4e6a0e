"""One simulated trading process: adapter, journal, connection and agents; it can die at any step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import BrokerError, ConnectFailed
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import PortalSettings, TwsSettings
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.interactive_brokers.ib_data_manager import DataPolicy
from moondev_ibkr.brokers.interactive_brokers.ib_door_pair import DoorPair
from moondev_ibkr.brokers.interactive_brokers.ib_failover import Failover
from moondev_ibkr.brokers.interactive_brokers.ib_failover_policy import FailoverPolicy, Users
from moondev_ibkr.brokers.interactive_brokers.ib_portal_broker import PortalBroker
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client import IbPortalClient
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.limits import LIMITS
from moondev_ibkr.brokers.journal import DoorLease, ForeignPosition, IntentRow, Journal, Observed
from moondev_ibkr.brokers.risk import RiskPolicy

from .faults import cut_connections
from .loop import Killed, Owner
from .messages import fields
from .plan import Doors
from .portal import PortalLine

if TYPE_CHECKING:
    from .world import World

#: Wide limits: the simulation is about the wire, not about refusals.
POLICY = RiskPolicy(
    max_position_value=Decimal(10**9),
    max_exposure=Decimal(10**9),
    max_concentration=Decimal(10**6),
    max_order_value=Decimal(10**9),
    max_orders_per_minute=10_000,
    collar_bps=Decimal(5_000),
    exit_collar_bps=Decimal(9_000),
    duplicate_window=timedelta(0),
    open_blackout=timedelta(0),
    max_quote_age=timedelta(minutes=10),
    allow_short=True,
)
IN_FLIGHT = frozenset({OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN, OrderState.PENDING_CANCEL})
#: Seconds between a process's death and its next start; and between attempts to connect.
RESTART = (0.05, 20.0)
TRY_AGAIN = 1.5


class SteppedJournal(Journal):
    """A journal with a step before, inside and after each transaction; what committed is told to the oracle."""

    def __init__(self, path: str, process: TradingProcess, **options: Any) -> None:
        super().__init__(path, **options)
        self._process = process
        self._committed: list[Callable[[], None]] = []
        self._begin = self.database.transaction
        self.database.transaction = self._stepped  # type: ignore[method-assign, assignment]

    @contextmanager
    def _stepped(self, what: str, *, durable: bool = True) -> Iterator[Any]:
        process = self._process
        process.step(f"journal {what} before")
        with self._begin(what, durable=durable) as change:
            yield change
            process.step(f"journal {what} inside")
        done, self._committed = self._committed, []
        for tell in done:
            tell()
        process.step(f"journal {what} after")

    def record_intents(
        self,
        rows: Sequence[IntentRow],
        *,
        client_id: int,
        floor: int,
        lease: Any,
        allow_halted: bool = False,
        observed: Observed | None = None,
        seen: int | None = None,
    ) -> tuple[int, ...] | None:
        oracle = self._process.world.oracle
        asked = list(rows)

        def committed() -> None:
            if observed:
                oracle.committed_observed(observed, self._held)
            if self.load_order(asked[0].intent.key) is not None and asked[0].intent.key not in oracle.keys:
                oracle.committed_intents(self._process, asked, client_id, lease)

        with self._telling(committed):
            order_ids = super().record_intents(
                rows,
                client_id=client_id,
                floor=floor,
                lease=lease,
                allow_halted=allow_halted,
                observed=observed,
                seen=seen,
            )
        if order_ids is not None:
            oracle.numbered(asked, client_id, order_ids)
        return order_ids

    def record_change(self, key: str, changed: Any, *, lease: Any) -> None:
        with self._telling(lambda: self._process.world.oracle.committed_change(key)):
            super().record_change(key, changed, lease=lease)

    def claim_door(self, door: str) -> DoorLease:
        with self._telling(self._tell_lease):
            return super().claim_door(door)

    def switch_door(self, door: str) -> DoorLease:
        with self._telling(self._tell_lease):
            return super().switch_door(door)

    def _tell_lease(self) -> None:
        self._process.world.oracle.committed_lease(self.door())

    def set_foreign_positions(self, rows: Iterable[ForeignPosition]) -> None:
        asked = list(rows)
        with self._telling(lambda: self._process.world.oracle.committed_foreign(asked, self._held)):
            super().set_foreign_positions(asked)

    def write(self, observed: Observed) -> None:
        with self._telling(lambda: self._process.world.oracle.committed_observed(observed, self._held)):
            super().write(observed)

    def _held(self, account: str, where: str) -> Decimal:
        return self.holdings().get((account, where), Decimal(0))

    @contextmanager
    def _telling(self, tell: Callable[[], None]) -> Iterator[None]:
        self._committed = [tell]
        try:
            yield
        finally:
            self._committed = []


class TradingProcess(Owner):
    """From its start to its end or death. `number` is its place, `life` how often that place was started."""

    def __init__(self, world: World, number: int, life: int) -> None:
        super().__init__()
        self.world = world
        self.number = number
        self.life = life
        self.name = f"p{number}.{life}"
        self.connected = False
        self.busy = 0
        self.clock = MarketClock(world.loop.time, rate=1.0)
        self.clock.tell(world.gateway.now)
        self.journal = SteppedJournal(str(world.path), self, synchronous="NORMAL", now=self.clock.now)
        self.lease = self.journal.lease_client_id(7)
        self.line = PortalLine(self)
        self.failover: Failover | None = None
        transport = self._transport(world.plan.doors)
        kind = PortalBroker if world.plan.doors is Doors.PORTAL else world.adapter_type
        options = {} if self.failover is None else {"failover": self.failover}
        self.adapter: IBAdapter = kind(
            transport,
            journal=self.journal,
            policy=POLICY,
            calendar=world.calendar,
            clock=self.clock,
            data=DataPolicy(),
            orders=world.order_settings,
            margin_what_if=False,
            **options,
        )

    def _transport(self, doors: Doors) -> Any:
        """The clients of one process, all with its client id."""
        world, client_id = self.world, self.lease.client_id
        tws = IbAsyncClient(
            TwsSettings(port=world.port, client_id=client_id, jitter=0.0), clock=self.clock, opener=self._open
        )
        if doors is Doors.TWS:
            return tws
        settings = PortalSettings(client_id=client_id, jitter=0.0, penalty=20.0, longest_wait=20.0)
        limits = LIMITS if world.plan.paced else ()
        portal = IbPortalClient(settings, clock=self.clock, wire=self.line, limits=limits)
        if doors is Doors.PORTAL:
            return portal
        pair = DoorPair(tws, portal, self.clock)
        users = Users.ONE if doors is Doors.ONE_USER else Users.TWO
        self.failover = Failover(pair, self.journal, FailoverPolicy(users), self.clock)
        return pair

    # life

    def start(self) -> None:
        self.world.trace(self.name, "starts as client", self.lease.client_id)
        self.world.loop.create_task(self._live(), context=self.context)

    async def _live(self) -> None:
        while True:
            try:
                await self.adapter.connect()
                break
            except (BrokerError, TimeoutError) as failure:
                why = failure.data.get("kind") if isinstance(failure, ConnectFailed) else type(failure).__name__
                self.world.trace(self.name, "could not connect", why)
                await asyncio.sleep(TRY_AGAIN)
        self.world.trace(self.name, "is connected")
        self.connected = True
        await self.world.workload.run(self)

    async def stop(self) -> None:
        """In good order."""
        await self.adapter.disconnect()
        self.lease.release()
        self.journal.close()

    # death

    def step(self, name: str) -> None:
        """One enumerated step; raises Killed when the process dies at it."""
        if not self.alive:
            raise Killed(self.name)
        if self.world.kill_at(self, name):
            self.die(name)
            raise Killed(f"{self.name} at {name}")

    @property
    def has_in_flight(self) -> bool:
        book = self.adapter.manager._book
        return any(
            record.order.state in IN_FLIGHT or record.pending is not None
            for record in book.open.values()
            if not record.order.foreign
        )

    def die(self, where: str) -> None:
        """Like SIGKILL: nothing of it runs any more; the operating system frees what it held."""
        world = self.world
        world.trace(self.name, "DIES", where)
        world.loop.drop(self)
        cut_connections(world.network.links, self)
        self.line.die()
        world.loop.call_soon(self._buried, context=world.network.context)

    def _buried(self) -> None:
        self.world.loop.bury(self)
        self.lease.release()
        self.journal.close()
        self.world.buried(self)

    # the wire

    async def _open(self, protocol: Any, _host: str, port: int) -> asyncio.Transport:
        link = await self.world.network.open(self, protocol, port)
        link.client.around = self._around
        return link.client

    def _around(self, name: str, frame: bytes, write: Callable[[], None]) -> None:
        world = self.world
        self.step(f"wire {name} before")
        if world.kill_at(self, f"wire {name} half"):
            self._write_half(frame)
            self.die(f"wire {name} half")
            raise Killed(self.name)
        write()
        if name == "placeOrder":
            world.oracle.placed_at_tws(self.lease.client_id, int(fields(frame)[1]))
        self.step(f"wire {name} after")

    def _write_half(self, frame: bytes) -> None:
        from .network import Part

        for link in self.world.network.links.values():
            if link.owner is self and not link.client.closing:
                link.up.put(Part(frame[: len(frame) // 2]))
                link.up.cut = True
