"""`src.nice_funcs` answered from IB: the host's Solana-shaped helpers, by the host's own parameter names."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pandas as pd

from ...brokers.domain.instrument import normalize_symbol
from ...brokers.domain.order import Order
from ...brokers.errors import BrokerError, DeadlineExceeded, InvalidOrder, InvalidRequest
from .data_reads import DataReads
from .desk import Desk
from .indicators import robinhood_columns, solana_columns
from .shapes import wallet_frame

#: Reads a constant of the host's config.
Constant = Callable[[str, float], float]


class SolanaFuncs:
    """Every method raises the tree in `errors` where the bare host prints and goes on. Amounts are USD unless said."""

    def __init__(self, desk: Desk, data: DataReads, constant: Constant) -> None:
        self._desk = desk
        self._data = data
        self._constant = constant

    def token_price(self, address: str = "", source: str = "auto", *, symbol: str = "") -> float:
        """USD. `source`: auto, ib or other. `symbol` is another name of `address`."""
        if not address and not symbol:
            raise InvalidRequest("token_price", "no symbol was given")
        return self._data.price(address or symbol, source)

    def get_position(self, token_mint_address: str) -> float:
        """Owned shares, signed; 0 when flat."""
        held = self._desk.holding(token_mint_address)
        return float(held.quantity) if held is not None else 0

    def get_token_balance_usd(self, token_mint_address: str) -> float:
        """USD of the owned position, without sign; 0.0 when flat."""
        held = self._desk.holding(token_mint_address)
        return abs(held.value) if held is not None else 0.0

    def get_decimals(self, token_mint_address: str) -> int:
        """Whole shares have none."""
        normalize_symbol(token_mint_address)
        return 0

    def get_data(self, address: str, days_back_4_data: float, timeframe: str) -> pd.DataFrame:
        """The host's columns with its indicators. No bar is made up, so a short history has fewer than 40 rows."""
        return solana_columns(self._data.frame(address, timeframe, days_back_4_data))

    def get_ohlcv_data(self, symbol: str, timeframe: str = "1H", days_back: float = 3) -> pd.DataFrame:
        """Columns timestamp open high low close volume."""
        return robinhood_columns(self._data.frame(symbol, timeframe, days_back))

    def fetch_wallet_holdings_og(self, address: str = "") -> pd.DataFrame:
        """What this journal owns; the address is not asked."""
        return wallet_frame(self._desk.holdings())

    def fetch_wallet_token_single(self, address: str = "", token_mint_address: str = "") -> pd.DataFrame:
        """One row of the same, none when flat."""
        held = self._desk.holding(token_mint_address)
        return wallet_frame([held] if held is not None else [])

    def market_buy(self, token: str, amount: float, slippage: float | None = None) -> str:
        """USD; answers the order's key."""
        return self._filled(self._desk.buy(token, _usd(amount), slippage), f"market_buy of {token}")

    def market_sell(self, QUOTE_TOKEN: str, amount: float, slippage: float | None = None) -> str:
        """Shares (raw units of a token without decimals); answers the order's key."""
        order = self._desk.sell_shares(QUOTE_TOKEN, _usd(amount), slippage)
        return self._filled(order, f"market_sell of {QUOTE_TOKEN}")

    def sell_token(self, token_mint_address: str, amount: float, slippage: float | None = None) -> str:
        return self.market_sell(token_mint_address, amount, slippage)

    def ai_entry(self, symbol: str, amount: float) -> str | None:
        """Buy up to a position of `amount`; the order's key, None when it is held already or nothing filled."""
        return _key(self._desk.buy_to(symbol, _usd(amount)))

    def elegant_entry(self, symbol: str, buy_under: float) -> str | None:
        """Up to the config's usd_size while the price is under `buy_under`; one look, no loop."""
        return self._entry_when(symbol, lambda price: price < buy_under)

    def breakout_entry(self, symbol: str, BREAKOUT_PRICE: float) -> str | None:
        """Up to the config's usd_size once the price is above `BREAKOUT_PRICE`; one look, no loop."""
        return self._entry_when(symbol, lambda price: price > BREAKOUT_PRICE)

    def _entry_when(self, symbol: str, holds: Callable[[float], bool]) -> str | None:
        if not holds(self._desk.price(symbol)):
            return None
        return self.ai_entry(symbol, self._constant("usd_size", 0))

    def chunk_kill(
        self, token_mint_address: str, max_usd_order_size: float | None = None, slippage: float | None = None
    ) -> str | None:
        """Close the owned position in one order: the chunk size is for thin tokens and is not used. The order's key,
        None when there is nothing to close."""
        return _key(self._desk.close(token_mint_address))

    def kill_switch(self, token_mint_address: str) -> str | None:
        return _key(self._desk.close(token_mint_address))

    def pnl_close(self, token_mint_address: str) -> str | None:
        """Close a position at `sell_at_multiple` times its cost, or at the config's stop-loss fraction."""
        held = self._desk.holding(token_mint_address)
        if held is None:
            return None
        target = (self._constant("sell_at_multiple", 3) - 1) * 100
        # The host's own spelling.
        stop = self._constant("stop_loss_perctentage", -0.24) * 100
        return self.kill_switch(token_mint_address) if held.pnl_percent >= target or held.pnl_percent <= stop else None

    def close_all_positions(self) -> list[str]:
        """Close everything that this journal owns. One that cannot be closed does not keep the others open; the first
        such error is raised at the end."""
        keys, errors = [], []
        for symbol in self._desk.owned():
            try:
                key = self.kill_switch(symbol)
            except BrokerError as error:
                self._desk.report(f"{symbol} is not closed: {error}")
                errors.append(error)
            else:
                keys += [key] if key else []
        if errors:
            raise errors[0]
        return keys

    def _filled(self, order: Order | None, what: str) -> str:
        if order is None:
            waited = timedelta(seconds=self._desk.settings.fill_deadline)
            raise DeadlineExceeded(what, waited, "nothing filled, and nothing works any more")
        return order.key


def _key(order: Order | None) -> str | None:
    return order.key if order is not None else None


def _usd(amount: object) -> float:
    """Only real numbers: the bare host hands a chunk over as text in millionths of a dollar."""
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise InvalidOrder(f"amount {amount!r}", "it is not a number", "pass the amount as a number of USD or shares")
    return float(amount)
