"""Market depth: a book of our own making around the real quote, the same for every client and every run.

The best level is the quote itself. The levels behind it stand one tick apart with sizes drawn from the contract and the
price, so that a level that did not move keeps its size.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from ..domain.instrument import InstrumentDetails, SecType
from .contracts import EXCHANGE_LETTERS
from .walk import seed_for

#: The sides, in the numbers of TWS.
ASK, BID = 0, 1


class Level(NamedTuple):
    """`maker` is the exchange; `size` in shares or contracts."""

    maker: str
    price: Decimal
    size: Decimal


def makers_of(details: InstrumentDetails) -> tuple[str, ...]:
    """The exchanges that quote an instrument."""
    instrument = details.instrument
    return tuple(EXCHANGE_LETTERS) if instrument.sec_type is SecType.STOCK else (instrument.exchange,)


def depth_levels(details: InstrumentDetails, side: int, price: Decimal, size: Decimal, rows: int) -> list[Level]:
    """At most `rows` levels of one side, best first; `price` and `size` are the quote's own."""
    makers, levels = makers_of(details), []
    for row in range(rows):
        if price <= 0:
            break
        draw = seed_for("depth", details.instrument.con_id or 0, side, str(price))
        maker = makers[draw % len(makers)]
        levels.append(Level(maker, price, size if row == 0 else Decimal(100 * (1 + draw // 7 % 20))))
        step = details.increment_at(price)
        price += step if side == ASK else -step
    return levels
