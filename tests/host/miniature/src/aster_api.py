"""Client of the Aster exchange."""

from src import wire


class AsterAPI:
    def __init__(self, key, secret):
        self.key, self.secret = key, secret

    def get_ask_bid(self, symbol):
        return wire.ask("aster", "ask_bid", symbol=symbol)

    def get_position(self, symbol):
        return wire.ask("aster", "position", symbol=symbol)

    def get_account_info(self):
        return wire.ask("aster", "account")

    def change_leverage(self, symbol, leverage):
        return wire.ask("aster", "leverage", symbol=symbol, leverage=leverage)

    def place_order(self, symbol, side, order_type, quantity, price=None, reduce_only=False):
        return wire.ask(
            *("aster", "order"),
            symbol=symbol,
            side=side,
            order_type=order_type,
            quantity=quantity,
            price=price,
            reduce_only=reduce_only,
        )
