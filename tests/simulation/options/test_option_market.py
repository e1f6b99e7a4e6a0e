"""Listing, quotes and activity of the paper market's options."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import exp

import pytest
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.errors import InvalidRequest
from moondev_ibkr.brokers.simulation.commissions import PriceList
from moondev_ibkr.brokers.simulation.exchange import Exchange
from moondev_ibkr.brokers.simulation.models import ExchangeSettings
from moondev_ibkr.brokers.simulation.options.listing import (
    OPTION_CON_IDS,
    Listing,
    OptionKey,
    expiries,
    strikes,
    third_friday,
)
from moondev_ibkr.brokers.simulation.options.market import OptionMarket
from moondev_ibkr.brokers.simulation.options.pricing import RATE
from moondev_ibkr.brokers.simulation.prices import make_prices

CALENDAR = MarketCalendar()
APPLE = 265598


def market(seed: int = 0) -> tuple[Exchange, OptionMarket]:
    prices = make_prices(CALENDAR, kind="synthetic", symbols=["AAPL", "MES"], seed=seed)
    exchange = Exchange(prices, calendar=CALENDAR, commissions=PriceList(), settings=ExchangeSettings(seed=seed))
    return exchange, OptionMarket(exchange, CALENDAR)


def listed(options: OptionMarket) -> Listing:
    listing = options.listing(APPLE)
    assert listing is not None
    return listing


# what is listed


def test_expiries_are_fridays_or_the_day_before_a_holiday() -> None:
    found = expiries(CALENDAR, date(2026, 4, 1))
    days = [one.day for one in found]
    assert days == sorted(set(days))
    assert date(2026, 4, 2) in days  # the third is Good Friday
    assert date(2026, 6, 18) in days  # Juneteenth is the third Friday
    assert all(CALENDAR.trading_day(day) is not None for day in days)
    assert [one.day for one in found if one.monthly][:2] == [date(2026, 4, 17), date(2026, 5, 15)]
    assert days[-1] == date(2028, 1, 21)
    assert third_friday(2026, 5) == date(2026, 5, 15)


def test_the_chain_is_a_cross_product_and_not_every_pair_is_a_contract() -> None:
    _exchange, options = market()
    listing = listed(options)
    strikes, days = {key.strike for key in listing.keys}, {key.expiry for key in listing.keys}
    assert len(listing.keys) < len(strikes) * len(days) * 2
    by_strike = {(key.expiry, key.strike) for key in listing.keys if key.right == "C"}
    assert by_strike == {(key.expiry, key.strike) for key in listing.keys if key.right == "P"}
    spot = options.spot(APPLE)
    assert spot is not None
    for day in days:
        at = sorted(float(key.strike) for key in listing.keys if key.expiry == day and key.right == "C")
        assert at[0] < 0.85 * spot < 1.15 * spot < at[-1]


@pytest.mark.parametrize("price", [0.7, 3.0, 24.0, 99.0, 480.0, 3_000.0, 90_000.0, 700_000.0])
def test_strikes_stand_around_any_price_and_are_neither_few_nor_very_many(price: float) -> None:
    for monthly, least, most in ((False, 1, 90), (True, 1, 160)):
        found = strikes(price, monthly=monthly)
        assert least <= len(found) <= most
        assert found == sorted(set(found))
        assert any(0.5 * price <= float(strike) <= 1.5 * price for strike in found)
    assert set(strikes(price, monthly=False)) <= set(strikes(price, monthly=True))


def test_a_share_of_some_cents_has_no_options() -> None:
    assert strikes(0.2, monthly=True) == []


def test_after_its_last_day_a_contract_is_quoted_no_more() -> None:
    exchange, options = market()
    listing = listed(options)
    option = listing.details(listing.keys[0])
    assert option.instrument.expiry == date(2026, 4, 17)
    exchange.advance_to(datetime(2026, 4, 17, 19, 59, tzinfo=UTC))
    last = options.quote(option)
    assert last is not None
    exchange.advance_to(datetime(2026, 4, 20, 15, 0, tzinfo=UTC))
    assert options.quote(option) is None
    assert date(2026, 4, 17) not in listed(options).days


def test_contract_numbers_are_ours_unique_and_the_same_in_every_run() -> None:
    first, second = listed(market()[1]), listed(market(seed=7)[1])
    assert all(number in OPTION_CON_IDS for number in first.by_number)
    assert len(first.by_number) == len(first.keys)
    shared = set(first.keys) & set(second.keys)
    assert len(shared) > 100
    assert all(first.numbers[key] == second.numbers[key] for key in shared)


def test_a_contract_is_found_by_number_symbol_or_occ_name() -> None:
    _, options = market()
    listing = listed(options)
    key = listing.keys[100]
    (by_number,) = options.candidates(con_id=listing.numbers[key])
    assert (by_number.instrument.expiry, by_number.instrument.strike) == key[:2]
    local = by_number.instrument.local_symbol or ""
    assert by_number in options.candidates(local_symbol=local)
    assert local == f"AAPL  {key.expiry:%y%m%d}{key.right}{int(key.strike * 1000):08d}"
    assert options.candidates(con_id=APPLE) == options.candidates(con_id=OPTION_CON_IDS.stop - 1) == []
    assert options.listing(770561194) is None  # a future


# quotes


def test_model_prices_are_at_parity_and_inside_bid_and_ask() -> None:
    exchange, options = market()
    listing = listed(options)
    spot = options.spot(APPLE)
    assert spot is not None
    pairs = 0
    for key in listing.keys[::7]:
        call, put = (options.quote(listing.details(OptionKey(*key[:2], right))) for right in "CP")
        assert call is not None
        assert put is not None
        session = CALENDAR.trading_day(key.expiry)
        assert session is not None
        years = (session.close - exchange.now) / timedelta(days=365)
        owed = float(key.strike) * exp(-RATE * years)
        assert call.model.price - put.model.price == pytest.approx(spot - owed, abs=1e-6)
        assert call.model.volatility == put.model.volatility
        for state in (call, put):
            assert state.ask is not None
            assert float(state.bid or 0) <= state.model.price <= float(state.ask)
            assert state.ask % (Decimal("0.05") if state.ask >= 3 else Decimal("0.01")) == 0
        pairs += 1
    assert pairs > 50


def test_the_spread_is_a_share_of_the_price_and_wider_away_from_the_money() -> None:
    _, options = market()
    listing = listed(options)
    day = sorted(listing.monthly)[2]
    spreads = {}
    for key in listing.keys:
        if key.expiry == day and key.right == "P":
            state = options.quote(listing.details(key))
            assert state is not None
            assert state.ask is not None
            if state.bid is not None:
                assert float(state.ask - state.bid) >= 0.012 * state.model.price
                spreads[key.strike] = float(state.ask - state.bid) - 0.012 * state.model.price
    strikes = sorted(spreads)
    middle = min(strikes, key=lambda strike: abs(float(strike) - listing.price))
    assert spreads[strikes[0]] > spreads[middle] < spreads[strikes[-1]]


def test_calls_fall_and_puts_rise_with_the_strike_and_both_with_time() -> None:
    _, options = market()
    listing = listed(options)
    day = sorted(listing.monthly)[2]
    prices = {
        right: [
            state.model.price
            for key in listing.keys
            if key.expiry == day and key.right == right and (state := options.quote(listing.details(key)))
        ]
        for right in "CP"
    }
    assert prices["C"] == sorted(prices["C"], reverse=True)
    assert prices["P"] == sorted(prices["P"])
    strike = next(key.strike for key in listing.keys if key.strike > listing.price)
    later = [
        state.model.price
        for key in listing.keys
        if key.right == "C" and key.strike == strike and (state := options.quote(listing.details(key)))
    ]
    assert len(later) > 5
    assert later == sorted(later)


def test_a_quote_follows_the_stock() -> None:
    exchange, options = market()
    listing = listed(options)
    call = listing.details(next(key for key in listing.keys if key.right == "C" and key.strike > listing.price))
    seen = []
    for _ in range(12):
        state = options.quote(call)
        assert state is not None
        assert state.model.value is not None
        seen.append((state.spot, state.model.price, state.model.value.delta))
        exchange.advance_to(exchange.now + timedelta(minutes=10))
    rises = sum((b[1] - a[1]) * (b[0] - a[0]) > 0 for a, b in itertools.pairwise(seen) if abs(b[0] - a[0]) > 0.2)
    moves = sum(abs(b[0] - a[0]) > 0.2 for a, b in itertools.pairwise(seen))
    assert moves > 3
    assert rises == moves


# activity


def test_volume_builds_up_and_the_sum_over_contracts_is_what_the_stock_tells() -> None:
    exchange, options = market()
    listing = listed(options)
    before: list[int] = [0] * len(listing.keys)
    for hours in range(1, 8):
        exchange.advance_to(datetime(2026, 4, 15, 13, 30, tzinfo=UTC) + timedelta(hours=hours))
        states = [state for key in listing.keys if (state := options.quote(listing.details(key))) is not None]
        volumes = [state.volume for state in states]
        assert all(now >= then for now, then in zip(volumes, before, strict=True))
        total = options.activity(APPLE)
        assert total is not None
        assert sum(volumes) == total.call_volume + total.put_volume > sum(before) * (hours < 7)
        assert sum(state.open_interest for state in states) == total.call_open_interest + total.put_open_interest
        before = volumes
    assert 0.2 < total.put_volume / total.call_volume < 2.5


def test_everything_is_seeded() -> None:
    first, again, other = (market(seed)[1].activity(APPLE) for seed in (0, 0, 1))
    assert first == again != other


def test_before_the_open_nothing_has_traded_today() -> None:
    exchange, options = market()
    exchange.advance_to(datetime(2026, 4, 16, 12, 0, tzinfo=UTC))
    total = options.activity(APPLE)
    assert total is not None
    assert (total.call_volume, total.put_volume) == (0, 0)
    assert total.call_open_interest > 0
    assert not options.is_open(APPLE)


def test_a_surge_raises_what_it_names_and_half_of_it_is_open_the_morning_after() -> None:
    exchange, usual = market()
    unusual = OptionMarket(exchange, CALENDAR)
    unusual.surge("aapl", 0, 14, 20, "P")
    noon, morning = datetime(2026, 4, 15, 18, 0, tzinfo=UTC), datetime(2026, 4, 16, 14, 0, tzinfo=UTC)
    exchange.advance_to(noon)
    listing = listed(usual)
    raised = {
        key: (b.volume, a.volume)
        for key in listing.keys
        if (a := usual.quote(listing.details(key))) and (b := unusual.quote(listing.details(key)))
    }
    hit = [key for key in listing.keys if key.right == "P" and (key.expiry - listing.day).days <= 14]
    assert all(raised[key][0] == raised[key][1] for key in listing.keys if key not in hit)
    assert sum(raised[key][0] for key in hit) > 8 * sum(raised[key][1] for key in hit)
    unusual.end_surges()
    exchange.advance_to(noon + timedelta(hours=1))
    later = sum(state.volume for key in hit if (state := unusual.quote(listing.details(key))))
    grown = sum(state.volume for key in hit if (state := usual.quote(listing.details(key))))
    extra = sum(raised[key][0] - raised[key][1] for key in hit)
    assert later == pytest.approx(grown + extra, rel=0.01)
    exchange.advance_to(morning)
    plain, left = usual.activity(APPLE), unusual.activity(APPLE)
    assert plain is not None
    assert left is not None
    assert plain.call_open_interest == left.call_open_interest
    assert left.put_open_interest - plain.put_open_interest == pytest.approx(extra / 2, rel=0.05)


@pytest.mark.parametrize(
    "arguments", [("NOPE", 0, 5, 2.0), ("AAPL", 5, 0, 2.0), ("AAPL", 0, 5, 1.0), ("AAPL", 0, 5, 2.0, "X")]
)
def test_a_surge_that_makes_no_sense_is_refused(arguments: tuple[str, int, int, float]) -> None:
    with pytest.raises(InvalidRequest):
        market()[1].surge(*arguments)
