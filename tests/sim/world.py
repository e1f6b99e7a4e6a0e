"""One episode's world: loop, gateway, network, journal file, processes, faults, oracle; all drawn from one seed."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.domain import order as order_module
from moondev_ibkr.brokers.errors import InvalidRequest
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.orders import OrderSettings
from moondev_ibkr.brokers.simulation.commissions import PriceList
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings, LatencyModel
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings as PortalDoor
from moondev_ibkr.brokers.simulation.portal.settings import Visibility
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as DoorSettings

from .faults import Faults
from .loop import OWNER, VirtualLoop
from .market import START, WalkingPrices
from .network import Network
from .oracle import Oracle
from .plan import Doors, Plan
from .portal import PortalDrive
from .process import RESTART, TradingProcess
from .trace import Trace
from .workload import Workload

ACCOUNT = "DU0000001"
LOGGERS = ("moondev_ibkr", "ib_async", "asyncio")


class SeededKeys:
    """In the place of `secrets` where orders get their keys."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def token_hex(self, size: int) -> str:
        return f"{self._random.getrandbits(8 * size):0{2 * size}x}"


class BoundaryWatch(logging.Handler):
    """Hears of exceptions that a task boundary of the adapter or the gateway has swallowed."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        error, owner = record.exc_info[1] if record.exc_info else None, OWNER.get()
        if error is not None and (owner is None or owner.alive):
            self._world.failed(record.getMessage(), error)


class World:
    """Made on its loop, not started. `kill_at` decides deaths at steps; tests put their own in its place."""

    def __init__(
        self,
        seed: int,
        path: Path,
        loop: VirtualLoop,
        adapter_type: type[IBAdapter] = IBAdapter,
        plan: Plan | None = None,
    ) -> None:
        self.seed = seed
        self.path = path
        self.loop = loop
        self.adapter_type: Any = adapter_type
        random = Random(seed)
        self.plan = plan or Plan.drawn(random)
        self.trace = Trace(loop.time)
        self.faults = Faults(Random(f"{seed} faults"), self.trace, 0.0)
        self.faults.gateway = {"gateway restarts": self._restart_gateway, "broker down": self._broker_down}
        self.network = Network(loop, self.faults, self.trace, contextvars.copy_context())
        self.order_settings = OrderSettings()
        self.calendar = calendar_for()
        self.gateway = Gateway(
            GatewaySettings(
                tws=DoorSettings(port=4_000, message_rate=0),
                portal=_portal_settings(self.plan),
                exchange=ExchangeSettings(
                    seed=seed,
                    accounts=(AccountSettings(ACCOUNT, Decimal(10**9)),),
                    latency=LatencyModel(
                        timedelta(milliseconds=8), timedelta(milliseconds=5), timedelta(milliseconds=20), 0.5
                    ),
                ),
                clock=ClockMode.REPLAY,
            ),
            prices=WalkingPrices(seed),
            commissions=PriceList(),
            monotonic=loop.time,
            wall=lambda: START,
        )
        self.portal = PortalDrive(self)
        self.oracle = Oracle(self.gateway.exchange, loop.time, self.trace)
        self.workload = Workload(self, self.plan.pace)
        #: Agents act while it is set, faults fall, and processes die; `is_over` sends agents home.
        self.trading = False
        self.is_over = False
        self.processes: dict[int, TradingProcess] = {}
        self.lives: dict[int, int] = {}
        self.steps = 0
        self._kills = Random(f"{seed} kills")
        self._manual = Random(f"{seed} manual")
        self._keys = Random(f"{seed} keys")
        loop.failed = self.failed

    def is_hidden(self, key: str) -> bool:
        """Whether nobody could know how this order stands: sent through a door that is closed, and that the open one
        does not show. One user has one session, so that is not rare; it ends with the next change of doors."""
        pen, plan = self.oracle.pen, self.plan
        known = self.oracle.keys.get(key)
        if plan.doors is not Doors.ONE_USER or pen is None or known is None or known.door == pen.door:
            return False
        # nor is a door believed to show the other's orders before it has shown one
        untested = any(not one.adapter.port.shows_orders_of(known.door) for one in self.processes.values())
        return plan.visibility is Visibility.NONE or untested

    def at_portal(self, name: str) -> None:
        """A fault of the portal door itself; nothing when it does not apply now."""
        try:
            self.gateway.faults.arm(name)
        except InvalidRequest as refusal:
            self.trace("not now", name, refusal.why)
        self.portal.settle()

    @property
    def port(self) -> int:
        return self.gateway.tws_port

    def failed(self, text: str, error: BaseException) -> None:
        """An exception that nobody expected: a finding."""
        self.oracle.fail("unexpected", f"{text}: {type(error).__name__}: {error}")

    @contextmanager
    def installed(self):
        """Keys by seed, and logs watched instead of written."""
        real, watch = order_module.secrets, BoundaryWatch(self)
        order_module.secrets = SeededKeys(self._keys)  # type: ignore[assignment]
        loggers = [logging.getLogger(name) for name in LOGGERS]
        before = [(row.level, row.propagate) for row in loggers]
        for logger in loggers:
            logger.addHandler(watch)
            logger.setLevel(logging.ERROR)
            logger.propagate = False
        try:
            yield
        finally:
            order_module.secrets = real
            for logger, (level, propagate) in zip(loggers, before, strict=True):
                logger.removeHandler(watch)
                logger.setLevel(level)
                logger.propagate = propagate

    # processes

    def start_process(self, number: int) -> None:
        life = self.lives[number] = self.lives.get(number, 0) + 1
        process = self.processes[number] = TradingProcess(self, number, life)
        process.start()

    def kill_at(self, process: TradingProcess, step: str) -> bool:
        """Whether `process` dies at this step."""
        self.steps += 1
        if not self.trading or not self.plan.kill_rate or self._kills.random() >= self.plan.kill_rate:
            return False
        in_flight = process.has_in_flight or "intent" in step or "change" in step or step.startswith("wire")
        if in_flight:
            self.faults.count("killed", process.name, step)
        return True

    def buried(self, process: TradingProcess) -> None:
        """The operating system has cleared it away; somebody starts it again."""
        least, most = RESTART
        delay = least + (most - least) * self._kills.random() ** 3
        self.network.later(delay, self.start_process, process.number)

    # what the gateway does by itself

    def _restart_gateway(self) -> None:
        self.gateway.faults.arm("restart", f"{self.faults.random.uniform(0.2, 6.0):.2f}")

    def _broker_down(self) -> None:
        """1100, a while without the broker, 1101 or 1102."""
        faults, random = self.gateway.faults, self.faults.random
        if "1100" in faults.armed:
            return
        faults.arm("1100", random.choice(("lose", "tell")))
        self.network.later(random.uniform(0.2, 10.0), self._broker_up, random.choice(("1101", "1102")))

    def _broker_up(self, code: str) -> None:
        faults = self.gateway.faults
        if "1100" in faults.armed:
            faults.release("1100")
            faults.arm(code)

    def heal(self) -> None:
        """From here on nothing goes wrong, and what lost something is made anew."""
        self.trace("HEALED")
        self.faults.heal()
        self._broker_up("1102")
        self.network.heal()
        for process in self.processes.values():
            process.line.heal()

    def freeze(self) -> None:
        """The market stands still, so that what is read is what is compared."""
        clock, self.gateway._clock = self.gateway._clock, None
        if clock is not None:
            clock.cancel()

    def thaw(self) -> None:
        """It goes on, and catches up."""
        gateway = self.gateway
        gateway._clock = self.loop.create_task(gateway._run_clock(), context=self.network.context.copy())

    async def until(self, condition: Callable[[], object], seconds: float, every: float = 0.5) -> bool:
        """Whether it came true within so many virtual seconds."""
        deadline = self.loop.now + seconds
        while not condition():
            if self.loop.now >= deadline or self.oracle.violation is not None:
                return bool(condition())
            await asyncio.sleep(every)
        return True


def _portal_settings(plan: Plan) -> PortalDoor:
    """Without sockets, and with presets wide enough that no order is asked about for its size."""
    names = {"user": "one", "tws_user": "one"} if plan.doors is Doors.ONE_USER else {}
    return PortalDoor(
        port=None,
        requests_per_second=0,
        size_limit=Decimal(10**6),
        value_limit=Decimal(10**9),
        price_percent=Decimal(50),
        cross_visibility=plan.visibility,
        coid_registry=plan.registry,
        order_ids=plan.order_ids,
        sor_frames=plan.sor_frames,
        tws_reclaim_seconds=plan.reclaim,
        **names,
    )
