"""Whether the session can be used, and if not, why: rows out of what transport, doors and kill switch tell."""

from __future__ import annotations

from datetime import timedelta

from ..base_broker import Health
from ..domain.subscriptions import Subscriptions, Tier
from .ib_failover import Failover
from .ib_failover_policy import FailoverStatus
from .ib_gateway_pool import GatewayPool
from .ib_size_units import SizeUnits
from .ib_transport import IbTransport, LinkState

#: The market clock may be this far from the machine's before health says so (fault C28).
CLOCK_ALARM = timedelta(seconds=1)
#: Rows that are told and keep nobody from trading.
_ADVISORY = ("farm", "clock", "door", "gateway", "market data lines", "sizes of stocks")


def health_of(
    transport: IbTransport,
    failover: Failover | None,
    halted: str | None,
    pool: GatewayPool | None = None,
    lines: Subscriptions | None = None,
    sizes: SizeUnits | None = None,
    *,
    is_trading: bool,
) -> Health:
    """`halted` is the kill switch's reason, None while it is off."""
    state = transport.state
    rows: list[tuple[str, bool, str]] = [("link", state is LinkState.READY, str(state))]
    rows += [(f"start-up: {row.name}", row.known, row.why) for row in transport.sections]
    rows += [(f"farm {name}", False, text) for name, text in transport.farms_down.items()]
    if failover is not None:
        rows += _door_rows(failover.status())
    if pool is not None:
        rows += _gateway_rows(pool)
    if lines is not None:
        rows.append(("market data lines", not lines.is_learnt, _lines_text(lines)))
    unit = sizes.row() if sizes is not None else None
    if unit is not None:
        rows.append(unit)
    rows.append(("kill switch", halted is None, halted or "off"))
    offset = transport.clock_offset()
    if offset is not None:
        rows.append(("clock", abs(offset) <= CLOCK_ALARM, f"{offset.total_seconds():+.1f} s from this machine"))
    blocking = [row for row in rows if not row[1] and not row[0].startswith(_ADVISORY)]
    connected = state in (LinkState.READY, LinkState.SYNCING, LinkState.BROKER_DOWN)
    reason = "; ".join(f"{name}: {text}" for name, _, text in blocking)
    return Health(connected, is_trading and transport.is_healthy and not blocking, reason, tuple(rows))


def _lines_text(lines: Subscriptions) -> str:
    hot, warm, cold = (lines.count(tier) for tier in Tier)
    refused = f", {lines.configured} configured and {lines.refusals} refused" if lines.is_learnt else ""
    return f"{lines.used} of {lines.believed} in use{refused}; {hot} hot, {warm} warm, {cold} polled"


def _door_rows(status: FailoverStatus) -> list[tuple[str, bool, str]]:
    rows = []
    for door in status.doors:
        duties = [word for word, has in (("orders", door.has_pen), ("data", door.has_data)) if has]
        seen = door.notes[0].meaning if door.notes else ""
        told = [str(door.state), " and ".join(duties), seen]
        rows.append((f"door {door.name}", door.state is LinkState.READY, "; ".join(text for text in told if text)))
    return rows


def _gateway_rows(pool: GatewayPool) -> list[tuple[str, bool, str]]:
    rows = []
    for one in pool.status():
        duties = "orders and data" if one.has_orders else "backup" if one.is_backup else "data"
        told = [str(one.state), duties, f"{one.lines + one.streams} lines", one.last_error]
        if one.state is LinkState.READY and not one.is_responsive:
            told[0] += ", no heartbeat"
        rows.append((f"gateway {one.name}", one.is_responsive, "; ".join(text for text in told if text)))
    return rows
