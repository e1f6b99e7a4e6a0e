"""The exchange manager as an example shows it."""

from src.exchange_manager import ExchangeManager
from src.config import EXCHANGE, get_active_tokens, max_usd_order_size, slippage


class UnifiedTradingAgent:
    def __init__(self):
        self.em = ExchangeManager()
        self.tokens = get_active_tokens()

    def display_account_info(self):
        try:
            print(f"balance ${self.em.get_balance():.2f}, account ${self.em.get_account_value():.2f}")
        except Exception as e:
            print(f"account failed: {e}")

    def check_all_positions(self):
        for token in self.tokens:
            try:
                position = self.em.get_position(token)
                if position["has_position"]:
                    print(
                        f"{token}: {position['size']} at ${position['entry_price']:.4f}, {position['pnl_percent']:.2f}%"
                    )
                    print(f"worth ${self.em.get_token_balance_usd(token):.2f}")
            except Exception as e:
                print(f"{token} failed: {e}")

    def run(self):
        self.display_account_info()
        self.check_all_positions()
        for token in self.tokens[:1]:
            print(f"{token} costs ${self.em.get_current_price(token):.6f}")


def main():
    try:
        UnifiedTradingAgent().run()
    except Exception as e:
        print(f"error: {e}")


if __name__ == "__main__":
    main()
