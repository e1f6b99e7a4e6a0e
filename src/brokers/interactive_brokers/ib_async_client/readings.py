"""Market data read once: a line of its own, opened for one question and given back when all of it has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

from ib_async.ticker import Ticker

from ...domain.clock import Clock
from ...domain.instrument import Instrument
from ...domain.options import OptionActivity, OptionQuote
from ...errors import DeadlineExceeded, NoData, NoPermission
from ..ib_vocabulary import to_market_size
from .api import TwsApi
from .contracts import to_contract
from .market_lines import MarketLines
from .market_values import to_quote
from .sentinels import number_or_none

#: Generic ticks of one option: 100 volume, 101 open interest, 106 implied volatility.
OPTION_TICKS = "100,101,106"
#: Generic ticks of an underlying: those, 104 historical volatility, 105 average volume.
ACTIVITY_TICKS = "100,101,104,105,106"
#: Seconds after the last value that was new to a reading until it is taken as it is: IB does not say when that is all.
SETTLED = 3.0

_ACTIVITY_FIELDS = (
    "callVolume",
    "putVolume",
    "callOpenInterest",
    "putOpenInterest",
    "avOptionVolume",
    "impliedVolatility",
    "histVolatility",
)

_Wanted = Callable[[Ticker], Sequence[object]]


class Readings:
    """Raises NoPermission, NoData, RequestFailed, LinkLost, DeadlineExceeded."""

    def __init__(self, api: TwsApi, market: MarketLines, clock: Clock, source: str, settled: float = SETTLED) -> None:
        self._api = api
        self._market = market
        self._clock = clock
        self._source = source
        self._settled = settled

    async def option_quote(self, option: Instrument, deadline: float) -> OptionQuote:
        interest = "callOpenInterest" if option.right == "C" else "putOpenInterest"

        def wanted(ticker: Ticker) -> Sequence[object]:
            return ticker.bid, ticker.ask, ticker.volume, getattr(ticker, interest), ticker.modelGreeks

        ticker = await self._read(option, OPTION_TICKS, wanted, deadline)
        quote = to_quote(ticker, option, self._clock.now(), self._source)
        model = ticker.modelGreeks
        found = OptionQuote(
            instrument=option,
            time=quote.time,
            bid=quote.bid,
            ask=quote.ask,
            bid_size=quote.bid_size if quote.bid is not None else None,
            ask_size=quote.ask_size if quote.ask is not None else None,
            last=quote.last,
            close=quote.close,
            volume=quote.volume,
            open_interest=to_market_size(getattr(ticker, interest)),
            implied_volatility=None if model is None else model.impliedVol,
            delta=None if model is None else model.delta,
            gamma=None if model is None else model.gamma,
            vega=None if model is None else model.vega,
            theta=None if model is None else model.theta,
            model_price=None if model is None else model.optPrice,
            underlying_price=None if model is None else model.undPrice,
            data_type=quote.data_type,
            source=self._source,
        )
        if all(value is None for value in (found.bid, found.ask, found.last, found.close, found.model_price)):
            raise NoData(f"quote of {option}", "the broker sent no price", "the market may be closed")
        return found

    async def option_activity(self, underlying: Instrument, deadline: float) -> OptionActivity:
        def wanted(ticker: Ticker) -> Sequence[object]:
            return [getattr(ticker, name) for name in _ACTIVITY_FIELDS]

        ticker = await self._read(underlying, ACTIVITY_TICKS, wanted, deadline)
        quote = to_quote(ticker, underlying, self._clock.now(), self._source)
        found = OptionActivity(
            instrument=underlying,
            time=quote.time,
            call_volume=to_market_size(ticker.callVolume),
            put_volume=to_market_size(ticker.putVolume),
            call_open_interest=to_market_size(ticker.callOpenInterest),
            put_open_interest=to_market_size(ticker.putOpenInterest),
            average_volume=to_market_size(ticker.avOptionVolume),
            implied_volatility=number_or_none(ticker.impliedVolatility),
            historical_volatility=number_or_none(ticker.histVolatility),
            data_type=quote.data_type,
            source=self._source,
        )
        told = (found.call_volume, found.put_volume, found.call_open_interest, found.put_open_interest)
        if all(value is None for value in (*told, found.implied_volatility)):
            what = f"option activity of {underlying}"
            raise NoData(what, "the broker told nothing of its options", "it may have none")
        return found

    async def _read(self, instrument: Instrument, generics: str, wanted: _Wanted, deadline: float) -> Ticker:
        try:
            return await self._once(instrument, generics, wanted, deadline)
        except NoPermission as error:
            if not self._market.fall_back_to_delayed(error.code):
                raise
            return await self._once(instrument, generics, wanted, deadline)

    async def _once(self, instrument: Instrument, generics: str, wanted: _Wanted, deadline: float) -> Ticker:
        client, wrapper, loop = self._api.client, self._api.wrapper, asyncio.get_running_loop()
        contract, request_id = to_contract(instrument), client.getReqId()
        ticker = Ticker(contract=contract, defaults=wrapper.defaults)
        failed = wrapper.startReq(request_id, contract)
        enough: asyncio.Future[None] = loop.create_future()
        timer: asyncio.TimerHandle | None = None
        known = -1

        def finish() -> None:
            if not enough.done():
                enough.set_result(None)

        def look() -> None:
            nonlocal timer, known
            values = wanted(ticker)
            # NaN, which differs from itself, is what was not told yet
            count = sum(value is not None and value == value for value in values)
            if count > known:
                if timer is not None:
                    timer.cancel()
                timer, known = loop.call_later(0 if count == len(values) else self._settled, finish), count

        wrapper.reqId2Ticker[request_id] = ticker
        self._market.watch(ticker, look)
        client.reqMktData(request_id, contract, generics, False, False, [])
        try:
            await asyncio.wait({failed, enough}, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                failed.result()
            if timer is None:
                raise DeadlineExceeded(f"market data of {instrument}", timedelta(seconds=deadline), "ask again")
        finally:
            if timer is not None:
                timer.cancel()
            self._market.unwatch(ticker)
            wrapper.reqId2Ticker.pop(request_id, None)
            if not failed.done() and client.isReady():
                client.cancelMktData(request_id)
            failed.cancel()
        return ticker
