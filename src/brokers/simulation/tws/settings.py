"""What can be chosen about the TWS door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ...errors import ConfigurationError
from ..news.stories import PROVIDERS
from .pacing import HISTORY_RULES, MESSAGES_PER_SECOND, HistoryRule

#: Longest `history_seconds`: clients give up after a minute.
LONGEST_HISTORY = 60.0


class FundamentalService(StrEnum):
    """What becomes of a request for fundamental reports."""

    SERVED = "served"  #: as gateways did before TWS API 10.47
    REFUSED = "refused"  #: error 10358: this login may not
    SILENT = "silent"  #: no answer at all, as where the request is no longer known


@dataclass(frozen=True, slots=True)
class TwsSettings:
    """Limits are IB's own. `port` 0 picks a free one. `allowed` are networks ("10.0.0.0/8") that may connect besides
    what `host` already limits; empty allows every peer that reaches the socket.

    `message_rate` 0 and `history_rules` () turn IB's pacing off. `conflate` False keeps every quote for slow readers.
    `not_subscribed` symbols have no live data, only delayed; `no_data` symbols have none at all (354).
    `farms` are sent after startApi as IB does: (code, text).
    """

    host: str = "127.0.0.1"
    port: int = 14002
    allowed: tuple[str, ...] = ()
    #: seconds of monotonic time from the connection to startApi
    handshake_seconds: float = 10.0
    #: connections that have not said startApi yet; the newest beyond it is refused
    waiting_connections: int = 1024
    message_rate: int = MESSAGES_PER_SECOND
    history_rules: Sequence[HistoryRule] = HISTORY_RULES
    #: seconds, real time, from a request for historical bars to its answer; until then it counts as open. IB takes
    #: some 0.2 to 0.6 for daily bars.
    history_seconds: float = 0.0
    conflate: bool = True
    read_only: bool = False
    #: sees every client's orders; None: nobody but client 0 for orders placed outside the API
    master_client_id: int | None = None
    market_data_lines: int = 100
    tick_by_tick_lines: int = 5
    #: between two requests for one instrument and kind (IB: 15); 0 is off, since IB's error for it is not known well
    tick_by_tick_seconds: float = 0.0
    depth_lines: int = 3
    not_subscribed: frozenset[str] = frozenset()
    no_data: frozenset[str] = frozenset()
    #: codes of the news providers that logins have; none: news is not allowed (10276)
    news_providers: tuple[str, ...] = tuple(PROVIDERS)
    fundamentals: FundamentalService = FundamentalService.SERVED
    farms: tuple[tuple[int, str], ...] = field(
        default=(
            (2104, "Market data farm connection is OK:usfarm"),
            (2106, "HMDS data farm connection is OK:ushmds"),
            (2158, "Sec-def data farm connection is OK:secdefnj"),
        )
    )

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.news_providers) - set(PROVIDERS)):
            raise ConfigurationError(
                f"news providers {', '.join(unknown)}",
                "there are none of this code",
                f"choose among {', '.join(PROVIDERS)}",
            )
        if not 0 <= self.history_seconds <= LONGEST_HISTORY:
            raise ConfigurationError(
                f"history_seconds {self.history_seconds:g}",
                f"an answer may take 0 to {LONGEST_HISTORY:g} seconds",
                "IB takes some 0.2 to 0.6",
            )
