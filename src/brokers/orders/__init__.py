"""The life cycle of orders, the same for every broker."""

from .changing import CancelOutcome
from .contracts import DetailsLookup, OrderSettings, RiskGate
from .doubt import Doubt
from .events import EventStream
from .latency import Stage
from .manager import OrderManager

__all__ = [
    "CancelOutcome",
    "DetailsLookup",
    "Doubt",
    "EventStream",
    "OrderManager",
    "OrderSettings",
    "RiskGate",
    "Stage",
]
