"""What can be chosen about the hooks, and the limits that agents of a host get beside the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType

#: Risk limits (RiskPolicy fields, plain values) of a host's broker where the user sets none: a cycle that replays its
#: rows must not buy twice.
HOST_RISK: Mapping[str, object] = MappingProxyType({"entry_window": 60})


@dataclass(frozen=True, slots=True)
class HookSettings:
    """`symbols` are the tickers that the host's agents watch and trade.

    `max_quote_age` is market time; an older quote is asked for again before its price is told. `fill_deadline` is real
    seconds: what of an order has not filled by then is cancelled, so that the host never counts on a rest that works.
    `slippage` and `slippage_cap` are basis points beyond the touch: when a helper names none, and at most.
    """

    symbols: tuple[str, ...] = ()
    max_quote_age: timedelta = timedelta(seconds=30)
    fill_deadline: float = 10.0
    slippage: Decimal = Decimal(20)
    slippage_cap: Decimal = Decimal(100)
