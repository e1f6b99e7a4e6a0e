"""Options of the in-process paper broker, read straight from the option market."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..domain.instrument import Instrument, InstrumentDetails, SecType
from ..domain.market_data import Bar, BarSize, BarSource, Quote
from ..domain.options import OptionActivity, OptionChain, OptionQuote
from ..errors import InvalidRequest, NoData, UnknownInstrument
from .exchange import Exchange
from .models import TradingCalendar
from .options.listing import MULTIPLIER
from .options.market import OptionMarket, key_of

_SOURCE = "paper"


class PaperOptions:
    """`market` is the one option market of this exchange."""

    def __init__(self, exchange: Exchange, calendar: TradingCalendar) -> None:
        self._exchange = exchange
        self.market = OptionMarket(exchange, calendar)

    def chain(self, underlying: InstrumentDetails) -> list[OptionChain]:
        """Of today. Raises NoData for what has no options."""
        listing = self.market.listing(underlying.instrument.con_id or 0)
        if listing is None:
            what = f"option chain of {underlying.instrument}"
            raise NoData(what, "the paper exchange lists options on stocks alone", "choose a stock")
        return [OptionChain(underlying.instrument, listing.trading_class, MULTIPLIER, listing.days, listing.strikes)]

    def quote(self, option: Instrument) -> OptionQuote:
        """As a live line tells it. Raises InvalidRequest for what is no option, UnknownInstrument for what is not
        listed, NoData before the stock's first price."""
        details = self.details(option)
        state = self.market.quote(details)
        if state is None:
            raise NoData(f"quote of {option}", "its stock has no price yet", "advance the clock")
        is_open = self.market.is_open(details.under_con_id or 0)
        bid, ask = (state.bid, state.ask) if is_open else (None, None)
        value = state.model.value
        return OptionQuote(
            instrument=option,
            time=self._exchange.now,
            bid=None if bid is None else float(bid),
            ask=None if ask is None else float(ask),
            bid_size=None if bid is None else float(state.bid_size),
            ask_size=None if ask is None else float(state.ask_size),
            last=None if state.last is None else float(state.last),
            close=None if state.close is None else float(state.close),
            volume=float(state.volume),
            open_interest=float(state.open_interest),
            implied_volatility=state.model.volatility,
            delta=None if value is None else value.delta,
            gamma=None if value is None else value.gamma,
            vega=None if value is None else value.vega,
            theta=None if value is None else value.theta,
            model_price=state.model.price,
            underlying_price=state.spot,
            source=_SOURCE,
        )

    def plain_quote(self, option: Instrument) -> Quote:
        """`quote` without what only options have."""
        told = self.quote(option)
        return Quote(
            instrument=option,
            time=told.time,
            bid=told.bid,
            ask=told.ask,
            bid_size=told.bid_size,
            ask_size=told.ask_size,
            last=told.last,
            close=told.close,
            volume=told.volume,
            source=told.source,
        )

    def details(self, option: Instrument) -> InstrumentDetails:
        """The listed contract. Raises InvalidRequest for what is no option, UnknownInstrument when it is not listed."""
        if option.sec_type is not SecType.OPTION:
            raise InvalidRequest(f"option quote of {option}", "it is no option", "take contracts from a chain")
        listed = self.market.candidates(symbol=option.symbol, con_id=option.con_id or 0)
        found = [
            row
            for row in listed
            if key_of(row) == (option.expiry, option.strike, option.right)
            and option.trading_class in (None, row.instrument.trading_class)
        ]
        if not found:
            why = "the paper exchange lists no such contract; a chain is a cross product, not every pair exists"
            raise UnknownInstrument(f"contract {option}", why, "take another strike or expiry")
        return found[0]

    def volatility_bars(
        self,
        details: InstrumentDetails,
        size: BarSize,
        source: BarSource,
        count: int | None,
        start: datetime | None,
        end: datetime | None,
    ) -> list[Bar]:
        """Daily bars of a volatility, the last `count` or those from `start` on. Raises NoData where there are none,
        InvalidRequest with neither count nor start."""
        what, until = f"{source} of {details.instrument}", end or self._exchange.now
        if count is None and start is None:
            raise InvalidRequest(what, "neither count nor start is given", "give one of them")
        if size is not BarSize.D1:
            raise NoData(what, "volatilities are settled once a day", "ask for daily bars")
        first = start or until - timedelta(days=2 * (count or 0) + 10)
        found = self.market.volatility.bars(details, source, first, until + timedelta(microseconds=1))
        if not found:
            raise NoData(what, "it has no options, or the past does not reach that far", "ask for a later day")
        return found if count is None else found[-count:]

    def activity(self, underlying: InstrumentDetails) -> OptionActivity:
        """As of the last whole minute. Raises NoData for what has no options."""
        told = self.market.activity(underlying.instrument.con_id or 0)
        if told is None:
            raise NoData(f"option activity of {underlying.instrument}", "it has no options", "choose a stock")
        return OptionActivity(
            instrument=underlying.instrument,
            time=self._exchange.now,
            call_volume=float(told.call_volume),
            put_volume=float(told.put_volume),
            call_open_interest=float(told.call_open_interest),
            put_open_interest=float(told.put_open_interest),
            average_volume=float(told.average_volume),
            implied_volatility=told.implied_volatility,
            historical_volatility=told.historical_volatility,
            source=_SOURCE,
        )
