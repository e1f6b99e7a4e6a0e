"""Account values under IB's own names: which figure of the account each one shows.

account_values(summary)         rows of updateAccountValue and accountUpdateMulti, sorted by key
summary_values(summary, tags)   rows of accountSummary; raises Refusal for a tag that IB does not have
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from ...domain.account import AccountSummary
from .session import Refusal

_CENT = Decimal("0.01")
Figure = Callable[[AccountSummary], Decimal | None]


class AccountRow(NamedTuple):
    key: str
    value: str
    currency: str


def _money(value: Decimal | None) -> str:
    return f"{(value or Decimal(0)).quantize(_CENT, ROUND_HALF_EVEN):f}"


def _cushion(summary: AccountSummary) -> str:
    if not summary.net_liquidation or summary.excess_liquidity is None:
        return "0"
    return f"{summary.excess_liquidity / summary.net_liquidation:.6f}"


def _leverage(summary: AccountSummary) -> str:
    if not summary.net_liquidation or summary.gross_position_value is None:
        return "0.00"
    return f"{summary.gross_position_value / summary.net_liquidation:.2f}"


def _nothing(summary: AccountSummary) -> Decimal:
    return Decimal(0)


#: Money in the base currency.
MONEY: dict[str, Figure] = {
    "AccruedCash": _nothing,
    "AccruedDividend": _nothing,
    "AvailableFunds": lambda s: s.available_funds,
    "BuyingPower": lambda s: s.buying_power,
    "EquityWithLoanValue": lambda s: s.equity_with_loan,
    "ExcessLiquidity": lambda s: s.excess_liquidity,
    "FullAvailableFunds": lambda s: s.available_funds,
    "FullExcessLiquidity": lambda s: s.excess_liquidity,
    "FullInitMarginReq": lambda s: s.initial_margin,
    "FullMaintMarginReq": lambda s: s.maintenance_margin,
    "GrossPositionValue": lambda s: s.gross_position_value,
    "InitMarginReq": lambda s: s.initial_margin,
    "LookAheadAvailableFunds": lambda s: s.available_funds,
    "LookAheadExcessLiquidity": lambda s: s.excess_liquidity,
    "LookAheadInitMarginReq": lambda s: s.initial_margin,
    "LookAheadMaintMarginReq": lambda s: s.maintenance_margin,
    "MaintMarginReq": lambda s: s.maintenance_margin,
    "NetLiquidation": lambda s: s.net_liquidation,
    "PreviousDayEquityWithLoanValue": lambda s: s.equity_with_loan,
    "RegTEquity": lambda s: s.equity_with_loan,
    "RegTMargin": lambda s: s.initial_margin,
    "SMA": lambda s: s.available_funds,
    "SettledCash": lambda s: s.settled_cash,
    "TotalCashValue": lambda s: s.total_cash,
}


def _day_trades(summary: AccountSummary) -> str:
    return "-1" if summary.day_trades_remaining is None else str(summary.day_trades_remaining)


#: Values without a currency.
TEXTS: dict[str, Callable[[AccountSummary], str]] = {
    "AccountType": lambda s: s.account_type or "INDIVIDUAL",
    "Cushion": _cushion,
    **{f"DayTradesRemaining{later}": _day_trades for later in ("", "T+1", "T+2", "T+3", "T+4")},
    "HighestSeverity": lambda s: "0",
    "Leverage": _leverage,
    "LookAheadNextChange": lambda s: "0",
}
#: The ledger, once in the account's currency and once as BASE.
LEDGER: dict[str, Figure] = {
    "CashBalance": lambda s: s.total_cash,
    "NetLiquidationByCurrency": lambda s: s.net_liquidation,
    "RealizedPnL": lambda s: s.realized_pnl,
    "StockMarketValue": lambda s: (
        None if s.net_liquidation is None or s.total_cash is None else s.net_liquidation - s.total_cash
    ),
    "TotalCashBalance": lambda s: s.total_cash,
    "UnrealizedPnL": lambda s: s.unrealized_pnl,
}
#: What reqAccountUpdates tells of the account itself.
_IDENTITY: dict[str, Callable[[AccountSummary], str]] = {
    "AccountCode": lambda s: s.account,
    "AccountReady": lambda s: "true",
}


def account_values(summary: AccountSummary, *, ledger_only: bool = False) -> list[AccountRow]:
    """`ledger_only`: the ledger and the net liquidation, as reqAccountUpdatesMulti's ledgerAndNLV asks."""
    rows = ledger_rows(summary)
    if ledger_only:
        rows.append(AccountRow("NetLiquidation", _money(summary.net_liquidation), summary.currency))
        return sorted(rows)
    rows += [AccountRow(key, text(summary), "") for key, text in {**_IDENTITY, **TEXTS}.items()]
    rows += [AccountRow(key, _money(figure(summary)), summary.currency) for key, figure in MONEY.items()]
    return sorted(rows)


def ledger_rows(summary: AccountSummary, currencies: Iterable[str] | None = None) -> list[AccountRow]:
    rows = []
    for currency in currencies or ("BASE", summary.currency):
        rows.append(AccountRow("Currency", currency, currency))
        rows.append(AccountRow("ExchangeRate", "1.00", currency))
        rows += [AccountRow(key, _money(figure(summary)), currency) for key, figure in LEDGER.items()]
    return rows


def check_tags(tags: str) -> tuple[str, ...]:
    """The tags of reqAccountSummary; raises Refusal 321 for one that IB does not have."""
    wanted = tuple(tag.strip() for tag in tags.split(",") if tag.strip())
    unknown = [tag for tag in wanted if tag not in MONEY and tag not in TEXTS and not tag.startswith("$LEDGER")]
    if unknown or not wanted:
        named = ",".join(unknown) or "none"
        raise Refusal(321, f"Error validating request.-'bI' : cause - Invalid account summary tags: {named}")
    return wanted


def summary_values(summary: AccountSummary, tags: Iterable[str]) -> list[AccountRow]:
    """`tags` as checked; "$LEDGER" is the base currency's ledger, "$LEDGER:USD" one currency's, "$LEDGER:ALL" every."""
    rows: list[AccountRow] = []
    for tag in tags:
        if tag.startswith("$LEDGER"):
            which = tag.partition(":")[2]
            chosen = {"": ("BASE",), "ALL": ("BASE", summary.currency)}.get(which, (which,))
            rows += ledger_rows(summary, [name for name in chosen if name in ("BASE", summary.currency)])
        elif tag in MONEY:
            rows.append(AccountRow(tag, _money(MONEY[tag](summary)), summary.currency))
        else:
            rows.append(AccountRow(tag, TEXTS[tag](summary), ""))
    return sorted(rows)
