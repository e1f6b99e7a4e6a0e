"""Interactive Brokers for AI trading agents, with a paper gateway that speaks IB's own protocols.

The public API, on one screen. `get_broker("paper")` needs no account; `get_broker("ib")` is TWS or IB Gateway.
"""

from .brokers.base_broker import (
    BaseBroker,
    Health,
    PositionDifference,
    StopReport,
    Subscription,
)
from .brokers.domain.account import AccountSummary, PnL, Position
from .brokers.domain.instrument import Instrument, InstrumentDetails, SecType
from .brokers.domain.market_data import (
    Bar,
    BarSize,
    BarSource,
    BarUpdate,
    Depth,
    Gap,
    Quote,
    Resumed,
    StreamKind,
    Trade,
)
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

__all__ = [
    "AccountSummary",
    "Bar",
    "BarSize",
    "BarSource",
    "BarUpdate",
    "BaseBroker",
    "Bracket",
    "BrokerError",
    "Depth",
    "Fill",
    "Gap",
    "Health",
    "Instrument",
    "InstrumentDetails",
    "NewOrder",
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
    "SecType",
    "Side",
    "SmartOrderPolicy",
    "StopReport",
    "StreamKind",
    "Subscription",
    "SyncBroker",
    "TimeInForce",
    "Trade",
    "TradingHalted",
    "UsageError",
    "WhatIf",
    "get_broker",
]
