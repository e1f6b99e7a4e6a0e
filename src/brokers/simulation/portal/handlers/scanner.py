"""The market scanner: what can be asked, and one scan. Source: client-portal.md section 2.3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...scans import FILTERS, INSTRUMENTS, PLACES, SCANS, Candidate, Filter, Scan, offered
from ..contract_rows import description, listing_exchange
from ..figures import percent_text, short_text
from ..request import Answer, PortalRefusal, PortalRequest
from ..routes import Route, Tier

if TYPE_CHECKING:
    from ..session import PortalSession

#: Every chart period is there.
CHART_PERIODS = "#R|1"


def params(session: PortalSession, request: PortalRequest) -> Answer:
    codes = list(FILTERS)
    instruments = {row.code: [one for one in INSTRUMENTS if row in offered(one)] for row in SCANS.values()}
    return Answer(
        {
            "scan_type_list": [
                {"display_name": row.name, "code": row.code, "instruments": instruments[row.code]}
                for row in SCANS.values()
            ],
            "instrument_list": [
                {"display_name": name, "type": code, "filters": codes} for code, (_, name) in INSTRUMENTS.items()
            ],
            "filter_list": [
                {"group": row.group, "display_name": row.name, "code": row.code, "type": "non-range"}
                for row in FILTERS.values()
            ],
            "location_tree": [
                {
                    "display_name": name,
                    "type": code,
                    "locations": [
                        {"display_name": place.name, "type": place.code, "locations": []}
                        for place in PLACES.values()
                        if place.instrument == code
                    ],
                }
                for code, (_, name) in INSTRUMENTS.items()
            ],
        }
    )


def run(session: PortalSession, request: PortalRequest) -> Answer:
    """Raises PortalRefusal for a code that `params` does not list."""
    scan, place = SCANS.get(request.text("type")), PLACES.get(request.text("location"))
    if scan is None or scan not in offered(request.text("instrument")):
        raise PortalRefusal(f"Bad Request: scanner type {request.text('type')!r}")
    if place is None or place.instrument != request.text("instrument"):
        raise PortalRefusal(
            f"Bad Request: location {request.text('location')!r} of instrument {request.text('instrument')!r}"
        )
    found = session.door.scanner.rank(scan, place, _filters(request.body))
    contracts = [_row(number, one, _shown(scan, figure)) for number, (one, figure) in enumerate(found)]
    if contracts:
        contracts[0]["column_name"] = scan.column
    return Answer({"contracts": contracts, "scan_data_column_name": scan.column})


def _shown(scan: Scan, figure: float) -> str | None:
    return short_text(figure, 6) if scan.is_amount else percent_text(figure)


def _filters(body: Any) -> list[tuple[Filter, float]]:
    """Raises PortalRefusal for an unknown code or a value that is no number."""
    wanted = body.get("filter") or [] if isinstance(body, dict) else []
    if not isinstance(wanted, list):
        raise PortalRefusal("Bad Request: filter is a list")
    found = []
    for entry in wanted:
        code = entry.get("code") if isinstance(entry, dict) else None
        row = FILTERS.get(str(code))
        if row is None:
            raise PortalRefusal(f"Bad Request: filter {code!r}")
        try:
            found.append((row, float(entry.get("value"))))
        except (TypeError, ValueError):
            raise PortalRefusal(f"Bad Request: value of filter {code!r}") from None
    return found


def _row(number: int, one: Candidate, shown: str | None) -> dict[str, Any]:
    details = one.details
    return {
        "server_id": str(number),
        "symbol": details.instrument.symbol,
        "conidex": str(one.con_id),
        "con_id": one.con_id,
        "available_chart_periods": CHART_PERIODS,
        "company_name": details.long_name,
        "scan_data": shown,
        "contract_description_1": description(details),
        "listing_exchange": listing_exchange(details),
        "sec_type": details.instrument.sec_type.value,
    }


ROUTES: tuple[Route, ...] = (
    Route(("GET",), "/iserver/scanner/params", params, Tier.BROKERAGE, "what a scan can be", pace="scanner-params"),
    Route(("POST",), "/iserver/scanner/run", run, Tier.BROKERAGE, "one scan", pace="scanner-run"),
)
