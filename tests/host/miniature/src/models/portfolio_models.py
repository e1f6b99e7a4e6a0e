"""Orders of the rebalancer."""

from dataclasses import dataclass
from enum import Enum


class OrderSide(Enum):
    BUY = "buy"
    SELL = "sell"


@dataclass
class PortfolioConfig:
    name: str
    target_allocations: dict
    dry_run: bool = True


@dataclass
class Order:
    strategy_id: str
    side: OrderSide
    amount_usd: float
    reason: str = ""
    executed: bool = False
    execution_error: str = ""
