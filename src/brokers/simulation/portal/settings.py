"""What can be chosen about the portal door. Every open question of client-portal.md section 8 is a switch."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from .questions import question


class Visibility(StrEnum):
    """Whether one door's orders are seen and can be cancelled at the other (open questions 2, 3 and 10)."""

    FULL = "full"
    NONE = "none"


class Registry(StrEnum):
    """How long a cOID stays taken (open question 1)."""

    SESSION = "session"  #: until the brokerage session is begun anew
    DAY = "day"  #: 24 hours of market time, over sessions


class OrderIds(StrEnum):
    """What a portal orderId is (open question 4)."""

    PERM = "perm"  #: the permId
    OWN = "own"  #: a number of its own


class SorFrames(StrEnum):
    """What a `sor` update carries (open question 5)."""

    PARTIAL = "partial"  #: only what changed, and orderId
    FULL = "full"


class SoftInit(StrEnum):
    """What ssodh/init with compete=false does while the other door holds the session (open question 6)."""

    FAIL = "fail"  #: competing: true, nothing taken
    TAKE = "take"  #: it takes the session all the same


class KickedOrders(StrEnum):
    """What becomes of orders that reach TWS while another session has its place."""

    LOST = "lost"  #: TWS drops them without a word
    QUEUED = "queued"  #: TWS sends them once it has its session back (fault O16)


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """`port` 0 picks a free one, None leaves the door closed. `user` logs in here, `tws_user` at the TWS door: equal
    names compete for one brokerage session. `logged_in` False begins before the browser login.

    `ca_file` is where the certificate authority is written for clients, PEM; None keeps it in memory. Seconds are of
    monotonic time, but for `coid_registry` days. `requests_per_second` 0 turns all pacing off.
    """

    host: str = "127.0.0.1"
    port: int | None = 15000
    allowed: tuple[str, ...] = ()
    ca_file: Path | None = None
    user: str = "paperportal"
    tws_user: str = "papertws"
    logged_in: bool = True
    brokerage_at_login: bool = True
    #: seconds without a request after which the brokerage session is lost
    idle_seconds: float = 330.0
    #: seconds that a login lasts at most
    login_seconds: float = 86_400.0
    requests_per_second: int = 10
    penalty_seconds: float = 900.0  #: open question 8: 900 or 600
    #: refused requests of one address within a minute that put it into the penalty box (IB tells no number)
    penalty_strikes: int = 5
    #: seconds after ssodh/init in which the session is authenticated, but not established
    establish_seconds: float = 0.0
    #: The first auth/status of a login says authenticated: false, whatever is true.
    first_status_lies: bool = False
    #: tickle carries ssoExpires, collission and userId, which the recordings lack.
    tickle_extras: bool = False
    #: seconds after which a kicked TWS takes the session back by itself; None: only when told
    tws_reclaim_seconds: float | None = None
    #: what TWS tells its clients when it has the session back: 1101 (data lost) or 1102 (maintained)
    tws_return_code: int = 1102
    kicked_orders: KickedOrders = KickedOrders.LOST
    heartbeat_seconds: float = 10.0
    #: seconds after which an `smd` stream ends without a word; open question 9: 900 or 600
    stream_seconds: float = 900.0
    binary_frames: bool = True
    cross_visibility: Visibility = Visibility.FULL
    cross_cancel: bool = True
    coid_registry: Registry = Registry.DAY
    order_ids: OrderIds = OrderIds.OWN
    sor_frames: SorFrames = SorFrames.PARTIAL
    soft_init: SoftInit = SoftInit.FAIL
    duplicate_status: int = 200  #: open question 7
    #: Message ids asked before an order is taken, in their order, whatever the order (beside those it earns itself).
    questions: tuple[str, ...] = ()
    #: Presets above which an order is asked about: percent beyond the touch, shares, money (o163, o383, o451).
    price_percent: Decimal = Decimal(3)
    size_limit: Decimal = Decimal(500)
    value_limit: Decimal = Decimal(100_000)
    #: Symbols without live data, and without any; as at the TWS door.
    not_subscribed: frozenset[str] = frozenset()
    no_data: frozenset[str] = frozenset()
    market_data_lines: int = 100
    #: OAuth 1.0a consumers that may log in without the browser: see `oauth`.
    oauth_consumers: tuple[str, ...] = field(default=())
    #: Refuse a signature that leaves the query out; IB's text asks for it, the clients that trade with IB do not do it.
    oauth_covers_query: bool = False

    def __post_init__(self) -> None:
        for message_id in self.questions:
            question(message_id)
