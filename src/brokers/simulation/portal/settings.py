"""What can be chosen about the portal door. Every open question of client-portal.md section 8 is a switch."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from ...errors import ConfigurationError
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

    Seconds are of monotonic time, but the day of `coid_registry` is one of market time. Raises ConfigurationError for
    a value that is none.
    """

    host: str = "127.0.0.1"
    port: int | None = 15000
    allowed: tuple[str, ...] = ()
    #: Where the certificate authority is written for clients, PEM; by default beside the ready-file.
    ca_file: Path | None = None
    user: str = "paperportal"
    tws_user: str = "papertws"
    #: Somebody has logged in already; else it is done at /sso/Login, or by the control command.
    logged_in: bool = True
    #: The brokerage session is begun with the login, as IB's own gateway does.
    brokerage_at_login: bool = True
    #: seconds without a request after which the brokerage session is lost
    idle_seconds: float = 330.0
    #: seconds that a login lasts at most
    login_seconds: float = 86_400.0
    #: requests a second from one address; 0 turns all pacing off
    requests_per_second: int = 10
    #: Who waits for each answer is slowed to that rate, as the way to IB does; only parallel requests are refused for
    #: it. False: whoever is faster is refused.
    slow_sequential: bool = True
    #: seconds in the penalty box; open question 8: 900 or 600
    penalty_seconds: float = 900.0
    #: refused requests of one address within a minute that put it into the penalty box (IB tells no number)
    penalty_strikes: int = 5
    #: Every weekday at 01:00 in New York, market time, the brokerage session ends, as IB's does (P11).
    nightly_reset: bool = False
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
    #: What a kicked TWS does with orders: drops them, or sends them once it is back.
    kicked_orders: KickedOrders = KickedOrders.LOST
    #: seconds between two heartbeats of a stream
    heartbeat_seconds: float = 10.0
    #: seconds after which an `smd` stream ends without a word; open question 9: 900 or 600
    stream_seconds: float = 900.0
    #: Frames are binary messages, as IB's are; else text.
    binary_frames: bool = True
    #: Whether each door shows the other's orders and fills; open questions 2 and 10.
    cross_visibility: Visibility = Visibility.FULL
    #: Whether the portal may cancel and change orders of the TWS door; open question 3.
    cross_cancel: bool = True
    #: How long a cOID stays taken; open question 1.
    coid_registry: Registry = Registry.DAY
    #: What an orderId is: the permId, or a number of its own; open question 4.
    order_ids: OrderIds = OrderIds.OWN
    #: What a `sor` update carries; open question 5.
    sor_frames: SorFrames = SorFrames.PARTIAL
    #: What ssodh/init without compete does while TWS has the session; open question 6.
    soft_init: SoftInit = SoftInit.FAIL
    #: status of the answer to a cOID that is taken; open question 7
    duplicate_status: int = 200
    #: Message ids asked before an order is taken, in their order, whatever the order (beside those it earns itself).
    questions: tuple[str, ...] = ()
    #: percent beyond the touch above which an order is asked about (o163)
    price_percent: Decimal = Decimal(3)
    #: shares above which an order is asked about (o383)
    size_limit: Decimal = Decimal(500)
    #: money above which an order is asked about (o451)
    value_limit: Decimal = Decimal(100_000)
    #: Symbols without live data, as at the TWS door.
    not_subscribed: frozenset[str] = frozenset()
    #: Symbols without any data, as at the TWS door.
    no_data: frozenset[str] = frozenset()
    #: market data lines that may be open at a time
    market_data_lines: int = 100
    #: Folders of OAuth 1.0a consumers that may log in without the browser.
    oauth_consumers: tuple[str, ...] = field(default=())
    #: Refuse a signature that leaves the query out; IB's text asks for it, the clients that trade with IB do not do it.
    oauth_covers_query: bool = False

    def __post_init__(self) -> None:
        if not self.user or not self.tws_user:
            raise ConfigurationError("a user name of the gateway", "it is empty", "name the user of either door")
        if self.tws_return_code not in (1101, 1102):
            raise ConfigurationError(f"tws_return_code {self.tws_return_code}", "it must be 1101 or 1102")
        if not 100 <= self.duplicate_status < 600:
            raise ConfigurationError(f"duplicate_status {self.duplicate_status}", "it is no status of HTTP")
        for message_id in self.questions:
            question(message_id)
