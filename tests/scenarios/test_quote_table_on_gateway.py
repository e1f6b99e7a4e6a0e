"""A table of quotes over real sockets: the same rows from both readers, NaN for what is missing, lines given back."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest
from moondev_ibkr.brokers.errors import InvalidRequest, UnknownInstrument, UsageError
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import TwsSettings
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.fast_frames import WHY_NOT_COMPILED
from moondev_ibkr.brokers.interactive_brokers.ib_quote_table import COLUMNS, QuoteTable
from moondev_ibkr.config.settings import TickDecoder

from .adapter_world import QUICK, AdapterWorld, adapter_world

#: Trades a session: one every five seconds.
LIVELY = 4_680
decoders = pytest.mark.parametrize(
    "settings",
    [
        pytest.param(replace(QUICK, tick_decoder=TickDecoder.PURE), id="pure"),
        pytest.param(
            replace(QUICK, tick_decoder=TickDecoder.COMPILED),
            id="compiled",
            marks=pytest.mark.skipif(bool(WHY_NOT_COMPILED), reason=WHY_NOT_COMPILED),
        ),
    ],
)


def assert_rows_are_the_quotes(table: QuoteTable) -> None:
    for row, symbol in enumerate(table.symbols):
        quote = table.quote(symbol)
        assert quote is not None
        for name in COLUMNS:
            value = getattr(quote, name)
            cell = getattr(table, name)[row]
            assert math.isnan(cell) if value is None else cell == value, (symbol, name)


async def told(world: AdapterWorld, table: QuoteTable) -> None:
    await world.until(lambda: table.updates.all(), "a value for every row")


@decoders
async def test_rows_follow_the_market_and_equal_the_quotes(settings: TwsSettings) -> None:
    async with (
        adapter_world(settings=settings, prints=LIVELY) as world,
        world.adapter.quote_table(["MSFT", "AAPL"]) as table,
    ):
        await told(world, table)
        assert table.symbols == ("MSFT", "AAPL")
        before = table.copy()
        for _ in range(20):
            await world.advance(30)
            assert_rows_are_the_quotes(table)
        assert (table.updates > before["updates"]).all()
        assert not np.array_equal(before["last"], table.last)
        assert (table.ask > table.bid).all()
        assert (table.volume > 0).all()


@decoders
async def test_changes_tell_each_row_once(settings: TwsSettings) -> None:
    async with (
        adapter_world(settings=settings, prints=LIVELY) as world,
        world.adapter.quote_table(["AAPL", "MSFT"]) as table,
    ):
        await told(world, table)
        changes = table.changes()
        assert list(await anext(changes)) == [0, 1]
        coming = asyncio.ensure_future(anext(changes))
        await world.advance(60)
        rows = await asyncio.wait_for(coming, 3)
        assert len(rows)
        assert len(set(rows)) == len(rows)
        table.close()
        async with asyncio.timeout(3):
            assert [rows async for rows in changes] == []


async def test_a_second_reader_of_changes_is_told_and_the_first_goes_on() -> None:
    async with adapter_world(prints=LIVELY) as world, world.adapter.quote_table(["AAPL"]) as table:
        await told(world, table)
        table.take_changed()
        first = asyncio.ensure_future(anext(table.changes()))
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="another task waits"):
            await asyncio.wait_for(anext(table.changes()), 3)
        await world.advance(60)
        assert list(await asyncio.wait_for(first, 3)) == [0]


@decoders
async def test_a_lost_link_empties_the_rows_until_new_values_come(settings: TwsSettings) -> None:
    async with adapter_world(settings=settings, prints=LIVELY) as world, world.adapter.quote_table(["AAPL"]) as table:
        await told(world, table)
        seen: list[bool] = []
        world.client.add_link_listener(lambda event: seen.append(math.isnan(table.bid[0]) and table.gap is not None))
        world.arm("reset")
        await world.until_restored()
        assert seen[0]
        await world.until(lambda: table.bid[0] == table.bid[0], "a bid on the new link")
        assert table.gap is None
        assert_rows_are_the_quotes(table)


async def test_closing_gives_the_lines_back_and_columns_cannot_be_written() -> None:
    async with adapter_world() as world:
        keeper = world.adapter.data.lines
        keeper.allowance = 1
        async with world.adapter.quote_table(["AAPL"]) as table:
            await told(world, table)
            with pytest.raises(ValueError, match="read-only"):
                table.bid[0] = 1.0
        async with world.adapter.quote_table(["MSFT"]) as other:
            await told(world, other)
        (session,) = world.gateway.door.sessions.values()
        assert len(session.numbers("quotes")) == 1
        kept = table.copy()
        await world.advance(60)
        assert np.array_equal(kept["updates"], table.updates)


@pytest.mark.parametrize(
    ("symbols", "error"), [(["AAPL", "aapl"], InvalidRequest), (["AAPL", "NOSUCH"], UnknownInstrument)]
)
async def test_what_cannot_be_a_table_keeps_no_line(symbols: list[str], error: type[Exception]) -> None:
    async with adapter_world() as world:
        world.adapter.data.lines.allowance = 1
        with pytest.raises(error):
            await world.adapter.quote_table(symbols).open()
        async with world.adapter.quote_table(["MSFT"]) as table:
            await told(world, table)


async def test_two_tables_share_a_line_and_a_row_that_nobody_has_is_refused() -> None:
    async with adapter_world(prints=LIVELY) as world, world.adapter.quote_table(["AAPL"]) as first:
        async with world.adapter.quote_table(["MSFT", "AAPL"]) as second:
            await told(world, second)
            await world.advance(60)
            assert first.bid[0] == second.bid[second.row("AAPL")]
        await world.advance(600)
        assert_rows_are_the_quotes(first)
        with pytest.raises(InvalidRequest):
            first.row("MSFT")
    with pytest.raises(InvalidRequest):
        world.adapter.quote_table([])
