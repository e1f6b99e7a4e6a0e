"""The numbers from a quote and its history, against arithmetic done here."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.agents.analysis.evidence import EvidenceRow, evidence_row
from moondev_ibkr.agents.analysis.measures import closed_before, history_rows, quote_rows, wilder
from moondev_ibkr.agents.analysis.session_share import session_time_share, volume_share
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails
from moondev_ibkr.brokers.domain.market_data import Bar
from moondev_ibkr.brokers.errors import InvalidData

from .conftest import HOURS, NOON, FakeMarket, history


def rows_of(market: FakeMarket, share: float | None = 0.5) -> dict[str, EvidenceRow]:
    quote = market.quoted["AAA"]
    bars = closed_before(history(), NOON)
    return {row.id: row for row in [*quote_rows(quote, bars, share), *history_rows(quote, bars, share)]}


def test_a_quote_is_measured_against_the_close_before(market: FakeMarket) -> None:
    market.add("AAA", last=103.0, opening=102.0)
    found = rows_of(market)
    assert found["price.change_pct"].value == pytest.approx(3.0)
    assert found["price.gap_pct"].value == pytest.approx(2.0)
    assert found["quote.spread_bps"].value == pytest.approx(0.02 / 103 * 10_000)
    assert found["quote.halted"].value == "no"


def test_an_old_close_of_a_long_open_line_is_not_the_close_before(market: FakeMarket) -> None:
    market.add("AAA", last=103.0, opening=102.0)
    market.quoted["AAA"] = replace(market.quoted["AAA"], close=80.0)
    assert rows_of(market)["price.gap_pct"].value == pytest.approx(2.0)
    alone = {row.id: row for row in quote_rows(market.quoted["AAA"], [], 0.5)}
    assert alone["price.gap_pct"].value == pytest.approx(27.5)


def test_before_the_open_the_gap_is_the_present_price_s(market: FakeMarket) -> None:
    market.add("AAA", last=107.0, opening=90.0)
    assert rows_of(market, 0.0)["price.gap_pct"].value == pytest.approx(7.0)


def test_today_s_move_counts_in_the_symbol_s_own_moves(market: FakeMarket) -> None:
    market.add("AAA", last=106.0)
    closes = [bar.close for bar in closed_before(history(), NOON)]
    moves = [math.log(b / a) for a, b in pairwise(closes)][-60:]
    assert rows_of(market)["price.sigma"].value == pytest.approx(math.log(106 / closes[-1]) / stdev(moves))


def test_volume_is_compared_with_what_a_usual_day_has_by_now(market: FakeMarket) -> None:
    market.add("AAA", volume=1_060_000.0)
    assert rows_of(market, 0.5)["volume.ratio"].value == pytest.approx(2.0)
    assert rows_of(market, 1.0)["volume.ratio"].value == pytest.approx(1.06)


@pytest.mark.parametrize(("share", "why"), [(None, "hours are not known"), (0.0, "only just begun")])
def test_where_the_day_is_not_known_the_volume_is_missing_not_zero(
    market: FakeMarket, share: float | None, why: str
) -> None:
    market.add("AAA")
    row = rows_of(market, share)["volume.ratio"]
    assert row.value is None
    assert why in str(row.missing)


def test_too_little_history_is_missing_with_its_reason(market: FakeMarket) -> None:
    market.add("AAA", last=104.0)
    found = {row.id: row for row in history_rows(market.quoted["AAA"], history(5), 0.5)}
    assert found["price.sigma"].value is None
    assert "5 closed daily bars" in str(found["price.sigma"].missing)
    assert "100 are needed" in str(found["aegs.points"].missing)
    assert found["price.change_3d_pct"].value is not None


def test_no_price_at_all_is_no_zero(market: FakeMarket) -> None:
    market.add("AAA")
    blank = replace(market.quoted["AAA"], last=None, bid=None, ask=None, close=None)
    found = {row.id: row for row in quote_rows(blank, [], 0.5)}
    assert [found[id].value for id in ("quote.last", "price.change_pct", "price.gap_pct")] == [None] * 3
    assert all(row.missing for row in found.values() if row.value is None)


def test_today_s_own_bar_is_never_looked_at() -> None:
    today = Bar(datetime(2026, 3, 12, tzinfo=UTC), 1, 1, 1, 1, 1)
    assert today not in closed_before([*history(3), today], NOON)
    assert today in closed_before([today], NOON + timedelta(days=1))


def test_wilder_starts_from_a_plain_mean() -> None:
    assert wilder([1, 2, 3], 3) == 2
    assert wilder([1, 2, 3, 8], 3) == pytest.approx(2 + (8 - 2) / 3)
    assert wilder([1, 2], 3) is None


def test_a_row_has_a_value_or_a_reason() -> None:
    assert evidence_row("price.gap_pct", math.nan, NOON).missing
    assert evidence_row("contract.industry", "  ", NOON).value is None
    with pytest.raises(InvalidData, match="value or says why"):
        EvidenceRow("x", "x", None, "", "", None)
    with pytest.raises(InvalidData, match="value or says why"):
        EvidenceRow("x", "x", 1.0, "", "", None, "why")
    with pytest.raises(InvalidData, match="finite"):
        EvidenceRow("x", "x", math.inf, "", "", None)


def details(hours: str, zone: str = "America/New_York") -> InstrumentDetails:
    return InstrumentDetails(Instrument("AAA"), liquid_hours=hours, time_zone=zone)


@pytest.mark.parametrize(
    ("hours", "share"),
    [
        (HOURS, 0.5),
        ("20260312:0930-20260312:1600", 0.5),
        ("20260312:0930-20260312:1300", 3.25 / 3.5),
        ("20260312:CLOSED;20260313:0930-20260313:1600", None),
        ("", None),
        ("nonsense-20260312:1600", None),
    ],
)
def test_the_session_s_share_comes_from_the_contract_s_own_hours(hours: str, share: float | None) -> None:
    found = session_time_share(details(hours), NOON)
    assert found == (None if share is None else pytest.approx(share))


def test_before_and_after_the_session_it_is_none_or_all_of_it() -> None:
    assert session_time_share(details(HOURS), NOON - timedelta(hours=5)) == 0
    assert session_time_share(details(HOURS), NOON + timedelta(hours=5)) == 1
    assert session_time_share(details(HOURS, "No/Such"), NOON) is None


@given(st.floats(0, 1), st.floats(0, 1))
def test_usual_volume_only_grows_through_the_day(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert 0 <= volume_share(low) <= volume_share(high) <= 1
    assert (volume_share(0), volume_share(1)) == (0, 1)
