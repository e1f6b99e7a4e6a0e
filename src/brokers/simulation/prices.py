"""Where the paper gateway's prices come from: shipped bars, the user's own, or a synthetic market."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path

from ..domain.instrument import normalize_symbol
from ..errors import UnknownInstrument
from . import bundled
from .bars_files import BarSeries, load_bars, parse_bars
from .history import SessionCalendar
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
) -> WalkedPrices:
    """The price source that the settings describe.

    `kind` None means FILES when `paths` are given, else SHIPPED. `symbols` selects among the bars, or names the
    synthetic market's stocks. `prints` per bar applies to replays, `halts` (chance a symbol and day) to the synthetic
    market. Raises InvalidData for bad files, InvalidRequest for a start that the bars do not reach, UnknownInstrument
    for a symbol that they lack.
    """
    kind = PriceKind(kind) if kind else PriceKind.FILES if paths else PriceKind.SHIPPED
    if kind is PriceKind.SYNTHETIC:
        names = symbols or DEFAULT_SYMBOLS
        return SyntheticPrices(calendar, symbols=names, start=start, seed=seed, halts=halts, quiet=quiet)
    if kind is PriceKind.SHIPPED:
        series = shipped_series(symbols)
        start = start or DEFAULT_REPLAY_START
    else:
        series = _selected(load_bars(paths), symbols)
    return ReplayPrices(series, calendar, start=start, seed=seed, prints=prints, quiet=quiet)


def _selected(series: list[BarSeries], symbols: Sequence[str] | None) -> list[BarSeries]:
    if not symbols:
        return series
    by_symbol = {one.symbol: one for one in series}
    return [by_symbol[_known(normalize_symbol(symbol), tuple(by_symbol))] for symbol in symbols]


def _known(symbol: str, available: Sequence[str]) -> str:
    if symbol not in available:
        raise UnknownInstrument(f"bars of {symbol}", "there are none", f"choose among {', '.join(available)}")
    return symbol
