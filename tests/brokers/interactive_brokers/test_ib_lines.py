"""Lines of one session on a scripted transport: sharing, demoting, polling, refusals, positions, questions."""

import asyncio
from dataclasses import replace

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import Quote, StreamKind
from moondev_ibkr.brokers.domain.subscriptions import Delivery, Tier
from moondev_ibkr.brokers.errors import InvalidRequest, NoPermission, RequestFailed
from moondev_ibkr.brokers.interactive_brokers.ib_data_manager import DataPolicy, IBDataManager
from moondev_ibkr.brokers.interactive_brokers.ib_history import HistoryStore
from moondev_ibkr.brokers.interactive_brokers.ib_line_budget_terms import TERMS

SYMBOLS = [f"S{number}" for number in range(1, 13)]
TOO_MANY = RequestFailed("request 1", "IB error 101: Max number of tickers has been reached.", code=101)
NOT_SUBSCRIBED = NoPermission("request 1", "IB error 354", "subscribe", code=354)


@pytest.fixture
async def make(transport, book, clock, pacer, make_listing):
    for number, symbol in enumerate(SYMBOLS, 1):
        transport.contracts[symbol] = [make_listing(symbol, con_id=number)]
        transport.quotes[symbol] = {"bid": 10.0 + number, "ask": 11.0 + number, "last": 10.5 + number}
    made = []
    subscribe = transport.subscribe_quotes

    def subscribe_and_tell(instrument):
        """As the wire does: what a line says reaches the listeners."""
        line = subscribe(instrument)
        tell = line.tell

        def told(**prices):
            tell(**prices)
            for listener in transport.market_listeners:
                listener.on_lines([line])

        line.tell = told
        return line

    transport.subscribe_quotes = subscribe_and_tell

    def build(lines, reserved=0, **terms):
        policy = DataPolicy(lines=lines, budget=replace(TERMS, reserved=reserved, **terms), quote_deadline=5)
        data = IBDataManager(transport, book, HistoryStore(transport, pacer, clock), clock, policy)
        made.append(data)
        return data

    yield build
    for data in made:
        await data.close()


async def settled():
    """Whatever runs on the loop without waiting for time is done."""
    for _ in range(30):
        await asyncio.sleep(0)


async def look(data, clock, seconds=0.0):
    clock.advance(seconds)
    data.lines.look()
    await settled()


async def take_all(stream):
    await settled()
    found = []
    try:
        async with asyncio.timeout(0.01):
            while True:
                found.append(await anext(stream))
    except TimeoutError:
        return found


def tiers(data):
    return {row.symbol: (row.tier, row.delivery) for row in data.lines.report().rows}


async def test_d12_a_stream_over_more_symbols_than_lines_polls_the_others(make, transport, clock):
    data = make(lines=6)
    stream = data.stream(SYMBOLS, [StreamKind.QUOTES])
    events = await take_all(stream)
    for _ in range(len(SYMBOLS)):
        await look(data, clock, TERMS.poll_spacing)
    quotes = [event for event in events + await take_all(stream) if isinstance(event, Quote)]
    polled = {quote.instrument.symbol for quote in quotes if quote.polled}
    assert polled == {name for name, row in tiers(data).items() if row == (Tier.COLD, Delivery.POLLED)}
    assert len(polled) >= 6
    assert transport.most_lines <= 6
    await stream.aclose()
    assert not [row for row in data.lines.report().rows if row.consumers]


async def test_d12_a_refused_line_is_polled_and_asked_for_again_when_there_is_room(make, transport, clock):
    data = make(lines=6)
    transport.quotes["S3"] = TOO_MANY
    stream = data.stream(["S1", "S2", "S3"], [StreamKind.QUOTES])
    await anext(stream)
    transport.quotes["S3"] = {"bid": 13.0, "ask": 14.0, "last": 13.5}
    for _ in range(4):
        await look(data, clock, TERMS.poll_spacing)
    report = data.lines.report()
    assert (report.configured, report.believed, report.refusals) == (6, 2, 1)
    assert data.cached_quote(await data._contracts.qualify("S3")).polled
    for _ in range(20):
        await look(data, clock, TERMS.trial_every)
    assert data.lines.report().believed == 3, "no more than is wanted is tried"
    assert tiers(data)["S3"] == (Tier.WARM, Delivery.LINE)
    await stream.aclose()


async def test_d12_a_quote_whose_line_is_refused_is_asked_for_once_more(make, transport):
    data = make(lines=6)
    good, transport.quotes["S1"] = transport.quotes["S1"], TOO_MANY
    subscribe = transport.subscribe_quotes

    def refused_once(instrument):
        line = subscribe(instrument)
        transport.quotes["S1"] = good
        return line

    transport.subscribe_quotes = refused_once
    assert (await data.quote("S1")).bid == 11.0
    assert transport.asked["line"] == 2


async def test_d05_a_stream_without_permission_is_tried_by_snapshot_and_left_in_peace(make, transport, clock):
    data = make(lines=6)
    transport.quotes["S1"] = NOT_SUBSCRIBED

    async def refused(instrument, deadline):
        transport.asked["snapshot"] += 1
        raise NOT_SUBSCRIBED

    transport.snapshot = refused
    stream = data.stream(["S1", "S2"], [StreamKind.QUOTES])
    await anext(stream)
    for _ in range(60):
        await look(data, clock, 5)
    assert transport.asked["snapshot"] == 1, "asked once, not every five seconds"
    row = next(row for row in data.lines.report().rows if row.symbol == "S1")
    assert (row.tier, row.delivery) == (Tier.COLD, Delivery.REFUSED)
    assert "354" in row.why
    lines = transport.asked["line"]
    transport.quotes["S1"] = {"bid": 11.0, "ask": 12.0, "last": 11.5}
    await look(data, clock, TERMS.permission_retry)
    await look(data, clock, 1)
    assert transport.asked["line"] == lines + 1
    assert tiers(data)["S1"] == (Tier.WARM, Delivery.LINE)
    await stream.aclose()


async def test_positions_and_open_orders_keep_a_line_whatever_streams_want(make, transport, clock):
    data = make(lines=8, reserved=2)
    held = [Instrument("AAPL", con_id=265598)]
    data.lines.pinned = lambda: held
    stream = data.stream(SYMBOLS, [StreamKind.QUOTES])
    await anext(stream)
    await look(data, clock, 1)
    assert tiers(data)["AAPL"] == (Tier.HOT, Delivery.LINE)
    held = None
    await look(data, clock, 1)
    assert tiers(data)["AAPL"] == (Tier.HOT, Delivery.LINE), "unknown is not flat"
    held = []
    await look(data, clock, 1)
    assert tiers(data).get("AAPL", (Tier.WARM,))[0] is Tier.WARM
    await stream.aclose()


async def test_a_promoted_symbol_moves_from_polls_to_a_line_and_its_stream_goes_on(make, transport, clock):
    data = make(lines=6)
    stream = data.stream(SYMBOLS, [StreamKind.QUOTES])
    await anext(stream)
    cold = next(name for name, row in tiers(data).items() if row[0] is Tier.COLD)
    assert data.lines.promote(await data._contracts.qualify(cold), "VOLUME_SPIKE")
    assert tiers(data)[cold] == (Tier.HOT, Delivery.LINE)
    await take_all(stream)
    line = next(line for line in transport.lines.values() if line.instrument.symbol == cold)
    line.tell(bid=1.0, ask=2.0)
    assert [(quote.instrument.symbol, quote.polled) for quote in await take_all(stream)] == [(cold, False)]
    await stream.aclose()


async def test_a_question_takes_a_line_from_a_stream_and_only_hot_lines_refuse(make, transport, clock):
    data = make(lines=4)
    stream = data.stream(SYMBOLS[:4], [StreamKind.QUOTES])
    await anext(stream)
    async with data.lent_line():
        assert len(transport.lines) + 1 <= 4
    await stream.aclose()
    data.lines.pinned = lambda: [Instrument(name, con_id=number) for number, name in enumerate(SYMBOLS[:4], 1)]
    await look(data, clock, 1)
    with pytest.raises(InvalidRequest, match="positions"):
        async with data.lent_line():
            pass


async def test_a_line_that_was_demoted_shows_its_last_value_and_its_age(make, transport, clock):
    data = make(lines=1)
    stream = data.stream(["S1"], [StreamKind.QUOTES])
    await anext(stream)
    transport.lines[1].tell(bid=50.0, ask=51.0)
    clock.advance(3)
    await data.quote("S2")
    quote = data.cached_quote(await data._contracts.qualify("S1"))
    assert (quote.bid, quote.polled) in {(50.0, True), (11.0, True)}
    assert quote.age(clock.now()).total_seconds() <= 3
    await stream.aclose()
