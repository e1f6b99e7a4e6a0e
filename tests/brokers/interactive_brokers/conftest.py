"""A scripted transport: the managers' other side, with no wire and no waiting."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.clock import ManualClock
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails, PriceIncrement
from moondev_ibkr.brokers.domain.market_data import Bar, DataType, Quote
from moondev_ibkr.brokers.errors import DeadlineExceeded
from moondev_ibkr.brokers.interactive_brokers.ib_contracts import ContractBook

OPEN = datetime(2025, 1, 2, 15, 0, tzinfo=UTC)
NUMBERS = {"AAPL": 265598, "MSFT": 272093, "IBM": 8314, "BRK B": 72063691}


def listing(symbol, **changes):
    """Contract details as IB would tell them."""
    instrument = Instrument(
        symbol, con_id=NUMBERS.get(symbol, 1000 + sum(map(ord, symbol))), primary_exchange="NASDAQ", local_symbol=symbol
    )
    return InstrumentDetails(
        replace(instrument, **changes),
        long_name=f"{symbol} INC",
        valid_exchanges=("SMART", "NYSE"),
        market_rule_ids=(26, 557),
        order_types=frozenset({"LMT", "MKT"}),
        identifiers=(("ISIN", "US0378331005"),),
    )


class FakeLine:
    """A quote line driven by hand."""

    def __init__(self, instrument, clock):
        self.instrument = instrument
        self.clock = clock
        self.updates = 0
        self.last_update = None
        self.error = None
        self.data_type = DataType.LIVE
        self.value = None
        self.waiters = []

    def tell(self, **prices):
        self.updates += 1
        self.last_update = self.clock.monotonic()
        self.value = Quote(self.instrument, self.clock.now(), data_type=self.data_type, **prices)
        self._wake()

    def fail(self, error):
        self.error = error
        self._wake()

    def _wake(self):
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def quote(self):
        return self.value

    def shortable(self):
        return 3.0, 5000.0

    async def first(self, deadline):
        if self.value is None and self.error is None:
            waiter = asyncio.get_running_loop().create_future()
            self.waiters.append(waiter)
            try:
                await asyncio.wait_for(waiter, deadline)
            except TimeoutError:
                raise DeadlineExceeded("first tick", timedelta(seconds=deadline)) from None
        if self.error is not None:
            raise self.error
        return self.value


class FakeTransport:
    """Answers from tables; counts what it was asked. `quotes` maps a symbol to prices or to the error it gives."""

    name = "tws"

    def __init__(self, clock):
        self.clock = clock
        self.farms_down = {}
        self.asked = Counter()
        self.contracts = {symbol: [listing(symbol)] for symbol in NUMBERS}
        self.rules = {26: (PriceIncrement(Decimal(0), Decimal("0.0001")), PriceIncrement(Decimal(1), Decimal("0.01")))}
        self.quotes = {}
        self.lines = {}
        self.users = Counter()
        self.most_lines = 0
        self.handles = {}
        self.history = []
        self.requests = []
        self.hold = None
        self.live = []
        self.live_answers = []
        self.ticks = {}
        self.link_listeners = []
        self.market_listeners = []
        self.state = None
        self.alarms = []

    def add_link_listener(self, listener):
        self.link_listeners.append(listener)

    def add_market_listener(self, listener):
        self.market_listeners.append(listener)

    async def contract_details(self, instrument):
        self.asked["details"] += 1
        if self.hold is not None:
            await self.hold.wait()
        else:
            await asyncio.sleep(0)
        found = self.contracts.get(instrument.symbol, [])
        if isinstance(found, Exception):
            raise found
        return found

    async def market_rule(self, rule_id):
        self.asked["rule"] += 1
        rule = self.rules[rule_id]
        if isinstance(rule, Exception):
            raise rule
        return rule

    def subscribe_quotes(self, instrument):
        self.users[instrument.con_id] += 1
        line = self.lines.get(instrument.con_id)
        if line is None:
            self.asked["line"] += 1
            line = self.lines[instrument.con_id] = FakeLine(instrument, self.clock)
            self.most_lines = max(self.most_lines, len(self.lines))
            script = self.quotes.get(instrument.symbol)
            if isinstance(script, Exception):
                line.fail(script)
            elif script is not None:
                asyncio.get_running_loop().call_soon(lambda: line.tell(**script))
        return line

    def unsubscribe_quotes(self, instrument):
        self.users[instrument.con_id] -= 1
        if not self.users[instrument.con_id]:
            del self.lines[instrument.con_id]

    def resubscribe_silent(self, since, only=None):
        self.asked["silent"] += 1
        self.asked["silent_only"] = only

    async def snapshot(self, instrument, deadline):
        self.asked["snapshot"] += 1
        await asyncio.sleep(0)
        return Quote(instrument, self.clock.now(), **self.quotes[instrument.symbol])

    def subscribe_ticks(self, instrument, kind):
        handle = len(self.handles) + 1
        self.handles[handle] = (kind, instrument.symbol)
        return handle

    def subscribe_depth(self, instrument, rows):
        return self.subscribe_ticks(instrument, f"depth {rows}")

    def unsubscribe(self, handle):
        self.handles.pop(handle, None)
        self.asked["unsubscribe"] += 1

    async def historical_bars(self, request):
        self.requests.append(request)
        if self.hold is not None:
            await self.hold.wait()
        else:
            await asyncio.sleep(0)
        answer = self.history(request) if callable(self.history) else self.history
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    async def historical_ticks(self, instrument, start, end, count, regular_hours):
        self.asked["ticks"] += 1
        return self.ticks(start)

    async def live_bars(self, request, listener):
        self.asked["live_bars"] += 1
        answer = self.live_answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.live.append(listener)
        handle = 500 + len(self.live)
        self.handles[handle] = ("bars", request)
        return handle, list(answer)


def daily(day, close=100.0, **changes):
    """A daily bar of January 2025."""
    time = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day - 1)
    return Bar(time, close, close + 1, close - 1, close, 1000.0, **changes)


class FreePacer:
    """Lets everything through, and counts."""

    def __init__(self):
        self.turns = []
        self.open = 0
        self.most_open = 0

    async def turn(self, request):
        self.turns.append(request)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return FreeTicket(self)


class FreeTicket:
    def __init__(self, pacer):
        self.pacer = pacer

    def close(self):
        if self.pacer is not None:
            self.pacer.open -= 1
            self.pacer = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@pytest.fixture
def clock():
    return ManualClock(OPEN)


@pytest.fixture
def transport(clock):
    return FakeTransport(clock)


@pytest.fixture
def book(transport, clock):
    return ContractBook(transport, clock)


@pytest.fixture
def pacer():
    return FreePacer()


@pytest.fixture
def make_listing():
    return listing


@pytest.fixture
def bar_of_day():
    return daily
