"""A strategy of one's own in forty lines: buy well below the 20-day mean, sell at the mean, always with a stop.

It trades the shipped daily bars on the in-process paper broker, whose market time it moves itself.

Run it: python examples/mean_reversion.py [SESSIONS [SYMBOL …]]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import timedelta
from decimal import Decimal

from moondev_ibkr import BarSize, Bracket, BrokerError, Instrument, NewOrder, OrderType, Side, get_broker
from moondev_ibkr.brokers.calendar import MarketCalendar

SYMBOLS = ("AAPL", "MSFT", "IBM", "GOOG")
DISCOUNT, STOP = 0.92, Decimal("0.90")
BUDGET = Decimal(5_000)


async def trade(sessions: int, symbols: list[str]) -> None:
    calendar = MarketCalendar()
    async with get_broker("paper", speed=None) as broker:
        # a name that is not listed is told before the first session, not in each
        await asyncio.gather(*map(broker.details, symbols))
        for _ in range(sessions):
            now = await broker.market_time()
            day = calendar.next_day(now)
            await broker.advance_to(day.open + timedelta(minutes=1))
            for symbol in symbols:
                try:
                    await decide(broker, symbol)
                except BrokerError as error:
                    print(f"{day.day} {symbol}: {error}")
            await broker.advance_to(day.close)
        for position in await broker.positions():
            print(f"held: {position.quantity} {position.instrument}, unrealized {position.unrealized_pnl}")
        print(f"net liquidation {(await broker.account()).net_liquidation}, {len(broker.fills())} fills")


async def decide(broker, symbol: str) -> None:
    bars = [bar for bar in await broker.bars(symbol, BarSize.D1, count=21) if bar.complete][-20:]
    mean = sum(bar.close for bar in bars) / len(bars)
    quote = await broker.quote(symbol)
    held = any(position.instrument.symbol == symbol for position in await broker.positions())
    if not held and quote.ask is not None and quote.ask < mean * DISCOUNT:
        limit = Decimal(str(quote.ask))
        quantity = BUDGET // limit
        entry = NewOrder(
            Instrument(symbol), Side.BUY, quantity, OrderType.LIMIT, limit_price=limit, reason=f"below {mean:.2f}"
        )
        await broker.place(Bracket(entry, stop_price=round(limit * STOP, 2), target_price=round(Decimal(mean), 2)))
        print(f"{quote.time:%Y-%m-%d} buy {quantity} {symbol} at {limit}: 20-day mean {mean:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sessions", nargs="?", type=int, default=15)
    parser.add_argument("symbols", nargs="*", default=SYMBOLS)
    chosen = parser.parse_args()
    try:
        asyncio.run(trade(chosen.sessions, list(chosen.symbols)))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokerError as error:
        sys.exit(str(error))
