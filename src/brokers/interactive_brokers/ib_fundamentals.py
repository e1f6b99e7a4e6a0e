"""Fundamentals of one IB session, where its gateway still has them: TWS API 10.47 removed them without replacement.

Whether it has is found by asking. What a gateway cannot give is remembered for the session, so that a list of a
hundred names waits for one silence and not for a hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ..base_broker import Symbol
from ..domain.clock import Clock
from ..domain.fundamentals import Fundamentals, Report
from ..domain.instrument import Instrument
from ..errors import BrokerError, DeadlineExceeded, LinkError, NoData, NotSupported, ProtocolViolation, RequestFailed
from .ib_contracts import ContractBook
from .ib_fundamentals_xml import read_snapshot, read_summary
from .ib_transport import IbTransport, LinkEvent, LinkEventKind

#: Seconds until a gateway that says nothing counts as one that has no reports.
SILENCE = 8.0
#: Reports under way at once.
AT_ONCE = 4
#: Market time for which a company's answer is kept: reports change once a quarter, their price once a day.
KEPT = timedelta(hours=12)
#: IB's code for "Fundamentals data is not allowed": of the login, not of one security.
NOT_ALLOWED = 10358
#: ... and for "not available", of this security or of a kind of report ("Missing reportType").
NOT_AVAILABLE = 430

_READERS: dict[Report, Callable[[str], dict[str, Any]]] = {
    Report.SNAPSHOT: read_snapshot,
    Report.SUMMARY: read_summary,
}


class IBFundamentals:
    """See `BaseBroker.fundamentals`. `lacking` says of each report why this session cannot have it."""

    def __init__(
        self, transport: IbTransport, contracts: ContractBook, clock: Clock, *, silence: float = SILENCE
    ) -> None:
        self._transport = transport
        self._contracts = contracts
        self._clock = clock
        self._silence = silence
        self._places = asyncio.Semaphore(AT_ONCE)
        self.lacking: dict[Report, str] = {}
        #: Held while it is not known whether a report can be had: the first question finds out for all.
        self._probing = {report: asyncio.Lock() for report in Report}
        self._served: set[Report] = set()
        self._kept: dict[int, Fundamentals] = {}
        transport.add_link_listener(self._on_link)

    def _on_link(self, event: LinkEvent) -> None:
        # another gateway, or another version of it, may answer on the next link
        if event.kind is LinkEventKind.LOST:
            self.lacking.clear()
            self._served.clear()

    async def of(self, symbol: Symbol) -> Fundamentals:
        instrument = await self._contracts.qualify(symbol)
        number, now = instrument.con_id or 0, self._clock.now()
        kept = self._kept.get(number)
        if kept is not None and now - kept.time < KEPT:
            return kept
        answers = await asyncio.gather(*(self._report(instrument, report) for report in Report))
        fields: dict[str, Any] = {}
        missing: dict[Report, str] = {}
        for report, answer in zip(Report, answers, strict=True):
            if isinstance(answer, BrokerError):
                missing[report] = answer.why or answer.what
            else:
                fields |= answer
        if len(missing) == len(Report):
            raise self._refusal(instrument, missing)
        found = Fundamentals(instrument, now, missing=missing, source=self._transport.name, **fields)
        if not missing:
            self._kept[number] = found
        return found

    def _refusal(self, instrument: Instrument, missing: dict[Report, str]) -> BrokerError:
        what, why = f"fundamentals of {instrument}", missing[Report.SNAPSHOT]
        if all(report in self.lacking for report in Report):
            return NotSupported(what, why, "take them from elsewhere")
        return NoData(what, why, "there are none for this symbol")

    async def _report(self, instrument: Instrument, report: Report) -> dict[str, Any] | BrokerError:
        """The fields of one report, or why there is none. Raises LinkError: then nothing is known."""
        if report in self._served:
            return await self._ask(instrument, report)
        async with self._probing[report]:
            if report in self.lacking:
                return NotSupported(f"{report} of {instrument}", self.lacking[report], "take it from elsewhere")
            if report not in self._served:
                return await self._ask(instrument, report)
        return await self._ask(instrument, report)

    async def _ask(self, instrument: Instrument, report: Report) -> dict[str, Any] | BrokerError:
        try:
            async with self._places:
                async with asyncio.timeout(self._silence):
                    text = await self._transport.fundamental_report(instrument, report.value)
        except (TimeoutError, DeadlineExceeded):
            why = f"the gateway is silent about them: TWS API 10.47 removed {report}"
            return self._remember(instrument, report, why)
        except NotSupported as error:
            return self._remember(instrument, report, error.why)
        except RequestFailed as error:
            if error.code == NOT_ALLOWED or (error.code == NOT_AVAILABLE and "reporttype" in error.why.lower()):
                return self._remember(instrument, report, error.why)
            return error
        except LinkError as error:
            if not isinstance(error, ProtocolViolation):
                raise
            return error
        self._served.add(report)
        try:
            return _READERS[report](text)
        except ProtocolViolation as error:
            return error

    def _remember(self, instrument: Instrument, report: Report, why: str) -> NotSupported:
        # one late answer does not unmake a gateway that has answered before
        if report not in self._served:
            self.lacking[report] = why
        return NotSupported(f"{report} of {instrument}", why, "take it from elsewhere")
