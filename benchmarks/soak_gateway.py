"""The paper gateway as the soak runs it: a process of its own with a market that moves by itself, in real time.

    python -m benchmarks.soak_gateway '{"symbols": 40, "prints_per_second": 4.0, "seconds": 3600, "seed": 0}'

One command of the gateway's control channel a line on standard input (faults, books, status), one JSON answer a line;
the end of the input ends it. Market time begins half an hour into a regular session, so a soak may last five hours.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.domain.sessions import TradingDay
from moondev_ibkr.brokers.simulation.control import obey
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings
from moondev_ibkr.brokers.simulation.synthetic import DEFAULT_START, DEFAULT_START_AFTER_OPEN, SyntheticTape
from moondev_ibkr.brokers.simulation.tapes import WalkedPrices
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings
from moondev_ibkr.brokers.simulation.walk import RawStep, WalkStyle

from .market import symbol_names

SESSION_SECONDS = 6.5 * 3600
SPARSE = 60
#: Seconds that the market stays lively after the soak's time, while the soak settles.
SPARE = 300.0


class BusyTape(SyntheticTape):
    """A synthetic stock that prints as often as it is told between `begin` and `end`, and one time in SPARSE at other
    hours: a whole day of such prints is more than memory should hold."""

    prints = 0
    begin = end = datetime.max.replace(tzinfo=UTC)

    def style_on(self, day: date) -> WalkStyle:
        style = super().style_on(day)
        return replace(style, prints=self.prints) if day >= self._start else style

    def disturb(self, day: TradingDay, steps: list[RawStep]) -> list[RawStep]:
        if day.day < self._start:
            return steps
        return [raw for at, raw in enumerate(steps) if at % SPARSE == 0 or self.begin <= raw[0] < self.end]


async def serve(symbols: int, prints_per_second: float, seconds: float, seed: int) -> None:
    calendar = calendar_for()
    start = calendar.trading_days(DEFAULT_START, DEFAULT_START)[0].open + DEFAULT_START_AFTER_OPEN
    BusyTape.begin, BusyTape.end = start, start + timedelta(seconds=seconds + SPARE)
    tapes = [BusyTape(symbol, calendar, DEFAULT_START, seed) for symbol in symbol_names(symbols)]
    BusyTape.prints = int(prints_per_second * SESSION_SECONDS)
    settings = GatewaySettings(
        # the lines of one account are IB's to grant; this one has enough for every consumer
        tws=TwsSettings(port=0, tick_by_tick_lines=50, depth_lines=50),
        exchange=ExchangeSettings(seed=seed, accounts=(AccountSettings(cash=Decimal(10_000_000)),)),
        clock=ClockMode.REPLAY,
    )
    async with Gateway(settings, prices=WalkedPrices(tapes, calendar, start, seed=seed)) as (gateway):
        _say({"host": gateway.server.host, "port": gateway.tws_port})
        while line := await asyncio.to_thread(sys.stdin.readline):
            _say(await obey(gateway, line))


def _say(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(**json.loads(sys.argv[1])))
