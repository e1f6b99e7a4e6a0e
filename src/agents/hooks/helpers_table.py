"""Which helper functions of the host are answered from IB, by module: their parameters as the host's callers name
them (jwusch fork 0cf580e, upstream cbc2ddf), and whether the first one names a token that may be somebody else's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Helper:
    """`by_token`: the first argument decides between IB and the host's own function. `added`: the host has none."""

    name: str
    parameters: tuple[str, ...]
    by_token: bool = True
    added: bool = False


def _helpers(*rows: tuple[str, str] | tuple[str, str, str]) -> tuple[Helper, ...]:
    return tuple(
        Helper(row[0], tuple(row[1].split()), by_token="account" not in row[2:], added="added" in row[2:])
        for row in rows
    )


SOLANA = _helpers(
    ("token_price", "address"),
    ("get_position", "token_mint_address"),
    ("get_token_balance_usd", "token_mint_address"),
    ("get_decimals", "token_mint_address"),
    ("get_data", "address days_back_4_data timeframe"),
    ("get_ohlcv_data", "symbol timeframe days_back", "added"),
    ("fetch_wallet_holdings_og", "address", "account"),
    ("fetch_wallet_token_single", "address token_mint_address", "account"),
    ("market_buy", "token amount slippage"),
    ("market_sell", "QUOTE_TOKEN amount slippage"),
    ("ai_entry", "symbol amount"),
    ("elegant_entry", "symbol buy_under"),
    ("breakout_entry", "symbol BREAKOUT_PRICE"),
    ("chunk_kill", "token_mint_address max_usd_order_size slippage"),
    ("sell_token", "token_mint_address amount slippage"),
    ("kill_switch", "token_mint_address"),
    ("pnl_close", "token_mint_address"),
    ("close_all_positions", "", "account"),
)

ASTER = _helpers(
    ("token_price", "address"),
    ("get_best_bid_ask", "symbol"),
    ("get_position", "token_mint_address"),
    ("get_token_balance_usd", "token_mint_address"),
    ("market_buy", "token amount slippage leverage"),
    ("limit_buy", "token amount slippage leverage"),
    ("market_sell", "token amount slippage leverage"),
    ("limit_sell", "token amount slippage leverage"),
    ("open_short", "token amount slippage leverage"),
    ("ai_entry", "symbol amount max_chunk_size leverage use_limit"),
    ("chunk_kill", "token_mint_address max_usd_order_size slippage"),
    ("get_account_balance", "", "account"),
    ("get_data", "symbol days_back timeframe", "added"),
    ("get_ohlcv_data", "symbol timeframe days_back", "added"),
)

#: The data helper that ASTER mode and the charting agents read; the account's side of that module stays the host's.
HYPERLIQUID = _helpers(("get_data", "symbol timeframe bars add_indicators"))

ROBINHOOD = _helpers(
    ("market_buy", "symbol usd_amount account"),
    ("market_sell", "symbol percentage account"),
    ("get_position", "symbol account"),
    ("get_account_value", "account", "account"),
    ("get_balance", "account", "account"),
    ("get_all_positions", "account", "account"),
    ("place_trailing_stop", "symbol trail_percentage"),
    ("get_market_hours", "", "account"),
    ("is_market_open", "", "account"),
    ("kill_switch", "symbol account"),
    ("chunk_kill", "symbol max_order_size slippage"),
    ("get_ohlcv_data", "symbol timeframe days_back"),
    ("get_data", "symbol days_back timeframe"),
    ("set_leverage", "symbol leverage"),
    ("_get_adapter", "", "account"),
)

#: Module of the host -> its helpers.
HELPERS: Mapping[str, tuple[Helper, ...]] = {
    "src.nice_funcs": SOLANA,
    "src.nice_funcs_aster": ASTER,
    "src.nice_funcs_extended": ASTER,
    "src.nice_funcs_hyperliquid": HYPERLIQUID,
    "src.nice_funcs_robinhood": ROBINHOOD,
}
