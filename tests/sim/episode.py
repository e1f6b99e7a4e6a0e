"""One episode: trade under faults, heal, wait, and compare the exchange's books with what journal and adapters say."""

from __future__ import annotations

import asyncio
import gc
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from moondev_ibkr.brokers.domain.order import Order
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import BrokerError
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.journal import instrument_key

from .hand_back import give_back
from .loop import VirtualLoop
from .oracle import Violation
from .plan import Doors, Plan
from .process import IN_FLIGHT, TradingProcess
from .world import World

#: Virtual seconds after the healing within which nothing may be in doubt any more.
SETTLE = 240.0
#: Attempts to find a moment at which nothing is under way.
REST_TRIES = 8
#: And within which two doors may find their way alone, before a person helps.
BY_ITSELF = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`violation` None: every invariant held. `digest` of the whole trace; `tail` its last lines."""

    seed: int
    violation: Violation | None
    digest: str
    events: int
    steps: int
    orders: int
    executions: int
    kills: int
    faults: Counter[str] = field(default_factory=Counter)
    tail: tuple[str, ...] = ()
    plan: str = ""


def run_episode(
    seed: int, adapter_type: type[IBAdapter] = IBAdapter, plan: Plan | None = None, tail: int = 60
) -> Outcome:
    """Play the episode of `seed` to its end."""
    folder = Path(tempfile.mkdtemp(prefix="moondev-sim-", dir=_fast_folder()))
    collecting = gc.isenabled()
    # what the collector finalizes must not depend on what ran before
    gc.disable()
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_play(seed, folder / "journal.sqlite", loop, adapter_type, plan, tail))
    finally:
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
        if collecting:
            gc.enable()


def _fast_folder() -> str | None:
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() else None


async def _play(
    seed: int, path: Path, loop: VirtualLoop, adapter_type: type[IBAdapter], plan: Plan | None, tail: int
) -> Outcome:
    world = World(seed, path, loop, adapter_type, plan)
    with world.installed():
        async with world.gateway:
            try:
                await _trade(world)
                if world.oracle.violation is None:
                    await _settle(world)
                if world.oracle.violation is None:
                    _compare(world)
            finally:
                await _end(world)
    return Outcome(
        seed,
        world.oracle.violation,
        world.trace.digest,
        world.trace.count,
        world.steps,
        len(world.oracle.keys),
        len(world.oracle.executions),
        sum(world.lives.values()) - len(world.lives),
        world.faults.counts,
        tuple(world.trace.tail(tail)),
        str(world.plan),
    )


async def _trade(world: World) -> None:
    for number in range(world.plan.processes):
        world.start_process(number)
    if not await world.until(lambda: all(one.connected for one in world.processes.values()), 30):
        world.oracle.fail("liveness", "the first connection did not come up")
        return
    world.trading = True
    world.faults.rate = world.plan.rate
    await world.until(lambda: False, world.plan.seconds)
    world.trading, world.is_over = False, True


async def _settle(world: World) -> None:
    """Heal, and give every process its time; where there are two doors, a person gives the pen back to the first."""
    world.heal()
    oracle = world.oracle
    # connections that are made anew end a moment later
    await asyncio.sleep(2.0)
    if world.plan.doors in (Doors.ONE_USER, Doors.TWO_USERS):
        await world.until(lambda: _is_settled(world), BY_ITSELF)
        await give_back(world)
    if not await world.until(lambda: _is_settled(world), SETTLE):
        if oracle.violation is None:
            oracle.fail("liveness", f"{SETTLE:g} s after the healing: {_unsettled(world)}")
        return
    await _read_at_rest(world)


async def _read_at_rest(world: World) -> None:
    """A last reading of everything by every process, with the market at rest."""
    for attempt in range(REST_TRIES):
        # positions are compared when the last execution is a while ago
        await asyncio.sleep(1.0)
        world.freeze()
        await asyncio.sleep(5.0)
        # a change that is still without an answer after all that time is left to the comparison
        is_quiet = _is_settled(world) and (attempt == REST_TRIES - 1 or not _has_pending(world))
        if is_quiet and await _read_all(world) and _is_settled(world):
            return
        world.thaw()
        await world.until(lambda: _is_settled(world), SETTLE / 2)
    if world.oracle.violation is None:
        world.oracle.fail("liveness", f"never at rest: {_unsettled(world)}")


async def _read_all(world: World) -> bool:
    """Whether every process could read everything."""
    for process in world.processes.values():
        try:
            await process.adapter.reconcile()
        except BrokerError as failure:
            world.trace(process.name, "the last reading failed", failure)
            return False
    # what the last reading found out is written a moment later
    await asyncio.sleep(0.5)
    return True


def _has_pending(world: World) -> bool:
    """Whether a change is on its way, which the exchange at rest would never answer. Another process's is its own
    affair."""
    return any(
        record.pending is not None and _is_own(process, record.order.client_id) and not world.is_hidden(record.key)
        for process in world.processes.values()
        for record in process.adapter.manager._book.open.values()
    )


def _is_settled(world: World) -> bool:
    return not _unsettled(world)


def _unsettled(world: World) -> str:
    """What is not in order yet; "" when all is."""
    for number in world.lives:
        process = world.processes[number]
        if not process.alive or not process.connected:
            return f"{process.name} is not connected"
        if process.busy:
            return f"{process.name} has {process.busy} calls that have not ended"
        health = process.adapter.health()
        if not health.can_trade:
            return f"{process.name} is not healthy: {health.reason}"
        if not process.adapter.manager._desk.link.synced:
            return f"{process.name} has not reconciled"
        for order in process.adapter.orders():
            own = not order.foreign and _is_own(process, order.client_id)
            if own and order.state in IN_FLIGHT and not (world.is_hidden(order.key) or _is_past_knowing(world, order)):
                return f"{process.name}: {order.key} is {order.state}"
    return ""


def _is_past_knowing(world: World, order: Order) -> bool:
    """A bracket's exit from the portal, which carries no reference, live at the exchange as a change that was never
    written down left it: nothing tells that it is ours, so that it stays UNKNOWN for a person."""
    if not order.leg or order.state is not OrderState.UNKNOWN or world.oracle.truth(order.key)[0] != "open":
        return False
    live = world.oracle.exchange.order_by_perm(min(world.oracle.keys[order.key].perm_ids))
    assert live is not None
    was = (order.intent.quantity, order.intent.limit_price, order.intent.stop_price)
    return not live.ticket.order_ref and was != (live.ticket.quantity, live.ticket.limit_price, live.ticket.stop_price)


def _is_own(process: TradingProcess, client_id: int | None) -> bool:
    return client_id == process.lease.client_id


def _compare(world: World) -> None:
    """The exchange's ledger, the journal and the adapters say the same."""
    oracle = world.oracle
    for process in world.processes.values():
        process.adapter.manager._desk.life.writer.flush()
    for process in world.processes.values():
        _compare_orders(world, process)
        _compare_fills(world, process)
    journal = world.processes[0].journal
    broken = journal.verify()
    if broken is not None:
        oracle.fail("Q21", f"the journal's chain breaks: {broken}")
    known = {row.intent.key for row in journal.load_orders()}
    if known != set(oracle.keys):
        oracle.fail("Q1", f"the journal lacks {sorted(set(oracle.keys) - known)}")
    _compare_holdings(world, process=world.processes[0])


def _compare_orders(world: World, process: TradingProcess) -> None:
    oracle = world.oracle
    for order in process.adapter.orders():
        if order.foreign or not _is_own(process, order.client_id) or order.key not in oracle.keys:
            continue
        if world.is_hidden(order.key) or _is_past_knowing(world, order):
            continue
        where, filled = oracle.truth(order.key)
        if order.filled != filled:
            oracle.fail("Q5", f"{order.key} filled {filled} at the exchange, {order.filled} for {process.name}")
        if where == "none" and order.state not in (OrderState.NOT_SENT, OrderState.REJECTED, OrderState.CANCELLED):
            oracle.fail("Q13", f"{order.key} is {order.state} for {process.name}, and the exchange never took it")
        if where == "open":
            live = oracle.exchange.order_by_perm(min(oracle.keys[order.key].perm_ids))
            assert live is not None
            if order.is_terminal:
                oracle.fail("Q13", f"{order.key} is {order.state} for {process.name}, and live at the exchange")
            elif order.intent.quantity != live.ticket.quantity or order.intent.limit_price != live.ticket.limit_price:
                oracle.fail(
                    "Q13",
                    f"{order.key} is {order.intent.quantity} at {order.intent.limit_price} for {process.name},"
                    f" {live.ticket.quantity} at {live.ticket.limit_price} at the exchange",
                )
        if where == "done" and not order.is_terminal:
            oracle.fail("Q13", f"{order.key} is {order.state} for {process.name}, and over at the exchange")


def _compare_fills(world: World, process: TradingProcess) -> None:
    """What the adapter tells of its own orders' executions."""
    oracle = world.oracle
    own = {
        key
        for key, known in oracle.keys.items()
        if known.client_id == process.lease.client_id and not world.is_hidden(key)
    }
    told = {fill.exec_id: fill.quantity for fill in process.adapter.fills() if fill.order_key in own}
    true = {row.exec_id: row.quantity for row in oracle.executions.values() if oracle.key_of(row) in own}
    if told != true:
        missing, extra = sorted(set(true) - set(told)), sorted(set(told) - set(true))
        oracle.fail("Q5", f"{process.name} lacks executions {missing} and has {extra} that are none")


def _compare_holdings(world: World, process: TradingProcess) -> None:
    """Journal and ledger: what is not the journal's own is what others traded, or what nobody could know yet."""
    oracle, journal = world.oracle, process.journal
    names = {row.instrument.con_id or 0: instrument_key(row.instrument) for row in oracle.exchange.catalogue()}
    own, others = Counter[str](), Counter[str]()
    booked = {fill.base_id for fill in journal.load_fills() if fill.order_key is not None}
    for base, row in oracle.executions.items():
        key = oracle.key_of(row)
        is_own = key and (base in booked or not world.is_hidden(key))
        table = own if is_own else others
        table[names[row.instrument.con_id or 0]] += row.side.sign * row.quantity  # type: ignore[assignment]
    held = {where: quantity for (_, where), quantity in journal.holdings().items()}
    if held != _nonzero(own):
        oracle.fail("Q5", f"the journal holds {held}, the exchange's executions are {_nonzero(own)}")
    foreign = {where: row.quantity for (_, where), row in journal.foreign_positions().items() if row.quantity}
    # a difference in a contract with an order in doubt is left alone: it may be that order
    unknown = {instrument_key(row.instrument) for row in process.adapter.orders() if row.state is OrderState.UNKNOWN}
    settled = {where: quantity for where, quantity in _nonzero(others).items() if where not in unknown}
    if {where: quantity for where, quantity in foreign.items() if where not in unknown} != settled:
        oracle.fail("Q13", f"the journal calls {foreign} foreign, others have traded {_nonzero(others)}")
    ledger = {instrument_key(row.instrument): row.quantity for row in oracle.exchange.positions()}
    total = {where: own[where] + others[where] for where in {*own, *others}}
    if ledger != {where: quantity for where, quantity in total.items() if quantity}:
        oracle.fail("Q5", f"the ledger has {ledger}, executions add up to {total}")


def _nonzero(table: Counter[str]) -> dict[str, Decimal]:
    return {where: Decimal(quantity) for where, quantity in table.items() if quantity}


async def _end(world: World) -> None:
    """In good order where there is any, so that nothing is left to the collector."""
    world.trading = False
    world.faults.heal()
    for process in list(world.processes.values()):
        if process.alive:
            world.loop.drop(process)
            world.loop.bury(process)
            process.lease.release()
            process.journal.close()
    await asyncio.sleep(0)
