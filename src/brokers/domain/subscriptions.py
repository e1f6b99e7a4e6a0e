"""What has a market-data line and what is polled, told in rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any


class Tier(StrEnum):
    """HOT: a position, an open order or an event is in it, and it has a line. WARM: it has a line. COLD: it is wanted
    and has none, and is polled."""

    HOT = "HOT"
    WARM = "WARM"
    COLD = "COLD"


class Delivery(StrEnum):
    LINE = "LINE"
    POLLED = "POLLED"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class SubscriptionRow:
    """One symbol. `held_for` is how long its tier has held, `age` how long ago its value changed (market time), None
    while it has none. `why` says what put it there."""

    symbol: str
    tier: Tier
    delivery: Delivery
    consumers: int
    held_for: timedelta
    age: timedelta | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """Lines are counted: `configured` by the settings, `believed` after refusals, `used` now (polls and questions
    included), `reserved` for positions and open orders, `polling` kept for snapshots. `refresh_within` is the longest
    that a COLD symbol waits for its next poll. `limits` are of depth and tick-by-tick: name -> (used, allowed)."""

    configured: int
    believed: int
    used: int
    reserved: int
    polling: int
    refusals: int
    swaps: int
    refresh_within: timedelta
    rows: tuple[SubscriptionRow, ...] = ()
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def is_learnt(self) -> bool:
        """Whether the broker refused lines below the configured number."""
        return self.believed < self.configured

    def count(self, tier: Tier) -> int:
        return sum(row.tier is tier for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values that `json.dumps` takes; times in seconds."""
        plain = asdict(self)
        plain["refresh_within"] = self.refresh_within.total_seconds()
        plain["limits"] = {name: list(pair) for name, pair in self.limits.items()}
        plain["tiers"] = {str(tier): self.count(tier) for tier in Tier}
        for row in plain["rows"]:
            row["held_for"] = row["held_for"].total_seconds()
            row["age"] = None if row["age"] is None else row["age"].total_seconds()
        return plain
