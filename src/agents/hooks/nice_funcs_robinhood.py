"""`src.nice_funcs_robinhood` answered from IB: the host's stock-broker shape. Orders answer `{"success": …}` as there,
reads raise instead of answering zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from ...brokers.domain.order import NewOrder, Order, OrderType, Side, TimeInForce, to_decimal
from ...brokers.errors import BrokerError, InvalidOrder, LinkError, NoData, OutcomeUnknown
from .data_reads import DataReads
from .desk import Desk
from .indicators import robinhood_columns
from .market_hours import regular_sessions
from .shapes import PositionDict, adapter_frame, order_dict, position_dict

Answer = dict[str, Any]


class RobinhoodFuncs:
    """Amounts are USD, percentages 0 to 100. `account` is accepted and not used: the default account trades."""

    def __init__(self, desk: Desk, data: DataReads) -> None:
        self._desk = desk
        self._data = data
        self._adapter = RobinhoodAdapter(desk, data)

    def market_buy(self, symbol: str, usd_amount: float, account: object = None) -> Answer:
        return self._tried(lambda: self._desk.buy(symbol, usd_amount))

    def market_sell(self, symbol: str, percentage: float, account: object = None) -> Answer:
        return self._tried(lambda: self._desk.sell_part(symbol, percentage))

    def get_position(self, symbol: str, account: object = None) -> PositionDict:
        return position_dict(symbol, self._desk.holding(symbol))

    def get_account_value(self, account: object = None) -> float:
        """Net liquidation."""
        return self._desk.equity()

    def get_balance(self, account: object = None) -> float:
        """Available funds: no margin is counted as money to spend."""
        return self._desk.cash()

    def get_all_positions(self, account: object = None) -> list[Answer]:
        return [{**position_dict(row.symbol, row), "type": "stock"} for row in self._desk.holdings()]

    def place_trailing_stop(self, symbol: str, trail_percentage: float) -> Answer:
        """A GTC trailing stop under all that is owned."""
        return self._tried(lambda: self._trail(symbol, trail_percentage))

    def _trail(self, symbol: str, percent: float) -> Order:
        held = self._desk.holding(symbol)
        if held is None:
            raise InvalidOrder(f"trailing stop on {symbol}", "this journal owns none of it", "buy it first")
        broker = self._desk.broker()
        return broker.place(
            NewOrder(
                broker.details(symbol).instrument,
                Side.SELL if held.is_long else Side.BUY,
                abs(held.quantity),
                OrderType.TRAIL,
                trail_percent=to_decimal(percent, "trail_percent"),
                tif=TimeInForce.GTC,
                reduce_only=True,
                reason=f"trailing stop of {percent} %",
            )
        )

    def get_market_hours(self) -> Answer:
        """`is_open`, and `opens_at` and `closes_at` (aware, exchange's zone) of the present or next session."""
        return self._adapter.get_market_hours()

    def is_market_open(self) -> bool:
        return self._adapter.is_market_open()

    def kill_switch(self, symbol: str, account: object = None) -> Answer:
        return self._tried(lambda: self._desk.close(symbol))

    def chunk_kill(self, symbol: str, max_order_size: float | None = None, slippage: float | None = None) -> Answer:
        return self.kill_switch(symbol)

    def get_ohlcv_data(self, symbol: str, timeframe: str = "1H", days_back: float = 3) -> pd.DataFrame:
        """Columns timestamp open high low close volume."""
        return robinhood_columns(self._data.frame(symbol, timeframe, days_back))

    def get_data(self, symbol: str, days_back: float, timeframe: str) -> pd.DataFrame:
        return self.get_ohlcv_data(symbol, timeframe, days_back)

    def set_leverage(self, symbol: str, leverage: float) -> Answer:
        """Stocks have none to set; the answer is the host's."""
        return {"success": True, "message": "stocks are bought for their full value", "actual_leverage": 1}

    def _get_adapter(self) -> RobinhoodAdapter:
        return self._adapter

    def _tried(self, place: Callable[[], Order | None]) -> Answer:
        return tried(place, self._desk)


class RobinhoodAdapter:
    """The host's adapter class convention."""

    authenticated = True

    def __init__(self, desk: Desk, data: DataReads) -> None:
        self._desk = desk
        self._data = data

    def get_price(self, symbol: str) -> float:
        return self._data.price(symbol)

    def get_ohlcv_data(self, symbol: str, interval: str = "1h", limit: int = 100) -> pd.DataFrame:
        """The last `limit` bars, columns timestamp open high low close volume."""
        return robinhood_columns(self._data.last(symbol, interval, limit))

    def place_market_order(self, symbol: str, quantity: float, side: str) -> Answer:
        """Whole shares, as a limit at the touch inside the slippage cap."""
        if side.lower() == "sell":
            return tried(lambda: self._desk.sell_shares(symbol, quantity), self._desk)
        return tried(lambda: self._desk.buy_shares(symbol, quantity), self._desk)

    def place_limit_order(self, symbol: str, quantity: float, limit_price: float, side: str) -> Answer:
        """Rests as a DAY order; it is not cancelled."""

        def place() -> Order:
            broker = self._desk.broker()
            return broker.place(
                NewOrder(
                    broker.details(symbol).instrument,
                    Side(side.upper()),
                    to_decimal(quantity, "quantity"),
                    OrderType.LIMIT,
                    limit_price=to_decimal(limit_price, "limit_price"),
                    reduce_only=side.lower() == "sell",
                )
            )

        return tried(place, self._desk)

    def get_positions(self) -> pd.DataFrame:
        return adapter_frame(self._desk.holdings())

    def get_account_info(self) -> Answer:
        """USD; a figure that the broker has not told is None."""
        summary = self._desk.account()
        return {
            "account_number": summary.account,
            "buying_power": self._desk.cash(),
            "cash": None if summary.total_cash is None else float(summary.total_cash),
            "portfolio_value": self._desk.equity(),
        }

    def get_market_hours(self) -> Answer:
        """Raises NoData where the broker told no hours."""
        symbol = (self._desk.settings.symbols or ("SPY",))[0]
        broker = self._desk.broker()
        now = broker.market_time()
        ahead = [row for row in regular_sessions(broker.details(symbol)) if now < row[1]]
        if not ahead:
            raise NoData(f"market hours of {symbol}", "the broker told none that lie ahead", "ask again later")
        opens, closes = ahead[0]
        return {"is_open": opens <= now < closes, "opens_at": opens, "closes_at": closes}

    def is_market_open(self) -> bool:
        return bool(self.get_market_hours()["is_open"])


def tried(place: Callable[[], Order | None], desk: Desk) -> Answer:
    """An order in the host's words; a refusal is told in the answer and reported, a failing link is raised."""
    try:
        order = place()
    except (LinkError, OutcomeUnknown):
        raise
    except BrokerError as error:
        desk.report(str(error))
        return {"success": False, "error": str(error)}
    if order is None:
        return {"success": False, "error": "nothing was bought or sold"}
    return order_dict(order)
