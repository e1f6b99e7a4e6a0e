"""Everything that can be chosen about a paper gateway."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path

from ..errors import ConfigurationError
from .models import ExchangeSettings
from .portal.settings import PortalSettings
from .prices import Others, PriceKind
from .tws.settings import TwsSettings


class ClockMode(StrEnum):
    """Who moves market time."""

    CONTROL = "control"  #: only `advance_to`; no wall time is read
    REPLAY = "replay"  #: the machine's monotonic clock, times `speed`
    WALL = "wall"  #: market time is the wall's


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """`speed` is market seconds per real second; 0 runs as fast as clients can read. `bars` are OHLCV files or folders;
    none means the shipped bars, unless `price_kind` says otherwise. `others` SYNTHETIC serves those of `symbols` that
    have no bars synthetic prices beside the bars. `start` is the first day of a replay. `settle`: a
    replay that runs by itself begins at least so long after an open, market time, and never between sessions.
    `state_file` keeps the paper account; `fresh` forgets what it holds. `ready_file` is written once the doors listen.
    `faults` are armed at the start (`NAME[:ARG…]`). `stall_seconds`: how long market time waits for a client that does
    not read, real time.
    """

    tws: TwsSettings = field(default_factory=TwsSettings)
    #: A gateway inside a process keeps the portal closed unless it is asked for.
    portal: PortalSettings = field(default_factory=lambda: PortalSettings(port=None))
    exchange: ExchangeSettings = field(default_factory=ExchangeSettings)
    clock: ClockMode = ClockMode.REPLAY
    speed: float = 1.0
    price_kind: PriceKind | None = None
    bars: tuple[Path, ...] = ()
    symbols: tuple[str, ...] = ()
    others: Others = Others.REFUSED
    start: date | None = None
    settle: timedelta = timedelta(0)
    prints: int | None = None
    quiet: int = 0
    halts: float = 0.0
    state_file: Path | None = None
    fresh: bool = False
    ready_file: Path | None = None
    faults: tuple[str, ...] = ()
    stall_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.speed <= 1_000_000:
            raise ConfigurationError(
                f"speed {self.speed:g}", "it must lie between 0 and 1000000", "1 is real time, 0 as fast as possible"
            )
        if self.clock is ClockMode.WALL and (
            self.bars or self.start or self.price_kind not in (None, PriceKind.SYNTHETIC)
        ):
            raise ConfigurationError(
                "clock wall", "past bars cannot be replayed in the present", "leave bars and start out, or use replay"
            )
        if self.others == Others.SYNTHETIC:
            self._check_others()

    def _check_others(self) -> None:
        if self.clock is ClockMode.WALL or self.price_kind is PriceKind.SYNTHETIC:
            raise ConfigurationError("others synthetic", "the whole market is synthetic already", "leave --others out")
        if not self.symbols:
            raise ConfigurationError(
                "others synthetic", "no symbols are named", "name them with --symbols, those with bars as well"
            )
