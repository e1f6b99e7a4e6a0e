"""A gateway in its own process, processes that die there, a witness that this project did not write, and a restart."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ib_async import IB
from moondev_ibkr.brokers.domain.order import Bracket, NewOrder
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import KeyConflict, TradingHalted
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.orders.lifecycle import NEVER_WORKED
from moondev_ibkr.cli.gateway_process import GatewayProcess

from .kill_driver import IN_DOUBT, ROOT, connect, make_adapter, requests, until

CLIENT_ID, WITNESS_ID = 7, 99


@dataclass(frozen=True)
class Standing:
    """An open order: its total quantity, and its limit (None where the type has none)."""

    is_stop: bool
    quantity: Decimal
    limit: Decimal | None


@dataclass
class Truth:
    """What the exchange has of one key. `status` is None while the order is open, IB's last word afterwards."""

    key: str
    perm_ids: set[int] = field(default_factory=set)
    executions: dict[str, Decimal] = field(default_factory=dict)
    open: Standing | None = None
    status: str | None = None

    @property
    def filled(self) -> Decimal:
        return sum(self.executions.values(), Decimal(0))

    @property
    def remaining(self) -> Decimal:
        return Decimal(0) if self.open is None else self.open.quantity - self.filled


class Witness:
    """Raw ib_async on a client id of its own: it reads the exchange and, between stories, clears it."""

    def __init__(self) -> None:
        self._ib = IB()
        logging.getLogger("ib_async").setLevel(logging.CRITICAL)

    async def connect(self, port: int) -> None:
        await self._ib.connectAsync("127.0.0.1", port, clientId=WITNESS_ID, timeout=10)

    def disconnect(self) -> None:
        self._ib.disconnect()

    async def truth(self, root: str) -> dict[str, Truth]:
        """Every key that begins with `root`, as the exchange tells it."""
        found: dict[str, Truth] = {}

        def of(key: str) -> Truth | None:
            return found.setdefault(key, Truth(key)) if key.startswith(root) else None

        for trade in await self._ib.reqAllOpenOrdersAsync():
            if (row := of(trade.order.orderRef)) is not None:
                row.perm_ids.add(trade.order.permId)
                order = trade.order
                limited = order.orderType in ("LMT", "STP LMT")
                row.open = Standing(
                    order.orderType in ("STP", "STP LMT", "TRAIL"),
                    Decimal(str(order.totalQuantity)),
                    Decimal(str(order.lmtPrice)) if limited else None,
                )
        for trade in await self._ib.reqCompletedOrdersAsync(False):
            if (row := of(trade.order.orderRef)) is not None:
                row.perm_ids.add(trade.order.permId)
                row.status = trade.orderStatus.status
        for fill in await self._ib.reqExecutionsAsync():
            if (row := of(fill.execution.orderRef)) is not None:
                row.perm_ids.add(fill.execution.permId)
                row.executions[fill.execution.execId] = Decimal(str(fill.execution.shares))
        return found

    async def clear(self) -> None:
        """Nothing works any more."""
        self._ib.reqGlobalCancel()
        async with asyncio.timeout(10):
            while await self._ib.reqAllOpenOrdersAsync():
                await asyncio.sleep(0.01)


class KillRig:
    """One gateway for many kills: each has its own journal and keys, and begins with nothing working."""

    #: The module that runs the trading processes, and what the gateway is told beside its usual options.
    driver = "tests.scenarios.kill_driver"
    options: tuple[str, ...] = ()

    def __init__(self, gateway: GatewayProcess, driver: asyncio.subprocess.Process, folder: Path) -> None:
        self.gateway = gateway
        self.witness = Witness()
        self._driver = driver
        self._folder = folder
        self._count = 0

    @property
    def port(self) -> int:
        return self.gateway.where.port

    def where(self) -> dict[str, Any]:
        """What a trading process is told of the gateway."""
        return {"port": self.port}

    def make(self, journal: str) -> IBAdapter:
        """An adapter that nothing cuts."""
        return make_adapter(self.port, journal, CLIENT_ID)

    async def truth(self, root: str) -> dict[str, Truth]:
        return await self.witness.truth(root)

    def fresh(self) -> tuple[str, str]:
        """A key and a journal that nobody has used."""
        self._count += 1
        return f"k{self._count:04d}", str(self._folder / f"journal-{self._count}.sqlite")

    async def run(self, story: str, key: str, journal: str, step: str | None) -> dict[str, Any]:
        """Tell a story in a process of its own; see `kill_driver.obey` for the answer."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        job = {**self.where(), "journal": journal, "client_id": CLIENT_ID, "story": story, "step": step, "key": key}
        self._driver.stdin.write(json.dumps(job).encode() + b"\n")
        await self._driver.stdin.drain()
        line = await asyncio.wait_for(self._driver.stdout.readline(), 60)
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer

    @asynccontextmanager
    async def restarted(self, journal: str) -> AsyncIterator[IBAdapter]:
        """A trading process after the killed one: this process, the same journal, the same client id."""
        adapter = self.make(journal)
        await connect(adapter)
        try:
            yield adapter
        finally:
            await adapter.disconnect()
            adapter.journal.close()

    async def clear(self) -> None:
        await self.witness.clear()
        await self.gateway.tell({"advance_by": 30})


Rig = TypeVar("Rig", bound=KillRig)


@asynccontextmanager
async def kill_rig(folder: Path, kind: type[Rig] = KillRig) -> AsyncIterator[Rig]:  # type: ignore[assignment]
    arguments = ("--prices", "synthetic", "--symbols", "AAPL,MSFT", "--cash", "100000000", *kind.options)
    async with GatewayProcess(arguments, folder) as gateway:
        await gateway.tell({"advance_by": 60})
        driver = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", kind.driver),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        rig = kind(gateway, driver, folder)
        await rig.witness.connect(rig.port)
        try:
            yield rig
        finally:
            rig.witness.disconnect()
            assert driver.stdin is not None
            driver.stdin.close()
            await asyncio.wait_for(driver.wait(), 10)


async def until_settled(adapter: IBAdapter) -> None:
    """Until nothing of this journal is in doubt."""

    def settled() -> bool:
        return not any(order.state in IN_DOUBT for order in adapter.orders() if not order.foreign)

    await until(settled, "everything to be known")


def assert_never_twice(adapter: IBAdapter, truth: dict[str, Truth]) -> None:
    """What holds at every moment: one order a key at most, and none that the journal does not know."""
    assert set(truth) <= {order.key for order in adapter.orders()}, "an order left before its intent was durable"
    for key, row in truth.items():
        assert len(row.perm_ids) <= 1, f"{key} is at the exchange {len(row.perm_ids)} times"


def assert_known(adapter: IBAdapter, truth: dict[str, Truth]) -> None:
    """The journal's orders are the exchange's orders, each as it stands."""
    own = {order.key: order for order in adapter.orders() if not order.foreign}
    assert set(truth) <= set(own), "an order of ours is foreign to the journal"
    for key, order in own.items():
        row = truth.get(key, Truth(key))
        assert order.filled == row.filled, key
        if not row.perm_ids:
            assert order.state is OrderState.NOT_SENT, key
        elif row.open is not None:
            assert order.state in (OrderState.PRE_SUBMITTED, OrderState.WORKING), key
            assert order.intent.quantity == row.open.quantity, key
            assert order.intent.limit_price == row.open.limit, key
        else:
            # an order that filled before it could be listed as completed is known by its executions
            ended = OrderState.CANCELLED if row.status == "Cancelled" else OrderState.FILLED
            assert order.state is ended, key


def assert_booked_once(adapter: IBAdapter, truth: dict[str, Truth], keys: Iterable[str]) -> None:
    """Every execution is in the journal once, and the holding is their sum."""
    fills = adapter.journal.load_fills()
    assert len({fill.base_id for fill in fills}) == len(fills)
    booked = {fill.exec_id: fill.quantity for fill in fills if fill.order_key is not None}
    told = {exec_id: shares for key in keys for exec_id, shares in truth.get(key, Truth(key)).executions.items()}
    assert booked == told
    signed: dict[tuple[str, str], Decimal] = {}
    for fill in fills:
        if fill.order_key is not None:
            where = (fill.account, fill.instrument.symbol)
            signed[where] = signed.get(where, Decimal(0)) + fill.quantity * fill.side.sign
    holdings = {
        (account, key.split("|")[0]): quantity for (account, key), quantity in adapter.journal.holdings().items()
    }
    assert holdings == {where: quantity for where, quantity in signed.items() if quantity}
    assert adapter.journal.verify() is None


def unprotected(root: str, truth: dict[str, Truth]) -> str | None:
    """Why a bracket stands without its stop at the exchange; None when it does not."""
    entry = truth.get(root, Truth(root))
    legs = [row for key, row in truth.items() if key != root and key.startswith(f"{root}-")]
    exits = sum((leg.filled for leg in legs), Decimal(0))
    stops = [leg for leg in legs if leg.open is not None and leg.open.is_stop]
    covered = sum((leg.remaining for leg in stops), Decimal(0))
    held = entry.filled - exits
    if entry.open is not None and not stops:
        return f"the entry {root} works with no stop behind it"
    if held > covered:
        return f"{held} of {root} are held and {covered} are covered by a stop"
    if held < 0:
        return f"the exits of {root} sold {-held} more than was bought"
    return None


# A table of steps

#: What each step is cut into: before and after, and in the middle of the transaction or of the message.
CUTS = {
    "journal": ("before", "inside", "after"),
    "wire": ("before", "half", "after"),
    "hand": ("before", "after"),
    "heard": ("",),
    "read": ("",),
}


def cuts(step: str) -> list[str]:
    return [f"{step} {when}".strip() for when in CUTS[step.split()[0]]]


def rows(steps: Mapping[str, Iterable[str]], always: Mapping[str, Iterable[str]]) -> Iterator[Any]:
    """A parameter set (story, cut) for every cut of every step; those that are not in `always` are long."""
    for story, names in steps.items():
        for step in names:
            for cut in cuts(step):
                # what was heard and not yet written is lost alike before the transaction and inside it
                unwritten = cut.startswith("journal write") and cut.endswith("before")
                is_long = step not in always[story] or unwritten
                yield pytest.param(story, cut, id=f"{story}: {cut}", marks=[pytest.mark.soak] if is_long else [])


# After the restart


async def known(rig: KillRig, adapter: IBAdapter, asked: NewOrder | Bracket) -> dict[str, Truth]:
    """The exchange's books, once the journal agrees with them; a resize of exits may still be under way at first."""
    deadline = asyncio.get_running_loop().time() + 5
    while True:
        truth = await rig.truth(asked.key)
        own = [order.key for order in adapter.orders() if not order.foreign]
        for other in own:
            if not other.startswith(asked.key):
                truth |= await rig.truth(other)
        assert_never_twice(adapter, truth)
        try:
            assert_known(adapter, truth)
            assert_booked_once(adapter, truth, own)
            if isinstance(asked, Bracket):
                assert unprotected(asked.key, truth) is None
            return truth
        except AssertionError:
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(0.05)


async def until_protected(rig: KillRig, key: str) -> None:
    """The restarted process has protected, cancelled or flattened."""
    for _ in range(200):
        why = unprotected(key, await rig.truth(key))
        if why is None:
            return
    raise AssertionError(why)


async def place_again(adapter: IBAdapter, asked: NewOrder | Bracket, symbol: str) -> None:
    """The same key once more; what is known stands, and only a key that never left makes an order."""
    if adapter.manager.halted is not None:
        with pytest.raises(TradingHalted):
            await adapter.place(requests("market", "another"))
        await adapter.resume()
    entry = asked.entry if isinstance(asked, Bracket) else asked
    stored = {order.key: order for order in adapter.orders()}.get(entry.key)
    await adapter.quote(symbol)
    again = await adapter.place(asked)
    if stored is None:
        assert again.state not in NEVER_WORKED
        await until(lambda: adapter.order(entry.key).perm_id is not None, "the order to be acknowledged")
    else:
        assert (again.order_id, again.key) == (stored.order_id, stored.key)
    with pytest.raises(KeyConflict):
        await adapter.place(requests("limit", entry.key) if entry.limit_price != 210 else requests("part", entry.key))
