"""Faults of history and reference (catalogue 1.4, rows H) on the gateway. H03 and H13 are in
test_adapter_on_gateway_data, H12 in its bars tests; what needs no wire is under tests/brokers/interactive_brokers."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from moondev_ibkr.brokers.domain.market_data import BarSize
from moondev_ibkr.brokers.errors import DeadlineExceeded, InvalidRequest, PacingViolation, RequestFailed

from .adapter_world import QUICK, adapter_world
from .wire_tap import wire_tap

PACING = "Historical Market Data Service error message:API historical data query pacing violation"
NO_DATA = "Historical Market Data Service error message:HMDS query returned no data: AAPL@SMART Trades"
UTC_FORM = re.compile(r"^(\d{8}-\d\d:\d\d:\d\d)?$")


async def test_h01_a_pacing_error_is_told_and_starts_no_storm():
    async with adapter_world() as world:
        with wire_tap(world.gateway) as tap:
            world.arm("error", "162", "reqHistoricalData", PACING)
            with pytest.raises(PacingViolation):
                await world.adapter.bars("AAPL", count=5)
            await world.adapter.market_time()
            assert tap.count("reqHistoricalData") == 1


async def test_h01_the_same_question_from_many_is_one_request():
    async with adapter_world() as world:
        with wire_tap(world.gateway) as tap:
            answers = await asyncio.gather(*(world.adapter.bars("AAPL", count=5) for _ in range(20)))
            assert tap.count("reqHistoricalData") == 1
        assert all(answer == answers[0] for answer in answers)


async def test_h02_no_data_is_an_empty_answer():
    async with adapter_world() as world:
        world.arm("error", "162", "reqHistoricalData", NO_DATA)
        start = world.gateway.now - timedelta(days=5)
        assert await world.adapter.bars("AAPL", start=start, end=start + timedelta(days=1)) == []


async def test_h04_never_more_than_fifty_open_requests():
    async with adapter_world(settings=replace(QUICK, history_deadline=30)) as world:
        await world.adapter.contracts.qualify("AAPL")
        with wire_tap(world.gateway) as tap:
            world.arm("drop-answer", "reqHistoricalData", "70")
            now = world.gateway.now
            asking = [
                asyncio.ensure_future(world.adapter.bars("AAPL", count=3, end=now - timedelta(days=7 * week)))
                for week in range(1, 71)
            ]
            await world.until(lambda: tap.count("reqHistoricalData") >= 50, "the first requests", 10)
            await world.adapter.market_time()
            assert tap.count("reqHistoricalData") == 50
            for question in asking:
                question.cancel()
            await asyncio.gather(*asking, return_exceptions=True)


async def test_h05_a_long_series_is_cut_into_what_ib_allows_and_the_link_lives():
    async with adapter_world() as world:
        with wire_tap(world.gateway) as tap:
            bars = await world.adapter.bars("AAPL", BarSize.M1, start=world.gateway.now - timedelta(days=6))
            asked = tap.of("reqHistoricalData")
        assert len(asked) >= 2
        assert all(request.durationStr.endswith((" S", " D", " W")) for request in asked)
        times = [bar.time for bar in bars]
        assert times == sorted(set(times))
        assert world.client.is_healthy


async def test_h06_questions_and_answers_are_in_utc():
    async with adapter_world() as world:
        with wire_tap(world.gateway) as tap:
            bars = await world.adapter.bars("AAPL", BarSize.H1, count=5, end=world.gateway.now - timedelta(days=1))
            assert all(UTC_FORM.match(request.endDateTime) for request in tap.of("reqHistoricalData"))
        assert all(bar.time.tzinfo is UTC for bar in bars)
        assert bars[0].time.hour in range(13, 21), "New York's session in UTC, summer or winter"


async def test_h07_a_holiday_and_a_half_day_are_neither_repaired_nor_asked_again():
    async with adapter_world(start=date(2008, 12, 2)) as world:
        start, end = datetime(2008, 11, 26, tzinfo=UTC), datetime(2008, 11, 29, tzinfo=UTC)
        with wire_tap(world.gateway) as tap:
            daily = await world.adapter.bars("AAPL", start=start, end=end)
            hourly = await world.adapter.bars("AAPL", BarSize.M30, start=start, end=end)
            first = tap.count("reqHistoricalData")
            assert await world.adapter.bars("AAPL", start=start, end=end) == daily
            assert tap.count("reqHistoricalData") == first, "what is closed is not missing"
        assert [bar.time.date() for bar in daily] == [date(2008, 11, 26), date(2008, 11, 28)]
        per_day = [sum(bar.time.date() == day for bar in hourly) for day in (date(2008, 11, 26), date(2008, 11, 28))]
        assert per_day == [13, 7]


async def test_h09_an_unknown_bar_size_is_refused_before_the_wire():
    async with adapter_world() as world:
        with wire_tap(world.gateway) as tap:
            with pytest.raises(InvalidRequest):
                await world.adapter.bars("AAPL", "7 mins", count=5)
            await world.adapter.market_time()
            assert tap.count("reqHistoricalData") == 0


async def test_h10_a_no_while_a_farm_is_down_is_forgotten_when_it_is_back():
    async with adapter_world() as world:
        world.arm("2157")
        await world.until(lambda: world.client.farms_down, "the farm to be down")
        world.arm("error", "200", "reqContractDetails", "No security definition has been found for the request")
        with pytest.raises(RequestFailed):
            await world.adapter.details("MSFT")
        world.arm("2158")
        await world.until(lambda: not world.client.farms_down, "the farm to be back")
        assert (await world.adapter.details("MSFT")).instrument.con_id


async def test_h11_a_question_about_a_contract_that_hangs_ends_with_its_deadline():
    async with adapter_world(settings=replace(QUICK, request_deadline=0.2)) as world:
        world.arm("drop-answer", "reqContractDetails")
        with pytest.raises(DeadlineExceeded):
            await world.adapter.details("MSFT")
        assert (await world.adapter.details("MSFT")).instrument.symbol == "MSFT"
