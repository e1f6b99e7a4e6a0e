"""yfinance answered from IB: an object that stands where the host's scanners expect the module `yfinance`.

Prices come from IB in yfinance's shapes: daily and longer bars adjusted for splits and dividends, intraday ones as
traded. A ticker that IB has nothing of gives an empty frame and a line on the logger "yfinance", as there. A lost link,
a passed deadline or a missing permission is raised: it must not look like a delisted share. With several tickers, one's
failure leaves its columns NaN; a lost link, or the failure of all, is raised.

What IB is not asked for (fundamentals, options, searches; indices, currencies, coins, listings abroad) comes from the
real yfinance where that is installed, and that is told once per kind; orders never depend on it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pandas as pd

from ...brokers.domain.market_data import BarSource
from ...brokers.errors import BrokerError, InvalidInstrument, NoData, NotSupported
from .host_bars import HostBars
from .host_timeframes import NEW_YORK
from .yfinance_frames import empty_history, history, last_sessions, side_by_side
from .yfinance_words import DAILY, DEFAULT_PERIOD, Question, elsewhere, ib_symbol, question, ticker_list

log = logging.getLogger(__name__)
#: Where yfinance tells of tickers without data; hosts switch this one off by name.
_yahoo_log = logging.getLogger("yfinance")

#: Options of yfinance with nothing behind them here, and what to know of each. Told once when they are set.
_NOT_SERVED: Mapping[str, str] = {
    "actions": "IB's bars carry no dividends and splits; those columns are left out",
    "back_adjust": "prices are auto-adjusted or as traded, nothing between",
    "repair": "IB's bars are taken as they are",
    "keepna": "IB sends no bars without a price",
    "session": "prices do not come over HTTP",
}
#: Known to have nothing: an empty frame and a line. Everything else that fails is raised.
_NOTHING = (InvalidInstrument, NoData)
_INSTALL = "install yfinance, or leave it out"

Answer = pd.DataFrame | BrokerError


class YFinanceFacade(ModuleType):
    """Usable as the module: `yf.download`, `yf.Ticker`, `yf.Tickers`, also `from yfinance import …` once it stands in
    `sys.modules`. `real` is the installed yfinance, None where there is none."""

    def __init__(self, bars: HostBars, real: ModuleType | None = None) -> None:
        super().__init__("yfinance", __doc__)
        self._bars = bars
        self._real = real
        self._said: set[str] = set()
        self._lock = threading.Lock()
        self.shared = ModuleType("yfinance.shared")
        self.shared.__dict__.update({"_ERRORS": {}, "_DFS": {}, "_TRACEBACKS": {}})
        self.Ticker: type[FacadeTicker] = type("Ticker", (FacadeTicker,), {"_facade": self})
        self.Tickers: type[FacadeTickers] = type("Tickers", (FacadeTickers,), {"_facade": self})
        self.__version__ = getattr(real, "__version__", "0")
        self.__spec__ = getattr(real, "__spec__", None) or ModuleSpec("yfinance", None)
        self.__all__ = sorted({"download", "Ticker", "Tickers", *getattr(real, "__all__", ())})
        if real is not None and hasattr(real, "__path__"):
            self.__path__ = real.__path__

    def download(
        self,
        tickers: str | Iterable[str],
        start: object = None,
        end: object = None,
        actions: bool = False,
        threads: bool | int = True,
        ignore_tz: bool | None = None,
        group_by: str = "column",
        auto_adjust: bool = True,
        back_adjust: bool = False,
        repair: bool = False,
        keepna: bool = False,
        progress: bool = True,
        period: str | None = DEFAULT_PERIOD,
        interval: str = "1d",
        prepost: bool = False,
        rounding: bool = False,
        timeout: float | None = None,
        session: object = None,
        multi_level_index: bool = True,
        **unknown: object,
    ) -> pd.DataFrame:
        """yfinance's `download`, all tickers in one round: `threads` makes no difference, and no progress bar is
        drawn. `timeout` is real seconds for the round; None takes the broker's own deadline.

        Raises LinkError, InvalidRequest for words that yfinance does not have, and what every single ticker met.
        """
        self._report(unknown, actions=actions, back_adjust=back_adjust, repair=repair, keepna=keepna, session=session)
        wanted = ticker_list(tickers)
        answers = self._answers(wanted, period, interval, start, end, prepost, auto_adjust, timeout)
        failed = {ticker: answer for ticker, answer in answers.items() if isinstance(answer, BrokerError)}
        told = [error for error in failed.values() if not isinstance(error, _NOTHING)]
        if told and len(failed) == len(answers):
            raise told[0]
        self._tell_failed(failed)
        frames = {ticker: empty_history() if isinstance(a, BrokerError) else a for ticker, a in answers.items()}
        intraday = interval[-1:].lower() in ("m", "h")
        data = side_by_side(
            frames,
            group_by=group_by,
            multi_level_index=multi_level_index,
            ignore_tz=not intraday if ignore_tz is None else ignore_tz,
        )
        return data.round(2) if rounding else data

    def prefetch(self, tickers: str | Iterable[str], period: str = DEFAULT_PERIOD, interval: str = "1d") -> None:
        """Read a whole list in one round, so that a scanner that then goes one by one is answered from memory. What a
        ticker meets is told when it is asked for. Raises LinkError."""
        self._answers(ticker_list(tickers), period, interval, None, None, False, True, None, only_ib=True)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the real yfinance's. Raises AttributeError, which `from yfinance import …` needs."""
        real = self.__dict__.get("_real")
        if name.startswith("__") or real is None or not hasattr(real, name):
            raise AttributeError(f"yfinance.{name} is not answered from IB, and the real yfinance has none: {_INSTALL}")
        self._say_once(f"yfinance.{name} is answered by Yahoo, not by IB")
        return getattr(real, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(dir(self._real) if self._real is not None else ())})

    # Answers

    def _answers(
        self,
        tickers: Sequence[str],
        period: str | None,
        interval: str,
        start: object,
        end: object,
        prepost: bool,
        auto_adjust: bool,
        timeout: float | None,
        *,
        only_ib: bool = False,
    ) -> dict[str, Answer]:
        """Histories in yfinance's shape, in the order asked; raises LinkError."""
        kinds = {ticker: elsewhere(ticker) for ticker in tickers}
        ours = [ticker for ticker in tickers if kinds[ticker] is None]
        asked = question(period, interval, start, end, self._bars.market_time())
        found = self._from_ib(ours, asked, prepost, auto_adjust, timeout) if ours else {}
        for ticker, kind in kinds.items():
            if kind is not None and not only_ib:
                words = {"period": period, "interval": interval, "start": start, "end": end}
                words |= {"prepost": prepost, "auto_adjust": auto_adjust, "actions": False}
                found[ticker] = self._from_real(ticker, kind, words)
        return {ticker: found[ticker] for ticker in tickers if ticker in found}

    def _from_ib(
        self, tickers: Sequence[str], asked: Question, prepost: bool, auto_adjust: bool, timeout: float | None
    ) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        for start, group in self._beginnings(tickers, asked, timeout, found).items():
            raw = self._span(group, asked, start, prepost, auto_adjust, timeout)
            closes: dict[str, Answer] = {}
            if not auto_adjust and not asked.row.is_intraday:
                closes = self._span(group, asked, start, False, True, timeout)
            for ticker in group:
                answer, adjusted = raw[ticker], closes.get(ticker)
                if isinstance(answer, BrokerError) or isinstance(adjusted, BrokerError):
                    found[ticker] = answer if isinstance(answer, BrokerError) else adjusted  # type: ignore[assignment]
                    continue
                close = None if auto_adjust else answer["Close"] if adjusted is None else adjusted["Close"]
                found[ticker] = _shaped(ticker, answer, asked, start, close)
        return found

    def _span(
        self,
        tickers: Sequence[str],
        asked: Question,
        start: datetime,
        prepost: bool,
        adjusted: bool,
        timeout: float | None,
    ) -> dict[str, Answer]:
        """Bars of a list, keyed by Yahoo's spelling. Intraday bars are not adjusted, as at Yahoo."""
        symbols = {ticker: ib_symbol(ticker) for ticker in tickers}
        source = BarSource.ADJUSTED_LAST if adjusted and not asked.row.is_intraday else BarSource.TRADES
        regular = not (prepost and asked.row.is_intraday)
        answers = self._bars.span(
            symbols.values(), asked.row, start, asked.end, source=source, regular_hours=regular, timeout=timeout
        )
        return {ticker: answers[symbol] for ticker, symbol in symbols.items()}

    def _beginnings(
        self, tickers: Sequence[str], asked: Question, timeout: float | None, found: dict[str, Answer]
    ) -> dict[datetime, list[str]]:
        """Where to read from, for which tickers. A number of sessions of bars that are not days is looked up in the
        days; a ticker without any goes into `found`."""
        if asked.start is not None:
            return {asked.start: list(tickers)}
        sessions = asked.sessions or 1
        if asked.row.name == "1d":
            return {asked.now - DAILY.span_for(sessions): list(tickers)}
        days = self._bars.daily(map(ib_symbol, tickers), days=sessions, source=BarSource.TRADES, timeout=timeout)
        groups: dict[datetime, list[str]] = {}
        for ticker in tickers:
            answer = days[ib_symbol(ticker)]
            if isinstance(answer, BrokerError):
                found[ticker] = answer
            else:
                first = answer.index[0].tz_localize(None).tz_localize(NEW_YORK.key)
                groups.setdefault(first.tz_convert("UTC").to_pydatetime(), []).append(ticker)
        return groups

    def _from_real(self, ticker: str, kind: str, words: Mapping[str, Any]) -> Answer:
        if self._real is None:
            return NoData(f"prices of {ticker}", f"it is {kind}, which is not read from IB", _INSTALL)
        self._say_once(f"{ticker} is {kind}: its prices come from Yahoo, not from IB (data only)")
        try:
            answer = self._real.Ticker(ticker).history(**words)
        except Exception as error:  # noqa: BLE001 - another library's door: one ticker's failure, told as such
            return NotSupported(f"prices of {ticker}", f"yfinance failed: {error!r}", "look at yfinance")
        if not isinstance(answer, pd.DataFrame) or answer.empty:
            return NoData(f"prices of {ticker}", "Yahoo has none")
        return answer

    # Reports

    def _report(self, unknown: Mapping[str, object], **options: object) -> None:
        for name, value in options.items():
            if value:
                self._say_once(f"yfinance option {name}: {_NOT_SERVED[name]}")
        for name in unknown:
            self._say_once(f"yfinance option {name} is unknown here and has no effect")

    def _say_once(self, text: str) -> None:
        with self._lock:
            if text in self._said:
                return
            self._said.add(text)
        log.warning("%s", text)

    def _tell_failed(self, failed: Mapping[str, BrokerError]) -> None:
        """yfinance's own lines, and its table of errors."""
        self.shared.__dict__["_ERRORS"] = {ticker: str(error) for ticker, error in failed.items()}
        if not failed:
            return
        _yahoo_log.error("%d Failed download%s:", len(failed), "s" if len(failed) > 1 else "")
        for ticker, error in failed.items():
            _yahoo_log.error("['%s']: %s", ticker, error)


class FacadeTicker:
    """yfinance's Ticker. `history` is answered from IB, everything else by the real one."""

    _facade: YFinanceFacade

    def __init__(self, ticker: str, session: object = None) -> None:
        self.ticker = ticker_list([ticker])[0]
        self._real_ticker: Any = None
        self._facade._report({}, session=session)

    def __repr__(self) -> str:
        return f"yfinance.Ticker object <{self.ticker}>"

    def history(
        self,
        period: str | None = DEFAULT_PERIOD,
        interval: str = "1d",
        start: object = None,
        end: object = None,
        prepost: bool = False,
        actions: bool | None = None,
        auto_adjust: bool = True,
        back_adjust: bool = False,
        repair: bool = False,
        keepna: bool = False,
        rounding: bool = False,
        timeout: float | None = None,
        raise_errors: bool = False,
        **unknown: object,
    ) -> pd.DataFrame:
        """Open High Low Close Volume, without the columns for dividends and splits that yfinance adds.

        An empty frame and a line where IB has nothing of the ticker (raised instead with `raise_errors`); every other
        failure is raised. `timeout` in real seconds, None: the broker's own deadline.
        """
        facade = self._facade
        facade._report(unknown, actions=actions, back_adjust=back_adjust, repair=repair, keepna=keepna)
        answers = facade._answers([self.ticker], period, interval, start, end, prepost, auto_adjust, timeout)
        answer = answers[self.ticker]
        if isinstance(answer, BrokerError):
            if raise_errors or not isinstance(answer, _NOTHING):
                raise answer
            facade.shared.__dict__["_ERRORS"] = {self.ticker: str(answer)}
            _yahoo_log.error("$%s: %s", self.ticker, answer)
            return empty_history()
        return answer.round(2) if rounding else answer

    def __getattr__(self, name: str) -> Any:
        """Raises NotSupported for what only the real yfinance has, where there is none."""
        if name.startswith("_"):
            raise AttributeError(name)
        real = self._facade._real
        if real is None:
            raise NotSupported(f"{name} of {self.ticker}", "it is not answered from IB", _INSTALL)
        if self._real_ticker is None:
            self._real_ticker = real.Ticker(self.ticker)
        self._facade._say_once(f"Ticker.{name} is answered by Yahoo, not by IB")
        return getattr(self._real_ticker, name)


class FacadeTickers:
    """yfinance's Tickers: several names, one `history`."""

    _facade: YFinanceFacade

    def __init__(self, tickers: str | Iterable[str], session: object = None) -> None:
        self.symbols = ticker_list(tickers)
        self.tickers = {symbol: self._facade.Ticker(symbol, session=session) for symbol in self.symbols}

    def __repr__(self) -> str:
        return f"yfinance.Tickers object <{','.join(self.symbols)}>"

    def history(self, period: str | None = DEFAULT_PERIOD, interval: str = "1d", **options: Any) -> pd.DataFrame:
        """`download` of all of them, with its options."""
        return self.download(period, interval, **options)

    def download(self, period: str | None = DEFAULT_PERIOD, interval: str = "1d", **options: Any) -> pd.DataFrame:
        """As the module's `download`."""
        return self._facade.download(self.symbols, period=period, interval=interval, **options)


def _shaped(
    ticker: str, frame: pd.DataFrame, asked: Question, start: datetime, close: pd.Series[float] | None
) -> Answer:
    begin = None if asked.sessions is not None else start
    shaped = history(frame, asked.row, begin, asked.end, close)
    if asked.sessions is not None and asked.row.name == "1d":
        shaped = last_sessions(shaped, asked.sessions)
    if shaped.empty:
        return NoData(f"prices of {ticker}", f"no price data found {asked.text}", "ask for another span")
    return shaped
