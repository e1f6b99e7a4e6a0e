"""The doctor's look at the gateways of a pool: every one connected once, asked the time, and told with its role."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ..brokers.domain.clock import MarketClock
from ..brokers.errors import BrokerError
from ..brokers.interactive_brokers.ib_pool_endpoints import make_pool
from ..brokers.interactive_brokers.ib_pool_member import GatewayStatus
from ..brokers.interactive_brokers.ib_transport import IbTransport, LinkState
from ..brokers.journal import Journal
from ..config.settings import Settings
from .journal_checks import Check, Verdict

_COLUMNS = (
    "gateway",
    "mode",
    "role",
    "state",
    "round trip",
    "requests",
    "bytes in",
    "bytes out",
    "reconnects",
    "last failure",
)


async def look_at_gateways(
    settings: Settings, order_door: Callable[[Settings], IbTransport]
) -> tuple[GatewayStatus, ...]:
    """One row a gateway, that of `order_door` first; every connection is closed again. The client ids are those that
    no living process of the journal holds. Raises ConfigurationError, JournalLocked, NotSupported (mode fix)."""
    path = settings.state_folder / "journal.sqlite"
    journal = Journal(path if path.exists() else ":memory:")
    try:
        own = journal.lease_client_id(settings.client_id)
        try:
            orders = order_door(settings.model_copy(update={"client_id": own.client_id}))
            return await _examine(settings, orders, journal)
        finally:
            own.release()
    finally:
        journal.close()


async def _examine(settings: Settings, orders: IbTransport, journal: Journal) -> tuple[GatewayStatus, ...]:
    pool, leases = make_pool(orders, settings, journal, MarketClock())
    try:
        return await pool.examine()
    finally:
        await pool.disconnect()
        for lease in leases:
            lease.release()


async def gateway_checks(
    settings: Settings, order_door: Callable[[Settings], IbTransport]
) -> tuple[list[Check], tuple[GatewayStatus, ...]]:
    """A line of the checklist for each gateway, and what was seen of it; none where there is one gateway only."""
    if not settings.data_gateways:
        return [], ()
    try:
        seen = await look_at_gateways(settings, order_door)
    except BrokerError as error:
        return [Check("gateways", Verdict.FAIL, f"{error.what}: {error.why}", error.next)], ()
    return [_check(one) for one in seen], seen


def _check(one: GatewayStatus) -> Check:
    name, told = f"gateway {one.name}", f"mode {one.mode}, {one.role}, {one.state}"
    if one.state is LinkState.READY and one.is_responsive:
        return Check(name, Verdict.OK, f"{told}, answers in {_milliseconds(one.round_trip)}")
    verdict = Verdict.FAIL if one.has_orders else Verdict.WARN
    goes_on = "nothing trades without it" if one.has_orders else "data goes through the other gateways meanwhile"
    return Check(name, verdict, f"{told}: {one.last_error}", f"start it or correct its row in IB_GATEWAYS; {goes_on}")


def as_data(one: GatewayStatus) -> Mapping[str, Any]:
    """A row as JSON has it; times in milliseconds, amounts in bytes."""
    return {
        "gateway": one.name,
        "mode": one.mode,
        "role": one.role,
        "state": one.state,
        "responsive": one.is_responsive,
        "round_trip": one.round_trip,
        "requests": one.requests,
        "errors": one.errors,
        "bytes_in": one.bytes_in,
        "bytes_out": one.bytes_out,
        "reconnects": one.reconnects,
        "lost": one.lost,
        "last_error": one.last_error,
    }


def show_gateways(rows: Sequence[GatewayStatus], console: Console) -> None:
    if not rows:
        return
    table = Table(title="gateways", title_justify="left")
    for name in _COLUMNS:
        table.add_column(name, overflow="fold")
    for one in rows:
        trip, counts = _milliseconds(one.round_trip), (one.requests, one.bytes_in, one.bytes_out, one.reconnects)
        table.add_row(one.name, one.mode, one.role, one.state, trip, *map(str, counts), one.last_error)
    console.print(table)


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"
