"""What all agents share."""

from datetime import datetime


class BaseAgent:
    def __init__(self, agent_type, use_exchange_manager=False):
        self.type = agent_type
        self.start_time = datetime.now()
        self.em = None

        if use_exchange_manager:
            try:
                from src.exchange_manager import ExchangeManager
                from src.config import EXCHANGE

                self.em = ExchangeManager()
                self.exchange = EXCHANGE
            except Exception as e:
                print(f"no exchange manager: {e}")
                from src import nice_funcs as n

                self.n = n
                self.exchange = "solana"

    def get_active_tokens(self):
        try:
            from src.config import get_active_tokens

            return get_active_tokens()
        except:
            from src.config import MONITORED_TOKENS

            return MONITORED_TOKENS

    def run(self):
        raise NotImplementedError("each agent has its own run")
