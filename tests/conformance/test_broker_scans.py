"""Scans and fundamentals, the same over every broker that has them."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from moondev_ibkr.brokers.base_broker import BaseBroker
from moondev_ibkr.brokers.domain.fundamentals import Fundamentals, Report, Span
from moondev_ibkr.brokers.domain.scan import ScanRequest
from moondev_ibkr.brokers.errors import InvalidRequest, NotSupported, RequestFailed, UnknownInstrument
from moondev_ibkr.brokers.simulation.companies import company_of
from moondev_ibkr.brokers.simulation.scans import PLACES, SCANS

from .gateway_world import GatewayWorld
from .portal_world import PortalWorld
from .world import PaperWorld, World


async def found(broker: BaseBroker, **wanted: object) -> list[str]:
    return [row.symbol for row in await broker.scan(ScanRequest(**{"code": "MOST_ACTIVE", **wanted}))]  # type: ignore[arg-type]


async def test_a_scan_ranks_qualified_instruments(world: World) -> None:
    await world.to(1)
    rows = await world.broker.scan(ScanRequest("TOP_PERC_GAIN"))
    assert [(row.symbol, row.con_id, row.exchange) for row in rows] == [
        ("AAPL", 265598, "SMART"),
        ("MSFT", 272093, "SMART"),
    ]
    quotes = await world.broker.quotes(rows)
    assert set(quotes) == {"AAPL", "MSFT"}
    assert await found(world.broker, rows=1) == ["AAPL"]


async def test_every_filter_leaves_out_what_it_says(world: World) -> None:
    await world.to(1)
    both = ["AAPL", "MSFT"]
    assert await found(world.broker, above_price=99.5, below_price=100.5) == both
    assert await found(world.broker, above_price=100.5) == []
    assert await found(world.broker, below_price=99.5) == []
    assert await found(world.broker, above_volume=1) == both
    assert await found(world.broker, above_volume=2_000_000_000) == []
    assert await found(world.broker, location="STK.NYSE") == []
    caps = [shares_of(world, symbol) * 100 for symbol in both]
    middle, larger = sum(caps) / 2, both[caps.index(max(caps))]
    assert await found(world.broker, above_market_cap=middle) == [larger]
    assert await found(world.broker, below_market_cap=middle) == [name for name in both if name != larger]


def shares_of(world: World, symbol: str) -> float:
    (details,) = [row for row in world.exchange.catalogue() if row.instrument.symbol == symbol]
    company = company_of(world.exchange.prices, details, world.exchange.settings.seed)
    assert company is not None
    return company.shares


async def test_what_the_scanner_does_not_offer_is_refused(world: World) -> None:
    for wrong in (ScanRequest("BEST_OF_ALL"), ScanRequest("MOST_ACTIVE", location="STK.MARS")):
        with pytest.raises(RequestFailed):
            await world.broker.scan(wrong)
    assert await found(world.broker) == ["AAPL", "MSFT"]


async def test_the_parameters_name_codes_and_places(world: World) -> None:
    told = await world.broker.scan_parameters()
    assert dict(told.codes) == {row.code: row.name for row in SCANS.values()}
    assert set(told.locations) >= set(PLACES)
    assert dict(told.instruments) == {"STK": "US Stocks", "FUT.US": "US Futures"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": 0},
        {"rows": 51},
        {"code": ""},
        {"code": "A;B"},
        {"above_price": -1.0},
        {"above_market_cap": float("nan")},
    ],
)
def test_a_request_that_no_scanner_can_answer_is_refused_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        ScanRequest(**{"code": "MOST_ACTIVE", **wrong})  # type: ignore[arg-type]


async def test_a_company_reports(world: World) -> None:
    if isinstance(world, PortalWorld):
        with pytest.raises(NotSupported, match="the portal has no such reports"):
            await world.broker.fundamentals("AAPL")
        return
    told = await world.broker.fundamentals("AAPL")
    assert told.missing == {}
    assert (told.instrument.con_id, told.currency, told.price) == (265598, "USD", 100.0)
    shares = shares_of(world, "AAPL")
    assert told.shares_outstanding == pytest.approx(shares)
    assert told.market_cap == pytest.approx(shares * 100, rel=1e-6)
    assert told.price_to_book == pytest.approx(100 / (told.book_per_share or 0), rel=1e-3)
    quarters = [row for row in told.revenues if row.span is Span.QUARTER]
    assert told.revenue == pytest.approx(sum(row.value for row in quarters[-4:]), rel=1e-6)
    assert [row.end.isoformat() for row in quarters[-2:]] == ["2025-09-30", "2025-12-31"], (
        "published, not the running one"
    )
    year = next(row for row in told.revenues if row.span is Span.YEAR and row.end.year == 2025)
    assert year.value == pytest.approx(told.revenue, rel=1e-6)
    assert (told.employees or 0) >= 50
    assert len(told.earnings) == len(told.revenues) == len(told.dividends)
    with pytest.raises(UnknownInstrument):
        await world.broker.fundamentals("NOSUCH")


async def test_both_brokers_tell_the_same() -> None:
    told: list[Fundamentals] = []
    for kind in (PaperWorld, GatewayWorld):
        world: World = kind()
        await world.open()
        try:
            told.append(await world.broker.fundamentals("MSFT"))
        finally:
            await world.close()
    mine, theirs = (asdict(one) for one in told)
    numbers = [name for name, value in mine.items() if isinstance(value, float)]
    assert len(numbers) >= 14
    assert {name: mine[name] for name in numbers} == pytest.approx({name: theirs[name] for name in numbers}, rel=1e-5)
    for name in ("revenues", "earnings", "dividends"):
        assert [row["value"] for row in mine[name]] == pytest.approx([row["value"] for row in theirs[name]], abs=1e-4)
        assert [row["end"] for row in mine[name]] == [row["end"] for row in theirs[name]]
    assert Report.SNAPSHOT not in told[1].missing
