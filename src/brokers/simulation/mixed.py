"""Replayed bars, and beside them symbols without bars at synthetic prices: one calendar, one clock, one exchange."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from ..domain.instrument import normalize_symbol
from ..errors import InvalidInstrument, InvalidRequest
from .bars_files import BarSeries
from .contracts import MES
from .history import SessionCalendar, exchange_date
from .replay import DAILY_PRINTS, ReplayTape, replay_start
from .synthetic import Company, SyntheticTape
from .tapes import WalkedPrices

#: A US stock's ticker as IB spells it, with a class or series at most: no crypto pair, index, or foreign listing.
_US_TICKER = re.compile(r"[A-Z]{1,5}( [A-Z]{1,3})?")


@dataclass(frozen=True, slots=True)
class Listing:
    """Which of the symbols asked for have bars, which are synthetic, and which this market cannot list.

    Symbols are normalised, in the order of asking and each once; `left_out` keeps its symbols' spelling.
    """

    bars: tuple[str, ...]
    synthetic: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """What a user must be told of it, a line each."""
        lines = []
        if self.synthetic:
            lines.append(f"synthetic prices, none of them real ({len(self.synthetic)}): {', '.join(self.synthetic)}")
        if self.left_out:
            lines.append(f"left out, being no tickers of US stocks: {', '.join(self.left_out)}")
        return lines


def listing_of(symbols: Sequence[str], with_bars: Collection[str]) -> Listing:
    """`symbols` sorted by where their prices come from; `with_bars` are normalised.

    A symbol that has no bars and is no US ticker is left out. Raises InvalidRequest when nothing remains.
    """
    bars: dict[str, None] = {}
    synthetic: dict[str, None] = {}
    left_out: dict[str, None] = {}
    for text in symbols:
        try:
            symbol = normalize_symbol(text)
        except InvalidInstrument:
            left_out[text] = None
            continue
        if symbol in with_bars:
            bars[symbol] = None
        elif _US_TICKER.fullmatch(symbol) and symbol != MES.instrument.symbol:
            synthetic[symbol] = None
        else:
            left_out[text] = None
    if not bars and not synthetic:
        named = ", ".join(left_out) or "none"
        raise InvalidRequest(f"a market of {named}", "there is no ticker of a US stock", "name one with --symbols")
    return Listing(tuple(bars), tuple(synthetic), tuple(left_out))


class MixedPrices(WalkedPrices):
    """A PriceSource over the bars of `listing.bars`, and synthetic prices of `listing.synthetic` in the same days.

    `series` holds at least those bars; where none of its symbols is listed, its days are the market's all the same.
    The synthetic symbols have at least 300 sessions behind the first bar, end with the last one, and have the same
    price on a day whatever `start` is. `prints` per bar and session: see ReplayPrices. Raises as ReplayPrices does.
    """

    def __init__(
        self,
        series: Sequence[BarSeries],
        listing: Listing,
        calendar: SessionCalendar,
        *,
        start: date | None = None,
        seed: int = 0,
        prints: int | None = None,
        quiet: int = 0,
    ) -> None:
        if not series:
            raise InvalidRequest("a replay", "there are no bars", "name at least one file")
        tapes = [ReplayTape(one, calendar, prints) for one in series]
        listed = [tape for tape in tapes if tape.series.symbol in listing.bars]
        begins = replay_start(listed or tapes, calendar, start)
        company = Company(
            min(tape.first_day for tape in tapes),
            max(tape.last_day for tape in tapes),
            DAILY_PRINTS if prints is None else prints,
        )
        day = exchange_date(begins)
        others = [SyntheticTape(name, calendar, day, seed, company=company) for name in listing.synthetic]
        super().__init__([*listed, *others], calendar, begins, seed=seed, quiet=quiet)
        self.listing = listing
