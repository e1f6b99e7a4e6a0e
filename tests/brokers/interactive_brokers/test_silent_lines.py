"""Lines that stopped telling: one gap for a packet's worth, a retry that wanders, an end by a new value alone."""

import asyncio
from types import SimpleNamespace

import pytest
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import silent_lines
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.silent_lines import SilentLines
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind


class FakeLine:
    """What SilentLines reads of a line or stream."""

    def __init__(self, symbol, request_id, *, is_rare=False):
        self.instrument = SimpleNamespace(symbol=symbol)
        self.request_id = request_id
        self.has_price, self.is_rare = True, is_rare


@pytest.fixture
async def world():
    told, asked = [], []

    def ask_again(line):
        asked.append(line.instrument.symbol)
        line.request_id += 100

    lines = [FakeLine(symbol, number) for number, symbol in enumerate(("AAPL", "MSFT", "IBM"), 1)]
    silent = SilentLines(ask_again, lambda kind, text, **fields: told.append((kind, fields["symbols"])))
    yield SimpleNamespace(silent=silent, lines=lines, told=told, asked=asked)
    silent.clear()


async def test_d01_one_gap_for_all_lines_and_none_again_for_those_that_are_known(world):
    for line in world.lines:
        world.silent.add([line], "another session has the data", 10197)
    await asyncio.sleep(0)
    world.silent.add(world.lines, "another session has the data", 10197)
    await asyncio.sleep(0)
    assert world.told == [(LinkEventKind.FARM_DOWN, ("AAPL", "MSFT", "IBM"))]


async def test_d01_a_value_that_was_on_its_way_ends_nothing(world):
    world.silent.add(world.lines, "silent")
    world.silent.look(world.lines)
    assert world.silent
    assert not world.asked
    world.lines[0].request_id += 1
    world.lines[0].has_price = False
    world.silent.look([world.lines[0]])
    assert world.silent, "asked again, and no price yet"


async def test_d01_the_first_value_asks_for_the_others_and_ends_the_gap_of_its_own_line(world):
    world.silent.add(world.lines, "silent")
    await asyncio.sleep(0)
    world.lines[0].request_id += 1
    world.silent.look([world.lines[0]])
    assert world.told[-1] == (LinkEventKind.SUBSCRIPTIONS_RESTORED, ("AAPL",))
    assert world.asked == ["MSFT", "IBM"]
    world.silent.forget(world.lines[2])
    world.silent.look(world.lines)
    assert not world.silent
    assert world.told[-1] == (LinkEventKind.SUBSCRIPTIONS_RESTORED, ("MSFT",))


async def test_d01_the_retry_goes_round_so_that_one_mute_line_does_not_hold_up_the_rest(world, monkeypatch):
    monkeypatch.setattr(silent_lines, "FIRST_RETRY", 0.001)
    monkeypatch.setattr(silent_lines, "LONGEST_RETRY", 0.001)
    world.silent.add(world.lines, "silent")
    async with asyncio.timeout(5):
        while len(world.asked) < 4:
            await asyncio.sleep(0.001)
    assert world.asked[:4] == ["AAPL", "MSFT", "IBM", "AAPL"]


async def test_d01_all_feeds_of_a_symbol_make_one_gap_and_come_back_with_the_first(world):
    ticks, news = FakeLine("AAPL", 11), FakeLine("IBM", 12, is_rare=True)
    world.silent.add([world.lines[0], ticks, world.lines[1], news], "silent")
    await asyncio.sleep(0)
    assert world.told == [(LinkEventKind.FARM_DOWN, ("AAPL", "MSFT", "IBM"))]
    ticks.request_id += 1
    world.silent.look([ticks])
    assert world.told[1:] == [(LinkEventKind.SUBSCRIPTIONS_RESTORED, ("AAPL", "IBM"))]
    assert world.asked == ["AAPL", "MSFT", "IBM"], "the line and the news as well, once"


async def test_d01_news_that_is_not_refused_any_more_is_back_though_it_has_nothing_to_tell(world, monkeypatch):
    monkeypatch.setattr(silent_lines, "FIRST_RETRY", 0.001)
    monkeypatch.setattr(silent_lines, "LONGEST_RETRY", 0.001)
    news = FakeLine("IBM", 12, is_rare=True)
    news.has_price = False
    refusals = [3]

    def refuse(feed):
        news.request_id += 1
        if refusals[0]:
            refusals[0] -= 1
            world.silent.add([news], "another session has the data", 10197)

    world.silent._ask_again = refuse
    world.silent.add([news], "another session has the data", 10197)
    async with asyncio.timeout(5):
        while world.silent:
            await asyncio.sleep(0.001)
    assert not refusals[0]
    assert world.told == [(LinkEventKind.FARM_DOWN, ("IBM",)), (LinkEventKind.SUBSCRIPTIONS_RESTORED, ("IBM",))]
