"""Daily bars for AEGS: followed live for a run of many sessions, or asked for in one round for a single scan."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import pandas as pd

from ...brokers.base_broker import BaseBroker, bars_to_frame
from ...brokers.domain.market_data import Bar, BarSize, BarSource
from ...brokers.errors import BrokerError, DeadlineExceeded
from .aegs_holdings import trading_date
from .aegs_score import LOOKBACK_BARS

#: The running bar and a few holidays more than the score looks at.
_SPARE = 5


class DailyBars:
    """Closed daily bars by symbol. `on_lost` is told of a symbol whose live bars ended, and why."""

    def __init__(self, broker: BaseBroker, on_lost: Callable[[str, BrokerError], None]) -> None:
        self._broker = broker
        self._on_lost = on_lost
        self._bars: dict[str, dict[datetime, Bar]] = {}
        self._ready: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_live(self) -> bool:
        """Whether live bars are followed; otherwise every look asks the broker again."""
        return bool(self._tasks)

    def follow(self, symbol: str) -> None:
        """Subscribe to the symbol's daily bars."""
        self._bars[symbol], self._ready[symbol] = {}, asyncio.Event()
        self._tasks.append(asyncio.create_task(self._follow(symbol), name=f"aegs bars {symbol}"))

    async def until_ready(self, symbol: str, deadline: float) -> None:
        """Wait until the history of a followed symbol has come; raises DeadlineExceeded after `deadline` real seconds
        with no bar at all."""
        try:
            async with asyncio.timeout(deadline):
                await self._ready[symbol].wait()
        except TimeoutError:
            if not self._bars[symbol]:
                waited = timedelta(seconds=deadline)
                raise DeadlineExceeded(f"daily bars of {symbol}", waited, "look at the data subscriptions") from None

    async def stop(self) -> None:
        """End the subscriptions."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    async def closed(self, symbols: Iterable[str], now: datetime) -> Mapping[str, pd.DataFrame | BrokerError]:
        """The last 200 bars of days before `now`'s trading date, by symbol; today's own bar is never looked at.

        Not followed, they come in one round for the whole list, adjusted for splits and dividends as the host's
        scanners have them; a symbol that fails has its error. IB has no live adjusted bars: followed ones are its
        trades, adjusted for splits alone.
        """
        if self.is_live:
            return {symbol: self.followed(symbol, now) for symbol in symbols}
        count = LOOKBACK_BARS + _SPARE
        rows = await self._broker.many_bars(symbols, BarSize.D1, count=count, source=BarSource.ADJUSTED_LAST)
        return {
            symbol: answer if isinstance(answer, BrokerError) else _frame(answer, now)
            for symbol, answer in rows.items()
        }

    def followed(self, symbol: str, now: datetime) -> pd.DataFrame:
        """The same for one followed symbol."""
        return _frame(self._bars[symbol].values(), now)

    async def _follow(self, symbol: str) -> None:
        bars = self._bars[symbol]
        count = LOOKBACK_BARS + _SPARE
        subscription = self._broker.live_bars(symbol, BarSize.D1, count=count, source=BarSource.TRADES)
        try:
            async with contextlib.aclosing(subscription):
                async for update in subscription:
                    bars[update.bar.time] = update.bar
                    if not update.closed or len(bars) >= LOOKBACK_BARS:
                        self._ready[symbol].set()
                    while len(bars) > LOOKBACK_BARS + 20:
                        del bars[min(bars)]
        except BrokerError as error:
            self._on_lost(symbol, error)
            self._ready[symbol].set()


def _frame(bars: Iterable[Bar], now: datetime) -> pd.DataFrame:
    today = trading_date(now)
    past = [bar for bar in sorted(bars, key=lambda bar: bar.time) if bar.time.date() < today]
    return bars_to_frame(past[-LOOKBACK_BARS:])
