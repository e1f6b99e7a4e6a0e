"""Options as data, the same over every broker that has them."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import date, timedelta
from decimal import Decimal
from math import exp

import pytest
from moondev_ibkr.brokers.base_broker import BaseBroker
from moondev_ibkr.brokers.domain.instrument import Instrument, SecType
from moondev_ibkr.brokers.domain.options import OptionActivity, OptionQuote
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side
from moondev_ibkr.brokers.errors import InvalidRequest, NotSupported, RiskRefusal, UnknownInstrument

from .gateway_world import GatewayWorld
from .portal_world import PortalWorld
from .world import PaperWorld, World


@pytest.fixture
def broker(world: World) -> BaseBroker:
    if isinstance(world, PortalWorld):
        pytest.skip("the portal's refusal has a story of its own")
    return world.broker


async def contracts(broker: BaseBroker) -> list[Instrument]:
    """Three strikes around the money, both rights, of the fourth expiry."""
    (chain,) = await broker.option_chain("AAPL")
    place = chain.strikes.index(Decimal(100))
    strikes = chain.strikes[place - 1 : place + 2]
    return [chain.option(chain.expiries[3], strike, right) for strike in strikes for right in "CP"]


async def test_a_chain_tells_expiries_strikes_and_what_a_contract_stands_for(broker: BaseBroker) -> None:
    (chain,) = await broker.option_chain("aapl")
    assert (chain.underlying.con_id, chain.trading_class, chain.multiplier) == (265598, "AAPL", 100)
    assert chain.expiries[0] == date(2026, 4, 17)
    assert list(chain.expiries) == sorted(set(chain.expiries))
    assert list(chain.strikes) == sorted(set(chain.strikes))
    assert chain.strikes[0] < 90 < 110 < chain.strikes[-1]


async def test_contracts_are_quoted_in_one_round_with_greeks_and_open_interest(
    world: World, broker: BaseBroker
) -> None:
    await world.to(1)
    asked = await contracts(broker)
    found = await broker.option_quotes(asked)
    assert list(found) == asked
    for call, put in zip(asked[::2], asked[1::2], strict=True):
        one, other = found[call], found[put]
        assert isinstance(one, OptionQuote)
        assert isinstance(other, OptionQuote)
        for quote in (one, other):
            assert None not in asdict(quote).values() or quote.last is None
            assert (quote.bid or 0) < (quote.mid or 0) < (quote.ask or 0)
            assert quote.underlying_price == pytest.approx(100, abs=0.01)
            assert (quote.open_interest or 0) >= 0
        assert call.strike is not None
        assert call.expiry is not None
        years = (call.expiry - date(2026, 4, 15) + timedelta(hours=6)) / timedelta(days=365)
        parity = 100 - float(call.strike) * exp(-0.04 * years)
        assert (one.model_price or 0) - (other.model_price or 0) == pytest.approx(parity, abs=0.01)
        assert (one.delta or 0) - (other.delta or 0) == pytest.approx(1)
        assert one.implied_volatility == other.implied_volatility


async def test_a_contract_that_is_not_listed_has_its_error_and_the_others_go_on(broker: BaseBroker) -> None:
    good = (await contracts(broker))[0]
    (chain,) = await broker.option_chain("AAPL")
    never = chain.option(date(2026, 4, 18), Decimal(100), "C")
    stock = Instrument("AAPL")
    found = await broker.option_quotes([never, good, stock])
    assert isinstance(found[never], UnknownInstrument)
    assert isinstance(found[stock], InvalidRequest)
    assert isinstance(found[good], OptionQuote)


async def test_activity_of_a_list_builds_up_and_a_bad_symbol_has_its_error(world: World, broker: BaseBroker) -> None:
    before = await broker.option_activity(["AAPL", "msft", "NOSUCH"])
    assert list(before) == ["AAPL", "MSFT", "NOSUCH"]
    assert isinstance(before["NOSUCH"], UnknownInstrument)
    await world.to(10)
    after = await broker.option_activity(["AAPL", "MSFT"])
    for name in after:
        then, now = before[name], after[name]
        assert isinstance(then, OptionActivity)
        assert isinstance(now, OptionActivity)
        assert (now.call_volume or 0) > (then.call_volume or 0) > 0
        assert now.call_open_interest == then.call_open_interest
        assert now.put_call_volume == pytest.approx((now.put_volume or 0) / (now.call_volume or 1))
        assert 0.1 < (now.put_call_open_interest or 0) < 2
        assert (now.average_volume or 0) > 0
        assert (now.implied_volatility or 0) > 0.05


async def test_an_option_has_details_and_a_plain_quote_as_any_contract(broker: BaseBroker) -> None:
    call = (await contracts(broker))[0]
    details = await broker.details(call)
    assert (details.instrument.con_id or 0) >= 1_000_000_000
    assert [(step.low_edge, step.increment) for step in details.increments] == [
        (Decimal(0), Decimal("0.01")),
        (Decimal(3), Decimal("0.05")),
    ]
    assert (details.under_con_id, details.liquid_hours) == (265598, details.trading_hours)
    assert "20260415:0930-20260415:1600" in details.trading_hours
    quote = await broker.quote(call)
    told = (await broker.option_quotes([details.instrument]))[details.instrument]
    assert isinstance(told, OptionQuote)
    assert (quote.bid, quote.ask, quote.close) == (told.bid, told.ask, told.close)
    assert quote.is_two_sided
    with pytest.raises(UnknownInstrument):
        await broker.details(replace(call, strike=Decimal("100.13")))


async def test_after_the_close_no_side_is_told_but_the_model_is(world: World, broker: BaseBroker) -> None:
    call = (await contracts(broker))[0]
    await world.to(6 * 60 + 1)
    quote = (await broker.option_quotes([call]))[call]
    assert isinstance(quote, OptionQuote)
    assert (quote.bid, quote.ask, quote.bid_size, quote.ask_size, quote.mid) == (None,) * 5
    assert None not in (quote.close, quote.model_price, quote.delta, quote.open_interest)


async def test_orders_on_options_are_refused(broker: BaseBroker) -> None:
    option = (await contracts(broker))[0]
    with pytest.raises(RiskRefusal, match="rule tradable"):
        await broker.place(NewOrder(option, Side.BUY, Decimal(1), OrderType.LIMIT, Decimal(3)))
    assert broker.open_orders() == []
    assert await broker.positions() == []


async def test_both_brokers_tell_the_same() -> None:
    told = []
    for kind in (PaperWorld, GatewayWorld):
        world: World = kind()
        await world.open()
        try:
            await world.to(3)
            chain = await world.broker.option_chain("AAPL")
            quotes = await world.broker.option_quotes(await contracts(world.broker))
            activity = await world.broker.option_activity(["AAPL"])
        finally:
            await world.close()
        told.append((chain[0], list(quotes.values()), activity["AAPL"]))
    (chain, quotes, activity), (other_chain, other_quotes, other_activity) = told
    assert (chain.expiries, chain.strikes) == (other_chain.expiries, other_chain.strikes)
    ignored = {"source", "time", "instrument"}
    for one, other in [*zip(quotes, other_quotes, strict=True), (activity, other_activity)]:
        assert isinstance(one, OptionQuote | OptionActivity)
        assert isinstance(other, OptionQuote | OptionActivity)
        mine, theirs = asdict(one), asdict(other)
        assert {name: mine[name] for name in mine if name not in ignored} == pytest.approx(
            {name: theirs[name] for name in theirs if name not in ignored}
        )


async def test_the_portal_says_that_it_lacks_them() -> None:
    world = PortalWorld()
    await world.open()
    try:
        with pytest.raises(NotSupported, match="TWS"):
            await world.broker.option_chain("AAPL")
        option = Instrument("AAPL", SecType.OPTION, expiry=date(2026, 5, 15), strike=Decimal(100), right="C")
        assert isinstance((await world.broker.option_quotes([option]))[option], NotSupported)
        assert isinstance((await world.broker.option_activity(["AAPL"]))["AAPL"], NotSupported)
        with pytest.raises(NotSupported):
            await world.broker.headlines("AAPL")
    finally:
        await world.close()


async def test_an_unknown_underlying_has_no_chain(broker: BaseBroker) -> None:
    with pytest.raises(UnknownInstrument):
        await broker.option_chain("NOSUCH")
