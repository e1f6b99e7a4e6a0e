"""IB's ways of saying "no value", as None."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from ib_async.util import UNSET_DOUBLE, UNSET_INTEGER

UNSET_LONG = 2**63 - 1

#: Field of an option computation -> the number that means "not computed" (tws-protocol.md §2.5, message 21).
GREEK_SENTINELS: Mapping[str, float] = MappingProxyType(
    {
        "impliedVol": -1.0,
        "optPrice": -1.0,
        "pvDividend": -1.0,
        "undPrice": -1.0,
        "delta": -2.0,
        "gamma": -2.0,
        "vega": -2.0,
        "theta": -2.0,
    }
)


def number_or_none(value: float | str | None) -> float | None:
    """A finite number, or None for IB's unset double, "", NaN and infinity. Zero and negatives are values."""
    if value is None or value == "":
        return None
    number = float(value)
    if not math.isfinite(number) or abs(number) >= UNSET_DOUBLE:
        return None
    return number


def integer_or_none(value: int | str | None) -> int | None:
    """An integer, or None for IB's unset int and long and ""."""
    if value is None or value == "":
        return None
    number = int(value)
    return None if number in (UNSET_INTEGER, UNSET_LONG) else number


def price_or_none(value: float | None) -> float | None:
    """A quoted price of something that cannot trade at or below zero; None for -1, 0 and every unset form.

    Combos, spreads and some futures do trade there: use `number_or_none` and the size beside the price for them.
    """
    number = number_or_none(value)
    return number if number is not None and number > 0 else None


def greek_or_none(name: str, value: float | None) -> float | None:
    """One field of an option computation, None when it carries that field's "not computed" number."""
    number = number_or_none(value)
    return None if number == GREEK_SENTINELS[name] else number
