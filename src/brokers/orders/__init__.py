"""The life cycle of orders, the same for every broker."""

from .contracts import DetailsLookup, OrderSettings, RiskGate
from .events import EventStream
from .manager import CancelOutcome, OrderManager

__all__ = ["CancelOutcome", "DetailsLookup", "EventStream", "OrderManager", "OrderSettings", "RiskGate"]
