"""PaperBroker: the whole broker in one process. Same exchange, rules and journal as the gateway, no socket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..base_broker import Health, MarketSubscription, Subscription, Symbol, spelling
from ..calendar import MarketCalendar
from ..domain.account import AccountSummary, PnL, Position
from ..domain.fundamentals import Fundamentals
from ..domain.instrument import Instrument, InstrumentDetails, SecType
from ..domain.market_data import VOLATILITY_SOURCES, Bar, BarSize, BarSource, BarUpdate, Quote, StreamKind
from ..domain.news import Article, Headline, NewsProvider
from ..domain.options import OptionActivity, OptionChain, OptionQuote
from ..domain.order import NewOrder
from ..domain.scan import ScanParameters, ScanRequest
from ..domain.streams import StreamOptions
from ..errors import BrokerError, ConfigurationError, InvalidRequest, NoData
from ..journal import Journal
from ..managed_broker import ManagedBroker, StopSettings, as_instrument
from ..orders import OrderSettings
from ..risk import RiskPolicy
from ..streams.defaults import StreamDefaults
from ..streams.hub import StreamHub
from ..streams.market_stream import MarketStream
from .commissions import PriceList
from .contracts import with_hours
from .exchange import Exchange
from .fundamentals import CompanyReports
from .history import exchange_date
from .paper_market import PaperMarket
from .paper_news import PaperNews
from .paper_options import PaperOptions
from .paper_port import PaperPort
from .paper_scans import PaperScans
from .prices import make_prices

log = logging.getLogger(__name__)
_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")

#: Real seconds between two looks at the clock while market time runs.
CLOCK_STEP = 0.05
#: A market whose time runs by itself begins this long after an open, past the opening blackout.
SETTLE = timedelta(minutes=1)


class ExchangeClock:
    """Market time is the exchange's; monotonic time is the machine's (injected in tests)."""

    def __init__(self, exchange: Exchange, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._exchange = exchange
        self._monotonic = monotonic

    def now(self) -> datetime:
        return self._exchange.now

    def monotonic(self) -> float:
        return self._monotonic()


class PaperBroker(ManagedBroker):
    """Paper trading with no account and no socket.

    `speed` is market seconds per real second (1: real time); None leaves time to `advance_to`, for tests and
    back-tests. `streams` is what a consumer of a stream gets who chooses nothing: every quote in its turn, at once.
    """

    name = "paper"

    def __init__(
        self,
        exchange: Exchange,
        calendar: MarketCalendar,
        *,
        journal: Journal,
        policy: RiskPolicy | None = None,
        speed: float | None = 1.0,
        orders: OrderSettings | None = None,
        stop: StopSettings | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        streams: StreamDefaults | None = None,
    ) -> None:
        self.exchange = exchange
        self.market = PaperMarket(exchange)
        self.options = PaperOptions(exchange, calendar)
        self.news = PaperNews(exchange, calendar)
        self.scans = PaperScans(exchange, self.options.market)
        self._reports = CompanyReports(exchange)
        self._paper_port = PaperPort(exchange)
        self._hub = StreamHub(streams or StreamDefaults(every_quote=True, batch_seconds=0.0))
        self._stop_feed: Callable[[], None] | None = None
        self._speed = speed
        self._clock_task: asyncio.Task[None] | None = None
        self._closes_journal = False
        #: Contract number -> (exchange's date, details with the hours from that date on).
        self._with_hours: dict[int, tuple[date, InstrumentDetails]] = {}
        super().__init__(
            port=self._paper_port,
            journal=journal,
            policy=policy or RiskPolicy(),
            calendar=calendar,
            clock=ExchangeClock(exchange, monotonic),
            orders=orders,
            stop=stop,
        )

    @classmethod
    def from_bars(
        cls,
        *,
        bars: Sequence[Path | str] = (),
        symbols: Sequence[str] | None = None,
        start: date | None = None,
        seed: int = 0,
        journal: Journal | None = None,
        policy: RiskPolicy | None = None,
        risk: Mapping[str, Any] | None = None,
        speed: float | None = 1.0,
        profile: str | None = None,
    ) -> PaperBroker:
        """A paper broker over OHLCV files or folders, or the shipped daily bars when `bars` is empty.

        `symbols` selects among the bars; `start` is the first day replayed. `journal` None keeps it in memory. `risk`
        gives limits as plain values by the names of RiskPolicy, as in Settings.risk, in the place of `policy`.
        `profile` is the performance profile of the streams (None: every quote, at once).
        Raises InvalidData, InvalidRequest or UnknownInstrument for bars that cannot serve, and ConfigurationError for
        limits that cannot be, or for both kinds of them.
        """
        if risk is not None:
            if policy is not None:
                raise ConfigurationError("paper broker", "both `policy` and `risk` are given", "give one of them")
            policy = RiskPolicy.from_settings(risk)
        streams = None if profile is None else StreamDefaults.of(profile, every_quote=True)
        calendar = MarketCalendar()
        prices = make_prices(calendar, paths=bars, symbols=symbols, start=start, seed=seed)
        exchange = Exchange(prices, calendar=calendar, commissions=PriceList())
        owned = journal is None
        if journal is None:
            journal = Journal(":memory:", now=lambda: exchange.now)
        broker = cls(exchange, calendar, journal=journal, policy=policy, speed=speed, streams=streams)
        broker._closes_journal = owned
        return broker

    async def connect(self) -> None:
        if self._trading:
            return
        # Prices exist from the first step on.
        self.exchange.advance_to(self._beginning())
        self._paper_port.open()
        await self._start_trading()
        if self._speed is not None:
            self._clock_task = asyncio.create_task(self._run_clock(self._speed), name="paper market clock")

    async def disconnect(self) -> None:
        if self._clock_task is not None:
            self._clock_task.cancel()
            await asyncio.gather(self._clock_task, return_exceptions=True)
            self._clock_task = None
        self._hub.close()
        await self._stop_trading()
        self._paper_port.close()
        if self._closes_journal:
            self.journal.close()

    def _beginning(self) -> datetime:
        """Now, or the next session's first calm moment when time runs by itself."""
        now = self.exchange.now
        if self._speed is None:
            return now
        day = self.calendar.day_at(now)
        if day is None or now >= day.close:
            day = self.calendar.next_day(now)
        return max(now, day.open + SETTLE)

    async def advance_to(self, moment: datetime) -> None:
        """Let market time run to `moment` (aware), and everything that follows from it be noticed."""
        self.exchange.advance_to(moment)
        await asyncio.sleep(0)

    def health(self) -> Health:
        reason = "" if self._trading else "not connected"
        halted = self.manager.halted
        return Health(self._trading, self._trading and halted is None, halted or reason)

    def accounts(self) -> tuple[str, ...]:
        return self.exchange.accounts

    async def market_time(self) -> datetime:
        self._require_trading()
        return self.exchange.now

    # Reference and market data

    async def details(self, symbol: Symbol) -> InstrumentDetails:
        """With the trading hours of the days ahead, as IB tells them."""
        instrument = as_instrument(symbol)
        option = instrument.sec_type is SecType.OPTION
        plain = self.options.details(instrument) if option else self.market.details(instrument)
        number, day = plain.instrument.con_id or 0, exchange_date(self.exchange.now)
        known = self._with_hours.get(number)
        if known is None or known[0] != day:
            known = self._with_hours[number] = (day, with_hours(plain, self.calendar, self.exchange.now))
        return known[1]

    async def quote(self, symbol: Symbol, *, max_age: timedelta | None = None) -> Quote:
        """The exchange's own state, which has no age."""
        self._require_trading()
        instrument = (await self.details(symbol)).instrument
        if instrument.sec_type is SecType.OPTION:
            return self.options.plain_quote(instrument)
        quote = self.market.quote(instrument)
        if quote is None:
            raise NoData(f"quote of {instrument}", "the market has not opened yet", "advance the clock")
        return quote

    async def quotes(self, symbols: Iterable[Symbol]) -> dict[str, Quote]:
        found = {}
        for symbol in symbols:
            try:
                quote = await self.quote(symbol)
            except BrokerError as error:
                log.warning("no quote of %s: %s", symbol, error)
            else:
                found[quote.instrument.symbol] = quote
        return found

    async def bars(
        self,
        symbol: Symbol,
        size: BarSize = BarSize.D1,
        *,
        count: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        source: BarSource = BarSource.TRADES,
        regular_hours: bool = True,
    ) -> list[Bar]:
        details = await self.details(symbol)
        if source in VOLATILITY_SOURCES:
            return self.options.volatility_bars(details, size, source, count, start, end)
        return self.market.bars(details.instrument, size, source, count, start, end, regular_hours)

    def live_bars(
        self, symbol: Symbol, size: BarSize = BarSize.D1, *, count: int = 250, source: BarSource = BarSource.TRADES
    ) -> Subscription[BarUpdate]:
        instrument = self.market.details(as_instrument(symbol)).instrument
        return self.market.live_bars(instrument, size, source, count)

    def stream(
        self,
        symbols: Iterable[Symbol],
        kinds: Iterable[StreamKind] = (StreamKind.QUOTES,),
        options: StreamOptions | None = None,
    ) -> MarketSubscription:
        """Everything from now on."""
        chosen = frozenset(StreamKind(kind) for kind in kinds)
        instruments = [self.market.details(as_instrument(symbol)).instrument for symbol in symbols]
        if not instruments or not chosen:
            raise InvalidRequest("stream", "no symbol or no kind of data was named")
        stops: list[Callable[[], None]] = []

        def ended(_: MarketStream) -> None:
            for stop in stops:
                stop()
            if not self._hub.streams and self._stop_feed is not None:
                self._stop_feed()
                self._stop_feed = None

        stream = self._hub.open(instruments, chosen, ended, options)
        if StreamKind.NEWS in chosen:
            stops.append(self.news.follow(instruments, partial(self._hub.give_to, stream, StreamKind.NEWS)))
        if self._stop_feed is None:
            self._stop_feed = self.market.feed(self._hub)
        if StreamKind.QUOTES in chosen:
            for quote in filter(None, map(self.market.quote, instruments)):
                self._hub.begin_with(stream, quote)
        return stream

    @property
    def stream_hub(self) -> StreamHub:
        return self._hub

    # Options and news

    async def option_chain(self, symbol: Symbol) -> list[OptionChain]:
        self._require_trading()
        return self.options.chain(await self.details(symbol))

    async def option_quotes(self, options: Iterable[Instrument]) -> dict[Instrument, OptionQuote | BrokerError]:
        self._require_trading()
        return {option: _settled(self.options.quote, option) for option in options}

    async def option_activity(self, symbols: Iterable[Symbol]) -> dict[str, OptionActivity | BrokerError]:
        self._require_trading()
        found: dict[str, OptionActivity | BrokerError] = {}
        for symbol in symbols:
            try:
                details = await self.details(symbol)
            except BrokerError as error:
                found[spelling(symbol)] = error
            else:
                found[details.instrument.symbol] = _settled(self.options.activity, details)
        return found

    async def news_providers(self) -> list[NewsProvider]:
        self._require_trading()
        return self.news.providers()

    async def headlines(
        self,
        symbol: Symbol,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        count: int = 50,
        providers: Iterable[str] = (),
    ) -> list[Headline]:
        self._require_trading()
        return self.news.headlines((await self.details(symbol)).instrument, start, end, count, providers)

    async def article(self, provider: str, article_id: str) -> Article:
        self._require_trading()
        return self.news.article(provider, article_id)

    async def scan(self, request: ScanRequest) -> list[Instrument]:
        self._require_trading()
        return self.scans.scan(request)

    async def scan_parameters(self) -> ScanParameters:
        return self.scans.parameters()

    async def fundamentals(self, symbol: Symbol) -> Fundamentals:
        """Of a company that is made up, as all of this exchange's are."""
        self._require_trading()
        details = await self.details(symbol)
        told = self._reports.of(details)
        if told is None:
            what = f"fundamentals of {details.instrument}"
            raise NoData(what, "no company reports for it", "ask for a company's stock")
        return told

    # Account

    async def positions(self, account: str | None = None) -> list[Position]:
        self._require_trading()
        return self.exchange.positions(account)

    async def account(self, account: str | None = None) -> AccountSummary:
        self._require_trading()
        return self.exchange.summary(account or self.accounts()[0])

    async def pnl(self, account: str | None = None, symbol: Symbol | None = None) -> PnL:
        self._require_trading()
        chosen = account or self.accounts()[0]
        if symbol is None:
            return self.exchange.pnl(chosen)
        return self.exchange.pnl_single(chosen, (await self.details(symbol)).instrument.con_id or 0)

    # What the risk rules read

    def cached_quote(self, instrument: Instrument) -> Quote | None:
        details = self.cached_details(instrument)
        return None if details is None else self.market.quote(details.instrument)

    def cached_details(self, instrument: Instrument) -> InstrumentDetails | None:
        try:
            return self.market.details(instrument)
        except BrokerError:
            return None

    def cached_positions(self, account: str) -> Sequence[Position]:
        return self.exchange.positions(account)

    def cached_account(self, account: str) -> AccountSummary | None:
        return self.exchange.summary(account)

    def fx_rate(self, currency: str) -> Decimal | None:
        return Decimal(1) if currency == "USD" else None

    def shortable_shares(self, instrument: Instrument) -> Decimal | None:
        return None if instrument.symbol in self.exchange.settings.hard_to_borrow else Decimal(10_000_000)

    async def freshen(self, order: NewOrder) -> None:
        """Nothing to do: every cache here is the exchange's own state."""

    async def _run_clock(self, speed: float) -> None:
        started, origin = self.clock.monotonic(), self.exchange.now
        while True:
            await asyncio.sleep(CLOCK_STEP)
            moment = origin + timedelta(seconds=(self.clock.monotonic() - started) * speed)
            self.exchange.advance_to(max(moment, self.exchange.now))


def _settled(ask: Callable[[_Asked], _Answer], asked: _Asked) -> _Answer | BrokerError:
    try:
        return ask(asked)
    except BrokerError as error:
        return error
