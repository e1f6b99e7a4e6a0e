"""`src.nice_funcs_aster` answered from IB: the interface that the host's trading agent uses. Positions are None when
flat; amounts are USD of notional value; leverage is not for stocks and is told so once."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...brokers.domain.instrument import normalize_symbol
from ...brokers.errors import NoData
from .data_reads import DataReads
from .desk import Desk
from .indicators import robinhood_columns
from .shapes import PositionDict, order_dict, position_dict


class AsterFuncs:
    """Methods raise where the bare host answers 0 or None on an error; None means flat, or that nothing filled."""

    def __init__(self, desk: Desk, data: DataReads) -> None:
        self._desk = desk
        self._data = data

    def token_price(self, address: str, source: str = "auto") -> float:
        return self._data.price(address, source)

    def get_best_bid_ask(self, symbol: str) -> tuple[float, float]:
        return self._desk.bid_ask(symbol)

    def get_position(self, token_mint_address: str) -> PositionDict | None:
        held = self._desk.holding(token_mint_address)
        return position_dict(held.symbol, held) if held is not None else None

    def get_token_balance_usd(self, token_mint_address: str) -> float:
        """USD without sign; 0.0 when flat."""
        held = self._desk.holding(token_mint_address)
        return abs(held.value) if held is not None else 0.0

    def market_buy(
        self, token: str, amount: float, slippage: float | None = None, leverage: float = 1
    ) -> dict[str, Any] | None:
        """Open or enlarge a long; with a short open, buy it back first."""
        self._no_leverage(leverage)
        held = self._desk.holding(token)
        if held is not None and not held.is_long:
            return _dict(self._desk.sell_usd(token, amount, slippage))
        return _dict(self._desk.buy(token, amount, slippage))

    def limit_buy(
        self, token: str, amount: float, slippage: float | None = None, leverage: float = 1
    ) -> dict[str, Any] | None:
        """The same: every order here is a limit at the touch inside the slippage cap."""
        return self.market_buy(token, amount, slippage, leverage)

    def market_sell(
        self, token: str, amount: float, slippage: float | None = None, leverage: float = 1
    ) -> dict[str, Any] | None:
        """Reduce an owned long by `amount`; flat, it is a short, which the rules refuse unless shorting is allowed."""
        held = self._desk.holding(token)
        if held is not None and held.is_long:
            return _dict(self._desk.sell_usd(token, amount, slippage))
        return self.open_short(token, amount, slippage, leverage)

    def limit_sell(
        self, token: str, amount: float, slippage: float | None = None, leverage: float = 1
    ) -> dict[str, Any] | None:
        return self.market_sell(token, amount, slippage, leverage)

    def open_short(
        self, token: str, amount: float, slippage: float | None = None, leverage: float = 1
    ) -> dict[str, Any] | None:
        self._no_leverage(leverage)
        return _dict(self._desk.short(token, amount, slippage))

    def ai_entry(
        self,
        symbol: str,
        amount: float,
        max_chunk_size: float | None = None,
        leverage: float = 1,
        use_limit: bool = True,
    ) -> bool:
        """Buy up to a position of `amount` in one order. True when something filled or waits for the open."""
        self._no_leverage(leverage)
        return self._desk.buy_to(symbol, amount) is not None

    def chunk_kill(
        self, token_mint_address: str, max_usd_order_size: float | None = None, slippage: float | None = None
    ) -> bool:
        """Close the owned position in one order. True when it is flat afterwards."""
        self._desk.close(token_mint_address)
        return normalize_symbol(token_mint_address) not in self._desk.owned()

    def get_account_balance(self) -> dict[str, float]:
        """USD: `available` funds, `total_equity` (net liquidation), `position_margin`, `unrealized_pnl`."""
        summary = self._desk.account()
        if summary.net_liquidation is None or summary.initial_margin is None:
            raise NoData(f"margin of {summary.account}", "the broker has not told it yet", "wait a moment")
        pnl = summary.unrealized_pnl
        return {
            "available": self._desk.cash(),
            "total_equity": float(summary.net_liquidation),
            "position_margin": float(summary.initial_margin),
            "unrealized_pnl": sum(row.pnl for row in self._desk.holdings()) if pnl is None else float(pnl),
            "equity": float(summary.net_liquidation),
        }

    def get_data(self, symbol: str, days_back: float, timeframe: str) -> pd.DataFrame:
        return self.get_ohlcv_data(symbol, timeframe, days_back)

    def get_ohlcv_data(self, symbol: str, timeframe: str = "1H", days_back: float = 3) -> pd.DataFrame:
        """Columns timestamp open high low close volume."""
        return robinhood_columns(self._data.frame(symbol, timeframe, days_back))

    def _no_leverage(self, leverage: float) -> None:
        if leverage > 1:
            self._desk.say_once(f"leverage {leverage:g} is not used: stocks are bought for their full value")


def _dict(order: Any) -> dict[str, Any] | None:
    return order_dict(order) if order is not None else None
