"""When a contract trades, from its own liquid hours as IB sends them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from ...brokers.domain.instrument import InstrumentDetails


def regular_sessions(details: InstrumentDetails) -> list[tuple[datetime, datetime]]:
    """(open, close) of the sessions that the contract's liquid hours name, ascending, aware in the exchange's zone.

    Text such as "20250102:0930-20250102:1600;20250104:CLOSED"; empty where the broker told no hours.
    """
    zone = ZoneInfo(details.time_zone)
    sessions = []
    for part in details.liquid_hours.split(";"):
        start, dash, end = part.strip().partition("-")
        if dash:
            times = [datetime.strptime(text, "%Y%m%d:%H%M").replace(tzinfo=zone) for text in (start, end)]
            sessions.append((times[0], times[1]))
    return sorted(sessions)
