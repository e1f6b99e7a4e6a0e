"""Where the paper gateway's prices come from: shipped bars, the user's own, or a synthetic market."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path

from ..domain.instrument import normalize_symbol
from ..errors import InvalidRequest, UnknownInstrument
from . import bundled
from .bars_files import BarSeries, bar_symbols, load_bars, parse_bars
from .history import SessionCalendar
from .mixed import Listing, MixedPrices, listing_of
from .replay import ReplayPrices
from .synthetic import DEFAULT_SYMBOLS, SyntheticPrices
from .tapes import WalkedPrices

#: Of all stretches of 20 sessions in the shipped bars this one has the most exits by stop or target, and among those
#: the most entries, with no level hit or missed by less than one per cent: nine entries at an AEGS score of 50 or more,
#: in all four symbols, and five stops (tools/scan_signals.py finds it; docs/shipped-bars.md lists the scores).
DEFAULT_REPLAY_START = date(2008, 9, 19)


class PriceKind(StrEnum):
    SHIPPED = "shipped"
    FILES = "files"
    SYNTHETIC = "synthetic"


class Others(StrEnum):
    """What becomes of a symbol that was named and has no bars."""

    REFUSED = "refused"
    SYNTHETIC = "synthetic"


def shipped_series(symbols: Sequence[str] | None = None) -> list[BarSeries]:
    """The bars that come with the package. Raises UnknownInstrument for a symbol that does not."""
    wanted = [normalize_symbol(symbol) for symbol in symbols] if symbols else list(bundled.SYMBOLS)
    return [parse_bars(name, bundled.read(_known(name, bundled.SYMBOLS)), f"shipped {name}.csv") for name in wanted]


def make_prices(
    calendar: SessionCalendar,
    *,
    kind: PriceKind | str | None = None,
    paths: Sequence[Path | str] = (),
    symbols: Sequence[str] | None = None,
    start: date | None = None,
    seed: int = 0,
    prints: int | None = None,
    quiet: int = 0,
    halts: float = 0.0,
    others: Others | str = Others.REFUSED,
) -> WalkedPrices:
    """The price source that the settings describe.

    `kind` None means FILES when `paths` are given, else SHIPPED. `symbols` selects among the bars, or names the
    synthetic market's stocks. `prints` per bar applies to replays, `halts` (chance a symbol and day) to the synthetic
    market. `others` says what becomes of `symbols` that have no bars. Raises InvalidData for bad files, InvalidRequest
    for a start that the bars do not reach, UnknownInstrument for a symbol that they lack.
    """
    kind = _kind(kind, paths)
    if Others(others) is Others.SYNTHETIC:
        listing = market_listing(symbols or (), kind=kind, paths=paths)
        if kind is PriceKind.SHIPPED:
            # The days of all shipped symbols are the same: one is enough where none was named.
            series, start = shipped_series(listing.bars or bundled.SYMBOLS[:1]), start or DEFAULT_REPLAY_START
        else:
            series = load_bars(paths)
        return MixedPrices(series, listing, calendar, start=start, seed=seed, prints=prints, quiet=quiet)
    if kind is PriceKind.SYNTHETIC:
        names = symbols or DEFAULT_SYMBOLS
        return SyntheticPrices(calendar, symbols=names, start=start, seed=seed, halts=halts, quiet=quiet)
    if kind is PriceKind.SHIPPED:
        series = shipped_series(symbols)
        start = start or DEFAULT_REPLAY_START
    else:
        series = _selected(load_bars(paths), symbols)
    return ReplayPrices(series, calendar, start=start, seed=seed, prints=prints, quiet=quiet)


def market_listing(
    symbols: Sequence[str], *, kind: PriceKind | str | None = None, paths: Sequence[Path | str] = ()
) -> Listing:
    """Which prices each symbol of a mixed market has (see `make_prices`; `others` synthetic). Reads no bars.

    Raises InvalidRequest when nothing can be listed or everything is synthetic anyway, InvalidData for missing files.
    """
    kind = _kind(kind, paths)
    if kind is PriceKind.SYNTHETIC:
        raise InvalidRequest("others at synthetic prices", "the whole market is synthetic", "leave --others out")
    return listing_of(symbols, bundled.SYMBOLS if kind is PriceKind.SHIPPED else bar_symbols(paths))


def _kind(kind: PriceKind | str | None, paths: Sequence[Path | str]) -> PriceKind:
    return PriceKind(kind) if kind else PriceKind.FILES if paths else PriceKind.SHIPPED


def _selected(series: list[BarSeries], symbols: Sequence[str] | None) -> list[BarSeries]:
    if not symbols:
        return series
    by_symbol = {one.symbol: one for one in series}
    return [by_symbol[_known(normalize_symbol(symbol), tuple(by_symbol))] for symbol in symbols]


def _known(symbol: str, available: Sequence[str]) -> str:
    if symbol not in available:
        raise UnknownInstrument(
            f"bars of {symbol}",
            "there are none",
            f"choose among {', '.join(available)}; --others synthetic invents prices for the rest",
        )
    return symbol
