"""Trading on Robinhood: symbols, whole shares, sells in percent; a position is always a dict, flat on any error."""

import robin_stocks.robinhood as rs

_adapter = None


def _get_adapter():
    global _adapter
    if _adapter is None:
        _adapter = rs.login()
    return _adapter


def market_buy(symbol, usd_amount, account=None):
    return {"success": False, "error": "not authenticated"}


def market_sell(symbol, percentage, account=None):
    return {"success": False, "error": "not authenticated"}


def get_position(symbol, account=None):
    return {"has_position": False, "quantity": 0, "symbol": symbol, "market_value": 0}


def get_account_value(account=None):
    return 0.0


def get_balance(account=None):
    return 0.0


def get_all_positions(account=None):
    return []


def kill_switch(symbol, account=None):
    return market_sell(symbol, 100, account)


def chunk_kill(symbol, max_order_size=1000, slippage=50):
    return market_sell(symbol, 100)


def get_ohlcv_data(symbol, timeframe="1H", days_back=3):
    return _get_adapter().get_ohlcv_data(symbol, timeframe, days_back)


def get_data(symbol, days_back, timeframe):
    return get_ohlcv_data(symbol, timeframe, days_back)


def set_leverage(symbol, leverage):
    return {"success": True, "actual_leverage": 1}


def get_market_hours():
    return {}


def is_market_open():
    return False


def place_trailing_stop(symbol, trail_percentage):
    return {"success": False, "error": "not authenticated"}
