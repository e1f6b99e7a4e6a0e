"""A scripted market that can be looked at and counts how often it was, and evidence of any size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.agents.analysis.analysis_store import AnalysisStore
from moondev_ibkr.agents.analysis.evidence import EvidenceSet, evidence_row
from moondev_ibkr.brokers.domain.account import AccountSummary, PnL, Position
from moondev_ibkr.brokers.domain.fundamentals import Fundamentals
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails
from moondev_ibkr.brokers.domain.market_data import Bar, BarSize, BarSource, Quote
from moondev_ibkr.brokers.domain.news import Headline
from moondev_ibkr.brokers.domain.options import OptionActivity, OptionChain, OptionQuote
from moondev_ibkr.brokers.errors import BrokerError, NoData, UnknownInstrument

#: A Thursday, half way through the regular session of New York.
NOON = datetime(2026, 3, 12, 16, 45, tzinfo=UTC)
HOURS = "20260312:0930-20260312:1600;20260313:0930-20260313:1600"


def history(days: int = 210, *, price: float = 100.0, move: float = 0.01, volume: float = 1_000_000.0) -> list[Bar]:
    """Closed daily bars before NOON's day: the close goes up and down by `move`, the volume stays."""
    bars, close = [], price
    for back in range(days, 0, -1):
        day = datetime.combine(NOON.date() - timedelta(days=back), datetime.min.time(), UTC)
        opening, close = close, price * (1 + (0.0 if back % 2 else move))
        bars.append(Bar(day, opening, max(opening, close), min(opening, close), close, volume))
    return bars


@dataclass
class FakeMarket:
    """What a broker would answer. `calls` counts every verb; `asked` keeps how many symbols each round was for."""

    now: datetime = NOON
    quoted: dict[str, Quote] = field(default_factory=dict)
    quote_errors: dict[str, BrokerError] = field(default_factory=dict)
    daily: dict[str, list[Bar] | BrokerError] = field(default_factory=dict)
    volatilities: dict[str, list[Bar] | BrokerError] = field(default_factory=dict)
    hours: str = HOURS
    activity: dict[str, OptionActivity | BrokerError] = field(default_factory=dict)
    chains: dict[str, list[OptionChain]] = field(default_factory=dict)
    option_quote: Callable[[Instrument], OptionQuote | BrokerError] | None = None
    stories: dict[str, list[Headline]] = field(default_factory=dict)
    companies: dict[str, Fundamentals] = field(default_factory=dict)
    held: list[Position] = field(default_factory=list)
    fails: dict[str, BrokerError] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    asked: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, symbol: str, *, last: float = 100.0, opening: float = 100.0, volume: float = 500_000.0) -> None:
        """An ordinary symbol, unless told otherwise: its close before is 100."""
        one = Instrument(symbol)
        low, high = min(last, opening), max(last, opening)
        self.quoted[symbol] = Quote(
            one, self.now, last - 0.01, last + 0.01, 100, 100, last, 100, opening, high, low, 100.0, volume, False
        )
        self.daily[symbol] = history()
        self.activity[symbol] = OptionActivity(one, self.now, 2_000, 2_000, 40_000, 40_000, 8_000, 0.20, 0.25)

    def _called(self, verb: str, what: Any = None) -> None:
        self.calls[verb] += 1
        self.asked.setdefault(verb, []).append(what)
        if verb in self.fails:
            raise self.fails[verb]

    async def market_time(self) -> datetime:
        self._called("market_time")
        return self.now

    async def details(self, symbol: str | Instrument) -> InstrumentDetails:
        self._called("details", symbol)
        name = symbol.symbol if isinstance(symbol, Instrument) else symbol
        if name not in self.quoted:
            raise UnknownInstrument(f"contract {name}", "there is none")
        return InstrumentDetails(
            Instrument(name), f"{name} Inc", liquid_hours=self.hours, industry="Tech", stock_type="COMMON"
        )

    async def quotes(self, symbols: Iterable[str | Instrument]) -> dict[str, Quote]:
        names = [str(symbol) for symbol in symbols]
        self._called("quotes", names)
        return {name: self.quoted[name] for name in names if name in self.quoted}

    async def many_bars(
        self, symbols: Iterable[str | Instrument], size: BarSize = BarSize.D1, **options: Any
    ) -> dict[str, list[Bar] | BrokerError]:
        names = [str(symbol) for symbol in symbols]
        if options.get("source") is BarSource.IMPLIED_VOLATILITY:
            self._called("volatility_bars", names)
            return {name: self.volatilities.get(name, NoData(f"volatility of {name}", "none")) for name in names}
        self._called("many_bars", names)
        return {name: self.daily.get(name, UnknownInstrument(f"bars of {name}", "no such symbol")) for name in names}

    async def option_activity(self, symbols: Iterable[str | Instrument]) -> dict[str, OptionActivity | BrokerError]:
        names = [str(symbol) for symbol in symbols]
        self._called("option_activity", names)
        missing = UnknownInstrument("options", "no such symbol")
        return {name: self.activity.get(name, missing) for name in names}

    async def option_chain(self, symbol: str | Instrument) -> list[OptionChain]:
        self._called("option_chain", str(symbol))
        return self.chains[str(symbol)]

    async def option_quotes(self, options: Iterable[Instrument]) -> dict[Instrument, OptionQuote | BrokerError]:
        wanted = list(options)
        self._called("option_quotes", wanted)
        assert self.option_quote is not None
        return {one: self.option_quote(one) for one in wanted}

    async def headlines(self, symbol: str | Instrument, **_: Any) -> list[Headline]:
        self._called("headlines", str(symbol))
        return self.stories.get(str(symbol), [])

    async def fundamentals(self, symbol: str | Instrument) -> Fundamentals:
        self._called("fundamentals", str(symbol))
        found = self.companies.get(str(symbol))
        if found is None:
            raise NoData(f"fundamentals of {symbol}", "no company reports for it")
        return found

    async def positions(self, account: str | None = None) -> list[Position]:
        self._called("positions")
        return self.held

    async def account(self, account: str | None = None) -> AccountSummary:
        self._called("account")
        return AccountSummary("DU0001234", self.now, net_liquidation=Decimal(50_000))

    async def pnl(self, account: str | None = None, symbol: str | Instrument | None = None) -> PnL:
        self._called("pnl")
        return PnL("DU0001234", self.now, daily=Decimal(-250 if symbol is None else -500), unrealized=Decimal(-900))

    def chain(self, symbol: str) -> None:
        """Weekly and monthly expiries, strikes from 50 to 150."""
        days = tuple(NOON.date() + timedelta(days=n) for n in (1, 8, 29, 64))
        strikes = tuple(Decimal(n) for n in range(50, 151, 5))
        self.chains[symbol] = [OptionChain(Instrument(symbol), symbol, Decimal(100), days, strikes)]


@pytest.fixture
def market() -> FakeMarket:
    return FakeMarket()


@pytest.fixture
def store(tmp_path: Path) -> Iterable[AnalysisStore]:
    made = AnalysisStore(tmp_path / "analysis.sqlite")
    yield made
    made.close()


def evidence(symbol: str, **values: float | str) -> EvidenceSet:
    """Evidence by id, two underscores for the dot; calm where nothing else is said."""
    calm: dict[str, float | str] = {
        "price.sigma": 0.1,
        "price.gap_pct": 0.1,
        "volume.ratio": 1.0,
        "volatility.range_atr": 1.0,
        "options.flow_score": 10.0,
    }
    given = calm | {name.replace("__", ".", 1): value for name, value in values.items()}
    return EvidenceSet(symbol, NOON, tuple(evidence_row(id, value, NOON) for id, value in given.items()))


def option(symbol: str = "AAA", strike: float = 100, right: str = "C", days: int = 29) -> Instrument:
    day: date = NOON.date() + timedelta(days=days)
    made = OptionChain(Instrument(symbol), symbol, Decimal(100), (day,), (Decimal(str(strike)),))
    return made.option(day, Decimal(str(strike)), right)


def quoted(one: Instrument, **values: float) -> OptionQuote:
    return replace(OptionQuote(one, NOON), **values)


def log_move(last: float, before: float) -> float:
    return math.log(last / before)
