"""Quotes: from the line when there is one, in one round for many, never a sentinel, with a second opinion."""

import asyncio
from datetime import timedelta

import pytest
from moondev_ibkr.brokers.domain.market_data import DataType, Gap, Resumed, StreamKind
from moondev_ibkr.brokers.errors import DeadlineExceeded, InvalidRequest, NoData, NoPermission, UnknownInstrument
from moondev_ibkr.brokers.interactive_brokers.ib_data_manager import AT_ONCE, DataPolicy, IBDataManager
from moondev_ibkr.brokers.interactive_brokers.ib_history import HistoryStore
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEvent, LinkEventKind

AAPL_PRICES = {"bid": 150.0, "ask": 150.1, "last": 150.05}


@pytest.fixture
def make(transport, book, clock, pacer):
    def build(second_source=None, **policy):
        history = HistoryStore(transport, pacer, clock)
        chosen = DataPolicy(**({"quote_deadline": 0.05} | policy))
        return IBDataManager(transport, book, history, clock, chosen, second_source)

    return build


class Witness:
    """A second source with one price."""

    name = "witness"

    def __init__(self, price):
        self.told = price
        self.asked = 0

    async def price(self, instrument):
        self.asked += 1
        return self.told


async def until(holds):
    async with asyncio.timeout(5.0):
        while not holds():
            await asyncio.sleep(0)


async def test_a_quote_opens_one_line_and_the_next_one_reads_it(make, transport):
    transport.quotes = {"AAPL": AAPL_PRICES}
    data = make()
    assert (await data.quote("AAPL")).bid == 150.0
    transport.lines[265598].tell(bid=151.0, ask=151.1)
    assert (await data.quote("aapl")).bid == 151.0
    assert transport.asked["line"] == 1
    assert (data.asked, data.from_line) == (1, 1)


async def test_an_old_value_is_asked_for_again_when_freshness_matters(make, transport, clock):
    transport.quotes = {"AAPL": AAPL_PRICES}
    data = make()
    await data.quote("AAPL")
    clock.advance(60)
    assert (await data.quote("AAPL")).age(clock.now()) == timedelta(seconds=60)
    fresh = await data.quote("AAPL", max_age=timedelta(seconds=5))
    assert fresh.age(clock.now()) == timedelta(0)
    assert transport.asked["snapshot"] == 1


async def test_many_quotes_are_one_round(make, transport, make_listing):
    symbols = [f"S{number}" for number in range(60)]
    for number, symbol in enumerate(symbols, 1):
        transport.contracts[symbol] = [make_listing(symbol, con_id=number)]
    data = make(quote_deadline=5)
    asking = asyncio.ensure_future(data.quotes(symbols))
    for _ in range(20):
        await asyncio.sleep(0)
    assert transport.asked["line"] == 60, "every line is open before the first tick of any"
    for line in list(transport.lines.values()):
        line.tell(bid=1.0, ask=1.1)
    assert set(await asking) == set(symbols)


async def test_more_quotes_than_ibs_message_rate_serves_within_a_deadline_are_asked_in_rounds(
    make, transport, make_listing
):
    symbols = [f"S{number}" for number in range(AT_ONCE + 50)]
    for number, symbol in enumerate(symbols, 1):
        transport.contracts[symbol] = [make_listing(symbol, con_id=number)]
    data = make(quote_deadline=5, lines=1000)
    asking = asyncio.ensure_future(data.quotes(symbols))
    for expected in (AT_ONCE, len(symbols)):
        for _ in range(20):
            await asyncio.sleep(0)
        assert transport.asked["line"] == expected
        for line in list(transport.lines.values()):
            line.tell(bid=1.0, ask=1.1)
    assert set(await asking) == set(symbols)


async def test_a_symbol_that_fails_is_left_out_and_told(make, transport):
    transport.quotes = {
        "AAPL": AAPL_PRICES,
        "MSFT": NoPermission("request 1", "IB error 354", "subscribe", code=354),
        "IBM": {},
    }
    data = make()
    found = await data.quotes(["AAPL", "MSFT", "IBM", "NOPE", "BRK.B"])
    assert set(found) == {"AAPL"}
    kinds = {symbol: type(error) for symbol, error in data.quote_errors.items()}
    assert kinds == {"MSFT": NoPermission, "IBM": NoData, "NOPE": UnknownInstrument, "BRK B": DeadlineExceeded}


async def test_d05_a_missing_permission_is_an_error_and_is_asked_again_next_time(make, transport):
    transport.quotes = {"AAPL": NoPermission("request 1", "IB error 354", "subscribe", code=354)}
    data = make()
    with pytest.raises(NoPermission):
        await data.quote("AAPL")
    assert not transport.lines
    transport.quotes = {"AAPL": AAPL_PRICES}
    assert (await data.quote("AAPL")).last == 150.05


async def test_d10_the_data_type_is_what_was_delivered(make, transport):
    transport.quotes = {"AAPL": AAPL_PRICES}
    data = make()
    await data.quote("AAPL")
    line = transport.lines[265598]
    line.data_type = DataType.DELAYED
    line.tell(bid=1.0, ask=2.0)
    assert (await data.quote("AAPL")).data_type is DataType.DELAYED


async def test_d12_the_least_recently_used_line_makes_room(make, transport):
    transport.quotes = {"AAPL": AAPL_PRICES, "MSFT": AAPL_PRICES, "IBM": AAPL_PRICES}
    data = make(lines=2)
    for symbol in ("AAPL", "MSFT", "AAPL", "IBM"):
        await data.quote(symbol)
    assert {line.instrument.symbol for line in transport.lines.values()} == {"AAPL", "IBM"}
    assert transport.most_lines == 2


async def test_d12_a_stream_gives_its_line_to_polls_when_more_is_asked_for_than_there_are_lines(make, transport):
    transport.quotes = {"AAPL": AAPL_PRICES, "MSFT": AAPL_PRICES | {"bid": 99.0}}
    data = make(lines=1, quote_deadline=5)
    stream = data.stream(["AAPL"], [StreamKind.QUOTES])
    opening = asyncio.ensure_future(anext(stream))
    await until(lambda: 265598 in transport.lines and transport.lines[265598].last_update is not None)
    data.streams.hub.on_lines([transport.lines[265598]])
    first = await opening
    assert (first.bid, first.polled) == (150.0, False)
    quote = await data.quote("MSFT")
    assert (quote.bid, quote.polled) == (99.0, True)
    assert not transport.lines, "the one line is for polls now"
    await stream.aclose()
    assert not (await data.quote("MSFT")).polled


async def test_b5_a_second_source_that_disagrees_makes_the_quote_suspect(make, transport, clock):
    transport.quotes = {"AAPL": AAPL_PRICES}
    witness = Witness(148.0)
    data = make(witness, disagreement_bps=100.0)
    quote = await data.quote("AAPL")
    assert quote.suspect is not None
    assert "witness says 148" in quote.suspect
    assert data.cached_quote(quote.instrument).suspect == quote.suspect
    await data.quote("AAPL")
    assert witness.asked == 1
    clock.advance(31)
    witness.told = 150.1
    assert (await data.quote("AAPL")).suspect is None


async def test_a_second_source_that_is_silent_blocks_nothing(make, transport):
    transport.quotes = {"AAPL": AAPL_PRICES}

    class Silent(Witness):
        async def price(self, instrument):
            await asyncio.Event().wait()

    data = make(Silent(0), second_source_deadline=0.01)
    assert (await data.quote("AAPL")).suspect is None


async def test_freshening_gives_up_in_time_and_says_so_by_none(make, transport, book):
    data = make(freshen_deadline=0.01)
    instrument = await book.qualify("AAPL")
    assert await data.freshen(instrument) is None
    transport.lines[265598].tell(bid=1.0, ask=2.0)
    assert (await data.freshen(instrument)).bid == 1.0


async def test_the_cache_is_read_without_waiting(make, transport, book):
    transport.quotes = {"AAPL": AAPL_PRICES}
    data = make()
    instrument = await book.qualify("AAPL")
    assert data.cached_quote(instrument) is None
    await data.quote("AAPL")
    assert data.cached_quote(instrument).ask == 150.1
    assert data.shortable(instrument) == (3.0, 5000.0)


# Streams


async def test_q22_a_lost_link_is_a_gap_and_its_return_is_counted(make, transport, clock):
    transport.quotes = {"AAPL": AAPL_PRICES}
    data = make()
    stream = data.stream(["AAPL"], [StreamKind.QUOTES])
    first = asyncio.ensure_future(anext(stream))
    await until(lambda: 265598 in transport.lines and transport.lines[265598].last_update is not None)
    data.streams.hub.on_lines([transport.lines[265598]])
    assert (await first).bid == 150.0

    def link(kind, text, **details):
        for listener in transport.link_listeners:
            listener(LinkEvent(kind, clock.now(), text, **details))

    link(LinkEventKind.LOST, "closed")
    link(LinkEventKind.SUBSCRIPTIONS_RESTORED, "back", restored=1, failed=0)
    assert await anext(stream) == Gap(clock.now(), "tws", "closed")
    assert await anext(stream) == Resumed(clock.now(), "tws", 1, 0)
    link(LinkEventKind.SUBSCRIPTIONS_RESTORED, "1101", restored=1, failed=0)
    assert [type(await anext(stream)) for _ in range(2)] == [Gap, Resumed]


async def test_a_stream_asks_for_what_its_kinds_need_and_gives_it_back(make, transport):
    data = make()
    stream = data.stream(["AAPL", "MSFT"], [StreamKind.TICK_BY_TICK, StreamKind.DEPTH])
    opening = asyncio.ensure_future(anext(stream))
    await until(lambda: len(transport.handles) == 6)
    wanted = {(kind, symbol) for symbol in ("AAPL", "MSFT") for kind in ("AllLast", "BidAsk", "depth 10")}
    assert set(transport.handles.values()) == wanted
    await stream.aclose()
    assert not transport.handles
    with pytest.raises(StopAsyncIteration):
        await opening


async def test_a_stream_of_nothing_is_refused(make):
    with pytest.raises(InvalidRequest):
        make().stream([], [StreamKind.QUOTES])
    with pytest.raises(InvalidRequest):
        make().stream(["AAPL"], [])


async def test_an_unknown_symbol_leaves_no_line_open(make, transport):
    stream = make().stream(["AAPL", "NOPE"], [StreamKind.QUOTES])
    with pytest.raises(UnknownInstrument):
        await anext(stream)
    assert not transport.lines


async def test_closing_gives_every_line_back(make, transport):
    transport.quotes = {"AAPL": AAPL_PRICES, "MSFT": AAPL_PRICES}
    data = make()
    await data.quotes(["AAPL", "MSFT"])
    await data.close()
    assert not transport.lines
