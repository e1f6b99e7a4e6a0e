"""Whether the sizes of US stocks come in shares or in round lots, by the sizes themselves (fault D07)."""

from __future__ import annotations

from collections.abc import Iterable

from ..domain.instrument import SecType
from .ib_transport import QuoteLine

#: Below this price (USD) a round lot of a US stock is 100 shares; above it is 40 or fewer since November 2025.
LOT_OF_100_BELOW = 250.0
#: Sizes that must have been seen before anything is said.
ENOUGH = 6


#: What to do about sizes in lots.
IN_SHARES = "set TWS to send market data in shares (Global Configuration, API, Settings)"


class SizeUnits:
    """Counts bid and ask sizes. Exchanges quote stocks below 250 USD in hundreds of shares, so in shares nearly every
    size is a multiple of 100, and in lots nearly none. `note` counts a size again only after it has changed."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, str], float] = {}
        #: Sizes seen, and those of them that were whole hundreds.
        self.seen = 0
        self.hundreds = 0

    def note(self, lines: Iterable[QuoteLine]) -> None:
        for line in lines:
            if line.instrument.sec_type is not SecType.STOCK or line.instrument.currency != "USD":
                continue
            quote = line.quote()
            if quote.mid is None or quote.mid >= LOT_OF_100_BELOW:
                continue
            for side, size in (("bid", quote.bid_size), ("ask", quote.ask_size)):
                key = (line.instrument.con_id or 0, side)
                if size and self._last.get(key) != size:
                    self._last[key] = size
                    self.seen += 1
                    self.hundreds += size % 100 == 0

    @property
    def are_lots(self) -> bool | None:
        """None while too little was seen, or the sizes say neither."""
        if self.seen < ENOUGH:
            return None
        share = self.hundreds / self.seen
        return True if share <= 0.1 else False if share >= 0.9 else None

    def row(self) -> tuple[str, bool, str] | None:
        """The row of health, None while nothing can be said."""
        if self.are_lots is None:
            return None
        if not self.are_lots:
            return "sizes of stocks", True, "in shares"
        text = f"in round lots, by {self.seen} sizes: 100 times too small; {IN_SHARES}"
        return "sizes of stocks", False, text
