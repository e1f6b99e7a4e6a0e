"""Look, buy with a protective stop, look again, go home flat. On the paper broker; no account is needed.

Run it: python examples/basic_trading.py [SYMBOL]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from decimal import Decimal

from moondev_ibkr import Bracket, BrokerError, Instrument, NewOrder, OrderType, RiskRefusal, Side, get_broker


async def main(symbol: str) -> None:
    async with get_broker("paper") as broker:  # "ib" for TWS or IB Gateway: the rest stays as it is
        quote = await broker.quote(symbol)
        print(f"{symbol}: bid {quote.bid} ask {quote.ask}")

        # Numbers of orders are Decimals; strings become exact ones.
        limit = Decimal(str(quote.ask))
        entry = NewOrder(Instrument(symbol), Side.BUY, 10, OrderType.LIMIT, limit_price=limit, reason="example")
        order = await broker.place(Bracket(entry, stop_price=round(limit * Decimal("0.8"), 2)))
        order = await broker.wait(order.key, timeout=10)
        print(f"{order.state}: {order.filled} at {order.average_price}, commission {order.commission}")

        for working in broker.open_orders():
            print(f"resting at the broker: {working.intent.side} {working.intent.type} at {working.intent.stop_price}")

        # The same key never places a second order, whatever happened in between.
        again = await broker.place(Bracket(entry, stop_price=round(limit * Decimal("0.8"), 2)))
        print(f"placed again under the same key: still order {again.order_id}")

        try:
            await broker.place(NewOrder(Instrument(symbol), Side.BUY, 5_000, OrderType.LIMIT, limit_price=limit))
        except RiskRefusal as refusal:
            print(f"refused by rule {refusal.rule}; the largest order that fits is {refusal.largest}")

        for closing in await broker.flatten(symbol):
            closed = await broker.wait(closing.key, timeout=10)
            print(f"flat again: sold {closed.filled} at {closed.average_price}")
        print(f"cash {(await broker.account()).total_cash}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("symbol", nargs="?", default="AAPL")
    try:
        asyncio.run(main(parser.parse_args().symbol))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokerError as error:
        sys.exit(str(error))
