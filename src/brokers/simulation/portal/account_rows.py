"""Accounts, positions and balances in the portal's words. Functions of exchange objects; no state.

accounts_answer(session, selected)         /iserver/accounts, and the `act` frame
account_summary(summary)                   /iserver/account/{id}/summary
portfolio_account(door, account)           a row of /portfolio/accounts
position_row(row), uncached_row(row, now)  positions as /portfolio and /portfolio2 tell them
summary_rows(summary)                      /portfolio/{id}/summary
ledger_rows(door, account)                 /portfolio/{id}/ledger
stream_summary_rows, stream_ledger_rows    the same in the words of `ssd` and `sld`
pnl_rows(door, accounts)                   /iserver/account/pnl/partitioned and `spl`

Money is a number in the account's base currency, exactly the ledger's. Keys and types follow the recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ...domain.account import AccountSummary, Position
from ...domain.instrument import SecType
from .order_words import plain
from .session import SERVER_INFO

if TYPE_CHECKING:
    from .door import PortalDoor
    from .session import PortalSession

ZERO = Decimal(0)
#: What a new IB client is allowed; the paper exchange trades stocks and futures.
FEATURES: dict[str, Any] = {
    "showGFIS": False,
    "showEUCostReport": False,
    "allowEventContract": False,
    "allowFXConv": False,
    "allowFinancialLens": False,
    "allowMTA": True,
    "allowTypeAhead": True,
    "allowEventTrading": False,
    "snapshotRefreshTimeout": 30,
    "liteUser": False,
    "showWebNews": False,
    "research": False,
    "debugPnl": True,
    "showTaxOpt": False,
    "showImpactDashboard": False,
    "allowDynAccount": False,
    "allowCrypto": False,
    "allowFA": False,
    "allowLiteUnderPro": False,
    "allowedAssetTypes": "STK,FUT",
    "restrictTradeSubscription": False,
    "showUkUserLabels": False,
    "sideBySide": True,
}
_SHORT_PERIODS = ("2h", "1d", "2d", "1w", "1m")
#: Periods of charts by type of contract, also of those that are not traded here.
CHART_PERIODS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("STK", "CFD", "WAR", "IOPT", "FUT", "CASH", "IND", "BOND", "FUND"), ("*",)),
    **dict.fromkeys(("CMDTY", "PHYSS", "CRYPTO"), ("*",)),
    **dict.fromkeys(("OPT", "FOP"), _SHORT_PERIODS),
}
PROPERTIES: dict[str, bool] = {
    "hasChildAccounts": False,
    "supportsCashQty": False,
    "liteUnderPro": False,
    "noFXConv": True,
    "isProp": False,
    "supportsFractions": False,
    "allowCustomerTime": False,
    "autoFx": False,
}


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _number(value: Decimal | None) -> float:
    return float(value or ZERO)


def accounts_answer(session: PortalSession, selected: str) -> dict[str, Any]:
    accounts = session.door.exchange.accounts
    return {
        "accounts": list(accounts),
        "acctProps": {account: dict(PROPERTIES) for account in accounts},
        "aliases": {account: account for account in accounts},
        "allowFeatures": dict(FEATURES),
        "chartPeriods": {kind: list(periods) for kind, periods in CHART_PERIODS.items()},
        "groups": [],
        "profiles": [],
        "selectedAccount": selected,
        "serverInfo": dict(SERVER_INFO),
        "sessionId": session.session_id,
        "isFT": False,
        "isPaper": True,
    }


def account_summary(summary: AccountSummary) -> dict[str, Any]:
    cash = _number(summary.total_cash)
    return {
        "accountType": "",
        "status": "",
        "balance": _number(summary.net_liquidation),
        "SMA": _number(summary.available_funds),
        "buyingPower": _number(summary.buying_power),
        "availableFunds": _number(summary.available_funds),
        "excessLiquidity": _number(summary.excess_liquidity),
        "netLiquidationValue": _number(summary.net_liquidation),
        "equityWithLoanValue": _number(summary.equity_with_loan),
        "regTLoan": 0.0,
        "securitiesGVP": _number(summary.gross_position_value),
        "totalCashValue": cash,
        "accruedInterest": 0.0,
        "regTMargin": _number(summary.initial_margin),
        "initialMargin": _number(summary.initial_margin),
        "maintenanceMargin": _number(summary.maintenance_margin),
        "cashBalances": [{"currency": summary.currency, "balance": cash, "settledCash": _number(summary.settled_cash)}],
    }


def portfolio_account(door: PortalDoor, account: str) -> dict[str, Any]:
    return {
        "id": account,
        "PrepaidCrypto-Z": False,
        "PrepaidCrypto-P": False,
        "brokerageAccess": True,
        "accountId": account,
        "accountVan": account,
        "accountTitle": "Paper account",
        "displayName": "Paper account",
        "accountAlias": None,
        "accountStatus": int(door.source.start.timestamp() * 1000),
        "currency": door.exchange.settings.base_currency,
        "type": "DEMO",
        "tradingType": "STKNOPT",
        "businessType": "INDEPENDENT",
        "category": "",
        "ibEntity": "IBLLC-US",
        "faclient": False,
        "clearingStatus": "O",
        "covestor": False,
        "noClientTrading": False,
        "trackVirtualFXPortfolio": False,
        "acctCustType": "INDIVIDUAL",
        "parent": {"mmc": [], "accountId": "", "isMParent": False, "isMChild": False, "isMultiplex": False},
        "desc": account,
    }


def _described(row: Position) -> str:
    """ "AAPL"; "MES 20260618" for a derivative."""
    expiry = row.instrument.expiry
    return row.instrument.symbol + (f" {expiry:%Y%m%d}" if expiry else "")


def position_row(row: Position) -> dict[str, Any]:
    instrument = row.instrument
    derived = instrument.sec_type is not SecType.STOCK
    return {
        "acctId": row.account,
        "conid": instrument.con_id,
        "contractDesc": _described(row),
        "position": float(row.quantity),
        "mktPrice": _number(row.market_price),
        "mktValue": _number(row.market_value),
        "currency": instrument.currency,
        "avgCost": float(row.average_cost),
        "avgPrice": float(row.average_cost / instrument.multiplier),
        "realizedPnl": _number(row.realized_pnl),
        "unrealizedPnl": _number(row.unrealized_pnl),
        "exchs": None,
        "expiry": f"{instrument.expiry:%Y%m%d}" if instrument.expiry else None,
        "putOrCall": instrument.right,
        "multiplier": float(instrument.multiplier) if derived else None,
        "strike": _number(instrument.strike),
        "exerciseStyle": None,
        "conExchMap": [],
        "assetClass": instrument.sec_type.value,
        "undConid": 0,
        "model": "",
    }


def uncached_row(row: Position, now: datetime) -> dict[str, Any]:
    """As /portfolio2 tells it: the conid is text, and the names are others."""
    instrument = row.instrument
    return {
        "position": float(row.quantity),
        "conid": str(instrument.con_id),
        "avgCost": float(row.average_cost),
        "avgPrice": float(row.average_cost / instrument.multiplier),
        "currency": instrument.currency,
        "description": _described(row),
        "isLastToLoq": False,
        "marketPrice": _number(row.market_price),
        "marketValue": _number(row.market_value),
        "realizedPnl": _number(row.realized_pnl),
        "secType": instrument.sec_type.value,
        "timestamp": seconds(now),
        "unrealizedPnl": _number(row.unrealized_pnl),
        "assetClass": instrument.sec_type.value,
        "sector": "",
        "group": "",
        "model": "",
    }


Figure = Callable[[AccountSummary], Decimal | None]
#: Keys of `ssd` that are money; /portfolio/{id}/summary spells them in lower case.
MONEY: dict[str, Figure] = {
    "AccruedCash": lambda s: ZERO,
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
    "MaintMarginReq": lambda s: s.maintenance_margin,
    "NetLiquidation": lambda s: s.net_liquidation,
    "SettledCash": lambda s: s.settled_cash,
    "TotalCashValue": lambda s: s.total_cash,
}
#: And those that are text.
TEXTS: dict[str, Callable[[AccountSummary], str]] = {
    "AccountCode": lambda s: s.account,
    "AccountReady": lambda s: "true",
    "AccountType": lambda s: s.account_type,
}


def _value(amount: float, currency: str | None, timestamp: int, value: str) -> dict[str, Any]:
    return {
        "amount": amount,
        "currency": currency,
        "isNull": False,
        "timestamp": timestamp,
        "value": value,
        "severity": 0,
    }


def summary_rows(summary: AccountSummary) -> dict[str, dict[str, Any]]:
    at = seconds(summary.time)
    texts = {key.lower(): _value(0.0, None, at, text(summary)) for key, text in TEXTS.items()}
    money = {
        key.lower(): _value(_number(figure(summary)), summary.currency, at, plain(figure(summary) or ZERO))
        for key, figure in MONEY.items()
    }
    return texts | money


def stream_summary_rows(summary: AccountSummary) -> list[dict[str, Any]]:
    """Rows of `ssd`."""
    at = seconds(summary.time)
    texts: list[dict[str, Any]] = [
        {"key": key, "timestamp": at, "value": text(summary), "severity": 0} for key, text in TEXTS.items()
    ]
    money: list[dict[str, Any]] = [
        {
            "key": key,
            "timestamp": at,
            "currency": summary.currency,
            "monetaryValue": _number(figure(summary)),
            "severity": 0,
        }
        for key, figure in MONEY.items()
    ]
    return texts + money


def stream_ledger_rows(door: PortalDoor, account: str) -> list[dict[str, Any]]:
    """Rows of `sld`."""
    rows = ledger_rows(door, account)
    renamed = {"acctcode": "acctCode", "secondkey": "secondKey"}
    return [
        {renamed.get(key, key): value for key, value in row.items() if key != "sessionid"}
        | {"key": f"LedgerList{name}"}
        for name, row in rows.items()
    ]


def _by_type(rows: Iterable[Position], kind: SecType) -> list[Position]:
    return [row for row in rows if row.instrument.sec_type is kind]


def ledger_rows(door: PortalDoor, account: str) -> dict[str, dict[str, Any]]:
    """The base currency's ledger, once under its own name and once as BASE."""
    summary, positions = door.exchange.summary(account), door.exchange.positions(account)
    stocks = sum((row.market_value or ZERO for row in _by_type(positions, SecType.STOCK)), ZERO)
    futures_profit = sum((row.unrealized_pnl or ZERO for row in _by_type(positions, SecType.FUTURE)), ZERO)
    # A future is worth what it gained; its commissions have left the cash already.
    futures = (summary.net_liquidation or ZERO) - (summary.total_cash or ZERO) - stocks
    figures: dict[str, Decimal | None] = {
        "commoditymarketvalue": ZERO,
        "futuremarketvalue": futures,
        "settledcash": summary.settled_cash,
        "cashbalance": summary.total_cash,
        "corporatebondsmarketvalue": ZERO,
        "warrantsmarketvalue": ZERO,
        "netliquidationvalue": summary.net_liquidation,
        "interest": ZERO,
        "unrealizedpnl": summary.unrealized_pnl,
        "stockmarketvalue": stocks,
        "moneyfunds": ZERO,
        "realizedpnl": summary.realized_pnl,
        "funds": ZERO,
        "issueroptionsmarketvalue": ZERO,
        "stockoptionmarketvalue": ZERO,
        "futuresonlypnl": futures_profit,
        "tbondsmarketvalue": ZERO,
        "futureoptionmarketvalue": ZERO,
        "cashbalancefxsegment": ZERO,
        "tbillsmarketvalue": ZERO,
        "dividends": ZERO,
        "cryptocurrencyvalue": ZERO,
    }
    rows = {}
    for name in (summary.currency, "BASE"):
        rows[name] = {
            **{key: _number(value) for key, value in figures.items()},
            "exchangerate": 1,
            "sessionid": 1,
            "currency": name,
            "acctcode": account,
            "key": "LedgerList",
            "timestamp": seconds(summary.time),
            "severity": 0,
            "secondkey": name,
            "endofbundle": 1,
        }
    return rows


def pnl_rows(door: PortalDoor, accounts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """By account and partition, e.g. "DU0000001.Core"."""
    rows = {}
    for account in accounts:
        pnl, summary = door.exchange.pnl(account), door.exchange.summary(account)
        rows[f"{account}.Core"] = {
            "rowType": 1,
            "dpl": _number(pnl.daily),
            "nl": _number(summary.net_liquidation),
            "upl": _number(pnl.unrealized),
            "uel": _number(summary.equity_with_loan),
            "el": _number(summary.excess_liquidity),
            "mv": _number(summary.gross_position_value),
        }
    return rows


def allocation(door: PortalDoor, account: str) -> dict[str, Any]:
    """Market value by asset class; the exchange knows neither sectors nor groups."""
    sides: dict[str, dict[str, float]] = {"long": {}, "short": {}}
    for row in door.exchange.positions(account):
        side, kind = sides["long" if row.quantity > 0 else "short"], row.instrument.sec_type.value
        side[kind] = side.get(kind, 0.0) + _number(row.market_value)
    cash = _number(door.exchange.summary(account).total_cash)
    sides["long" if cash >= 0 else "short"]["CASH"] = cash
    return {"assetClass": sides, "sector": {"long": {}, "short": {}}, "group": {"long": {}, "short": {}}}
