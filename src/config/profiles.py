"""Performance profiles: what each changes, as one table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ProfileName(StrEnum):
    ULTRA_LOW_LATENCY = "ultra_low_latency"
    LOW_LATENCY = "low_latency"
    BALANCED = "balanced"
    HIGH_THROUGHPUT = "high_throughput"


@dataclass(frozen=True, slots=True)
class Profile:
    """Every field is read by the component named in its comment. The journal's durability is no part of a profile."""

    #: Quotes of one symbol closer together than this reach a subscriber as one; 0 passes every change (market_stream).
    conflation_ms: int
    #: A batch of a stream and a callback's events are handed over this long after their first came (batches).
    batch_ms: int
    #: A batch that has so many events is handed over at once (batches).
    batch_events: int
    #: Events kept for a slow subscriber before the oldest is dropped and counted; orders never are (market_stream).
    buffer_size: int
    #: Move start-up objects out of the collector's sight (event_loop).
    gc_freeze: bool


PROFILES: dict[ProfileName, Profile] = {
    ProfileName.ULTRA_LOW_LATENCY: Profile(0, 1, 256, 4_096, gc_freeze=True),
    ProfileName.LOW_LATENCY: Profile(10, 20, 1_024, 16_384, gc_freeze=True),
    ProfileName.BALANCED: Profile(100, 100, 4_096, 16_384, gc_freeze=False),
    ProfileName.HIGH_THROUGHPUT: Profile(250, 500, 32_768, 131_072, gc_freeze=False),
}
