"""What a client asked of history, read and judged as IB does: durations, bar sizes, kinds of data, dates.

BAR_SIZES, SOURCES   IB's words for them
"""

from __future__ import annotations

import re
from datetime import datetime

from ...domain.instrument import InstrumentDetails
from ...domain.market_data import BarSize, BarSource
from .session import Refusal
from .times import parse_moment

#: IB also takes these spellings.
BAR_SIZES: dict[str, BarSize] = {size.value: size for size in BarSize} | {"1W": BarSize.W1, "1M": BarSize.MONTH1}
_LEGAL_SIZES = (
    "1 secs, 5 secs, 10 secs, 15 secs, 30 secs, 1 min, 2 mins, 3 mins, 5 mins, 10 mins, 15 mins, 20 mins, 30 mins, "
    "1 hour, 2 hours, 3 hours, 4 hours, 8 hours, 1 day, 1W, 1M"
)
SOURCES: dict[str, BarSource] = {source.value: source for source in BarSource}
#: Data that IB has and this market has not: answered as IB answers when there is none.
OTHER_SOURCES = frozenset(
    [
        "FEE_RATE",
        "YIELD_BID",
        "YIELD_ASK",
        "YIELD_BID_ASK",
        "YIELD_LAST",
        "AGGTRADES",
        "REBATE_RATE",
    ]
)
_DURATION = re.compile(r"(\d{1,6}) ?([SDWMY])?", re.IGNORECASE)
#: Bars of 30 seconds and less come at most so many at a time ("step size").
SMALL_BAR_STEPS = 2880
#: The longest duration by unit, and the unit that IB wants instead.
LONGEST: dict[str, tuple[int, str]] = {
    "S": (86_400, "durations longer than 86400 seconds must be made in days"),
    "D": (365, "durations longer than 365 days must be made in years"),
    "W": (52, "durations longer than 52 weeks must be made in years"),
    "M": (12, "durations longer than 12 months must be made in years"),
    "Y": (100, "durations longer than 100 years cannot be made"),
}
DATE_COMPLAINT = (
    "The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss xx/xxxx where yyyymmdd "
    "and xx/xxxx are optional. E.g.: 20031126 15:59:00 US/Eastern  Note that there is a space between the date and "
    "time, and between the time and time-zone.  If no date is specified, current date is assumed. If no time-zone is "
    "specified, local time-zone is assumed(deprecated).  You can also provide yyyymmddd-hh:mm:ss time is in UTC. "
    "Note that there is a dash between the date and time in UTC notation."
)


def invalid(cause: str) -> Refusal:
    return Refusal(321, f"Error validating request.-'bP' : cause - {cause}")


def bar_size(text: str) -> BarSize:
    """Raises Refusal 321 with IB's list."""
    size = BAR_SIZES.get(text)
    if size is None:
        raise invalid(f"Historical data bar size setting is invalid. Legal ones are: {_LEGAL_SIZES}")
    return size


def bar_source(text: str, what: str) -> BarSource:
    """Raises Refusal: 321 for a word that IB does not have, 162 for data that this market does not have."""
    source = SOURCES.get(text)
    if source is None:
        if text in OTHER_SOURCES:
            raise no_data(what, text)
        raise invalid(f"Invalid value of what to show '{text}'")
    return source


def no_data(what: str, show: str) -> Refusal:
    words = {"TRADES": "Trades", "MIDPOINT": "Midpoint", "BID_ASK": "Bid_Ask"}.get(show, show.capitalize())
    return Refusal(162, f"Historical Market Data Service error message:HMDS query returned no data: {what} {words}")


def parse_duration(text: str) -> tuple[int, str]:
    """Number and unit; raises Refusal 321. Without a unit IB means seconds."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise invalid(f"Historical data duration '{text}' is invalid. Format is 'integer{{SPACE}}unit (S|D|W|M|Y)'")
    number, unit = int(found[1]), (found[2] or "S").upper()
    longest, complaint = LONGEST[unit]
    if number > longest:
        raise invalid(f"Historical data request for {complaint}.")
    return number, unit


def parse_end(text: str, now: datetime, details: InstrumentDetails) -> datetime:
    """Empty means now. Raises Refusal 10314."""
    if not text:
        return now
    try:
        return parse_moment(text, now, details.time_zone)
    except ValueError:
        raise Refusal(10314, f"End Date/Time: {DATE_COMPLAINT}") from None


def check_step(size: BarSize, number: int, unit: str) -> None:
    """Refusal 162 for more small bars than IB serves at once."""
    seconds = number * {"S": 1, "D": 86_400, "W": 7 * 86_400, "M": 30 * 86_400, "Y": 365 * 86_400}[unit]
    if size.seconds <= 30 and seconds / size.seconds > SMALL_BAR_STEPS:
        raise Refusal(162, f"Historical Market Data Service error message:invalid step: {size.seconds}")
