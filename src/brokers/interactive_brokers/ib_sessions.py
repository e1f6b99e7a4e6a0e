"""Makes the door, or both doors and what decides between them, that settings describe. Nothing is opened here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ...config.settings import FailoverMode, Settings
from ..domain.clock import MarketClock
from ..errors import ConfigurationError
from ..journal import ClientLease, Journal
from .config.ib_config import PortalSettings, TwsSettings
from .ib_async_client import IbAsyncClient
from .ib_door_pair import DoorPair
from .ib_failover import Failover
from .ib_failover_policy import FailoverPolicy, Users
from .ib_gateway_pool import GatewayPool
from .ib_pool_endpoints import make_pool, opener_for
from .ib_transport import IbTransport

TWS, PORTAL = "tws", "portal"
PACE_FILE = "portal-pacing.json"
CheckAccounts = Callable[[tuple[str, ...]], None]


@dataclass(frozen=True, slots=True)
class DoorSession:
    """`failover` None where there is one door, `pool` None where there is one gateway. `leases` hold the client ids
    until they are released, the order door's first."""

    transport: IbTransport
    failover: Failover | None
    leases: tuple[ClientLease, ...]
    pool: GatewayPool | None = None


def account_check(settings: Settings) -> CheckAccounts:
    """Refuses accounts that are not of the settings' environment, before any question or order."""

    def check(accounts: tuple[str, ...]) -> None:
        chosen = (settings.account,) if settings.account in accounts and settings.account else accounts
        for account in chosen:
            settings.check_account(account)

    return check


def make_session(settings: Settings, journal: Journal, clock: MarketClock, door: str = TWS) -> DoorSession:
    """`door` "tws", with the portal as its failover where the settings say so, or "portal" alone; the door that has
    the orders has more gateways beside it for data where the settings name some.

    The client id is leased from the journal: the configured one, or the next that no living process of this journal
    holds, so that a second command beside a running one neither takes over its orders nor is refused.
    Raises ConfigurationError, JournalLocked.
    """
    if door not in (TWS, PORTAL):
        raise ConfigurationError(f"door {door!r}", "there is no such door", f"{TWS} or {PORTAL}")
    lease = journal.lease_client_id(settings.client_id)
    check = account_check(settings)
    if door == PORTAL:
        return _pooled(_portal(settings, clock, check, lease), settings, journal, clock, lease)
    tws = IbAsyncClient(
        replace(TwsSettings.from_settings(settings), client_id=lease.client_id),
        clock=clock,
        check_accounts=check,
        opener=opener_for(settings.order_gateway),
    )
    session = _pooled(tws, settings, journal, clock, lease)
    if settings.failover is FailoverMode.OFF:
        return session
    # each door sets the clock by what it is told; the one that tells last is right as well
    pair = DoorPair(session.transport, _portal(settings, clock, check, lease), clock)
    users = Users.ONE if settings.failover is FailoverMode.ONE_USER else Users.TWO
    # who chose the mode of one user wants its session taken, portal_compete or not
    policy = FailoverPolicy(users, take_over_after=settings.failover_after)
    return replace(session, transport=pair, failover=Failover(pair, journal, policy, clock))


def _pooled(
    door: IbTransport, settings: Settings, journal: Journal, clock: MarketClock, lease: ClientLease
) -> DoorSession:
    if not settings.data_gateways:
        return DoorSession(door, None, (lease,))
    try:
        pool, leases = make_pool(door, settings, journal, clock)
    except BaseException:
        lease.release()
        raise
    return DoorSession(pool, None, (lease, *leases), pool)


def _portal(settings: Settings, clock: MarketClock, check: CheckAccounts, lease: ClientLease) -> IbTransport:
    # whoever trades through TWS alone need not load an HTTP library
    from .ib_portal_client import IbPortalClient

    paced = settings.state_folder / PACE_FILE
    own = replace(PortalSettings.from_settings(settings), client_id=lease.client_id, pace_file=paced)
    return IbPortalClient(own, clock=clock, check_accounts=check)
