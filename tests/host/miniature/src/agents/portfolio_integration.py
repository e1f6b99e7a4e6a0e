"""Rebalancer and agents together; binds the functions by name when it is imported."""

from src.agents.portfolio_rebalancing_agent import PortfolioRebalancingAgent
from src.agents.trading_agent import TradingAgent
from src.agents.strategy_agent import StrategyAgent
from src.agents.risk_agent import RiskAgent
from src.models.portfolio_models import Order, OrderSide
from src.nice_funcs import get_position, market_buy, market_sell


class PortfolioIntegration:
    def __init__(self):
        self.trading_agent = TradingAgent()
        self.strategy_agent = StrategyAgent()
        self.risk_agent = RiskAgent()
