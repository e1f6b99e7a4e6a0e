"""How much of a trading day has passed, in time and in the volume that a usual day has by then."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ...brokers.domain.instrument import InstrumentDetails

#: (share of the session's time, share of a usual day's volume by then): US stocks trade most at both ends. Ours, a
#: choice after the known U shape; it is exact nowhere and close everywhere.
VOLUME_BY_TIME: tuple[tuple[float, float], ...] = (
    (0.0, 0.0),
    (0.08, 0.14),
    (0.25, 0.33),
    (0.5, 0.53),
    (0.75, 0.72),
    (0.92, 0.86),
    (1.0, 1.0),
)
#: Before this share of a session nothing can be said of its volume.
TOO_EARLY = 0.02


def session_time_share(details: InstrumentDetails, now: datetime) -> float | None:
    """Share of the regular session of `now`'s day that has passed, 0 before it and 1 after it; None on a day without
    one, or that the broker's hours do not reach: unknown is not closed."""
    try:
        zone = ZoneInfo(details.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        return None
    today = now.astimezone(zone).date()
    for opening, closing in _sessions(details.liquid_hours, zone):
        if closing.astimezone(zone).date() == today and closing > opening:
            return min(1.0, max(0.0, (now - opening) / (closing - opening)))
    return None


def volume_share(time_share: float) -> float:
    """Share of a usual day's volume that has traded by then, between the rows of `VOLUME_BY_TIME`."""
    for (before, low), (after, high) in pairwise(VOLUME_BY_TIME):
        if time_share <= after:
            return low + (high - low) * (time_share - before) / (after - before)
    return 1.0


def _sessions(hours: str, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """The open spans of IB's words (`20250102:0930-20250102:1600;20250104:CLOSED`), aware UTC."""
    spans = []
    for part in hours.split(";"):
        first, dash, last = part.partition("-")
        if not dash:
            continue
        try:
            opening, closing = (datetime.strptime(f"{text.strip()}+0000", "%Y%m%d:%H%M%z") for text in (first, last))
        except ValueError:
            continue
        spans.append(tuple(moment.replace(tzinfo=zone).astimezone(UTC) for moment in (opening, closing)))
    return [(opening, closing) for opening, closing in spans]
