"""Market scans: one subscription, cancelled as soon as its first answer is there."""

from __future__ import annotations

import logging
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from ib_async.objects import ScanDataList, ScannerSubscription, TagValue

from ...domain.instrument import Instrument
from ...domain.scan import ScanParameters, ScanRequest
from ...errors import InvalidInstrument, ProtocolViolation, RequestFailed
from ..config.ib_config import TwsSettings
from .api import TwsApi
from .contracts import to_held
from .session import Session

logger = logging.getLogger(__name__)

#: Filters -> IB's generic tag. The subscription's own fields leave the unit of market capitalisation open.
_TAGS = {
    "above_price": "priceAbove",
    "below_price": "priceBelow",
    "above_volume": "volumeAbove",
    "above_market_cap": "marketCapAbove1e6",
    "below_market_cap": "marketCapBelow1e6",
}
_MILLION = 1e6


class ScannerQuestions:
    """Raises NotConnected, LinkLost, DeadlineExceeded, PacingViolation, RequestFailed."""

    def __init__(self, api: TwsApi, session: Session, settings: TwsSettings) -> None:
        self._api = api
        self._session = session
        self._settings = settings

    async def scan(self, request: ScanRequest) -> list[Instrument]:
        what = str(request)
        self._session.require(what)
        client = self._api.client
        request_id, rows = client.getReqId(), ScanDataList()
        answer = self._api.wrapper.startReq(request_id, container=rows)
        wanted = ScannerSubscription(
            numberOfRows=request.rows,
            instrument=request.instrument,
            locationCode=request.location,
            scanCode=request.code,
        )
        client.reqScannerSubscription(request_id, wanted, [], filter_tags(request))
        is_open = True
        try:
            await self._session.within(what, answer, self._settings.history_deadline)
        except RequestFailed:
            is_open = False  # refused: there is nothing to cancel
            raise
        finally:
            if is_open and client.isReady():
                client.cancelScannerSubscription(request_id)
        return _instruments(rows)

    async def parameters(self) -> ScanParameters:
        """Raises ProtocolViolation for a document that cannot be read."""
        what = "scanner parameters"
        self._session.require(what)
        question = self._api.reqScannerParametersAsync()
        return read_parameters(await self._session.within(what, question, self._settings.history_deadline))


def filter_tags(request: ScanRequest) -> list[TagValue]:
    tags = []
    for name, tag in _TAGS.items():
        value = getattr(request, name)
        if value is not None:
            tags.append(TagValue(tag, f"{value / (_MILLION if tag.endswith('1e6') else 1):.12g}"))
    return tags


def _instruments(rows: ScanDataList) -> list[Instrument]:
    found = []
    for row in sorted(rows, key=lambda row: row.rank):
        try:
            found.append(to_held(row.contractDetails.contract))
        except InvalidInstrument as error:
            logger.warning("a scanned contract is left out: %s", error)
    return found


def read_parameters(text: str) -> ScanParameters:
    try:
        tree = fromstring(text)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise ProtocolViolation("scanner parameters", f"the document cannot be read: {error}", "ask again") from None
    return ScanParameters(
        codes=_named(tree, "ScanType", "scanCode", "displayName"),
        instruments=_named(tree, "Instrument", "type", "name"),
        locations=_named(tree, "Location", "locationCode", "displayName"),
    )


def _named(tree: Element, kind: str, code: str, name: str) -> dict[str, str]:
    """Code -> name of every element of a kind, in the order of the document."""
    rows = ((row.findtext(code, ""), row.findtext(name, "")) for row in tree.iter(kind))
    return {text: label for text, label in rows if text}
