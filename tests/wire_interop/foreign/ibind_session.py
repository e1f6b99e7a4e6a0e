"""Sessions with ibind 0.2.2 at the portal: argument 1 the URL, 2 the CA file, 3 `trade` or `reconcile`.

A line `TELL WORD …` asks the driver for something (`advance SECONDS` of market time, or an order of its own) and waits
for its line; the last line is `FACTS` and one JSON object.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from ibind import (
    ExternalBrokerError,
    IbkrClient,
    IbkrWsClient,
    OrderRequest,
    QueueSink,
    events,
    snapshot_keys_to_ids,
    subscriptions,
)
from ibind.client.ibkr_utils import QuestionType

DEADLINE = 10.0
#: Seconds between two readings of a list that IB serves once in five.
APART = 5.05
AAPL = "265598"
FIELDS = ["last_price", "bid_price", "ask_price", "symbol"]
#: What this user lets pass; whatever else the portal asks is an error of ibind's.
ANSWERS = {QuestionType.ORDER_SIZE_LIMIT: True, QuestionType.ORDER_VALUE_LIMIT: True}

Rows = dict[str, dict[str, Any]]


def tell(text: str) -> str:
    sys.stdout.write(f"TELL {text}\n")
    sys.stdout.flush()
    return sys.stdin.readline().strip()


def until(test: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + DEADLINE
    while True:
        found = test()
        if found:
            return found
        if time.monotonic() > end:
            raise SystemExit(f"no {what} came within {DEADLINE:g} s")
        time.sleep(0.01)


class Lists:
    """The lists that IB serves once in five seconds, and empty at first; each is asked for no sooner."""

    def __init__(self, client: IbkrClient) -> None:
        self._client = client
        self._asked: dict[str, float] = {}

    def _ask(self, name: str, call: Callable[[], Any]) -> Any:
        time.sleep(max(0.0, self._asked.get(name, 0.0) + APART - time.monotonic()))
        answer = call().data
        self._asked[name] = time.monotonic()
        return answer

    def orders(self) -> Rows:
        """By order_ref."""
        rows = self._ask("orders", self._client.live_orders)["orders"]
        return {row["order_ref"]: row for row in rows if "order_ref" in row}

    def trades(self) -> list[dict[str, Any]]:
        return self._ask("trades", self._client.trades)

    def pnl(self) -> dict[str, Any]:
        return self._ask("pnl", self._client.account_profit_and_loss)["upnl"]


class Seen:
    """What ibind's own sink was given by the WebSocket, kept from the first event on."""

    def __init__(self, client: IbkrClient, url: str, ca_file: str, account: str) -> None:
        self._queue = QueueSink()
        self.quotes: list[dict[str, Any]] = []
        self.orders: dict[int, dict[str, Any]] = {}
        self.states: dict[str, list[str]] = {}
        self.trades: dict[str, dict[str, Any]] = {}
        self.pnl: dict[str, Any] = {}
        self.ledger: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self._wanted = (
            subscriptions.MarketDataSubscription(conid=AAPL, fields=snapshot_keys_to_ids(FIELDS)),
            subscriptions.OrdersSubscription(),
            subscriptions.TradesSubscription(),
            subscriptions.PnlSubscription(),
            subscriptions.AccountLedgerSubscription(account_id=account),
            subscriptions.AccountSummarySubscription(account_id=account),
        )
        self.socket = IbkrWsClient(
            account_id=account,
            url=url.replace("https", "wss") + "/ws",
            ibkr_client=client,
            cacert=ca_file,
            sink=self._queue,
        )

    def open(self) -> bool:
        """Whether ibind takes every subscription for active."""
        self.socket.start()
        until(self.socket.is_authenticated, "authentication of the WebSocket")
        return self._all_done(self.socket.subscribe)

    def leave(self) -> bool:
        """Whether ibind takes every subscription for ended."""
        return self._all_done(self.socket.unsubscribe)

    def _all_done(self, verb: Callable[[Any], Any]) -> bool:
        return self.socket.wait_all([verb(wanted) for wanted in self._wanted], timeout_each=DEADLINE) == []

    def take(self) -> Seen:
        """What has come since, merged by orderId as updates of `sor` ask for it."""
        for event in self._all(events.MarketData):
            self.quotes.append(event.data)
        for event in self._all(events.Orders):
            for row in event.data["args"]:
                known = self.orders.setdefault(row["orderId"], {})
                known.update(row)
                if "status" in row:
                    self.states.setdefault(known["order_ref"], []).append(row["status"])
        for event in self._all(events.Trades):
            self.trades |= {row["execution_id"]: row for row in event.data["args"]}
        for event in self._all(events.Pnl):
            self.pnl = event.data["args"]
        for event in self._all(events.AccountLedger):
            self.ledger |= {event.data["key"]: event.data}
        for event in self._all(events.AccountSummary):
            self.summary |= event.data
        return self

    def _all(self, kind: Any) -> list[Any]:
        found = []
        while not self._queue.empty(kind):
            found.append(self._queue.get(kind))
        return found

    def statuses(self) -> dict[str, str]:
        """By order_ref, as the stream told them last."""
        return {row["order_ref"]: row["status"] for row in self.take().orders.values()}

    def reached(self, ref: str, status: str) -> bool:
        return self.take().states.get(ref, [""])[-1] == status


class Trader:
    """One login: ibind's two clients and what the session found out."""

    def __init__(self, url: str, ca_file: str) -> None:
        self.facts: dict[str, Any] = {}
        self.client = IbkrClient(url=url, cacert=ca_file)
        self.lists = Lists(self.client)
        self.facts["healthy"] = self.client.check_auth_status()
        self.facts["session_id"] = len(self.client.tickle().data["session"])
        (self.account,) = self.client.receive_brokerage_accounts().data["accounts"]
        self.client.account_id = self.account
        self.facts["accounts"] = [self.account, self.client.portfolio_accounts().data[0]["accountId"]]
        self.seen = Seen(self.client, url, ca_file, self.account)

    def order(self, ref: str, quantity: int, price: float | None = None, side: str = "BUY") -> OrderRequest:
        kind = "MKT" if price is None else "LMT"
        return OrderRequest(int(AAPL), side, quantity, kind, self.account, price=price, coid=ref, tif="DAY")

    def place(self, order: OrderRequest, answers: dict[Any, bool] = ANSWERS) -> dict[str, Any]:
        return self.client.place_order(order, answers).data

    def refused(self, order: OrderRequest, answers: dict[Any, bool] = ANSWERS) -> str:
        try:
            self.place(order, answers)
        except (ExternalBrokerError, RuntimeError) as error:
            return str(error)
        return ""

    def quote(self) -> tuple[float, float]:
        """Bid and ask, once the portal has warmed up."""

        def ask() -> tuple[float, float] | None:
            (row,) = self.client.live_marketdata_snapshot([AAPL], snapshot_keys_to_ids(FIELDS)).data
            self.facts.setdefault("pre_flight", sorted(row))
            return (float(row["84"]), float(row["86"])) if {"84", "86"} <= set(row) else None

        return until(ask, "quote")


def look(trader: Trader) -> tuple[float, float]:
    client, facts = trader.client, trader.facts
    (found,) = [row for row in client.search_contract_by_symbol("AAPL").data if row["description"] == "NASDAQ"]
    facts["search"] = [found["conid"], found["symbol"], "STK" in {row["secType"] for row in found["sections"]}]
    facts["stock"] = client.stock_conid_by_symbol("AAPL").data
    rules = client.info_and_rules_by_conid(AAPL, is_buy=True).data["rules"]
    facts["order_types"] = sorted(rules["orderTypes"])
    bid, ask = trader.quote()
    facts["quote"] = [bid, ask]
    by_symbol = client.live_marketdata_snapshot_by_symbol("AAPL", snapshot_keys_to_ids(FIELDS))
    facts["by_symbol"] = [by_symbol["AAPL"]["symbol"], float(by_symbol["AAPL"]["bid_price"])]
    bars = client.marketdata_history_by_conids([AAPL], period="10d", bar="1d", outside_rth=False)[AAPL]
    facts["bars"] = [len(bars), all(bar["high"] >= bar["low"] > 0 and bar["volume"] > 0 for bar in bars)]
    return bid, ask


def trade(trader: Trader) -> None:
    """A large limit order with its questions, changed and cancelled; a market order; what became of both."""
    facts, seen, lists = trader.facts, trader.seen, trader.lists
    bid, _ = look(trader)
    facts["cold"] = [lists.orders(), lists.trades(), lists.pnl()]
    facts["subscribed"] = seen.open()
    tell("advance 120")
    until(lambda: len(seen.take().quotes) > 2, "quotes of the stream")
    facts["streamed"] = sorted(set().union(*seen.quotes))

    far = round(bid * 0.9, 2)
    estimate = trader.client.whatif_order(trader.order("estimated", 600, far)).data
    facts["what_if"] = {name: estimate[name] for name in ("amount", "initial", "error")}
    facts["unanswered"] = trader.refused(trader.order("doubtful", 600, far), {QuestionType.ORDER_SIZE_LIMIT: False})
    placed = trader.place(trader.order("resting", 600, far))
    number = placed["order_id"]
    facts["placed"] = placed["order_status"]
    until(lambda: seen.reached("resting", "Submitted"), "the order")
    facts["duplicate"] = trader.refused(trader.order("resting", 600, far))
    changed = trader.client.modify_order(number, trader.order("resting", 700, round(far + 1, 2)), ANSWERS).data
    facts["changed"] = [changed["order_id"] == number, far + 1]

    trader.place(trader.order("entry", 100))
    until(lambda: seen.reached("entry", "Filled"), "the fill")
    live = lists.orders()
    shown = ("status", "totalSize", "filledQuantity", "price", "side")
    facts["live"] = {ref: [row[key] for key in shown] for ref, row in live.items()}
    facts["same_number"] = str(live["resting"]["orderId"]) == number

    facts["cancel"] = trader.client.cancel_order(number).data["msg"]
    until(lambda: seen.reached("resting", "Cancelled"), "the end of the order")
    facts["status"] = trader.client.order_status(number).data["order_status"]
    facts["refused_cancel"] = bool(trader.client.cancel_order("1").data.get("error"))
    facts["states"] = seen.take().states
    accounts(trader)


def accounts(trader: Trader) -> None:
    """Trades, positions, ledger and P&L by request, and the same as the stream told them."""
    client, facts, seen, lists = trader.client, trader.facts, trader.seen, trader.lists
    facts["trades"] = [[t["execution_id"], t["order_ref"], t["side"], t["size"], t["price"]] for t in lists.trades()]
    facts["streamed_trades"] = sorted(seen.take().trades)
    facts["positions"] = {row["conid"]: row["position"] for row in client.positions(trader.account).data}
    facts["positions2"] = {row["conid"]: row["position"] for row in client.positions2(trader.account).data}
    facts["cash"] = client.get_ledger(trader.account).data["USD"]["cashbalance"]
    facts["summary"] = client.portfolio_summary(trader.account).data["netliquidation"]["amount"]
    tell("advance 20")
    core = f"{trader.account}.Core"
    facts["pnl"] = lists.pnl()[core]
    until(lambda: seen.take().pnl.get(core) == facts["pnl"], "P&L of the stream")
    until(lambda: seen.take().ledger.get("LedgerListUSD", {}).get("cashbalance") == facts["cash"], "ledger")
    until(lambda: seen.take().summary.get("TotalCashValue", {}).get("monetaryValue") == facts["cash"], "summary")
    facts["tic"] = bool(seen.socket.tic())


def reconcile(trader: Trader) -> None:
    """An order of this client's that another sees, and one of the other's that this one finds and cancels."""
    facts, seen, lists = trader.facts, trader.seen, trader.lists
    bid, _ = trader.quote()
    facts["cold"] = [lists.orders(), lists.trades()]
    facts["subscribed"] = seen.open()
    far = round(bid * 0.9, 2)
    facts["number"] = trader.place(trader.order("of-ibind", 10, far))["order_id"]
    trader.place(trader.order("fill-of-ibind", 10))
    until(lambda: seen.reached("fill-of-ibind", "Filled"), "the fill")
    tell("placed")
    until(lambda: seen.reached("of-ib-async", "Submitted"), "the other's order")
    until(lambda: "fill-of-ib-async" in {row["order_ref"] for row in seen.take().trades.values()}, "the other's fill")
    live = lists.orders()
    facts["live"] = {ref: row["status"] for ref, row in live.items()}
    facts["trades"] = {row["order_ref"]: row["execution_id"] for row in lists.trades()}
    facts["cancel"] = trader.client.cancel_order(str(live["of-ib-async"]["orderId"])).data["msg"]
    until(lambda: seen.reached("of-ib-async", "Cancelled"), "the end of the other's order")
    tell("cancelled")
    facts["ended"] = seen.statuses()
    facts["positions"] = {row["conid"]: row["position"] for row in trader.client.positions(trader.account).data}


SESSIONS = {"trade": trade, "reconcile": reconcile}


def main(url: str, ca_file: str, name: str) -> None:
    problems: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: problems.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("ibind").addHandler(handler)
    trader = Trader(url, ca_file)
    SESSIONS[name](trader)
    trader.facts["unsubscribed"] = trader.seen.leave()
    trader.facts["problems"] = list(problems)
    trader.facts["left"] = trader.seen.socket.shutdown()
    trader.client.close()
    sys.stdout.write("FACTS " + json.dumps(trader.facts) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:4])
