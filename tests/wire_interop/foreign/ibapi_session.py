"""A whole session with IB's own Python client (`pip install ibapi==9.81.1.post1`, or a later one of the same shape).

Run by `test_foreign_clients.py` with the interpreter of the environment that has it: `ibapi_session.py PORT CLIENT_ID`.
It asks for market time with a line `ADVANCE seconds`, waits for the answer, and ends with a line `FACTS {json}`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
from decimal import Decimal

from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.execution import ExecutionFilter
from ibapi.order import Order
from ibapi.wrapper import EWrapper

DEADLINE = 10.0
SYMBOL = "AAPL"


class Client(EWrapper, EClient):
    """Keeps every callback as (name, arguments) in the order of arrival."""

    def __init__(self) -> None:
        EWrapper.__init__(self)
        EClient.__init__(self, self)
        self.seen: list = []
        self.news = threading.Condition()

    def note(self, name: str, *arguments) -> None:
        with self.news:
            self.seen.append((name, arguments))
            self.news.notify_all()

    def until(self, test, what: str):
        """The first (name, arguments) kept so far, or still to come, that fits."""
        end = time.monotonic() + DEADLINE
        at = 0
        with self.news:
            while True:
                while at < len(self.seen):
                    if test(*self.seen[at]):
                        return self.seen[at]
                    at += 1
                if not self.news.wait(end - time.monotonic()):
                    tail = "\n".join(map(str, self.seen[-12:]))
                    raise SystemExit(f"no {what} came within {DEADLINE:g} s; the last were\n{tail}")

    def found(self, name: str, *start):
        return self.until(lambda n, a: n == name and a[: len(start)] == start, f"{name}{start}")[1]

    def error_of(self, request: int, code: int):
        return self.until(lambda n, a: n == "error" and a[0] == request and a[1] == code, f"error {code} on {request}")[
            1
        ]

    def status(self, order: int, status: str):
        return self.until(lambda n, a: n == "orderStatus" and a[:2] == (order, status), f"{status} of {order}")[1]

    def all(self, name: str, *start) -> list:
        return [a for n, a in list(self.seen) if n == name and a[: len(start)] == start]

    def life(self, order: int) -> list:
        """What happened to one order, a word a message."""
        words, executions = [], set()
        for name, a in list(self.seen):
            if name == "orderStatus" and a[0] == order:
                words.append(f"orderStatus {a[1]}")
            elif name == "openOrder" and a[0] == order:
                words.append("openOrder")
            elif name == "execDetails" and a[0] == -1 and a[2].orderId == order:
                words.append("execDetails")
                executions.add(a[2].execId)
            elif name == "commissionReport" and a[0].execId in executions:
                words.append("commissionReport")
            elif name == "error" and a[0] == order:
                words.append(f"error {a[1]}")
        return words


def recorder(name: str):
    def record(self, *arguments, **named) -> None:
        self.note(name, *arguments, *named.values())

    return record


for callback in [name for name in vars(EWrapper) if not name.startswith("_") and name not in ("logAnswer",)]:
    setattr(Client, callback, recorder(callback))


def connect(port: int, client_id: int) -> Client:
    client = Client()
    client.connect("127.0.0.1", port, client_id)
    threading.Thread(target=client.run, daemon=True).start()
    return client


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def advance(seconds: float) -> None:
    say(f"ADVANCE {seconds}")
    sys.stdin.readline()


def contract(symbol: str = SYMBOL) -> Contract:
    one = Contract()
    one.symbol, one.secType, one.exchange, one.currency = symbol, "STK", "SMART", "USD"
    return one


def order(action: str, quantity: int, kind: str, **values) -> Order:
    one = Order()
    one.action, one.totalQuantity, one.orderType = action, quantity, kind
    one.eTradeOnly = one.firmQuoteOnly = False
    for name, value in values.items():
        setattr(one, name, value)
    return one


def last_argument(method) -> list:
    """Of the cancels: none in 9.81, a time in 10.19, an object from 10.30 on."""
    names = method.__code__.co_varnames[: method.__code__.co_argcount]
    if names[-1] == "orderCancel":
        from ibapi.order_cancel import OrderCancel

        return [OrderCancel()]
    return [""] if names[-1].startswith("manual") else []


def cancel(client: Client, order_id: int) -> None:
    client.cancelOrder(order_id, *last_argument(EClient.cancelOrder))


def number(value) -> float:
    return float(Decimal(value))


def market(client: Client, facts: dict) -> tuple:
    client.reqContractDetails(101, contract())
    client.found("contractDetailsEnd", 101)
    details = client.all("contractDetails", 101)[0][1]
    facts["details"] = [details.contract.conId, details.contract.symbol, details.minTick, details.longName]
    facts["time_zone"] = details.timeZoneId
    client.reqContractDetails(102, contract("NOSUCH"))
    facts["unknown_contract"] = client.error_of(102, 200)[1]

    client.reqMktData(103, contract(), "", True, False, [])
    client.found("tickSnapshotEnd", 103)
    prices = {a[1]: a[2] for a in client.all("tickPrice", 103)}
    facts["snapshot"] = {"bid": prices.get(1), "ask": prices.get(2), "last": prices.get(4)}

    client.reqMktData(104, contract(), "233", False, False, [])
    client.found("tickPrice", 104, 2)
    before = len(client.all("tickPrice", 104))
    advance(300)
    client.until(lambda n, a: len(client.all("tickPrice", 104)) > before + 5, "stream")
    facts["sizes"] = [number(a[2]) for a in client.all("tickSize", 104)][:3]
    facts["rt_volume"] = len([a for a in client.all("tickString", 104) if a[1] == 48])
    client.cancelMktData(104)

    client.reqHistoricalData(105, contract(), "", "10 D", "1 day", "TRADES", 1, 1, False, [])
    client.found("historicalDataEnd", 105)
    bars = [a[1] for a in client.all("historicalData", 105)]
    facts["bars"] = len(bars)
    facts["bar"] = [bars[-1].date, bars[-1].high >= bars[-1].low > 0, number(bars[-1].volume) > 0]
    client.reqHistoricalData(106, contract(), "", "1 D", "1 min", "TRADES", 1, 2, True, [])
    client.found("historicalDataEnd", 106)
    advance(120)
    client.found("historicalDataUpdate", 106)
    facts["live_bar_dates"] = len({a[1].date for a in client.all("historicalDataUpdate", 106)})
    client.cancelHistoricalData(106)
    return prices.get(1), prices.get(2)


def place(client: Client, next_id: int, bid: float, ask: float, facts: dict) -> int:
    def new(one: Order) -> int:
        nonlocal next_id
        used, next_id = next_id, next_id + 1
        client.placeOrder(used, contract(), one)
        return used

    rest = round(bid * 0.9, 2)
    limit = order("BUY", 10, "LMT", lmtPrice=rest, tif="GTC", orderRef="resting")
    resting = new(limit)
    client.status(resting, "Submitted")
    limit.lmtPrice = round(rest + 1, 2)
    client.placeOrder(resting, contract(), limit)
    client.until(
        lambda n, a: n == "openOrder" and a[0] == resting and a[2].lmtPrice == limit.lmtPrice, "the changed price"
    )
    facts["modified"] = True

    cancelled = new(order("BUY", 10, "LMT", lmtPrice=rest))
    client.status(cancelled, "Submitted")
    cancel(client, cancelled)
    client.error_of(cancelled, 202)
    facts["cancel"] = client.life(cancelled)

    bought = new(order("BUY", 100, "MKT", orderRef="entry"))
    client.status(bought, "Filled")
    client.until(lambda n, a: "commissionReport" in client.life(bought), "commission")
    facts["market"] = client.life(bought)

    stop = new(order("SELL", 10, "STP", auxPrice=rest))
    client.status(stop, "PreSubmitted")
    cancel(client, stop)
    client.status(stop, "Cancelled")
    facts["stop"] = client.life(stop)

    parent = order("BUY", 10, "LMT", lmtPrice=round(ask + 2, 2), transmit=False)
    root = new(parent)
    profit = new(order("SELL", 10, "LMT", lmtPrice=round(ask * 1.2, 2), parentId=root, transmit=False))
    loss = new(order("SELL", 10, "STP", auxPrice=rest, parentId=root, transmit=True))
    client.status(root, "Filled")
    client.status(profit, "Submitted")
    client.status(loss, "PreSubmitted")
    cancel(client, profit)
    cancel(client, loss)
    client.status(profit, "Cancelled")
    client.status(loss, "Cancelled")
    facts["bracket"] = {"parent": client.life(root), "profit": client.life(profit), "loss": client.life(loss)}

    wish = new(order("BUY", 100, "LMT", lmtPrice=ask, whatIf=True))
    state = client.until(lambda n, a: n == "openOrder" and a[0] == wish, "what-if")[1][3]
    facts["what_if"] = [float(state.initMarginChange) > 0, state.commission, client.all("orderStatus", wish)]

    wrong = new(order("BUY", 1, "LMT", lmtPrice=rest + 0.001))
    facts["wrong_tick"] = client.error_of(wrong, 110)[1]

    large = new(order("BUY", 2000, "LMT", lmtPrice=round(ask + 1, 2)))
    for _ in range(40):
        if any(a[1] == "Filled" for a in client.all("orderStatus", large)):
            break
        advance(30)
    client.status(large, "Filled")
    fills = [a[2] for a in client.all("execDetails") if a[2].orderId == large]
    facts["partial"] = [sum(number(f.shares) for f in fills), number(fills[-1].cumQty)]
    facts["partial_fills"] = len({f.execId for f in fills})
    facts["resting"] = resting
    return next_id


def account(client: Client, name: str, facts: dict) -> None:
    client.reqExecutions(201, ExecutionFilter())
    client.found("execDetailsEnd", 201)
    executions = [a[2] for a in client.all("execDetails", 201)]
    live = {a[2].execId for a in client.all("execDetails") if a[0] == -1}
    facts["executions_agree"] = {e.execId for e in executions} == live and len(live) > 2
    commissions = {a[0].execId: a[0].commission for a in client.all("commissionReport")}
    facts["commissions_agree"] = set(commissions) == live and all(c > 0 for c in commissions.values())
    facts["execution_time"] = executions[0].time

    client.reqPositions()
    client.found("positionEnd")
    facts["positions"] = {a[1].symbol: number(a[2]) for a in client.all("position")}
    client.cancelPositions()
    client.reqAccountSummary(202, "All", "NetLiquidation,TotalCashValue,BuyingPower")
    client.found("accountSummaryEnd", 202)
    facts["summary"] = sorted({a[2] for a in client.all("accountSummary", 202)})
    client.cancelAccountSummary(202)
    client.reqAccountUpdates(True, name)
    client.found("accountDownloadEnd", name)
    facts["net_liquidation"] = [float(a[1]) > 0 for a in client.all("updateAccountValue", "NetLiquidation")][:1]
    facts["portfolio"] = {a[0].symbol: number(a[1]) for a in client.all("updatePortfolio")}
    client.reqAccountUpdates(False, name)

    con_id = facts["details"][0]
    client.reqPnL(203, name, "")
    client.found("pnl", 203)
    client.reqPnLSingle(204, name, "", con_id)
    single = client.found("pnlSingle", 204)
    facts["pnl_single_position"] = number(single[1])
    client.cancelPnL(203)
    client.cancelPnLSingle(204)

    client.reqCompletedOrders(False)
    client.found("completedOrdersEnd")
    facts["completed"] = sorted(a[2].status for a in client.all("completedOrder"))


def reconcile(port: int, client_id: int, before: Client, facts: dict) -> None:
    twin = connect(port, client_id)
    facts["duplicate"] = twin.until(lambda n, a: n == "error" and a[1] == 326, "error 326")[1][1]
    twin.until(lambda n, a: n == "connectionClosed", "the twin's end")
    before.reqCurrentTime()
    before.found("currentTime")
    reader = before.reader
    before.disconnect()
    reader.join(DEADLINE)  # its socket ends only with the recv() that the reader is in

    client = connect(port, client_id)
    first = client.found("nextValidId")[0]
    facts["next_id_grew"] = first > max(a[0] for a in before.all("orderStatus"))
    client.reqOpenOrders()
    client.found("openOrderEnd")
    facts["reopened"] = [[a[0], a[2].orderRef, a[3].status] for a in client.all("openOrder")]
    client.reqExecutions(301, ExecutionFilter())
    client.found("execDetailsEnd", 301)
    facts["same_executions"] = {a[2].execId for a in client.all("execDetails", 301)} == {
        a[2].execId for a in before.all("execDetails", 201)
    }
    client.reqPositions()
    client.found("positionEnd")
    facts["same_positions"] = {a[1].symbol: number(a[2]) for a in client.all("position")} == facts["positions"]
    client.reqGlobalCancel(*last_argument(EClient.reqGlobalCancel))
    client.status(facts["resting"], "Cancelled")
    facts["global_cancel"] = client.life(facts["resting"])[-2:]
    client.reqCurrentTime()
    client.found("currentTime")
    client.disconnect()


def main(port: int, client_id: int) -> None:
    problems: list = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: problems.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    facts: dict = {}
    client = connect(port, client_id)
    next_id = client.found("nextValidId")[0]
    facts["server_version"] = client.serverVersion()
    name = client.found("managedAccounts")[0].strip(",")
    facts["account"] = name
    bid, ask = market(client, facts)
    place(client, next_id, bid, ask, facts)
    account(client, name, facts)
    reconcile(port, client_id, client, facts)
    facts["problems"] = [one for one in problems if "unhandled" in one or "Traceback" in one or "exception" in one]
    facts["unexpected_errors"] = [
        [a[0], a[1], a[2]] for a in client.all("error") if a[1] not in (200, 202, 110, 2104, 2106, 2158, 399)
    ]
    say("FACTS " + json.dumps(facts))


if __name__ == "__main__":
    status = 1
    try:
        main(int(sys.argv[1]), int(sys.argv[2]))
        status = 0
    except SystemExit as end:
        sys.stderr.write(f"{end}\n")
    except Exception:
        traceback.print_exc()
    os._exit(status)  # the client's reader threads would keep a failed session alive
