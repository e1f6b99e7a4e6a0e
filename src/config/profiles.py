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

    #: Quotes of one symbol closer together than this reach a subscriber as one; 0 passes every change (ib_stream).
    conflation_ms: int
    #: Events kept for a slow subscriber before quotes are dropped and counted; orders never are (ib_stream).
    buffer_size: int
    #: Install uvloop where it is there (cli, sync).
    use_uvloop: bool
    #: Move start-up objects out of the collector's sight and collect less often (cli, sync).
    gc_freeze: bool


PROFILES: dict[ProfileName, Profile] = {
    ProfileName.ULTRA_LOW_LATENCY: Profile(0, 4_096, use_uvloop=True, gc_freeze=True),
    ProfileName.LOW_LATENCY: Profile(10, 16_384, use_uvloop=True, gc_freeze=True),
    ProfileName.BALANCED: Profile(100, 16_384, use_uvloop=False, gc_freeze=False),
    ProfileName.HIGH_THROUGHPUT: Profile(250, 131_072, use_uvloop=True, gc_freeze=False),
}
