"""Times as TWS writes and reads them. Everything inside is aware UTC.

TWS stamps executions and bars in the exchange's zone under its old name ("US/Eastern"); schedules in local time
with no zone beside a zone field; head time stamps and clients' `YYYYMMDD-HH:MM:SS` in UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

#: IANA names -> the names that TWS uses.
TWS_ZONES = {
    "America/New_York": "US/Eastern",
    "America/Chicago": "US/Central",
    "America/Denver": "US/Mountain",
    "America/Los_Angeles": "US/Pacific",
}
#: Names in use that the IANA database does not have everywhere.
_ALIASES = {"EST": "America/New_York", "EST5EDT": "America/New_York", "CST": "America/Chicago", "GMT": "UTC"} | {
    tws: iana for iana, tws in TWS_ZONES.items()
}
DEFAULT_ZONE = "America/New_York"

_MOMENT = re.compile(
    r"(?:(?P<date>\d{8})[ -]{1,2})?(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?(?: (?P<zone>\S.*))?"
)
_DAY = re.compile(r"(?P<date>\d{8})(?: (?P<zone>\S.*))?")


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Raises ValueError for a zone that nobody knows."""
    try:
        return ZoneInfo(_ALIASES.get(name, name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone") from None


def zone_text(name: str) -> str:
    """The zone as TWS spells it."""
    return TWS_ZONES.get(name, name)


def stamp(moment: datetime, zone_name: str = DEFAULT_ZONE) -> str:
    """ "20260413 15:27:04 US/Eastern", as in execDetails and intraday bars."""
    return f"{moment.astimezone(zone(zone_name)):%Y%m%d %H:%M:%S} {zone_text(zone_name)}"


def local(moment: datetime, zone_name: str = DEFAULT_ZONE) -> str:
    """ "20260413-15:27:04" in `zone_name`, as in schedules."""
    return f"{moment.astimezone(zone(zone_name)):%Y%m%d-%H:%M:%S}"


def utc_text(moment: datetime) -> str:
    """ "20260413-19:27:04" in UTC, as head time stamps are."""
    return f"{moment.astimezone(UTC):%Y%m%d-%H:%M:%S}"


def day_text(moment: datetime, zone_name: str = DEFAULT_ZONE) -> str:
    return f"{moment.astimezone(zone(zone_name)):%Y%m%d}"


def epoch(moment: datetime) -> int:
    return int(moment.timestamp())


def parse_moment(text: str, now: datetime, zone_name: str = DEFAULT_ZONE) -> datetime:
    """What a client wrote: `YYYYMMDD-HH:MM:SS` is UTC, `YYYYMMDD HH:MM:SS [zone]` local to the exchange unless it
    names a zone, `HH:MM:SS` today, `YYYYMMDD` that day's midnight. Raises ValueError."""
    text = text.strip()
    found = _MOMENT.fullmatch(text)
    if found is None:
        day = _DAY.fullmatch(text)
        if day is None:
            raise ValueError(f"{text!r} is no date and time")
        where = zone(day["zone"] or zone_name)
        return datetime.strptime(day["date"], "%Y%m%d").replace(tzinfo=where).astimezone(UTC)
    dashed = found["date"] is not None and text[8] == "-" and not found["zone"]
    where = zone("UTC" if dashed else found["zone"] or zone_name)
    date_text = found["date"] or f"{now.astimezone(where):%Y%m%d}"
    clock = f"{int(found['hour']):02d}{found['minute']}{found['second'] or '00'}"
    return datetime.strptime(date_text + clock, "%Y%m%d%H%M%S").replace(tzinfo=where).astimezone(UTC)
