"""IB's timestamps in every form it sends them, as aware UTC."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ...errors import InvalidData

#: Names that TWS has been seen to send and that the IANA database does not know. Windows names and their
#: German and French renderings come from TWS running in that language.
ZONE_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "Eastern Standard Time": "America/New_York",
        "Eastern Daylight Time": "America/New_York",
        "Eastern Time": "America/New_York",
        "EST5EDT": "America/New_York",
        "EDT": "America/New_York",
        "EST": "America/New_York",
        "Central Standard Time": "America/Chicago",
        "Central Daylight Time": "America/Chicago",
        "CST6CDT": "America/Chicago",
        "CDT": "America/Chicago",
        "CST": "America/Chicago",
        "Mountain Standard Time": "America/Denver",
        "Mountain Daylight Time": "America/Denver",
        "MDT": "America/Denver",
        "MST": "America/Denver",
        "Pacific Standard Time": "America/Los_Angeles",
        "Pacific Daylight Time": "America/Los_Angeles",
        "PDT": "America/Los_Angeles",
        "PST": "America/Los_Angeles",
        "Greenwich Mean Time": "Europe/London",
        "GMT Standard Time": "Europe/London",
        "British Summer Time": "Europe/London",
        "BST": "Europe/London",
        "Irish Standard Time": "Europe/Dublin",
        "Central European Standard Time": "Europe/Berlin",
        "Central European Summer Time": "Europe/Berlin",
        "Central European Time": "Europe/Berlin",
        "Central Europe Standard Time": "Europe/Budapest",
        "W. Europe Standard Time": "Europe/Berlin",
        "Romance Standard Time": "Europe/Paris",
        "Mitteleuropäische Zeit": "Europe/Berlin",
        "Mitteleuropäische Sommerzeit": "Europe/Berlin",
        "Mitteleuropäische Normalzeit": "Europe/Berlin",
        "heure normale d’Europe centrale": "Europe/Paris",
        "heure d’été d’Europe centrale": "Europe/Paris",
        "MEZ": "Europe/Berlin",
        "MESZ": "Europe/Berlin",
        "CEST": "Europe/Berlin",
        "Eastern European Standard Time": "Europe/Helsinki",
        "Eastern European Summer Time": "Europe/Helsinki",
        "EEST": "Europe/Helsinki",
        "Moscow Standard Time": "Europe/Moscow",
        "MSK": "Europe/Moscow",
        "Israel Standard Time": "Asia/Jerusalem",
        "India Standard Time": "Asia/Kolkata",
        "IST": "Asia/Kolkata",
        "Singapore Standard Time": "Asia/Singapore",
        "SGT": "Asia/Singapore",
        "China Standard Time": "Asia/Shanghai",
        "Hong Kong Standard Time": "Asia/Hong_Kong",
        "Hong Kong Time": "Asia/Hong_Kong",
        "HKT": "Asia/Hong_Kong",
        "Japan Standard Time": "Asia/Tokyo",
        "Tokyo Standard Time": "Asia/Tokyo",
        "JST": "Asia/Tokyo",
        "Korea Standard Time": "Asia/Seoul",
        "KST": "Asia/Seoul",
        "Australian Eastern Standard Time": "Australia/Sydney",
        "Australian Eastern Daylight Time": "Australia/Sydney",
        "AUS Eastern Standard Time": "Australia/Sydney",
        "AEST": "Australia/Sydney",
        "AEDT": "Australia/Sydney",
        "New Zealand Standard Time": "Pacific/Auckland",
        "Brasilia Standard Time": "America/Sao_Paulo",
        "Coordinated Universal Time": "UTC",
        "GMT": "UTC",
        "Z": "UTC",
    }
)

_FOLDED_ALIASES = {name.casefold().replace("’", "'"): zone for name, zone in ZONE_ALIASES.items()}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(-)| +)(\d\d):(\d\d)(?::(\d\d))?(?:\.(\d{1,6}))?(?: +(\S.*))?")
_DASHED = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?(?:\.(\d{1,6}))?(?: +(\S.*))?")


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """The zone of a name that TWS uses. InvalidData when neither IANA nor the alias table knows it."""
    wanted = name.strip()
    alias = _FOLDED_ALIASES.get(wanted.casefold().replace("’", "'"))
    try:
        return ZoneInfo(alias or wanted)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidData(
            f"time zone {name!r}",
            "neither the time zone database nor the alias table knows it",
            "add it to ZONE_ALIASES in timestamps.py, or set TWS to English",
            zone=name,
        ) from error


def parse_ib_time(text: str, naive_zone: str = "") -> datetime:
    """An aware UTC time.

    Forms: `YYYYMMDD-HH:MM:SS` (UTC), `YYYYMMDD HH:MM:SS Zone Name`, `YYYYMMDD  HH:MM:SS` and
    `YYYY-MM-DD HH:MM:SS.0` (no zone: `naive_zone`, the zone that TWS was declared to run in; UTC when that is
    ""), seconds since 1970, and `YYYYMMDD` (midnight in the zone). InvalidData when it is none of these.
    """
    if text.isdigit() and len(text) != 8:
        return _EPOCH + timedelta(seconds=int(text))
    match = _COMPACT.fullmatch(text)
    if match is not None:
        year, month, day, dash, hour, minute, second, fraction, name = match.groups()
    else:
        match = _DASHED.fullmatch(text)
        if match is not None:
            year, month, day, hour, minute, second, fraction, name = match.groups()
            dash = None
        elif len(text) == 8 and text.isdigit():
            year, month, day = text[:4], text[4:6], text[6:]
            dash = name = fraction = None
            hour = minute = second = "0"
        else:
            raise InvalidData(f"time {text!r}", "it has none of the forms that TWS sends", text=text)
    if name:
        where: ZoneInfo | None = zone(name)
    elif dash or not naive_zone:
        where = None
    else:
        where = zone(naive_zone)
    try:
        moment = datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute),
            int(second or 0),
            int((fraction or "0").ljust(6, "0")),
            tzinfo=where or UTC,
        )
    except ValueError as error:
        raise InvalidData(f"time {text!r}", str(error), text=text) from error
    return moment if where is None else moment.astimezone(UTC)


def parse_bar_time(text: str, naive_zone: str = "") -> date | datetime:
    """The stamp of a historical bar: a date for `YYYYMMDD` (daily bars and longer), else an aware UTC time."""
    if len(text) == 8 and text.isdigit():
        try:
            return date(int(text[:4]), int(text[4:6]), int(text[6:]))
        except ValueError as error:
            raise InvalidData(f"date {text!r}", str(error), text=text) from error
    return parse_ib_time(text, naive_zone)
