"""Makes the gateways of a pool from the rows of the settings. Nothing is opened here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from ...config.gateways import GatewayMode, GatewayRow
from ...config.settings import Settings
from ..domain.clock import MarketClock
from ..errors import NotSupported
from ..journal import ClientLease, Journal
from .config.ib_config import PortalSettings, TwsSettings
from .ib_async_client import IbAsyncClient, TlsFiles, TlsOpener
from .ib_async_client.connection import Opener, open_tcp
from .ib_gateway_pool import GatewayPool
from .ib_pool_member import GatewayTerms, PoolMember, PoolPolicy
from .ib_transport import IbTransport

CheckAccounts = Callable[[tuple[str, ...]], None]
#: Client ids that are tried for the connections of one pool: those of other processes of the journal lie between.
_IDS = 128


def opener_for(row: GatewayRow) -> Opener:
    """How the TWS socket of this row is opened. Raises ConfigurationError for certificates that cannot be read."""
    if row.mode is not GatewayMode.TLS:
        return open_tcp
    return TlsOpener(TlsFiles(row.ca_file, row.fingerprint, row.certificate, row.key))


def make_pool(
    orders: IbTransport, settings: Settings, journal: Journal, clock: MarketClock
) -> tuple[GatewayPool, tuple[ClientLease, ...]]:
    """The pool of `orders` and every other gateway of the settings, and the leases of their client ids.

    A data gateway needs no account in particular, but one of this environment. Raises ConfigurationError, NotSupported
    (mode fix), JournalLocked.
    """
    policy = PoolPolicy(balance=settings.gateway_balance, prewarm=settings.gateway_prewarm)
    names = _names((settings.order_gateway, *settings.data_gateways))
    leases: list[ClientLease] = []
    try:
        transports = []
        for row in settings.data_gateways:
            leases.append(journal.lease_client_id(settings.client_id, _IDS))
            transports.append(_make_transport(row, settings, clock, leases[-1].client_id))
    except BaseException:
        for lease in leases:
            lease.release()
        raise
    first, *others = (
        PoolMember(transport, _terms(row, name, settings), clock, policy, has_orders=transport is orders)
        for transport, row, name in zip(
            (orders, *transports), (settings.order_gateway, *settings.data_gateways), names, strict=True
        )
    )
    return GatewayPool(first, others, clock, policy), tuple(leases)


def _names(rows: tuple[GatewayRow, ...]) -> list[str]:
    """Addresses; the second connection to one gateway is told apart."""
    seen: Counter[str] = Counter()
    names = []
    for row in rows:
        seen[row.address] += 1
        names.append(row.address if seen[row.address] == 1 else f"{row.address} #{seen[row.address]}")
    return names


def _terms(row: GatewayRow, name: str, settings: Settings) -> GatewayTerms:
    return GatewayTerms(name, row.mode, row.weight, row.backup, row.lines or settings.market_data_lines)


def _make_transport(row: GatewayRow, settings: Settings, clock: MarketClock, client_id: int) -> IbTransport:
    any_account = settings.model_copy(update={"account": None})

    def check(accounts: tuple[str, ...]) -> None:
        for account in accounts:
            any_account.check_account(account)

    if row.mode is GatewayMode.FIX:
        raise NotSupported(
            f"gateway {row.address} in mode fix", "there is no FIX session here", "use mode direct, tls or portal"
        )
    if row.mode is GatewayMode.PORTAL:
        return _portal(row, settings, clock, client_id, check)
    own = replace(TwsSettings.from_settings(settings), host=row.host, port=row.port, client_id=client_id)
    return IbAsyncClient(own, clock=clock, check_accounts=check, opener=opener_for(row))


def _portal(
    row: GatewayRow, settings: Settings, clock: MarketClock, client_id: int, check: CheckAccounts
) -> IbTransport:
    # whoever has no portal need not load an HTTP library
    from .ib_portal_client import IbPortalClient

    own = replace(
        PortalSettings.from_settings(settings),
        url=f"https://{row.address}",
        ca_file=row.ca_file,
        fingerprint=row.fingerprint,
        verify=True,
        oauth_dir=None,
        # a data gateway takes the brokerage session from nobody
        compete=False,
        client_id=client_id,
        pace_file=settings.state_folder / f"portal-pacing-{row.host.replace(':', '-')}-{row.port}.json",
    )
    return IbPortalClient(own, clock=clock, check_accounts=check)
