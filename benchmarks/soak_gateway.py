"""The paper gateway as the soak runs it: a process of its own with a market that moves by itself, in real time.

    python -m benchmarks.soak_gateway '{"symbols": 40, "prints_per_second": 2.0, "seed": 0}'

One command of the gateway's control channel a line on standard input (faults, books, status), one JSON answer a line;
the end of the input ends it. Market time begins half an hour into a regular session, so a soak may last five hours.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from datetime import date
from decimal import Decimal

from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.simulation.control import obey
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings
from moondev_ibkr.brokers.simulation.synthetic import DEFAULT_START, DEFAULT_START_AFTER_OPEN, SyntheticTape
from moondev_ibkr.brokers.simulation.tapes import WalkedPrices
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings
from moondev_ibkr.brokers.simulation.walk import WalkStyle

from .market import symbol_names

SESSION_SECONDS = 6.5 * 3600


class BusyTape(SyntheticTape):
    """A synthetic stock that prints as often as it is told from the start on."""

    prints = 0

    def style_on(self, day: date) -> WalkStyle:
        style = super().style_on(day)
        return replace(style, prints=self.prints) if day >= self._start else style


async def serve(symbols: int, prints_per_second: float, seed: int) -> None:
    calendar = calendar_for()
    opened = calendar.trading_days(DEFAULT_START, DEFAULT_START)[0].open
    tapes = [BusyTape(symbol, calendar, DEFAULT_START, seed) for symbol in symbol_names(symbols)]
    BusyTape.prints = int(prints_per_second * SESSION_SECONDS)
    settings = GatewaySettings(
        # the lines of one account are IB's to grant; this one has enough for every consumer
        tws=TwsSettings(port=0, tick_by_tick_lines=50, depth_lines=50),
        exchange=ExchangeSettings(seed=seed, accounts=(AccountSettings(cash=Decimal(10_000_000)),)),
        clock=ClockMode.REPLAY,
    )
    async with Gateway(
        settings, prices=WalkedPrices(tapes, calendar, opened + DEFAULT_START_AFTER_OPEN, seed=seed)
    ) as (gateway):
        _say({"host": gateway.server.host, "port": gateway.tws_port})
        while line := await asyncio.to_thread(sys.stdin.readline):
            _say(await obey(gateway, line))


def _say(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(**json.loads(sys.argv[1])))
