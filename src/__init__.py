"""Interactive Brokers for AI trading agents, with a paper gateway that speaks IB's own protocols.

The public API, on one screen. `get_broker("paper")` needs no account; `get_broker("ib")` is TWS or IB Gateway.
`attach(path)` hooks a checkout of the moon-dev framework onto a broker, before its modules are imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .brokers.base_broker import (
    BaseBroker,
    Health,
    PositionDifference,
    StopReport,
    Subscription,
)
from .brokers.domain.account import AccountSummary, PnL, Position
from .brokers.domain.fundamentals import Fundamentals
from .brokers.domain.instrument import Instrument, InstrumentDetails, SecType
from .brokers.domain.market_data import (
    Bar,
    BarSize,
    BarSource,
    BarUpdate,
    Depth,
    Gap,
    Lost,
    Quote,
    Resumed,
    StreamKind,
    Trade,
)
from .brokers.domain.news import Article, Headline, NewsProvider
from .brokers.domain.options import OptionActivity, OptionChain, OptionQuote
from .brokers.domain.order import (
    Bracket,
    Fill,
    NewOrder,
    Order,
    OrderChange,
    OrderType,
    Side,
    TimeInForce,
    WhatIf,
)
from .brokers.domain.order_states import OrderState
from .brokers.domain.reports import OrderEvent, OrderEventKind
from .brokers.domain.scan import ScanParameters, ScanRequest
from .brokers.domain.streams import BrokerStatistics, Snapshot, StreamCounts, StreamOptions
from .brokers.domain.tick_bars import BarRule, TickBar
from .brokers.errors import (
    BrokerError,
    OutcomeUnknown,
    RiskRefusal,
    TradingHalted,
    UsageError,
)
from .brokers.registry import get_broker
from .brokers.smart_orders import SmartOrderPolicy
from .brokers.sync import SyncBroker

if TYPE_CHECKING:
    from .agents.hooks.attach import Attachment

__all__ = [
    "AccountSummary",
    "Article",
    "Bar",
    "BarRule",
    "BarSize",
    "BarSource",
    "BarUpdate",
    "BaseBroker",
    "Bracket",
    "BrokerError",
    "BrokerStatistics",
    "Depth",
    "Fill",
    "Fundamentals",
    "Gap",
    "Headline",
    "Health",
    "Instrument",
    "InstrumentDetails",
    "Lost",
    "NewOrder",
    "NewsProvider",
    "OptionActivity",
    "OptionChain",
    "OptionQuote",
    "Order",
    "OrderChange",
    "OrderEvent",
    "OrderEventKind",
    "OrderState",
    "OrderType",
    "OutcomeUnknown",
    "PnL",
    "Position",
    "PositionDifference",
    "Quote",
    "Resumed",
    "RiskRefusal",
    "ScanParameters",
    "ScanRequest",
    "SecType",
    "Side",
    "SmartOrderPolicy",
    "Snapshot",
    "StopReport",
    "StreamCounts",
    "StreamKind",
    "StreamOptions",
    "Subscription",
    "SyncBroker",
    "TickBar",
    "TimeInForce",
    "Trade",
    "TradingHalted",
    "UsageError",
    "WhatIf",
    "attach",
    "detach",
    "get_broker",
]


def attach(
    host_path: str | Path | None = None,
    *,
    broker: str | BaseBroker = "paper",
    symbols: Iterable[str] | None = None,
    **options: Any,
) -> Attachment:
    """Hook the host framework at `host_path` (None: the package `src` that Python finds) onto `broker`, before the
    host's own imports. Further options and what is raised: `agents.hooks.attach.attach`."""
    from .agents.hooks.attach import attach as put_on

    return put_on(host_path, broker=broker, symbols=symbols, **options)


def detach() -> None:
    """Take the hooks off the host again, exactly; without an attachment it does nothing."""
    from .agents.hooks.attach import detach as take_off

    take_off()
