"""Combinations as smd takes them: "0;;;265598/1,272093/-1", conids with their ratios, negative for the short legs.

A combination's prices are made of its legs' quotes: it is bought at the asks of the long legs and the bids of the short
ones. It may cost less than nothing. Source: client-portal.md section 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ...domain.instrument import InstrumentDetails
from .figures import price_text, size_text
from .request import PortalRefusal
from .sheet import Sheet

MARK = ";;;"
_LEG = re.compile(r"(\d+)/([+-]?\d{1,4})")
MOST_LEGS = 8

Price = Callable[[Sheet], Decimal | None]


@dataclass(frozen=True, slots=True)
class Legs:
    """`number` is what stands before the mark, `rows` conids and ratios."""

    number: int
    rows: tuple[tuple[int, int], ...]


def read_legs(text: str) -> Legs:
    """Raises PortalRefusal for what is no combination of two to eight different legs."""
    number, _, rest = text.partition(MARK)
    found = [_LEG.fullmatch(part.strip()) for part in rest.split(",")]
    rows = tuple((int(leg[1]), int(leg[2])) for leg in found if leg is not None)
    different = len({con_id for con_id, _ in rows})
    plain = number.isascii() and number.isdigit() and len(rows) == len(found)
    if not plain or not 2 <= different == len(rows) <= MOST_LEGS or any(ratio == 0 for _, ratio in rows):
        raise PortalRefusal(f"Bad Request: invalid combination {text!r}")
    return Legs(int(number), rows)


@dataclass(frozen=True, slots=True)
class ComboSheet:
    """The legs' sheets at one moment, with their ratios."""

    legs: Sequence[tuple[Sheet, int]]
    server_id: str

    @property
    def updated(self) -> int:
        return max(sheet.updated for sheet, _ in self.legs)

    @property
    def availability(self) -> str:
        """The worst of the legs': delayed before frozen before live."""
        return min((sheet.availability for sheet, _ in self.legs), key=_rank)

    def price(self, long: Price, short: Price) -> Decimal | None:
        """None when a leg has none."""
        total = Decimal(0)
        for sheet, ratio in self.legs:
            price = (long if ratio > 0 else short)(sheet)
            if price is None:
                return None
            total += price * ratio
        return total

    def size(self, long: Price, short: Price) -> int | None:
        """How many combinations the legs' sizes are enough for."""
        sizes = [((long if ratio > 0 else short)(sheet), abs(ratio)) for sheet, ratio in self.legs]
        return min(int(size or 0) // ratio for size, ratio in sizes)

    def values(self, codes: frozenset[str]) -> dict[str, str]:
        """The texts of the fields asked for that a combination has."""
        digits = max(sheet.digits for sheet, _ in self.legs)
        prices = {
            "31": self.price(_last, _last),
            "82": self.price(_change, _change),
            "84": self.price(_bid, _ask),
            "86": self.price(_ask, _bid),
            "7741": self.price(_close, _close),
        }
        texts = {code: price_text(price, digits) for code, price in prices.items()} | {
            "85": size_text(self.size(_ask_size, _bid_size)),
            "88": size_text(self.size(_bid_size, _ask_size)),
            "6070": "BAG",
            "6119": self.server_id,
            "6509": self.availability,
        }
        return {code: text for code, text in texts.items() if code in codes and text is not None}


def _rank(availability: str) -> int:
    return "YDZR".index(availability[0])


def _last(sheet: Sheet) -> Decimal | None:
    return sheet.last


def _change(sheet: Sheet) -> Decimal | None:
    return sheet.change


def _bid(sheet: Sheet) -> Decimal | None:
    return sheet.view.bid


def _ask(sheet: Sheet) -> Decimal | None:
    return sheet.view.ask


def _bid_size(sheet: Sheet) -> Decimal | None:
    return sheet.view.bid_size


def _ask_size(sheet: Sheet) -> Decimal | None:
    return sheet.view.ask_size


def _close(sheet: Sheet) -> Decimal | None:
    return sheet.view.close


def instruments(legs: Legs, find: Callable[[int], InstrumentDetails | None]) -> list[tuple[InstrumentDetails, int]]:
    """The legs' details and ratios. Raises PortalRefusal for an unknown leg."""
    found = []
    for con_id, ratio in legs.rows:
        details = find(con_id)
        if details is None:
            raise PortalRefusal(f"No contract found for conid {con_id}")
        found.append((details, ratio))
    return found
