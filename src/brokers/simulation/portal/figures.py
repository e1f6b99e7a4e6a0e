"""How the portal writes numbers: as text, with thousands commas and with K, M and B behind large ones."""

from __future__ import annotations

from decimal import Decimal

from ...domain.instrument import InstrumentDetails

Number = Decimal | float | int

#: From which number on, in which unit, with which letter.
_SUFFIXES: tuple[tuple[float, float, str], ...] = ((1e9, 1e9, "B"), (1e6, 1e6, "M"), (1e4, 1e3, "K"))


def price_digits(details: InstrumentDetails) -> int:
    """Digits after the point that every price of the instrument is written with."""
    finest = min(row.increment for row in details.increments)
    return max(2, -int(finest.normalize().as_tuple().exponent))


def price_text(price: Number | None, digits: int) -> str | None:
    """ "168.42"; None stays None. Prices carry no commas."""
    return None if price is None else f"{price:.{digits}f}"


def size_text(size: Number | None) -> str | None:
    """ "1,300", in shares or contracts; a fraction keeps its digits."""
    if size is None:
        return None
    whole = int(size)
    return f"{whole:,}" if size == whole else f"{float(size):,.4f}".rstrip("0")


def amount_text(amount: Number | None) -> str | None:
    """Money with commas and cents."""
    return None if amount is None else f"{amount:,.2f}"


def percent_text(percent: Number | None) -> str | None:
    return None if percent is None else f"{percent:.2f}"


def short_text(number: Number | None, digits: int = 3) -> str | None:
    """ "24.2M" to `digits` significant digits; below ten thousand as `size_text`."""
    if number is None:
        return None
    for least, unit, suffix in _SUFFIXES:
        if abs(float(number)) >= least:
            value = float(number) / unit
            before = len(str(int(abs(value))))
            return f"{value:,.{max(0, digits - before)}f}{suffix}"
    return size_text(number)
