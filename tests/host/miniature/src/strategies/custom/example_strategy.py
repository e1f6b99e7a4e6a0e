from src.strategies.base_strategy import BaseStrategy


class ExampleStrategy(BaseStrategy):
    def __init__(self):
        super().__init__("example")

    def generate_signals(self):
        return {
            "token": "9BB6NFEcjBCtnNLFko2FqVQBq8HHM13kCyYcdQbgpump",
            "signal": 0.85,
            "direction": "BUY",
            "metadata": {"reason": "an example", "indicators": {"rsi": 28}},
        }
