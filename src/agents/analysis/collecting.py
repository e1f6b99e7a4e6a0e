"""Collecting evidence for a whole list in one batched round: quotes in one, bars in one, options in one.

What fails for one symbol is that symbol's missing evidence, with the reason. A lost link fails the round: then nothing
is known, which is not the same as nothing found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from ...brokers.domain.account import AccountSummary, PnL, Position
from ...brokers.domain.fundamentals import Fundamentals
from ...brokers.domain.instrument import InstrumentDetails, normalize_symbol
from ...brokers.domain.market_data import Bar, BarSize, BarSource, Quote
from ...brokers.domain.news import Headline
from ...brokers.errors import BrokerError, DeadlineExceeded, InvalidInstrument, LinkError, NoData, NotConnected
from .evidence import KINDS, EvidenceRow, EvidenceSet, evidence_row, ids_of, missing_rows
from .fundamental_measures import fundamental_rows
from .measures import closed_before, history_rows, quote_rows, trading_date, volatility_z
from .options_flow import FlowScore, FlowSettings, scan_options_flow
from .reader import MarketReader
from .session_share import session_time_share

T = TypeVar("T")

#: Closed daily bars that the measures look at, and a few holidays and the running bar.
BARS = 205
#: Closed daily bars of implied volatility: 20, and a few holidays and the running one.
VOLATILITY_BARS = 25
#: Requests under way at once where a broker has no batched verb (details, headlines).
AT_ONCE = 16
#: Headlines asked for of one symbol, and how far back.
HEADLINES, NEWS_WINDOW = 20, timedelta(days=3)
#: Longest word of contract details that is taken over.
LONGEST_WORD = 60

#: (symbol, its headlines or why there are none, as-of time) for many symbols -> rows by symbol.
NewsReader = Callable[
    [Mapping[str, Sequence[Headline] | BrokerError], datetime], Awaitable[Mapping[str, Sequence[EvidenceRow]]]
]


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """`news`, `account` and `fundamentals` say whether these are looked at at all; `flow` rules the options."""

    flow: FlowSettings = field(default_factory=FlowSettings)
    options: bool = True
    news: bool = True
    account: bool = True
    fundamentals: bool = True


@dataclass(frozen=True, slots=True)
class _Round:
    """What the broker answered for the whole list."""

    now: datetime
    quotes: Mapping[str, Quote]
    quote_errors: Mapping[str, BrokerError]
    bars: Mapping[str, list[Bar] | BrokerError]
    details: Mapping[str, InstrumentDetails | BrokerError]
    flows: Mapping[str, FlowScore | BrokerError]
    news: Mapping[str, Sequence[EvidenceRow]]
    held: Mapping[str, Sequence[EvidenceRow]]
    companies: Mapping[str, Fundamentals | BrokerError]
    volatilities: Mapping[str, list[Bar] | BrokerError]

    def time_share(self, symbol: str) -> float | None:
        found = self.details.get(symbol)
        return session_time_share(found, self.now) if isinstance(found, InstrumentDetails) else None


class EvidenceCollector:
    """Collects over any broker. `read_news` turns headlines into features, never into text; None leaves news out."""

    def __init__(
        self, reader: MarketReader, settings: CollectorSettings | None = None, *, read_news: NewsReader | None = None
    ) -> None:
        self._reader, self._read_news = reader, read_news
        self.settings = settings or CollectorSettings()
        self._details: dict[str, InstrumentDetails] = {}
        self._bars: dict[BarSource, dict[date, dict[str, list[Bar]]]] = {}
        self._companies: dict[date, dict[str, Fundamentals | BrokerError]] = {}

    async def collect(self, symbols: Iterable[str]) -> dict[str, EvidenceSet]:
        """Evidence by normalised symbol, in the order asked. Raises LinkError when the link is lost, and what else
        concerns the whole of the quotes or bars."""
        asked = list(dict.fromkeys(spelling(symbol) for symbol in symbols))
        if not asked:
            return {}
        # Text that is no ticker would fail the whole round at the broker.
        refused = {name: error for name in asked if (error := _refusal(name)) is not None}
        done = await self._round([name for name in asked if name not in refused])
        rows = {name: _nothing(refused[name]) if name in refused else self._rows(name, done) for name in asked}
        return {name: EvidenceSet(name, done.now, tuple(rows[name])) for name in asked}

    def company_name(self, symbol: str) -> str | None:
        """The company's name as the broker tells it; None while its details have not been read."""
        found = self._details.get(symbol)
        return found.long_name or None if found is not None else None

    async def _round(self, names: list[str]) -> _Round:
        reader = self._reader
        now = await reader.market_time()
        if not names:
            return _Round(now, {}, {}, {}, {}, {}, {}, {}, {}, {})
        quotes, bars, details, companies = await asyncio.gather(
            reader.quotes(names),
            self._closed_bars(names, now, BarSource.ADJUSTED_LAST, BARS),
            self._each(names, self._detail),
            self._fundamentals(names, now),
        )
        if not quotes and all(isinstance(bars.get(name), LinkError) for name in names):
            raise NotConnected("evidence", "the broker's link was lost during the round", "try again")
        shares = {
            name: session_time_share(found, now) if isinstance(found, InstrumentDetails) else None
            for name, found in details.items()
        }
        flows, volatilities, news, held = await asyncio.gather(
            self._flows(names, shares), self._volatilities(names, now), self._news(names, now), self._held(names)
        )
        return _Round(now, quotes, _quote_errors(reader), bars, details, flows, news, held, companies, volatilities)

    async def _fundamentals(self, names: Sequence[str], now: datetime) -> Mapping[str, Fundamentals | BrokerError]:
        """What the companies report, asked for once a trading day; a lost link's failure is not kept."""
        if not self.settings.fundamentals:
            return {}
        day = trading_date(now)
        kept = self._companies.get(day, {})
        found = await self._each([name for name in names if name not in kept], self._reader.fundamentals)
        lasting = {name: told for name, told in found.items() if not isinstance(told, LinkError | DeadlineExceeded)}
        self._companies = {day: kept | lasting}
        return {**found, **self._companies[day]}

    async def _flows(
        self, names: Sequence[str], shares: Mapping[str, float | None]
    ) -> Mapping[str, FlowScore | BrokerError]:
        if not self.settings.options:
            return {}
        try:
            return await scan_options_flow(self._reader, names, self.settings.flow, time_shares=shares)
        except LinkError:
            raise
        except BrokerError as error:
            return dict.fromkeys(names, error)

    async def _news(self, names: Sequence[str], now: datetime) -> Mapping[str, Sequence[EvidenceRow]]:
        if not self.settings.news or self._read_news is None:
            return {}

        async def one(name: str) -> Sequence[Headline]:
            return await self._reader.headlines(name, start=now - NEWS_WINDOW, end=now, count=HEADLINES)

        return await self._read_news(await self._each(names, one), now)

    async def _held(self, names: Sequence[str]) -> Mapping[str, Sequence[EvidenceRow]]:
        """Rows of the account for the names that are held."""
        if not self.settings.account:
            return {}
        try:
            positions = await self._reader.positions()
            held = {row.instrument.symbol: row for row in positions if row.instrument.symbol in names and row.quantity}
            if not held:
                return {}
            account, total = await asyncio.gather(self._reader.account(), self._reader.pnl())
            profits = await self._each(list(held), lambda name: self._reader.pnl(symbol=held[name].instrument))
        except LinkError:
            raise
        except BrokerError as error:
            return {name: missing_rows(ids_of("position", "account"), _why(error)) for name in names}
        return {name: position_rows(row, account, profits[name], total) for name, row in held.items()}

    async def _volatilities(self, names: Sequence[str], now: datetime) -> Mapping[str, list[Bar] | BrokerError]:
        """Implied volatilities of the days before."""
        if not self.settings.options:
            return {}
        return await self._closed_bars(names, now, BarSource.IMPLIED_VOLATILITY, VOLATILITY_BARS)

    async def _closed_bars(
        self, names: Sequence[str], now: datetime, source: BarSource, count: int
    ) -> Mapping[str, list[Bar] | BrokerError]:
        """Daily bars of the days before `now`'s, in one round; they are asked for once a trading day."""
        day = trading_date(now)
        kept = self._bars.get(source, {}).get(day, {})
        wanted = [name for name in names if name not in kept]
        found: dict[str, list[Bar] | BrokerError] = {}
        if wanted:
            found = await self._reader.many_bars(wanted, BarSize.D1, count=count, source=source)
        fresh = {name: closed_before(bars, now) for name, bars in found.items() if not isinstance(bars, BrokerError)}
        self._bars[source] = {day: kept | fresh}
        return {**found, **self._bars[source][day]}

    async def _detail(self, name: str) -> InstrumentDetails:
        if name not in self._details:
            self._details[name] = await self._reader.details(name)
        return self._details[name]

    async def _each(self, names: Sequence[str], ask: Callable[[str], Awaitable[T]]) -> dict[str, T | BrokerError]:
        """`ask` for every name, a few at once; a failure is that name's."""
        places = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> T | BrokerError:
            async with places:
                try:
                    return await ask(name)
                except BrokerError as error:
                    return error

        return dict(zip(names, await asyncio.gather(*(one(name) for name in names)), strict=True))

    def _rows(self, name: str, done: _Round) -> list[EvidenceRow]:
        quote, bars = done.quotes.get(name), done.bars.get(name, NoData(f"daily bars of {name}", "none came"))
        share = done.time_share(name)
        rows: list[EvidenceRow] = []
        if quote is not None:
            rows += quote_rows(quote, [] if isinstance(bars, BrokerError) else bars, share)
        else:
            error = done.quote_errors.get(name)
            ids = [*ids_of("quote"), "price.change_pct", "price.gap_pct"]
            rows += missing_rows(ids, "the broker left its quote out" if error is None else _why(error))
        if isinstance(bars, BrokerError):
            present = {row.id for row in rows}
            ids = [id for id in ids_of("price", "volume", "volatility", "aegs") if id not in present]
            rows += missing_rows(ids, _why(bars))
        else:
            rows += history_rows(quote, bars, share)
        past = done.volatilities.get(name, NoData("implied volatility", "not looked at"))
        rows += flow_rows(done.flows.get(name, NoData("options", "not looked at")), quote, past)
        rows += detail_rows(done.details[name], done.now)
        company = done.companies.get(name, NoData("fundamentals", "not looked at"))
        rows += fundamental_rows(company, _why(company) if isinstance(company, BrokerError) else "")
        rows += done.news.get(name, ())
        rows += done.held.get(name, ())
        return rows


def flow_rows(
    flow: FlowScore | BrokerError, quote: Quote | None, volatilities: list[Bar] | BrokerError
) -> list[EvidenceRow]:
    """The options' rows; `quote` gives the volume of the stock itself, `volatilities` the past of the implied one."""
    if isinstance(flow, BrokerError):
        return missing_rows(ids_of("options"), _why(flow))
    at = flow.time
    stock = None if quote is None else quote.volume
    per_share = None if flow.total_volume is None or not stock else 100 * flow.total_volume / stock
    iv = flow.implied_volatility
    values: dict[str, tuple[float | str | None, str | None]] = {
        "options.flow_score": (flow.score, f"only {flow.coverage:.0%} of its weights have data"),
        "options.coverage": (flow.coverage, None),
        "options.direction": (flow.direction.value, None),
        "options.pcr_volume": (flow.put_call_volume, flow.part("put_call").missing),
        "options.pcr_oi": (flow.put_call_open_interest, "open interest too small, or not told"),
        "options.call_share": (flow.call_share, flow.part("concentration").missing),
        "options.iv_z20": (
            (None, _why(volatilities)) if isinstance(volatilities, BrokerError) else volatility_z(iv, volatilities)
        ),
        "options.iv_pct": (None if iv is None else iv * 100, "implied volatility not told"),
        "options.os_ratio": (per_share, "no volume of the options or the stock"),
    }
    for id, part in _PARTS.items():
        values[id] = flow.part(part).value, flow.part(part).missing
    return [evidence_row(id, *_timed(values[id], at)) for id in ids_of("options")]


#: Evidence that is a part of the flow score.
_PARTS: Mapping[str, str] = {
    "options.volume_spike": "volume_spike",
    "options.volume_oi": "volume_oi",
    "options.iv_hv": "iv_hv",
    "options.unusual_contracts": "unusual",
    "options.short_dated_share": "short_dated",
    "options.otm_put_share": "otm_puts",
    "options.skew": "skew",
}


def detail_rows(found: InstrumentDetails | BrokerError, now: datetime) -> list[EvidenceRow]:
    """What kind of company it is, in the broker's words."""
    if isinstance(found, BrokerError):
        return missing_rows(ids_of("contract"), _why(found))
    words = {
        "contract.type": found.stock_type,
        "contract.industry": found.industry,
        "contract.category": found.category,
    }
    return [evidence_row(id, _word(text), now, "the broker does not tell") for id, text in words.items()]


def position_rows(position: Position, account: AccountSummary, own: PnL | BrokerError, total: PnL) -> list[EvidenceRow]:
    """A held name's rows, all in percent: no amount of the account is told."""
    net = account.net_liquidation
    value, cost = position.market_value, position.quantity * position.average_cost
    profit = None if isinstance(own, BrokerError) else own.unrealized
    profit = position.unrealized_pnl if profit is None else profit
    day = None if isinstance(own, BrokerError) else own.daily
    why = "the broker does not tell"
    return [
        evidence_row("position.weight_pct", _percent(value, net), account.time, why),
        evidence_row("position.unrealized_pct", _percent(profit, abs(cost)), account.time, why),
        evidence_row("position.day_pct", _percent(day, net), account.time, why),
        evidence_row("account.day_pct", _percent(total.daily, net), account.time, why),
    ]


def spelling(symbol: str) -> str:
    """The symbol as brokers key it; text that is no ticker stays as it is."""
    try:
        return normalize_symbol(symbol)
    except InvalidInstrument:
        return symbol


def _refusal(name: str) -> BrokerError | None:
    """Why the text is no ticker; None when it is one."""
    try:
        normalize_symbol(name)
    except InvalidInstrument as error:
        return error
    return None


def _nothing(error: BrokerError) -> list[EvidenceRow]:
    """Every row missing for one reason."""
    return missing_rows([id for id, kind in KINDS.items() if not kind.private], _why(error))


def _timed(
    value: tuple[float | str | None, str | None], at: datetime
) -> tuple[float | str | None, datetime, str | None]:
    return value[0], at, value[1]


def _percent(part: Decimal | None, whole: Decimal | None) -> float | None:
    return None if part is None or not whole else float(part / whole * 100)


def _word(text: str) -> str:
    """Letters, digits and plain punctuation of a broker's word, bounded."""
    return "".join(letter for letter in text if letter.isascii() and (letter.isalnum() or letter in " -&,./()"))[
        :LONGEST_WORD
    ].strip()


def _quote_errors(reader: MarketReader) -> Mapping[str, BrokerError]:
    """Why quotes were left out, where the broker remembers."""
    found = getattr(reader, "quote_errors", None)
    return found if isinstance(found, Mapping) else {}


def _why(error: BrokerError) -> str:
    """The error on one bounded line."""
    return " ".join(f"{error.what}: {error.why}".split())[:200] if error.why else error.what[:200]
