"""The public API is what `__all__` says, and nothing slips in or out unseen."""

from __future__ import annotations

import inspect

import moondev_ibkr
from moondev_ibkr import BaseBroker, get_broker

PINNED = [
    "Fundamentals",
    "ScanParameters",
    "ScanRequest",
    "OptionQuote",
    "OptionChain",
    "OptionActivity",
    "NewsProvider",
    "Headline",
    "Article",
    "AccountSummary",
    "Bar",
    "BarSize",
    "BarSource",
    "BarUpdate",
    "BaseBroker",
    "Bracket",
    "BrokerError",
    "BrokerStatistics",
    "Lost",
    "BarRule",
    "TickBar",
    "Snapshot",
    "StreamCounts",
    "StreamOptions",
    "Depth",
    "Fill",
    "Gap",
    "Health",
    "Instrument",
    "InstrumentDetails",
    "NewOrder",
    "Order",
    "OrderChange",
    "OrderEvent",
    "OrderEventKind",
    "OrderState",
    "OrderType",
    "OutcomeUnknown",
    "PnL",
    "Position",
    "PositionDifference",
    "Quote",
    "Resumed",
    "RiskRefusal",
    "SecType",
    "Side",
    "SmartOrderPolicy",
    "StopReport",
    "StreamKind",
    "Subscription",
    "SyncBroker",
    "TimeInForce",
    "Trade",
    "TradingHalted",
    "UsageError",
    "WhatIf",
    "attach",
    "detach",
    "get_broker",
]

VERBS = [
    "option_quotes",
    "option_chain",
    "option_activity",
    "news_providers",
    "headlines",
    "article",
    "scan",
    "scan_parameters",
    "fundamentals",
    "account",
    "accounts",
    "adopt",
    "bars",
    "bars_frame",
    "cancel",
    "cancel_all",
    "connect",
    "details",
    "disconnect",
    "emergency_stop",
    "fills",
    "flatten",
    "health",
    "latency_report",
    "get_latency_report",
    "get_statistics",
    "on_events",
    "tick_bars",
    "snapshot",
    "promote",
    "subscriptions",
    "live_bars",
    "market_hours",
    "market_time",
    "modify",
    "open_orders",
    "order",
    "order_events",
    "orders",
    "place",
    "place_smart_order",
    "pnl",
    "owned_positions",
    "limits",
    "many_bars",
    "positions",
    "quote",
    "quotes",
    "reconcile",
    "resume",
    "stream",
    "wait",
    "what_if",
]


def test_all_is_pinned() -> None:
    assert sorted(moondev_ibkr.__all__) == sorted(PINNED)


def test_every_name_is_there_and_documented() -> None:
    for name in moondev_ibkr.__all__:
        assert inspect.getdoc(getattr(moondev_ibkr, name)), name


def test_the_verbs_of_a_broker_are_pinned() -> None:
    assert sorted(name for name in vars(BaseBroker) if not name.startswith("_") and name not in ("name", "clock")) == (
        sorted(VERBS)
    )


async def test_the_paper_broker_by_its_name_trades_the_shipped_bars() -> None:
    async with get_broker("paper", speed=None) as broker:
        quote = await broker.quote("AAPL")
        assert quote.is_two_sided
        assert (await broker.account()).net_liquidation == 100_000


async def test_bars_of_a_list_come_in_one_round_and_a_bad_symbol_has_its_error() -> None:
    async with get_broker("paper", speed=None) as broker:
        found = await broker.many_bars(["AAPL", "brk.b", "no such ticker!", "MSFT"], count=5)
        assert list(found) == ["AAPL", "BRK B", "no such ticker!", "MSFT"]
        assert len(found["AAPL"]) == len(found["MSFT"]) == 5
        assert isinstance(found["BRK B"], moondev_ibkr.BrokerError)
        assert isinstance(found["no such ticker!"], moondev_ibkr.UsageError)
