"""Scans of the in-process paper broker, ranked straight from the exchange."""

from __future__ import annotations

from ..domain.instrument import Instrument
from ..domain.scan import ScanParameters, ScanRequest
from ..errors import RequestFailed
from .exchange import Exchange
from .options.market import OptionMarket
from .scans import FILTERS, INSTRUMENTS, PLACES, SCANS, Scanner, offered

#: Filters of a request -> code of the filter, units of the request in one of the filter's.
_FILTERS = {
    "above_price": ("priceAbove", 1.0),
    "below_price": ("priceBelow", 1.0),
    "above_volume": ("volumeAbove", 1.0),
    "above_market_cap": ("marketCapAbove1e6", 1e6),
    "below_market_cap": ("marketCapBelow1e6", 1e6),
}


class PaperScans:
    """`options` is the one option market of this exchange."""

    def __init__(self, exchange: Exchange, options: OptionMarket) -> None:
        self._scanner = Scanner(exchange, options)

    def scan(self, request: ScanRequest) -> list[Instrument]:
        """Raises RequestFailed for what `parameters` does not list."""
        scan, place = SCANS.get(request.code), PLACES.get(request.location)
        if place is None or place.instrument != request.instrument:
            why = f"there is no location {request.location} of instrument {request.instrument}"
            raise RequestFailed(str(request), why, "see scan_parameters")
        if scan is None or scan not in offered(request.instrument):
            raise RequestFailed(str(request), "this scanner does not rank by it", "see scan_parameters")
        filters = [
            (FILTERS[code], getattr(request, name) / unit)
            for name, (code, unit) in _FILTERS.items()
            if getattr(request, name) is not None
        ]
        return [one.details.instrument for one, _ in self._scanner.rank(scan, place, filters, request.rows)]

    def parameters(self) -> ScanParameters:
        return ScanParameters(
            codes={row.code: row.name for row in SCANS.values()},
            instruments={code: name for code, (_, name) in INSTRUMENTS.items()},
            locations={row.code: row.name for row in PLACES.values()},
        )
