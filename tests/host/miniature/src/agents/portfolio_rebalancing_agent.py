"""Sells and buys what a portfolio's weights ask for; the size to sell travels as the size of a chunk."""

from src.agents.base_agent import BaseAgent
from src.config import EXCHANGE, EXCLUDED_TOKENS, MONITORED_TOKENS, USDC_ADDRESS, address
from src.models.portfolio_models import Order, OrderSide, PortfolioConfig
from src import nice_funcs as n


class PortfolioRebalancingAgent(BaseAgent):
    def __init__(self, config):
        super().__init__("portfolio_rebalancing")
        self.config = config
        self.strategy_token_map = {}

    def _get_current_strategy_values(self):
        try:
            usdc_value = n.get_token_balance_usd(USDC_ADDRESS)
            holdings_df = n.fetch_wallet_holdings_og(address)
            if holdings_df.empty:
                share = usdc_value / len(self.config.target_allocations)
                return dict.fromkeys(self.config.target_allocations, share)
            values = {}
            for strategy_id, tokens in self.strategy_token_map.items():
                mine = holdings_df[holdings_df["Mint Address"].isin(tokens)]
                values[strategy_id] = mine["USD Value"].sum()
            return values
        except Exception as e:
            print(f"invented values instead: {e}")
            return {key: 10000 * weight for key, weight in self.config.target_allocations.items()}

    def _execute_orders(self, orders):
        results = {"executed": 0, "failed": 0, "total_traded": 0, "execution_details": []}
        dry_run = getattr(self.config, "dry_run", True)
        for order in sorted(orders, key=lambda one: one.side is OrderSide.BUY):
            try:
                if not dry_run:
                    tokens = self.strategy_token_map.get(order.strategy_id, [])
                    if not tokens:
                        results["failed"] += 1
                        continue
                    amount_per_token = order.amount_usd / len(tokens)
                    for token in tokens:
                        if order.side is OrderSide.SELL:
                            n.chunk_kill(token_mint_address=token, max_usd_order_size=amount_per_token, slippage=199)
                        else:
                            n.market_buy(token=token, amount=amount_per_token, slippage=199)
                order.executed = True
                results["executed"] += 1
                results["total_traded"] += order.amount_usd
            except Exception as e:
                order.execution_error = str(e)
                results["failed"] += 1
                results["execution_details"].append({"order": order.strategy_id, "error": str(e)})
        return results
