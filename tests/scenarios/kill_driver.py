"""A trading process that ends itself with SIGKILL at one named step; run by `kill_rig`, never by production code.

`python -m tests.scenarios.kill_driver` reads one job a line (JSON) and forks a process for each, so that a kill costs
no interpreter start. A job names the gateway's port, the journal's file, a story, and the step to die at; a job
without a step runs to the end and answers with every step that it took, in order.

Steps are cut from outside: the journal is subclassed, the transport's `write` and the port's listener are wrapped.

    journal record_intents before | inside | after      before BEGIN, before COMMIT, after COMMIT
    wire placeOrder 1 before | half | after             of the bytes handed to the socket
    heard status Submitted                              a message of the broker, decoded and not yet applied
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.domain.order import Bracket, NewOrder, OrderChange, leg_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import ConnectFailed
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.connection import open_tcp
from moondev_ibkr.brokers.interactive_brokers.ib_data_manager import DataPolicy
from moondev_ibkr.brokers.journal import Journal, Observed
from moondev_ibkr.brokers.orders import OrderSettings

from .adapter_world import QUICK, WIDE, buy

#: Methods of the journal that write: those that open a transaction.
WRITING = tuple(
    name
    for name, method in inspect.getmembers(Journal, inspect.isfunction)
    if "self.database.transaction(" in inspect.getsource(method)
)
MESSAGES = {b"3": "placeOrder", b"4": "cancelOrder", b"58": "reqGlobalCancel"}
#: What follows the first order's key in the keys of the orders beside it -> how the steps name them.
LEGS = {"": "entry", "-1": "stop", "-2": "target", "-3": "replacement", "-rest": "resting"}
SETTINGS = OrderSettings(quiet_time=0.1, retry_delay=0.05, protect_delay=0.05, protect_within=0.3, cancel_deadline=1.0)
#: As in the shared world, with time for a machine that is busy.
PATIENT = replace(QUICK, handshake_deadline=10, section_deadline=10, idle_before_probe=30, probe_deadline=10)
IN_DOUBT = frozenset({OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN, OrderState.PENDING_CANCEL})
#: What earlier stories left in the account stays there.
PLENTY = Decimal(10**10)


class Knife:
    """Notes every step once, and ends the process at the armed one."""

    def __init__(self, armed: str | None, key: str) -> None:
        self.armed = armed
        self._key = key
        self.live = False
        self.steps: dict[str, None] = {}

    def leg_of(self, key: str | None) -> str:
        """How the steps name an order; "close" for those whose key the manager made."""
        return LEGS.get((key or "").removeprefix(self._key), "close")

    def at(self, step: str) -> None:
        if not self.live:
            return
        self.steps[step] = None
        if step == self.armed:
            os.kill(os.getpid(), signal.SIGKILL)


class CutJournal(Journal):
    """A journal with a step before, inside and after every transaction."""

    def __init__(self, path: str, knife: Knife, **options: Any) -> None:
        self._knife = knife
        self._labels: list[str] = []
        super().__init__(path, **options)
        commit = self.database._commit

        def cut_commit() -> None:
            for label in self._labels:
                knife.at(f"journal {label} inside")
            commit()

        self.database._commit = cut_commit  # type: ignore[method-assign]

    def cut(self, labels: list[str], write: Callable[[], Any]) -> Any:
        for label in labels:
            self._knife.at(f"journal {label} before")
        self._labels = labels
        answer = write()
        self._labels = []
        for label in labels:
            self._knife.at(f"journal {label} after")
        return answer


def _cut(name: str) -> Callable[..., Any]:
    def method(self: CutJournal, *args: Any, **options: Any) -> Any:
        labels = [] if name == "write" else [name]
        observed = args[0] if name == "write" else options.get("observed")
        if observed is not None:
            labels += labels_of(observed, self._knife.leg_of)
        return self.cut(labels, lambda: getattr(Journal, name)(self, *args, **options))

    return method


for _name in WRITING:
    setattr(CutJournal, _name, _cut(_name))


def labels_of(observed: Observed, leg_of: Callable[[str | None], str]) -> list[str]:
    """What a batch holds. Batches are cut where packets end, so each thing in one is a step of its own."""
    labels = []
    for kind, key, body in observed.notes:
        what = json.loads(body)["to"] if kind == "STATE" else kind
        labels.append(f"write {leg_of(key)} {what}")
    labels += [f"write {leg_of(fill.order_key)} FILL" for fill in observed.fills]
    labels += ["write COMMISSION"] * bool(observed.commissions)
    return list(dict.fromkeys(labels))


class CutTransport:
    """The transport of the link, with a step before, in the middle of and after every order message."""

    def __init__(self, transport: asyncio.Transport, knife: Knife) -> None:
        self._transport = transport
        self._knife = knife
        self._counts: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, payload: bytes) -> None:
        name = MESSAGES.get(payload[4:].split(b"\0", 1)[0])
        if name is None:
            self._transport.write(payload)
            return
        self._counts[name] = number = self._counts.get(name, 0) + 1
        step = f"wire {name} {number}"
        self._knife.at(f"{step} before")
        if self._knife.armed == f"{step} half":
            self._transport.write(payload[: len(payload) // 2])
        self._knife.at(f"{step} half")
        self._transport.write(payload)
        self._knife.at(f"{step} after")


class CutListener:
    """The order listener behind the port, with a step before every message."""

    def __init__(self, listener: Any, knife: Knife) -> None:
        self._listener = listener
        self._knife = knife

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)

    def on_broker_order(self, order: Any) -> None:
        self._knife.at(f"heard openOrder {self._knife.leg_of(order.key)}")
        self._listener.on_broker_order(order)

    def on_status(self, report: Any) -> None:
        self._knife.at(f"heard status {report.status.value}")
        self._listener.on_status(report)

    def on_execution(self, fill: Any) -> None:
        self._knife.at("heard execution")
        self._listener.on_execution(fill)

    def on_commission(self, report: Any) -> None:
        self._knife.at("heard commission")
        self._listener.on_commission(report)


class CutClient(IbAsyncClient):
    def __init__(self, knife: Knife, *args: Any, **options: Any) -> None:
        self._knife = knife
        super().__init__(*args, opener=self._open, **options)

    async def _open(self, protocol: Any, host: str, port: int) -> asyncio.Transport:
        transport = await open_tcp(protocol, host, port)
        protocol.transport = CutTransport(transport, self._knife)
        return transport

    def set_listener(self, listener: Any) -> None:
        super().set_listener(CutListener(listener, self._knife))


def make_adapter(port: int, journal: str, client_id: int, knife: Knife | None = None) -> IBAdapter:
    """The adapter of one trading process. Without a knife nothing is wrapped."""
    clock = MarketClock(rate=0.0)
    settings = replace(PATIENT, port=port, client_id=client_id)
    if knife is None:
        client, book = IbAsyncClient(settings, clock=clock), Journal(journal, now=clock.now)
    else:
        client, book = CutClient(knife, settings, clock=clock), CutJournal(journal, knife, now=clock.now)
    policy = replace(WIDE, max_position_value=PLENTY, max_exposure=PLENTY)
    data = DataPolicy(quote_deadline=5.0, freshen_deadline=2.0)
    return IBAdapter(client, journal=book, policy=policy, clock=clock, data=data, orders=SETTINGS)


# Stories


async def until(condition: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None


def requests(story: str, key: str) -> NewOrder | Bracket:
    """What a story asks for first, at prices around those of seed 0 (AAPL 250, MSFT 370)."""
    if story in ("market", "stop"):
        return buy(10, key=key)
    if story in ("limit", "asked"):
        return buy(10, key=key, limit=210)
    if story == "part":
        return buy(3000, "MSFT", key=key, limit=390)
    if story == "part-bracket":
        return Bracket(buy(3000, "MSFT", key=key, limit=390), Decimal(310), Decimal(440))
    return Bracket(buy(10, key=key, limit=270), Decimal(215), Decimal(290))


SYMBOLS = {"part": "MSFT", "part-bracket": "MSFT"}


async def story_market(adapter: IBAdapter, asked: Any) -> None:
    order = await adapter.place(asked)
    await until(lambda: adapter.order(order.key).commission is not None, "the commission")


async def story_limit(adapter: IBAdapter, asked: NewOrder) -> None:
    order = await adapter.place(asked)
    assert asked.limit_price is not None
    await adapter.modify(order.key, OrderChange(limit_price=asked.limit_price + 1, quantity=Decimal(20)))
    await adapter.cancel(order.key)


async def story_part(adapter: IBAdapter, asked: NewOrder) -> None:
    order = await adapter.place(asked)
    await until(lambda: adapter.order(order.key).filled > 0, "a partial fill")
    await until(lambda: adapter.order(order.key).commission is not None, "the commission")
    await adapter.cancel(order.key)


async def story_bracket(adapter: IBAdapter, asked: Bracket) -> None:
    await adapter.place(asked)
    await until(lambda: adapter.order(asked.key).commission is not None, "the commission")
    stop, target = (leg.key for leg in asked.legs()[1:])
    await until(lambda: adapter.order(stop).state == "PRE_SUBMITTED", "the stop")
    await until(lambda: adapter.order(target).state == "WORKING", "the target")


async def story_part_bracket(adapter: IBAdapter, asked: Bracket) -> None:
    """The entry fills in part, and the exits are cut to what is held."""
    await adapter.place(asked)
    stop, target = (leg.key for leg in asked.legs()[1:])
    await until(lambda: 0 < adapter.order(asked.key).filled < asked.entry.quantity, "a partial fill")
    filled = adapter.order(asked.key).filled
    for key in (stop, target):
        await until(lambda key=key: adapter.order(key).intent.quantity == filled, f"{key} to be resized")


async def story_stop(adapter: IBAdapter, asked: NewOrder) -> None:
    """The kill switch with a position held and an order resting."""
    order = await adapter.place(asked)
    await until(lambda: adapter.order(order.key).commission is not None, "the commission")
    await adapter.place(buy(10, key=f"{order.key}-rest", limit=210))
    await adapter.emergency_stop("killed here")


Story = Callable[[IBAdapter, Any], Awaitable[None]]
STORIES: dict[str, Story] = {
    "market": story_market,
    "limit": story_limit,
    "part": story_part,
    "bracket": story_bracket,
    "part-bracket": story_part_bracket,
    "stop": story_stop,
}


#: Plays a job and answers with its steps.
Teller = Callable[[dict[str, Any]], Coroutine[Any, Any, dict[str, Any]]]


async def tell(job: dict[str, Any]) -> dict[str, Any]:
    """Run a job's story. Answers only when nothing killed it."""
    knife = Knife(job["step"], job["key"])
    return await play(job, make_adapter(job["port"], job["journal"], job["client_id"], knife), knife)


async def play(
    job: dict[str, Any], adapter: IBAdapter, knife: Knife, stories: Mapping[str, Story] = MappingProxyType(STORIES)
) -> dict[str, Any]:
    """One of `stories`, or a recovery, by an adapter that this knife cuts."""
    story = job["story"]
    knife.live = story == "recover"
    await connect(adapter)
    if story != "recover":
        await adapter.quote(SYMBOLS.get(story, "AAPL"))
        asked = requests(story, job["key"])
        knife.live = True
        await stories[story](adapter, asked)
    else:
        await until(lambda: is_recovered(adapter, job["key"]), "the recovery")
    adapter.manager._desk.life.writer.flush()
    knife.live = False
    await adapter.disconnect()
    adapter.journal.close()
    return {"steps": list(knife.steps)}


def is_recovered(adapter: IBAdapter, key: str) -> bool:
    """Nothing is in doubt, and a bracket's entry is over or has its stop."""
    own = {order.key: order for order in adapter.orders() if not order.foreign}
    if any(order.state in IN_DOUBT for order in own.values()):
        return False
    stop = own.get(leg_key(key, 1))
    return stop is None or own[key].is_terminal or stop.state is OrderState.PRE_SUBMITTED


async def connect(adapter: IBAdapter) -> None:
    """As often as the gateway still sees the dead process on this client id."""
    async with asyncio.timeout(10):
        while True:
            try:
                await adapter.connect()
                return
            except ConnectFailed as failure:
                if failure.kind != "client_id_in_use":
                    raise
                await asyncio.sleep(0.02)


def obey(job: dict[str, Any], play_one: Teller) -> dict[str, Any]:
    """One job in a process of its own: how that ended, and what it answered."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            answer = asyncio.run(play_one(job))
        except BaseException as failure:
            answer = {"error": f"{type(failure).__name__}: {failure}"}
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(pid, 0)
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    return {"pid": pid, "signal": ended, **(json.loads(answer) if answer else {})}


def warm() -> None:
    """Load what is loaded at first use, so that no forked process has to."""
    MarketCalendar().trading_day(date(2026, 4, 15))
    gc.collect()
    gc.freeze()


def serve(play_one: Teller) -> None:
    """A job a line, until the input ends."""
    warm()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(obey(json.loads(line), play_one)) + "\n")
        sys.stdout.flush()


ROOT = Path(__file__).parents[2]

if __name__ == "__main__":
    serve(tell)
