"""Questions about contracts and history: one request, one answer, one deadline."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import Any

from ib_async.objects import BarDataList

from ...domain.instrument import Instrument, InstrumentDetails, PriceIncrement
from ...domain.market_data import Bar, BarSource, Trade
from ...domain.options import OptionChain
from ...errors import InvalidData, InvalidInstrument, RequestFailed
from ..config.ib_config import TwsSettings
from ..ib_transport import BarRequest, ScheduledSession, SymbolMatch
from ..ib_vocabulary import WHAT_TO_SHOW
from .api import TwsApi
from .contracts import to_chain, to_contract, to_details, to_increments, to_instrument
from .market_streams import read_bars, send_bars_request
from .session import Session
from .timestamps import parse_ib_time

logger = logging.getLogger(__name__)

#: IB's code for "no security definition": an answer, "none", to a question about contracts.
NO_CONTRACT = 200


class Questions:
    """Raises NotConnected, LinkLost, DeadlineExceeded, RequestFailed and its kinds."""

    def __init__(self, api: TwsApi, session: Session, settings: TwsSettings) -> None:
        self._api = api
        self._session = session
        self._settings = settings

    async def _answer(self, what: str, answer: Awaitable[Any], deadline: float | None = None) -> Any:
        return await self._session.within(what, answer, deadline or self._settings.request_deadline)

    async def contract_details(self, instrument: Instrument) -> Sequence[InstrumentDetails]:
        self._session.require(f"contract {instrument}")
        request_id = self._api.client.getReqId()
        contract = to_contract(instrument)
        answer = self._api.wrapper.startReq(request_id, contract)
        self._api.client.reqContractDetails(request_id, contract)
        try:
            rows = await self._answer(f"contract {instrument}", answer)
        except RequestFailed as error:
            if error.code == NO_CONTRACT:
                return []
            raise
        found = []
        for row in rows:
            try:
                found.append(to_details(row))
            except (InvalidInstrument, InvalidData) as error:
                logger.warning("a contract is left out: %s", error)
        return found

    async def market_rule(self, rule_id: int) -> tuple[PriceIncrement, ...]:
        self._session.require(f"market rule {rule_id}")
        return to_increments(await self._answer(f"market rule {rule_id}", self._api.reqMarketRuleAsync(rule_id)))

    async def matching_symbols(self, pattern: str) -> Sequence[SymbolMatch]:
        self._session.require(f"symbols like {pattern}")
        request_id = self._api.client.getReqId()
        answer = self._api.wrapper.startReq(request_id)
        self._api.client.reqMatchingSymbols(request_id, pattern)
        found = []
        for row in await self._answer(f"symbols like {pattern}", answer):
            try:
                match = SymbolMatch(
                    to_instrument(row.contract),
                    getattr(row.contract, "description", ""),
                    tuple(row.derivativeSecTypes),
                )
            except InvalidInstrument:
                continue  # a kind of security that this package does not trade
            found.append(match)
        return found

    async def option_chains(self, underlying: Instrument) -> list[OptionChain]:
        """Those that are routed by SMART, the trading class of the underlying's own name first; empty when none."""
        what = f"option chain of {underlying}"
        self._session.require(what)
        request_id = self._api.client.getReqId()
        answer = self._api.wrapper.startReq(request_id)
        self._api.client.reqSecDefOptParams(
            request_id, underlying.symbol, "", underlying.sec_type.value, underlying.con_id or 0
        )
        rows = [row for row in await self._answer(what, answer) if row.exchange == "SMART"]
        return sorted(
            (to_chain(row, underlying) for row in rows),
            key=lambda chain: (chain.trading_class != underlying.symbol.replace(" ", ""), chain.trading_class),
        )

    async def fundamental_report(self, instrument: Instrument, report: str) -> str:
        what = f"{report} of {instrument}"
        self._session.require(what)
        client = self._api.client
        request_id, contract = client.getReqId(), to_contract(instrument)
        answer = self._api.wrapper.startReq(request_id, contract)
        client.reqFundamentalData(request_id, contract, report, [])
        try:
            told: str = await self._answer(what, answer)
        except RequestFailed:
            raise
        except BaseException:
            if client.isReady():
                client.cancelFundamentalData(request_id)
            raise
        return told

    async def historical_bars(self, request: BarRequest) -> list[Bar]:
        what = f"bars of {request.instrument}"
        self._session.require(what)
        request_id = self._api.client.getReqId()
        bars = BarDataList()
        bars.reqId = request_id
        answer = self._api.wrapper.startReq(request_id, to_contract(request.instrument), container=bars)
        send_bars_request(self._api, request_id, request)
        try:
            await self._answer(what, answer, self._settings.history_deadline)
        except BaseException:
            if self._api.client.isReady():
                self._api.client.cancelHistoricalData(request_id)
            raise
        return read_bars(bars)

    async def head_timestamp(self, instrument: Instrument, source: BarSource, regular_hours: bool) -> datetime:
        what = f"head timestamp of {instrument}"
        self._session.require(what)
        client = self._api.client
        request_id = client.getReqId()
        contract = to_contract(instrument)
        answer = self._api.wrapper.startReq(request_id, contract)
        client.reqHeadTimeStamp(request_id, contract, WHAT_TO_SHOW[source], regular_hours, 2)
        try:
            told: datetime = await self._answer(what, answer)
        finally:
            if client.isReady():
                # TWS keeps answered ones open and stalls after about fifty
                client.cancelHeadTimeStamp(request_id)
        return told

    async def schedule(self, instrument: Instrument, days: int, end: datetime | None) -> list[ScheduledSession]:
        what = f"schedule of {instrument}"
        self._session.require(what)
        question = self._api.reqHistoricalScheduleAsync(to_contract(instrument), days, end or "", True)
        told = await self._answer(what, question, self._settings.history_deadline)
        found = []
        for row in told.sessions:
            # told as local time with a dash, which elsewhere means UTC; the zone stands beside it
            start, close = (
                parse_ib_time(f"{text.replace('-', ' ')} {told.timeZone}")
                for text in (row.startDateTime, row.endDateTime)
            )
            day = datetime.strptime(row.refDate, "%Y%m%d").replace(tzinfo=UTC).date()
            found.append(ScheduledSession(day, start, close))
        return found

    async def historical_ticks(
        self, instrument: Instrument, start: datetime | None, end: datetime | None, count: int, regular_hours: bool
    ) -> list[Trade]:
        what = f"trades of {instrument}"
        self._session.require(what)
        question = self._api.reqHistoricalTicksAsync(
            to_contract(instrument), start or "", end or "", count, "TRADES", regular_hours
        )
        rows = await self._answer(what, question, self._settings.history_deadline)
        return [
            Trade(
                instrument,
                row.time.astimezone(UTC),
                row.price,
                row.size,
                row.exchange,
                row.specialConditions,
                row.tickAttribLast.pastLimit,
                row.tickAttribLast.unreported,
            )
            for row in rows
        ]
