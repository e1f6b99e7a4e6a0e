"""What a strategy offers."""


class BaseStrategy:
    def __init__(self, name):
        self.name = name

    def generate_signals(self):
        raise NotImplementedError("each strategy has its own signals")
