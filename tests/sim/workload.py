"""What the agents of a process do, by seed: orders of every kind, retries under the same key, cancels, questions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import Bracket, NewOrder, Order, OrderChange, OrderType, Side, TimeInForce
from moondev_ibkr.brokers.errors import (
    BrokerError,
    CancelRejected,
    JournalError,
    NotOwned,
    UnknownOrder,
)

from .market import PRICES

if TYPE_CHECKING:
    from .process import TradingProcess
    from .world import World

AGENTS = 3
#: Virtual seconds within which any call must have ended; and under the portal's limits, where readings queue up.
PATIENCE, LONG_PATIENCE = 90.0, 600.0


class Workload:
    """Agents of all processes of a world; each draws from a generator of its own."""

    def __init__(self, world: World, pace: float) -> None:
        self._world = world
        self._pace = pace
        #: Requests that were made, by key: what a caller that was cut off would repeat.
        self.requests: dict[str, NewOrder | Bracket] = {}
        self._count = 0
        self.actions: tuple[tuple[float, Callable[[TradingProcess, Random], Awaitable[Any]]], ...] = (
            (5, self._place),
            (2, self._bracket),
            (3, self._modify),
            (4, self._cancel),
            (3, self._repeat),
            (1, self._flatten),
            (0.5, self._cancel_all),
            (1, self._reconcile),
            (2, self._positions),
            (1, self._quote),
        )

    async def run(self, process: TradingProcess) -> None:
        """Every agent of one process, until trading ends."""
        for number in range(AGENTS):
            random = Random(f"{self._world.seed} {process.name} {number}")
            self._world.loop.create_task(self._agent(process, random), context=process.context)

    async def _agent(self, process: TradingProcess, random: Random) -> None:
        weights = [weight for weight, _ in self.actions]
        acts = [act for _, act in self.actions]
        while True:
            await asyncio.sleep(random.expovariate(1 / self._pace))
            if self._world.is_over:
                return
            if not self._world.trading:
                continue
            act = random.choices(acts, weights)[0]
            process.busy += 1
            try:
                await self._try(act.__name__[1:], act(process, random), process)
            finally:
                process.busy -= 1

    async def _try(self, name: str, action: Awaitable[Any], process: TradingProcess) -> None:
        world = self._world
        patience = LONG_PATIENCE if world.plan.paced else PATIENCE
        try:
            async with asyncio.timeout(patience):
                said = await action
        except BrokerError as refusal:
            said = f"{type(refusal).__name__} {refusal.why[:60]}"
        except TimeoutError:
            world.oracle.fail("liveness", f"{process.name}: {name} did not end within {patience:g} s")
            return
        except Exception as error:
            if not process.alive:
                return
            world.oracle.fail("unexpected", f"{process.name}: {name} raised {type(error).__name__}: {error}")
            return
        world.trace(process.name, name, said)

    # actions

    def _key(self, process: TradingProcess) -> str:
        self._count += 1
        return f"k{process.number}-{self._count}"

    def _order(self, process: TradingProcess, random: Random) -> NewOrder:
        symbol = random.choice(tuple(PRICES))
        side = random.choice((Side.BUY, Side.BUY, Side.SELL))
        fields: dict[str, Any] = {}
        if random.random() < 0.6:
            away = random.randint(-20, 60) if random.random() < 0.7 else random.randint(100, 900)
            price = self._price(symbol)
            fields = {
                "type": OrderType.LIMIT,
                "limit_price": Decimal(price - side.sign * away) / 100,
                "tif": random.choice((TimeInForce.DAY, TimeInForce.GTC)),
            }
        quantity = Decimal(random.choice((1, 10, 50, 100, 300, 900)))
        return NewOrder(Instrument(symbol), side, quantity, key=self._key(process), **fields)

    def _price(self, symbol: str) -> int:
        """The middle of the market, in cents."""
        exchange = self._world.gateway.exchange
        con_id = next(row.instrument.con_id for row in exchange.catalogue() if row.instrument.symbol == symbol)
        last = exchange.market(con_id or 0).last
        return int(last * 100) if last is not None else PRICES[symbol]

    async def _send(self, process: TradingProcess, request: NewOrder | Bracket) -> str:
        order = await process.adapter.place(request)
        return f"{request.key} {order.state} {order.filled}"

    async def _place(self, process: TradingProcess, random: Random) -> str:
        order = self._order(process, random)
        self.requests[order.key] = order
        self._world.trace(process.name, "places", order.key, order.side, order.quantity, order.instrument.symbol)
        return await self._send(process, order)

    async def _bracket(self, process: TradingProcess, random: Random) -> str:
        symbol = random.choice(tuple(PRICES))
        price = self._price(symbol)
        entry = NewOrder(
            Instrument(symbol),
            Side.BUY,
            Decimal(random.choice((10, 100, 600))),
            key=self._key(process),
            type=OrderType.LIMIT,
            limit_price=Decimal(price + random.randint(-40, 30)) / 100,
        )
        far = price // 100
        bracket = Bracket(
            entry,
            Decimal(price - random.randint(far // 2 + 45, 4 * far)) / 100,
            Decimal(price + random.randint(far // 2 + 45, 4 * far)) / 100,
        )
        self.requests[bracket.key] = bracket
        self._world.trace(process.name, "places bracket", bracket.key, entry.quantity, symbol)
        return await self._send(process, bracket)

    async def _repeat(self, process: TradingProcess, random: Random) -> str:
        """The same request under the same key again, whatever became of it."""
        keys = list(self.requests)[-20:]
        if not keys:
            return "nothing"
        key = random.choice(keys)
        self._world.trace(process.name, "repeats", key)
        return await self._send(process, self.requests[key])

    def _some_open(self, process: TradingProcess, random: Random) -> Order | None:
        orders = [order for order in process.adapter.open_orders() if not order.foreign]
        return random.choice(orders) if orders else None

    async def _modify(self, process: TradingProcess, random: Random) -> str:
        order = self._some_open(process, random)
        if order is None or order.intent.type is not OrderType.LIMIT or order.intent.limit_price is None:
            return "nothing"
        moved = order.intent.limit_price + Decimal(random.randint(-30, 30)) / 100
        if random.random() < 0.5:
            change = OrderChange(limit_price=moved)
        else:
            change = OrderChange(limit_price=moved, quantity=order.intent.quantity + random.choice((1, 5, 50)))
        self._world.trace(process.name, "modifies", order.key, moved)
        changed = await process.adapter.modify(order.key, change)
        return f"{order.key} {changed.state}"

    async def _cancel(self, process: TradingProcess, random: Random) -> str:
        order = self._some_open(process, random)
        if order is None:
            return "nothing"
        self._world.trace(process.name, "cancels", order.key)
        try:
            ended = await process.adapter.cancel(order.key)
        except (CancelRejected, UnknownOrder, NotOwned, JournalError):
            raise
        except BrokerError as refusal:
            # a cancel passes in every state (Q10)
            self._world.oracle.fail("Q10", f"the cancel of {order.key} was refused by us: {refusal}")
            raise
        return f"{order.key} {ended.state}"

    async def _cancel_all(self, process: TradingProcess, random: Random) -> str:
        orders = await process.adapter.cancel_all()
        return ",".join(f"{order.key} {order.state}" for order in orders)

    async def _flatten(self, process: TradingProcess, random: Random) -> str:
        orders = await process.adapter.flatten(random.choice(tuple(PRICES)))
        return ",".join(str(order.state) for order in orders)

    async def _reconcile(self, process: TradingProcess, random: Random) -> str:
        return f"{len(await process.adapter.reconcile())} differences"

    async def _positions(self, process: TradingProcess, random: Random) -> str:
        began = self._world.loop.time()
        told = await process.adapter.positions()
        quantities = {row.instrument.con_id or 0: row.quantity for row in told}
        self._world.oracle.check_positions(quantities, began)
        return " ".join(f"{row.instrument.symbol}:{row.quantity}" for row in told)

    async def _quote(self, process: TradingProcess, random: Random) -> str:
        quote = await process.adapter.quote(random.choice(tuple(PRICES)))
        return str(quote.bid)
