"""How busy each option is: open interest since last night, and volume that builds up through the session.

Everything is decided by seed, contract and day, so that it is the same however often and in whatever order it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from math import exp, log
from random import Random

from ...domain.sessions import TradingDay
from ..walk import seed_for
from .listing import Listing, OptionKey

#: Option contracts a day for each share that the stock trades, and open interest in days of volume.
_PER_SHARE, _DAYS_OPEN = 0.02, 6.0
#: Contracts a day at least, however little the stock trades.
_LEAST = 2_000.0
#: Share of unusual volume that is still open the morning after.
_STAYS = 0.5


@dataclass(slots=True)
class Surge:
    """Scripted unusual activity: contracts of `symbol` that expire `first` to `last` days ahead trade `factor` times
    their volume from `begun` until `ended` (None: goes on). `right` None means both."""

    symbol: str
    first: int
    last: int
    factor: float
    begun: datetime
    right: str | None = None
    ended: datetime | None = None

    def hits(self, key: OptionKey, day: date) -> bool:
        return self.right in (None, key.right) and self.first <= (key.expiry - day).days <= self.last


class Crowd:
    """One stock's options on one day. `average` is contracts of a usual day."""

    def __init__(self, listing: Listing, session: TradingDay | None, seed: int, share_volume: float | None) -> None:
        self.listing = listing
        self._session = session
        self._seed = seed
        self.average = max(_LEAST, _PER_SHARE * (share_volume or 0.0))
        taste = Random(seed_for("puts", seed, listing.symbol))
        self._put_share = 0.33 + 0.17 * taste.random()

    @cached_property
    def _whole_day(self) -> dict[OptionKey, float]:
        """Contracts that trade until the close."""
        listing = self.listing
        chance = Random(seed_for("option volume", self._seed, listing.symbol, listing.day))
        total = self.average * exp(0.3 * chance.gauss(0, 1))
        puts = min(0.7, max(0.2, self._put_share + 0.06 * chance.gauss(0, 1)))
        weights = {key: self._weight(key) * exp(0.8 * chance.gauss(0, 1)) for key in listing.keys}
        return _shared(weights, {"C": total * (1 - puts), "P": total * puts})

    @cached_property
    def open_interest(self) -> dict[OptionKey, int]:
        """Contracts open since last night, without what surges left."""
        symbol, seed = self.listing.symbol, self._seed
        weights = {}
        for key in self.listing.keys:
            luck = seed_for("open interest", seed, symbol, *key) / 2**64
            today = seed_for("drift", seed, symbol, self.listing.day, *key) / 2**64
            older = 3.0 if key.expiry in self.listing.monthly else 1.0
            weights[key] = self._weight(key) ** 0.7 * older * exp(2 * (luck - 0.5)) * (0.97 + 0.06 * today)
        total = self.average * _DAYS_OPEN
        spread = _shared(weights, {"C": total * (1 - self._put_share), "P": total * self._put_share})
        return {key: int(contracts) for key, contracts in spread.items()}

    def _weight(self, key: OptionKey) -> float:
        """Near in time and near the money trades most, out of the money more than in it."""
        days = (key.expiry - self.listing.day).days
        distance = log(float(key.strike) / self.listing.price)
        in_money = distance < 0 if key.right == "C" else distance > 0
        width = 0.03 + 0.012 * days**0.5
        near = exp(-((distance / width) ** 2) / 2) + 0.01
        return near * exp(-days / 45) * (0.4 if in_money else 1.0) + 1e-5

    def progress(self, moment: datetime) -> float:
        """Share of the day's volume that has traded by the last whole minute before `moment`, 0 to 1."""
        session = self._session
        if session is None or moment <= session.open:
            return 0.0
        if moment >= session.close:
            return 1.0
        minutes = int((moment - session.open).total_seconds() // 60)
        part = minutes * 60 / (session.close - session.open).total_seconds()
        # busy at both ends of the day
        return (part + ((2 * part - 1) ** 3 + 1) / 3) * 0.6

    def volume(self, key: OptionKey, moment: datetime, surges: Iterable[Surge] = ()) -> int:
        """Contracts since the open; never falls within a day."""
        whole = self._whole_day.get(key, 0.0)
        extra = sum(self._extra(surge, moment) for surge in surges if surge.hits(key, self.listing.day))
        return int(whole * (self.progress(moment) + extra))

    def _extra(self, surge: Surge, moment: datetime) -> float:
        """In units of the whole day's volume."""
        until = moment if surge.ended is None else min(moment, surge.ended)
        return max(0.0, (surge.factor - 1) * (self.progress(until) - self.progress(surge.begun)))

    def left_open(self, key: OptionKey, moment: datetime, surges: Iterable[Surge]) -> int:
        """What surges of this day add to the open interest of the days after."""
        whole = self._whole_day.get(key, 0.0)
        hits = [surge for surge in surges if surge.hits(key, self.listing.day)]
        return int(_STAYS * whole * sum(self._extra(surge, moment) for surge in hits))


def _shared(weights: dict[OptionKey, float], totals: dict[str, float]) -> dict[OptionKey, float]:
    """Each right's total, spread over its contracts by weight."""
    sums = {right: sum(weight for key, weight in weights.items() if key.right == right) for right in totals}
    return {key: totals[key.right] * weight / sums[key.right] for key, weight in weights.items()}
