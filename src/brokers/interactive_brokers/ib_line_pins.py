"""Contracts whose market-data line must never be missing: those of positions and open orders."""

from __future__ import annotations

from collections.abc import Iterable

from ..domain.instrument import Instrument
from ..domain.order import Order
from .ib_contracts import ContractBook
from .ib_transport import IbTransport


def pinned_instruments(
    transport: IbTransport, contracts: ContractBook, open_orders: Iterable[Order]
) -> list[Instrument] | None:
    """None while the positions are not known. A contract that was never looked up is left out until it was."""
    positions = transport.cached_positions()
    if positions is None:
        return None
    held = {row.instrument.con_id: row.instrument for row in positions if row.quantity}
    wanted = [*held.values(), *(order.instrument for order in open_orders)]
    known = (contracts.known(instrument) for instrument in wanted)
    return [details.instrument for details in known if details is not None]
