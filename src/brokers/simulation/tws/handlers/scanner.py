"""Requests for market scans: what can be asked, and scans that are told anew while they are subscribed.

IB ranks a subscribed scan again every half minute, and tells a cancel by error 162.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

from ...scans import FILTERS, MOST_ROWS, PLACES, SCANS, Candidate, Filter, Place, Scan, offered
from ...timers import Timer
from .. import requests as r
from ..messages_out import ScannerRow
from ..request import Request
from ..scanner_xml import scanner_parameters
from ..session import Refusal, Session

FAMILY = "scanner"
MOST_SCANS = 10
RANKED_EVERY = timedelta(seconds=30)
_SERVICE = "Historical Market Data Service error message:"
#: The filters that have a field of their own -> the code of the filter, by the rows of `scans.FILTERS`.
_FIELDS = {
    "abovePrice": "priceAbove",
    "belowPrice": "priceBelow",
    "aboveVolume": "volumeAbove",
    "marketCapAbove": "marketCapAbove1e6",
    "marketCapBelow": "marketCapBelow1e6",
    "averageOptionVolumeAbove": "optVolumeAbove",
}
_MILLION = 1e6


def _refused(why: str, code: int = 162) -> Refusal:
    return Refusal(code, _SERVICE + why)


class ScanSubscription:
    """Told at once, and again every half minute when the ranking has changed."""

    def __init__(self, session: Session, request: r.ReqScannerSubscription, scan: Scan, place: Place) -> None:
        self._session = session
        self._number = request.reqId
        self._scan, self._place = scan, place
        self._filters = tuple(_filters(request))
        rows = request.numberOfRows
        self._rows = MOST_ROWS if rows is None or rows < 0 else rows
        self._told: list[int] | None = None
        self._timer: Timer | None = None

    def start(self) -> None:
        door = self._session.door
        self._timer = door.timers.at(door.now + RANKED_EVERY, self.start)
        if door.offline.now:
            return
        found = door.scanner.rank(self._scan, self._place, self._filters, self._rows)
        told = [one.con_id for one, _ in found]
        if told != self._told:
            self._told = told
            if not found:
                self._session.error(
                    self._number, 165, "Historical Market Data Service query message:no items retrieved"
                )
            rows = [_row(place, one) for place, (one, _) in enumerate(found)]
            self._session.send("scannerData", reqId=self._number, rows=rows)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def subscribe(session: Session, request: r.ReqScannerSubscription) -> None:
    scan, place = SCANS.get(request.scanCode), PLACES.get(request.locationCode)
    if place is None or place.instrument != request.instrument:
        raise _refused("Market Scanner is not configured for one of the chosen locations")
    if scan is None or scan not in offered(request.instrument):
        raise _refused(f"Scanner type with code {request.scanCode} is disabled.")
    if session.count(FAMILY) >= MOST_SCANS:
        raise _refused(f"Only {MOST_SCANS} simultaneous API scanner subscriptions are allowed.")
    subscription = ScanSubscription(session, request, scan, place)
    session.subscribe(FAMILY, request.reqId, subscription, Refusal(385, "Duplicate ticker id for market scanner."))
    subscription.start()


def cancel(session: Session, request: r.CancelScannerSubscription) -> None:
    if not session.unsubscribe(FAMILY, request.reqId):
        raise Refusal(365, f"No scanner subscription found for ticker id:{request.reqId}")
    session.error(request.reqId, 162, f"{_SERVICE}API scanner subscription cancelled: {request.reqId}")


def parameters(session: Session, request: r.ReqScannerParameters) -> None:
    session.send("scannerParameters", xml=scanner_parameters())


def _filters(request: r.ReqScannerSubscription) -> Iterator[tuple[Filter, float]]:
    """Raises Refusal 321 for a filter that is not offered, or whose value is no number."""
    for name, code in _FIELDS.items():
        value = getattr(request, name)
        if value is not None:
            # the two fields of market capitalisation are in USD, the filter in millions
            yield FILTERS[code], float(value) / (_MILLION if code.endswith("1e6") else 1)
    for code, text in request.filterOptions:
        row = FILTERS.get(code)
        try:
            value = float(text)
        except ValueError:
            row = None
        if row is None:
            raise Refusal(321, f"Error validating request.-'bF' : cause - Unsupported scanner filter: {code}={text}")
        yield row, value


def _row(rank: int, one: Candidate) -> ScannerRow:
    instrument = one.details.instrument
    expiry = "" if instrument.expiry is None else f"{instrument.expiry:%Y%m%d}"
    return ScannerRow(
        rank,
        one.con_id,
        instrument.symbol,
        instrument.sec_type.value,
        expiry,
        Decimal(0),
        "",
        instrument.exchange,
        instrument.currency,
        instrument.local_symbol or instrument.symbol,
        one.details.market_name,
        instrument.trading_class or "",
        "",
        "",
        "",
        "",
    )


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    r.ReqScannerSubscription: subscribe,
    r.CancelScannerSubscription: cancel,
    r.ReqScannerParameters: parameters,
}
