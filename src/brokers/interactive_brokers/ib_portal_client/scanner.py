"""The portal's market scanner. Source: client-portal.md section 2.3."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from ...domain.instrument import Instrument, SecType
from ...domain.scan import ScanParameters, ScanRequest
from ...errors import InvalidInstrument
from ..config.ib_config import PortalSettings
from .answers import expect_object
from .session import Session
from .wire import HttpCall
from .words import SEC_TYPES, to_int

logger = logging.getLogger(__name__)

RUN, PARAMETERS = "/iserver/scanner/run", "/iserver/scanner/params"
#: Filters -> the portal's code; market capitalisation in millions of USD.
_FILTERS = {
    "above_price": ("priceAbove", 1.0),
    "below_price": ("priceBelow", 1.0),
    "above_volume": ("volumeAbove", 1.0),
    "above_market_cap": ("marketCapAbove1e6", 1e6),
    "below_market_cap": ("marketCapBelow1e6", 1e6),
}


class Scanner:
    """Raises NotConnected, LinkLost, PacingViolation, RequestFailed, ProtocolViolation."""

    def __init__(self, session: Session, settings: PortalSettings) -> None:
        self._session = session
        self._settings = settings

    async def scan(self, request: ScanRequest) -> list[Instrument]:
        filters = [
            {"code": code, "value": getattr(request, name) / unit}
            for name, (code, unit) in _FILTERS.items()
            if getattr(request, name) is not None
        ]
        body = {
            "instrument": request.instrument,
            "type": request.code,
            "location": request.location,
            "filter": filters,
        }
        call = HttpCall("POST", RUN, body=body, deadline=self._settings.history_deadline, what=str(request))
        rows = expect_object(call, await self._session.ask(call)).get("contracts") or []
        return [found for row in rows if (found := _instrument(row)) is not None][: request.rows]

    async def parameters(self) -> ScanParameters:
        call = HttpCall("GET", PARAMETERS, deadline=self._settings.history_deadline, what="scanner parameters")
        told = expect_object(call, await self._session.ask(call))
        return ScanParameters(
            codes=_named(told.get("scan_type_list"), "code"),
            instruments=_named(told.get("instrument_list"), "type"),
            locations=_named(_places(told.get("location_tree")), "type"),
        )


def _instrument(row: Mapping[str, Any]) -> Instrument | None:
    """A contract of an answer; None for one that this package does not trade or that carries no number."""
    con_id, kind = to_int(row.get("con_id")), SEC_TYPES.get(str(row.get("sec_type")))
    listed = str(row.get("listing_exchange") or "") or None
    stock = kind is SecType.STOCK
    try:
        if con_id is None or kind is None:
            raise InvalidInstrument(f"contract {row.get('symbol')}", "it has no number or an unknown type")
        return Instrument(
            str(row.get("symbol")),
            kind,
            exchange="SMART" if stock else listed or "SMART",
            primary_exchange=listed if stock else None,
            con_id=con_id,
        )
    except InvalidInstrument as error:
        logger.warning("a scanned contract is left out: %s", error)
        return None


def _named(rows: Any, code: str) -> dict[str, str]:
    found = (row for row in rows or [] if isinstance(row, Mapping))
    return {str(row[code]): str(row.get("display_name", "")) for row in found if row.get(code)}


def _places(tree: Any) -> Iterable[Mapping[str, Any]]:
    """Every location of the tree, branches before their leaves."""
    for row in tree or []:
        if isinstance(row, Mapping):
            yield row
            yield from _places(row.get("locations"))
