"""Market scans as stock ib_async reads them from the gateway."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from ib_async import IB, ScannerSubscription, TagValue
from ib_async.wrapper import RequestError
from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.prices import make_prices
from moondev_ibkr.brokers.simulation.scans import FILTERS, PLACES, SCANS

from ..simulation.tws.rig import running
from .test_ib_async_interop import connected, eventually

SYMBOLS = ["AAPL", "MSFT", "IBM", "NVDA", "SPY"]


@pytest.fixture(autouse=True)
def _no_decoding_errors(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.ERROR, "ib_async")
    yield
    assert not [row.getMessage() for row in caplog.records if "Error handling fields" in row.getMessage()]


@asynccontextmanager
async def market() -> AsyncIterator[tuple[Gateway, IB]]:
    """Five stocks that move, an hour into trading."""
    source = make_prices(calendar_for(), kind="synthetic", symbols=SYMBOLS)
    async with running(source=source) as gateway, connected(gateway) as ib:
        await gateway.advance_to(gateway.now + timedelta(hours=1))
        yield gateway, ib


def asked(code: str, **filters: Any) -> ScannerSubscription:
    return ScannerSubscription(**{"instrument": "STK", "locationCode": "STK.US.MAJOR", "scanCode": code, **filters})


async def symbols(ib: IB, code: str, tags: list[TagValue] | None = None, **filters: Any) -> list[str]:
    rows = await ib.reqScannerDataAsync(asked(code, **filters), [], tags or [])
    assert [row.rank for row in rows] == list(range(len(rows)))
    return [row.contractDetails.contract.symbol for row in rows]  # type: ignore[union-attr]


def change(gateway: Gateway, symbol: str) -> float:
    (details,) = gateway.prices.contracts.find(symbol, "STK")
    view = gateway.exchange.market(details.instrument.con_id or 0)
    assert view.last is not None
    assert view.close is not None
    return float(view.last / view.close)


async def test_gainers_are_ranked_and_the_rows_name_contracts() -> None:
    async with market() as (gateway, ib):
        expected = sorted(SYMBOLS, key=lambda symbol: -change(gateway, symbol))
        assert await symbols(ib, "TOP_PERC_GAIN") == expected
        assert await symbols(ib, "TOP_PERC_LOSE") == expected[::-1]
        assert await symbols(ib, "TOP_PERC_GAIN", numberOfRows=2) == expected[:2]
        (row, *_) = await ib.reqScannerDataAsync(asked("TOP_PERC_GAIN"))
        contract = row.contractDetails.contract
        assert contract is not None
        (qualified,) = await ib.qualifyContractsAsync(contract)
        assert qualified is not None
        assert (contract.conId, contract.exchange) == (qualified.conId, "SMART")  # type: ignore[union-attr]


async def test_fields_and_tags_filter() -> None:
    async with market() as (gateway, ib):
        prices = {
            name: float(view.last or 0) for name in SYMBOLS if (view := gateway.exchange.market(number(gateway, name)))
        }
        middle = sorted(prices.values())[2]
        assert set(await symbols(ib, "MOST_ACTIVE", abovePrice=middle)) == {n for n in SYMBOLS if prices[n] >= middle}
        assert set(await symbols(ib, "MOST_ACTIVE", belowPrice=middle)) == {n for n in SYMBOLS if prices[n] <= middle}
        assert await symbols(ib, "MOST_ACTIVE", locationCode="STK.NYSE") == ["IBM"]
        valued = await symbols(ib, "MOST_ACTIVE", marketCapAbove=1.0)
        assert "SPY" not in valued, "a fund has no market capitalisation"
        assert await symbols(ib, "MOST_ACTIVE", [TagValue("marketCapAbove1e6", "0.000001")]) == valued
        assert await symbols(ib, "MOST_ACTIVE", [TagValue("marketCapAbove1e6", "1e12")]) == []
        assert await symbols(ib, "MOST_ACTIVE", aboveVolume=2_000_000_000) == []


def number(gateway: Gateway, symbol: str) -> int:
    (details,) = gateway.prices.contracts.find(symbol, "STK")
    return details.instrument.con_id or 0


async def test_options_are_ranked_by_what_the_option_market_does() -> None:
    async with market() as (gateway, ib):
        gateway.door.options.surge("IBM", 0, 30, 50.0, "P")
        await gateway.advance_to(gateway.now + timedelta(minutes=30))
        assert (await symbols(ib, "HIGH_OPT_VOLUME_PUT_CALL_RATIO"))[0] == "IBM"
        assert (await symbols(ib, "HOT_BY_OPT_VOLUME"))[0] == "IBM"


async def test_the_parameters_name_what_can_be_asked() -> None:
    async with market() as (_, ib):
        tree = ElementTree.fromstring(await ib.reqScannerParametersAsync())
        assert [row.text for row in tree.iterfind("ScanTypeList/ScanType/scanCode")] == list(SCANS)
        assert {row.text for row in tree.iter("locationCode")} >= set(PLACES) - {"STK.US", "FUT.US"}
        assert [row.text for row in tree.iterfind("FilterList//code")] == list(FILTERS)
        for code in SCANS:
            assert await symbols(ib, code), code


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scanCode": "BEST_OF_ALL"}, "Scanner type with code BEST_OF_ALL is disabled"),
        ({"locationCode": "STK.MARS"}, "not configured for one of the chosen locations"),
        ({"instrument": "BOND"}, "not configured for one of the chosen locations"),
    ],
)
async def test_what_is_not_offered_is_refused_in_ibs_words(wrong: dict[str, str], words: str) -> None:
    async with market() as (_, ib):
        with pytest.raises(RequestError, match=words) as refused:
            await ib.reqScannerDataAsync(
                asked(wrong.get("scanCode", "MOST_ACTIVE"), **{k: v for k, v in wrong.items() if k != "scanCode"})
            )
        assert refused.value.code == 162


async def test_a_subscription_is_ranked_again_and_its_cancel_is_told() -> None:
    async with market() as (gateway, ib):
        told: list[tuple[int, str]] = []
        ib.errorEvent += lambda _, code, text, __: told.append((code, text))
        rows = ib.reqScannerSubscription(asked("TOP_PERC_GAIN"))
        await eventually(lambda: len(rows) == len(SYMBOLS))
        first = [row.contractDetails.contract.symbol for row in rows]  # type: ignore[union-attr]
        updates: list[int] = []
        rows.updateEvent += lambda found: updates.append(len(found))
        for _ in range(48):
            await gateway.advance_to(gateway.now + timedelta(minutes=5))
            if updates:
                break
        await eventually(lambda: updates)
        assert [row.contractDetails.contract.symbol for row in rows] != first  # type: ignore[union-attr]
        ib.cancelScannerSubscription(rows)
        await eventually(lambda: told)
        code, text = told[-1]
        assert (code, "API scanner subscription cancelled" in text) == (162, True)


async def test_an_eleventh_subscription_is_refused_and_a_cancel_makes_room() -> None:
    async with market() as (_, ib):
        kept = [ib.reqScannerSubscription(asked("MOST_ACTIVE")) for _ in range(10)]
        await eventually(lambda: all(kept))
        with pytest.raises(RequestError, match="Only 10 simultaneous"):
            await ib.reqScannerDataAsync(asked("MOST_ACTIVE"))
        ib.cancelScannerSubscription(kept.pop())
        assert len(await symbols(ib, "MOST_ACTIVE")) == len(SYMBOLS)
