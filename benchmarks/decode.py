"""Decoding and encoding: raw ib_async against this package's link, in turns, in one process.

    python -m benchmarks.decode [--rounds N] [--json]

Both sides get the same bytes through their connection's `data_received` and end with the same Tickers; nothing is
sent over a socket. The figure of a row is the median of the rounds, the ratio is raw time over our time.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import random
import statistics
import struct
import time
from collections.abc import Callable
from typing import Any

from ib_async import LimitOrder, Stock
from ib_async.client import Client
from ib_async.ib import IB
from ib_async.order import OrderStatus, Trade
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.api import TwsApi
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.connection import LinkConnection
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.fast_frames import WHY_NOT_COMPILED, CompiledFrameReader
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.frames import FrameReader
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.message_rate import RateLimit
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.send_queue import SendQueue

SYMBOLS = 200
CONTRACT = (265598, "AAPL", "STK", "", 0.0, "", "", "SMART", "USD", "AAPL", "NMS")
AAPL = Stock("AAPL", "SMART", "USD", conId=265598)


def msg(*fields: object) -> bytes:
    payload = ("\0".join(str(field) for field in fields) + "\0").encode()
    return struct.pack(">I", len(payload)) + payload


def quote_messages(count: int) -> list[bytes]:
    """Bid and ask prices of 200 symbols, each followed by the duplicate size that TWS sends."""
    rng = random.Random(1)
    messages = []
    for _ in range(count // 2):
        request, is_bid = rng.randrange(1, SYMBOLS + 1), rng.random() < 0.5
        size = rng.randrange(1, 9) * 100
        messages.append(msg(1, 6, request, 1 if is_bid else 2, round(rng.uniform(10, 500), 2), size, 1))
        messages.append(msg(2, 6, request, 0 if is_bid else 3, size))
    return messages


def packets(messages: list[bytes], size: int) -> list[bytes]:
    return [b"".join(messages[at : at + size]) for at in range(0, len(messages), size)]


def raw_client() -> IB:
    ib = IB()
    client = ib.client
    client.connState, client._serverVersion, client._apiReady = Client.CONNECTED, 178, True
    client.decoder.serverVersion = 178
    client.MaxRequests = 0
    client.conn.sendMsg = lambda payload: None
    return ib


def decoders() -> list[tuple[str, type[FrameReader]]]:
    """Both readers by name; the compiled one where it was built."""
    return [("pure", FrameReader)] + ([] if WHY_NOT_COMPILED else [("compiled", CompiledFrameReader)])


def our_client(reader: type[FrameReader] = FrameReader) -> TwsApi:
    api = TwsApi()
    link = api.client
    link.connState, link._serverVersion, link._apiReady = Client.CONNECTED, 178, True
    link.decoder.serverVersion = 178
    link._reader = reader(api.wrapper, link._on_message, link._on_malformed_tick, lambda why: None)
    link.conn = LinkConnection()
    link.conn.on_data = link._on_data
    limit = RateLimit(1_000_000, 0.001, 0, 0)
    link._queue = SendQueue(lambda payload: True, time.monotonic, lambda when, callback: _NoTimer(), limit)
    return api


class _NoTimer:
    def cancel(self) -> None:
        return None


def subscribe(ib: IB) -> None:
    for request in range(1, SYMBOLS + 1):
        contract = Stock(f"S{request}", "SMART", "USD", conId=request)
        ib.wrapper.startTicker(request, contract, "mktData")


def seconds(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(
    name: str, unit: str, count: int, rounds: int, raw: Callable[[], object], ours: Callable[[], object]
) -> dict[str, Any]:
    """Time both in turns; `count` things are done per call."""
    times: tuple[list[float], list[float]] = ([], [])
    raw()
    ours()
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            times[side].append(seconds((raw, ours)[side]))
    medians = [statistics.median(side) for side in times]
    per = [1e6 * median / count for median in medians]
    return {"name": name, "unit": unit, "raw": per[0], "ours": per[1], "ratio": medians[0] / medians[1]}


#: Message for a request and a number, by kind; bid and ask have rows of their own.
KINDS: dict[str, Callable[[int, int], bytes]] = {
    "last price and volume": lambda request, n: msg(1, 6, request, 4, 100 + n / 100, n, 0) + msg(2, 6, request, 8, n),
    "generic": lambda request, n: msg(45, 6, request, 49, n),
    "string": lambda request, n: msg(46, 6, request, 84, "NYSE" if n % 2 else "ARCA"),
    "time of last": lambda request, n: msg(46, 6, request, 45, 1_700_000_000 + n),
    "tick-by-tick, trades": lambda request, n: msg(99, request, 2, 1_700_000_000, 100 + n / 100, n, 0, "NYSE", " FT"),
    "tick-by-tick, bid and ask": lambda request, n: msg(99, request, 3, 1_700_000_000, 100, 100 + n / 100, n, 7, 1),
    "tick-by-tick, mid": lambda request, n: msg(99, request, 4, 1_700_000_000, 100 + n / 100),
    "depth": lambda request, n: msg(12, 1, request, n % 10, n % 2, n % 2, 100 + n / 100, n),
    "depth by maker": lambda request, n: msg(13, 1, request, n % 10, "NSDQ", n % 2, n % 2, 100 + n / 100, n, 1),
}


def tick_rows(rounds: int) -> list[dict[str, Any]]:
    messages = quote_messages(10_000)
    rows = []
    for size, name in ((10_000, "burst of 10 000"), (100, "packets of 100"), (10, "packets of 10"), (1, "one by one")):
        rows += decoding_rows(f"ticks, {name}", packets(messages, size), len(messages), rounds)
    return rows


def kind_rows(rounds: int) -> list[dict[str, Any]]:
    """Every other kind of tick, 100 to a packet."""
    rng = random.Random(2)
    rows = []
    for name, make in KINDS.items():
        messages = [make(rng.randrange(1, SYMBOLS + 1), number) for number in range(1, 2_001)]
        rows += decoding_rows(name, packets(messages, 100), len(messages), rounds)
    return rows


def decoding_rows(name: str, data: list[bytes], count: int, rounds: int) -> list[dict[str, Any]]:
    def feed(receive: Callable[[bytes], None]) -> None:
        for packet in data:
            receive(packet)

    rows = []
    for decoder, reader in decoders():
        raw, ours = raw_client(), our_client(reader)
        subscribe(raw)
        subscribe(ours)
        receivers = (raw.client.conn.data_received, ours.client.conn.data_received)
        work = [lambda receive=receive: feed(receive) for receive in receivers]
        rows.append(compare(f"{name}, {decoder}", "us per message", count, rounds, *work))
    return rows


def execution_fields(number: int) -> tuple[object, ...]:
    stamp = "20250102 10:00:00 US/Eastern"
    ids = (f"0000e0d5.{number:08x}.01.01", stamp, "DU1", "NASDAQ", "BOT", 1, 150.25, 1999, 7, 0, number)
    return (11, -1, 5, *CONTRACT, *ids, 150.25, "k-1", "", "", "", 2, 0)


def fill_messages(first: int, count: int) -> list[bytes]:
    """What TWS sends for each partial fill: execution, status, commission."""
    messages = []
    for number in range(first, first + count):
        status = msg(3, 5, "Submitted", number, 10_000 - number, 150.25, 1999, 0, 150.25, 7, "", 0.0)
        commission = msg(59, 1, f"0000e0d5.{number:08x}.01.01", 1.0, "USD", "1.7976931348623157E308", "", "")
        messages.append(msg(*execution_fields(number)) + status + commission)
    return messages


def fill_row(earlier: int, rounds: int) -> dict[str, Any]:
    """The cost of one more fill of an order that has `earlier` fills already."""
    raw, ours = raw_client(), our_client()
    raw.wrapper.clientId = 7
    order = LimitOrder("BUY", 10_000, 150.25, orderId=5, clientId=7, permId=1999)
    trade = Trade(AAPL, order, OrderStatus(orderId=5, status="Submitted"), [], [])
    raw.wrapper.trades[(7, 5)] = raw.wrapper.permId2Trade[1999] = trade
    for packet in fill_messages(1, earlier):
        raw.client.conn.data_received(packet)
        ours.client.conn.data_received(packet)
    streams = {side: iter(fill_messages(earlier + 1, (rounds + 1) * 5)) for side in ("raw", "ours")}

    def five(side: str, receive: Callable[[bytes], None]) -> None:
        for _ in range(5):
            receive(next(streams[side]))

    return compare(
        f"one more fill after {earlier}",
        "us per fill",
        5,
        rounds,
        lambda: five("raw", raw.client.conn.data_received),
        lambda: five("ours", ours.client.conn.data_received),
    )


def place_row(rounds: int) -> dict[str, Any]:
    raw, ours = raw_client(), our_client()
    order = LimitOrder("BUY", 100, 150.25, orderRef="k-1")

    def place(client: Any) -> None:
        for number in range(200):
            client.placeOrder(number, AAPL, order)

    return compare(
        "placeOrder, encoded and queued",
        "us per order",
        200,
        rounds,
        lambda: place(raw.client),
        lambda: place(ours.client),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each side (default 15)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rounds = arguments.rounds
    rows = tick_rows(rounds) + kind_rows(rounds)
    rows += [fill_row(earlier, rounds) for earlier in (10, 200, 1000)]
    rows.append(place_row(rounds))
    if arguments.json:
        print(json.dumps({"rows": rows}, indent=1))
        return
    print(f"{'what':40} {'raw ib_async':>14} {'this link':>12} {'ratio':>8}   unit")
    for row in rows:
        print(f"{row['name']:40} {row['raw']:14.2f} {row['ours']:12.2f} {row['ratio']:7.2f}x   {row['unit']}")


if __name__ == "__main__":
    main()
