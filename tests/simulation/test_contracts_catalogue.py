"""The contract catalogue: IB's numbers where certain, unmistakable ones elsewhere, and look-ups that never guess."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.instrument import SecType
from moondev_ibkr.brokers.errors import InvalidData
from moondev_ibkr.brokers.simulation.contracts import (
    DERIVED_CON_IDS,
    MARKET_RULES,
    MES,
    STOCKS,
    ContractBook,
    derived_con_id,
    stock,
    with_hours,
)

from .price_fakes import WeekdayCalendar, at

BOOK = ContractBook([stock(name) for name in (*STOCKS, "BRK.B", "T")] + [MES])


def symbols(rows: list) -> list[str]:  # type: ignore[type-arg]
    return [row.instrument.symbol for row in rows]


def test_known_contracts_carry_ibs_own_numbers() -> None:
    numbers = {name: stock(name).instrument.con_id for name in ("AAPL", "MSFT", "IBM", "GOOG")}
    assert numbers == {"AAPL": 265598, "MSFT": 272093, "IBM": 8314, "GOOG": 208813720}
    apple = stock("AAPL")
    assert (apple.long_name, apple.market_name) == ("APPLE INC", "NMS")
    assert (apple.instrument.primary_exchange, apple.instrument.trading_class) == ("NASDAQ", "NMS")
    assert stock("IBM").instrument.primary_exchange == "NYSE"
    mes = MES.instrument
    assert (mes.con_id, mes.local_symbol, mes.expiry, mes.exchange) == (770561194, "MESM6", date(2026, 6, 18), "CME")
    assert (mes.multiplier, MES.increments[0].increment) == (Decimal(5), Decimal("0.25"))


def test_derived_numbers_are_steady_and_lie_in_a_range_of_their_own() -> None:
    assert derived_con_id("T") == derived_con_id("T") == stock("T").instrument.con_id
    assert derived_con_id("T") in DERIVED_CON_IDS
    assert not any(row.con_id in DERIVED_CON_IDS for row in STOCKS.values())
    assert len({row.con_id for row in STOCKS.values()}) == len(STOCKS)
    assert DERIVED_CON_IDS.stop < 2**31


def test_every_market_rule_named_is_in_the_table_and_is_the_contracts_own() -> None:
    for row in (*BOOK.all(), stock("PENNY", sub_dollar=True)):
        assert len(row.market_rule_ids) == len(row.valid_exchanges)
        assert {MARKET_RULES[rule] for rule in row.market_rule_ids} == {row.increments}
    assert stock("AAPL").market_rule_ids[0] == 26
    penny = stock("PENNY", sub_dollar=True)
    assert (penny.increment_at(Decimal("0.5")), penny.increment_at(Decimal(2))) == (Decimal("0.0001"), Decimal("0.01"))


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"symbol": "AAPL"}, ["AAPL"]),
        ({"symbol": "aapl", "sec_type": SecType.STOCK, "exchange": "SMART", "currency": "USD"}, ["AAPL"]),
        ({"symbol": "BRK B"}, ["BRK B"]),
        ({"symbol": "AAPL", "primary_exchange": "ISLAND"}, ["AAPL"]),
        ({"symbol": "AAPL", "primary_exchange": "NYSE"}, []),
        ({"symbol": "AAPL", "currency": "EUR"}, []),
        ({"symbol": "AAPL", "exchange": "LSE"}, []),
        ({"symbol": "AAPL", "sec_type": "OPT"}, []),
        ({"symbol": "AAP"}, []),
        ({"symbol": "$$$"}, []),
        ({}, []),
        ({"sec_type": "STK"}, []),
        ({"symbol": "MES", "sec_type": "FUT", "exchange": "CME"}, ["MES"]),
        ({"symbol": "MES", "sec_type": "FUT", "expiry": "202606"}, ["MES"]),
        ({"symbol": "MES", "sec_type": "FUT", "expiry": "20260618"}, ["MES"]),
        ({"symbol": "MES", "sec_type": "FUT", "expiry": "202609"}, []),
        ({"local_symbol": "MESM6", "sec_type": "FUT"}, ["MES"]),
        ({"symbol": "AAPL", "expiry": "202606"}, []),
    ],
)
def test_a_description_finds_what_fits_it_in_every_field(fields: dict[str, str], found: list[str]) -> None:
    assert symbols(BOOK.find(**fields)) == found


def test_by_number() -> None:
    row = BOOK.by_id(265598)
    assert row is not None
    assert row.instrument.symbol == "AAPL"
    assert BOOK.by_id(1) is None


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("goog", ["GOOG", "GOOGL"]),
        ("AAPL", ["AAPL"]),
        ("apple", ["AAPL"]),
        ("machines", ["IBM"]),
        ("BRK.B", ["BRK B"]),
        ("me", ["MES", "META"]),
        ("zzz", []),
        ("  ", []),
    ],
)
def test_patterns_match_symbols_then_words_of_names(pattern: str, found: list[str]) -> None:
    assert symbols(BOOK.matching(pattern)) == found


def test_a_pattern_gets_at_most_sixteen_answers() -> None:
    book = ContractBook(stock(f"A{n}") for n in range(40))
    assert len(book.matching("A")) == 16


def test_a_number_used_twice_is_refused() -> None:
    with pytest.raises(InvalidData, match="265598 is missing or taken"):
        ContractBook([stock("AAPL"), stock("AAPL")])


def test_hours_are_written_as_ib_does() -> None:
    calendar = WeekdayCalendar(half_days=[date(2024, 3, 12)])
    row = with_hours(stock("AAPL"), calendar, at(date(2024, 3, 11), "12:00"), days=2)
    assert row.liquid_hours == "20240311:0930-20240311:1600;20240312:0930-20240312:1300"
    assert row.trading_hours == "20240311:0400-20240311:2000;20240312:0400-20240312:1700"
    weekend = with_hours(stock("AAPL"), calendar, at(date(2024, 3, 16), "12:00"), days=2)
    assert weekend.liquid_hours == weekend.trading_hours == "20240316:CLOSED;20240317:CLOSED"
    # The future trades nearly around the clock, told in Chicago time.
    future = with_hours(MES, WeekdayCalendar(), at(date(2024, 3, 13), "12:00"), days=1)
    assert future.trading_hours == "20240312:1700-20240313:1600"
