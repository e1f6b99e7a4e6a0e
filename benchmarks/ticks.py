"""Ticks per second to a subscriber, by burst size.

The gateway's process pours 100 lines' ticks that it rendered beforehand, as fast as the client reads. The client's
transport is told to take exactly one burst of bytes at a time (`max_size`, the same on both sides), so that a burst of
1 is one message per read and turn of the event loop. A rate is messages over the time from the command to the moment
the subscriber saw the last one. Raw's subscriber is a handler of `pendingTickersEvent`; ours is `async for quote in
broker.stream(symbols)`, and beside it a listener of `add_market_listener`, which reads lines without making quotes, and
a reader of `broker.quote_table(symbols).changes()`, which looks at columns. Rows say which decoder they ran on; those
of the compiled one are left out where it was not built.

"Reading alone" is an asyncio protocol that counts bytes and decodes nothing: what event loop and socket leave to any
client. `net_ratio` of a row is the ratio of the time per tick beyond that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ib_async import IB
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.fast_frames import WHY_NOT_COMPILED
from moondev_ibkr.config.profiles import PROFILES, ProfileName
from moondev_ibkr.config.settings import TickDecoder

from .market import LAST, symbol_names
from .options import Options
from .rows import Aim, Row, faster
from .servers import GatewayServer
from .sides import BARE_CLIENT, OUR_CLIENT, RAW_CLIENT, our_side, raw_side, stock
from .statistics import median

#: Burst -> messages a measurement.
BURSTS = {1: 40_000, 10: 80_000, 100: 200_000, 10_000: 400_000}
#: The same where a profile conflates: the last tick waits up to 0.1 s, which must not be most of what is measured.
LONG_BURSTS = {1: 400_000, 10: 800_000, 100: 2_000_000, 10_000: 2_000_000}
ONE_BY_ONE = Aim("ratio", ">=", 1.3, ">= 1.3x")
AIMS: dict[int, Aim | None] = {1: ONE_BY_ONE, 10_000: Aim("ratio", ">=", 3.0, ">= 3x pure")}
COMPILED_AIMS: dict[int, Aim | None] = {1: ONE_BY_ONE, 10_000: Aim("ratio", ">=", 8.0, ">= 8x compiled")}
SLIM: dict[int, Aim | None] = dict.fromkeys(BURSTS, Aim("ratio", ">=", 3.0, ">= 3x (slim)"))


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to subscribe: `reader` is "stream", "lines" or "table"."""

    title: str
    reader: str
    decoder: TickDecoder
    aims: dict[int, Aim | None]
    profile: str = "ultra_low_latency"


PLANS = (
    Plan("stream, every change, pure", "stream", TickDecoder.PURE, AIMS),
    Plan("stream, every change, compiled", "stream", TickDecoder.COMPILED, COMPILED_AIMS),
    Plan("stream, default profile", "stream", TickDecoder.AUTO, {}, "balanced"),
    Plan("line listener, pure", "lines", TickDecoder.PURE, SLIM),
    Plan("line listener, compiled", "lines", TickDecoder.COMPILED, SLIM),
    Plan("quote table, compiled", "table", TickDecoder.COMPILED, SLIM),
)


class Finish:
    """Told by a subscriber that it saw the last tick."""

    def __init__(self) -> None:
        self._seen = asyncio.Event()

    def arm(self) -> None:
        self._seen.clear()

    def saw_last(self) -> None:
        self._seen.set()

    async def wait(self) -> None:
        await asyncio.wait_for(self._seen.wait(), 120.0)


def raw_subscriber(finish: Finish, bids: dict[int, float]) -> Callable[[Iterable[Any]], None]:
    def on_tickers(tickers: Iterable[Any]) -> None:
        for ticker in tickers:
            bid = bids[ticker.contract.conId] = ticker.bid
            if bid == LAST:
                finish.saw_last()

    return on_tickers


async def stream_subscriber(adapter: IBAdapter, symbols: list[str], finish: Finish, bids: dict[int, float]) -> None:
    async for quote in adapter.stream(symbols):
        bid = bids[quote.instrument.con_id] = quote.bid  # type: ignore[union-attr,index]
        if bid == LAST:
            finish.saw_last()


class LineListener:
    """Reads lines as they change: no Quote is made."""

    def __init__(self, finish: Finish, bids: dict[int, float]) -> None:
        self._finish, self._bids = finish, bids

    def on_lines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            bid = self._bids[line.instrument.con_id] = line.ticker.bid
            if bid == LAST:
                self._finish.saw_last()

    def on_trade(self, trade: object) -> None: ...

    def on_bid_ask(self, tick: object) -> None: ...

    def on_depth(self, depth: object) -> None: ...


async def table_subscriber(adapter: IBAdapter, symbols: list[str], finish: Finish) -> None:
    async with adapter.quote_table(symbols) as table:
        async for rows in table.changes():
            if (table.bid[rows] == LAST).any():
                finish.saw_last()


class ByteCounter(asyncio.Protocol):
    """Takes bytes and does nothing with them; done after `total`."""

    def __init__(self, total: int, finish: Finish) -> None:
        self._left, self._finish = total, finish

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left <= 0:
            self._finish.saw_last()


class Flood:
    """One side with its lines open and its subscriber listening."""

    def __init__(self, server: GatewayServer, client: int, transport: Any, finish: Finish) -> None:
        self._server, self._client, self._transport, self._finish = server, client, transport, finish
        self._bytes = 0
        self.total = 0

    async def render(self, messages: int, lines: int) -> None:
        answer = await self._server.tell("render", client=self._client, messages=messages)
        if not answer["equal"] or answer["lines"] != lines:
            raise RuntimeError(f"the flood is not what was ordered: {answer}")
        self._bytes, self.total = answer["bytes_per_message"], answer["total"]

    def count_only(self) -> None:
        """Read the next flood's bytes without decoding; this side can do nothing else afterwards."""
        self._transport.set_protocol(ByteCounter(self.total, self._finish))

    async def rate(self, burst: int, messages: int) -> float:
        """Messages a second until the subscriber saw the last one."""
        self._transport.max_size = burst * self._bytes
        self._finish.arm()
        started = time.perf_counter()
        poured = asyncio.ensure_future(self._server.tell("pour", client=self._client))
        await self._finish.wait()
        rate = messages / (time.perf_counter() - started)
        await poured
        return rate


async def open_raw(server: GatewayServer, ib: IB, symbols: list[str], client: int = RAW_CLIENT) -> Flood:
    finish = Finish()
    ib.pendingTickersEvent += raw_subscriber(finish, {})
    tickers = [ib.reqMktData(stock(symbol)) for symbol in symbols]
    while any(ticker.bid != ticker.bid for ticker in tickers):
        await asyncio.sleep(0.05)
    return Flood(server, client, ib.client.conn.transport, finish)


async def all_quoted(adapter: IBAdapter, symbols: list[str]) -> None:
    quotes = await adapter.quotes(symbols)
    if len(quotes) != len(symbols):
        raise RuntimeError(f"no quote of {sorted(set(symbols) - set(quotes))[:3]}: {adapter.data.quote_errors}")


def our_transport(adapter: IBAdapter) -> Any:
    return adapter.transport._api.client.conn.transport  # type: ignore[attr-defined]


async def run(options: Options) -> list[Row]:
    symbols = symbol_names(options.amount(100, 4))
    rows = []
    async with GatewayServer(symbols=len(symbols)) as server:
        for plan in PLANS:
            if plan.decoder is TickDecoder.COMPILED and WHY_NOT_COMPILED:
                continue
            counts = LONG_BURSTS if PROFILES[ProfileName(plan.profile)].conflation_ms else BURSTS
            bursts = {burst: options.amount(count, 200) for burst, count in counts.items()}
            rates = await _compare(server, symbols, bursts, options.rounds, plan)
            for burst, (raw, ours, bare) in rates.items():
                alone = _beyond_reading(median(raw), median(ours), median(bare))
                rows.append(
                    faster(
                        "ticks", f"bursts of {burst}, {plan.title}", "ticks/s", raw, ours, plan.aims.get(burst), **alone
                    )
                )
    return rows


def _beyond_reading(raw: float, ours: float, bare: float) -> dict[str, float]:
    """`net_ratio` is left out where a busy machine made a client faster than reading alone."""
    extra = {"reading_alone": bare}
    if raw < bare and ours < bare:
        extra["net_ratio"] = (1 / raw - 1 / bare) / (1 / ours - 1 / bare)
    return extra


@asynccontextmanager
async def subscribed(server: GatewayServer, symbols: list[str], plan: Plan) -> AsyncIterator[tuple[IBAdapter, Finish]]:
    """Our side with every symbol quoted and the plan's subscriber at work."""
    finish = Finish()
    async with our_side(server, profile=plan.profile, tick_decoder=plan.decoder, market_data_lines=1_000) as adapter:
        await all_quoted(adapter, symbols)
        if plan.reader == "lines":
            adapter.transport.add_market_listener(LineListener(finish, {}))
            yield adapter, finish
            return
        is_table = plan.reader == "table"
        consumer = asyncio.create_task(
            table_subscriber(adapter, symbols, finish) if is_table else stream_subscriber(adapter, symbols, finish, {})
        )
        try:
            yield adapter, finish
        finally:
            consumer.cancel()
            await asyncio.wait([consumer])


async def _compare(
    server: GatewayServer,
    symbols: list[str],
    bursts: dict[int, int],
    rounds: int,
    plan: Plan,
) -> dict[int, tuple[list[float], list[float], list[float]]]:
    """Rates by burst: raw's, ours and reading alone, one of each a round."""
    rates: dict[int, tuple[list[float], list[float], list[float]]] = {burst: ([], [], []) for burst in bursts}
    async with AsyncExitStack() as stack:
        raw = await open_raw(server, await stack.enter_async_context(raw_side(server)), symbols)
        bare_ib = await stack.enter_async_context(raw_side(server, BARE_CLIENT))
        bare = await open_raw(server, bare_ib, symbols, BARE_CLIENT)
        adapter, finish = await stack.enter_async_context(subscribed(server, symbols, plan))
        sides = (raw, Flood(server, OUR_CLIENT, our_transport(adapter), finish), bare)
        for burst, messages in bursts.items():
            for side in sides:
                await side.render(messages, len(symbols))
                if side is bare:
                    side.count_only()
                await side.rate(burst, messages)
            for number in range(rounds):
                turn = number % len(sides)
                for place in (0, 1, 2)[turn:] + (0, 1, 2)[:turn]:
                    if sides[place] is bare:
                        bare.count_only()
                    rates[burst][place].append(await sides[place].rate(burst, messages))
    return rates
