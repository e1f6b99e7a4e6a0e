"""What the streams of a broker do when their consumer chooses nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ...config.profiles import PROFILES, Profile, ProfileName
from ..domain.streams import StreamOptions
from ..errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class StreamDefaults:
    """Fields as in `StreamOptions`. `every_quote`: quotes come as values that can be kept, and where nothing is
    conflated each of them waits like a trade; without it a quote waits as its line, which only ever has the latest."""

    conflation: float = 0.0
    buffer_size: int = 10_000
    batch_events: int = 1_000
    batch_seconds: float = 0.1
    every_quote: bool = False

    @classmethod
    def from_profile(cls, profile: Profile, *, every_quote: bool = False) -> StreamDefaults:
        return cls(
            conflation=profile.conflation_ms / 1000,
            buffer_size=profile.buffer_size,
            batch_events=profile.batch_events,
            batch_seconds=profile.batch_ms / 1000,
            every_quote=every_quote,
        )

    @classmethod
    def of(cls, name: str, *, every_quote: bool = False) -> StreamDefaults:
        """Those of the profile called `name`. Raises ConfigurationError when there is none."""
        if name not in PROFILES:
            raise ConfigurationError(
                f"profile {name!r}", "there is no such profile", f"choose one of {', '.join(ProfileName)}"
            )
        return cls.from_profile(PROFILES[ProfileName(name)], every_quote=every_quote)

    def chosen(self, options: StreamOptions) -> StreamDefaults:
        """These, with what one consumer chose in their place."""
        return StreamDefaults(
            conflation=self.conflation if options.conflation is None else options.conflation,
            buffer_size=self.buffer_size if options.buffer_size is None else options.buffer_size,
            batch_events=self.batch_events if options.batch_events is None else options.batch_events,
            batch_seconds=self.batch_seconds if options.batch_seconds is None else options.batch_seconds,
            every_quote=self.every_quote,
        )
