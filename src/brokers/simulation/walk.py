"""How one source bar becomes prints: a seeded path that never leaves the bar.

The path opens at the bar's open, touches its high and its low, and ends at its close; the prints' sizes add up to the
bar's volume. Inside the simulation a price is a whole number of grid units, so that nothing is ever off the tick grid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from math import sqrt
from random import Random

from ..domain.instrument import PriceIncrement
from ..errors import InvalidRequest
from .market import PriceStep

#: (time, bid, ask, bid_size, ask_size, last, last_size, halted); prices in grid units; no `last`: only the quote moved.
RawStep = tuple[datetime, int, int, int, int, int | None, int, bool]

MIN_PRINTS = 4  #: open, two extremes, close
_DECIMAL_CACHE = 200_000


def seed_for(*parts: object) -> int:
    """The same number for the same parts in every process (Python's own hash() differs from run to run)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


class Grid:
    """An instrument's prices as whole multiples of its smallest increment."""

    __slots__ = ("_bands", "_decimals", "_denominator", "_numerator", "unit")

    def __init__(self, increments: Sequence[PriceIncrement]) -> None:
        self.unit = min(row.increment for row in increments)
        self._numerator, self._denominator = self.unit.as_integer_ratio()
        self._bands = tuple((int(row.low_edge / self.unit), int(row.increment / self.unit)) for row in increments)
        self._decimals: dict[int, Decimal] = {}

    @property
    def is_uniform(self) -> bool:
        """Whether one increment holds at every price."""
        return len(self._bands) == 1

    def step_at(self, units: int) -> int:
        """The increment in force at a price, in units."""
        step = self._bands[0][1]
        for edge, width in self._bands:
            if units >= edge:
                step = width
        return step

    def snap(self, units: int) -> int:
        """The nearest price on the grid at or below `units`."""
        return units - units % self.step_at(units)

    def units(self, price: float) -> int:
        """`price` rounded to the grid, in units."""
        units = round(price * self._denominator / self._numerator)
        step = self.step_at(units)
        return units if step == 1 else round(units / step) * step

    def decimal(self, units: int) -> Decimal:
        value = self._decimals.get(units)
        if value is None:
            if len(self._decimals) > _DECIMAL_CACHE:
                self._decimals.clear()
            value = self._decimals[units] = units * self.unit
        return value

    def float(self, units: int) -> float:
        return units * self._numerator / self._denominator


@dataclass(frozen=True, slots=True)
class SourceBar:
    """One bar to be walked between `start` and `end` (aware UTC). Prices in grid units, volume in shares.

    `ends_session` puts the last print exactly on `end`, the closing print; other bars end strictly before it.
    """

    start: datetime
    end: datetime
    open: int
    high: int
    low: int
    close: int
    volume: int
    ends_session: bool = True


@dataclass(frozen=True, slots=True)
class WalkStyle:
    """How densely a bar is walked. `prints` per bar (at least 4), `spread` in ticks, `lot` is the unit of quoted sizes.

    `u_shaped` gives the bar's two ends more volume than its middle, as a day has.
    """

    prints: int
    spread: int = 2
    lot: int = 100
    u_shaped: bool = True

    def __post_init__(self) -> None:
        if self.prints < MIN_PRINTS or self.spread < 1 or self.lot < 1:
            why = f"a bar's corners need {MIN_PRINTS} prints, and spread and lot are at least 1"
            raise InvalidRequest(f"a walk of {self.prints} prints a bar", why, f"use {MIN_PRINTS} prints or more")


def walk(bar: SourceBar, style: WalkStyle, grid: Grid, *key: object) -> list[RawStep]:
    """The bar's prints in time order, always the same for the same `key`, bar start and style."""
    rng = Random(seed_for("walk", *key, bar.start.isoformat()))
    path, anchors, sizes = _prints(bar, style, grid, rng)
    uniform = grid.is_uniform
    times = _times(bar, style.prints, rng)
    low, high, lot, spread = bar.low, bar.high, style.lot, style.spread
    below, odd = spread // 2, spread % 2
    tick, random = grid.step_at(low), rng.random
    steps: list[RawStep] = []
    for k, price in enumerate(path):
        dice = int(random() * 162)
        if not uniform:
            tick = grid.step_at(price)
        under = below + (odd and dice & 1)
        bid, ask = price - under * tick, price + (spread - under) * tick
        bid, ask = bid if bid > low else low, ask if ask < high else high
        if bid >= ask:
            bid, ask = _make_room(price, low, high, tick)
        if not uniform:
            bid = max(low, grid.snap(bid))
        size = sizes[k]
        last = price if size or k in anchors else None
        dice >>= 1
        steps.append((times[k], bid, ask, (1 + dice // 9) * lot, (1 + dice % 9) * lot, last, size, False))
    return steps


def printed(bar: SourceBar, style: WalkStyle, grid: Grid, *key: object) -> list[tuple[int, int]]:
    """Price in grid units and size of the prints alone, as `walk` has them for the same `key`."""
    rng = Random(seed_for("walk", *key, bar.start.isoformat()))
    path, anchors, sizes = _prints(bar, style, grid, rng)
    return [(price, size) for k, (price, size) in enumerate(zip(path, sizes, strict=True)) if size or k in anchors]


def _prints(bar: SourceBar, style: WalkStyle, grid: Grid, rng: Random) -> tuple[list[int], frozenset[int], list[int]]:
    """Prices in grid units, the places that print whatever their size, and sizes."""
    path, anchors = _path(bar, style.prints, rng)
    if not grid.is_uniform:
        path = [grid.snap(units) for units in path]
    return path, anchors, _split(bar.volume, style, rng)


def _make_room(price: int, low: int, high: int, tick: int) -> tuple[int, int]:
    """A quote one tick wide beside an extreme of the bar; no width only where the bar itself has none."""
    if price > low:
        return max(low, price - tick), price
    return price, min(high, price + tick)


def _path(bar: SourceBar, prints: int, rng: Random) -> tuple[list[int], frozenset[int]]:
    """Prices in grid units, and the places of open, both extremes and close."""
    first_at = 1 + int(rng.random() * (prints - 3))
    second_at = first_at + 1 + int(rng.random() * (prints - 2 - first_at))
    # A rising bar more often makes its low first.
    low_first = rng.random() < (0.7 if bar.close >= bar.open else 0.3)
    first, second = (bar.low, bar.high) if low_first else (bar.high, bar.low)
    path = [bar.open]
    corners = ((bar.open, first, first_at), (first, second, second_at - first_at))
    for start, target, steps in (*corners, (second, bar.close, prints - 1 - second_at)):
        _bridge(path, start, target, steps, bar, rng)
    return path, frozenset((0, first_at, second_at, prints - 1))


def _bridge(path: list[int], start: int, target: int, steps: int, bar: SourceBar, rng: Random) -> None:
    """Append `steps` prices that lead from `start` to `target` inside the bar."""
    low, high, random = bar.low, bar.high, rng.random
    noise = (high - low) / sqrt(steps)
    price = float(start)
    for left in range(steps, 1, -1):
        price += (target - price) / left + (random() - 0.5) * noise
        price = low if price < low else high if price > high else price
        path.append(int(price + 0.5))
    path.append(target)


@lru_cache(maxsize=64)
def _profile(prints: int, u_shaped: bool) -> tuple[float, ...]:
    if not u_shaped:
        return (1.0,) * prints
    return tuple(1 + 2 * (2 * k / (prints - 1) - 1) ** 2 for k in range(prints))


def _split(volume: int, style: WalkStyle, rng: Random) -> list[int]:
    """Sizes of the prints; their sum is exactly `volume`."""
    weights = [weight * (0.5 + rng.random()) for weight in _profile(style.prints, style.u_shaped)]
    scale = volume / sum(weights)
    sizes, so_far, given = [], 0.0, 0
    for weight in weights[:-1]:
        so_far += weight
        upto = min(volume, int(so_far * scale))
        sizes.append(upto - given)
        given = upto
    sizes.append(volume - given)
    return sizes


def _times(bar: SourceBar, prints: int, rng: Random) -> list[datetime]:
    """Strictly ascending times: the first at the bar's start, the others jittered by less than half a gap."""
    start, random = bar.start, rng.random
    span = (bar.end - start) // timedelta(microseconds=1)
    gap = span / (prints - 1 if bar.ends_session else prints)
    times = [start]
    times += [start + timedelta(microseconds=int(gap * (k - 0.4 + 0.8 * random()))) for k in range(1, prints - 1)]
    times.append(bar.end if bar.ends_session else start + timedelta(microseconds=int(gap * (prints - 1))))
    return times


_SIZES = [Decimal(size) for size in range(10_001)]


def size_decimal(size: int) -> Decimal:
    return _SIZES[size] if size <= 10_000 else Decimal(size)


def price_step(raw: RawStep, con_id: int, grid: Grid) -> PriceStep:
    """A raw step in the exchange's terms."""
    time, bid, ask, bid_size, ask_size, last, size, halted = raw
    price = grid.decimal
    if last is None:
        return PriceStep(
            time, con_id, price(bid), price(ask), size_decimal(bid_size), size_decimal(ask_size), None, None, halted
        )
    return PriceStep(
        time,
        con_id,
        price(bid),
        price(ask),
        size_decimal(bid_size),
        size_decimal(ask_size),
        price(last),
        size_decimal(size),
        halted,
    )
