"""A whole session with ib_insync 0.9.86; run as `ibapi_session.py` is. It needs an environment without ib_async."""

from __future__ import annotations

import json
import logging
import sys
import time

from ib_insync import IB, LimitOrder, MarketOrder, Stock, StopOrder

DEADLINE = 10.0
AAPL = Stock("AAPL", "SMART", "USD")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def advance(seconds: float) -> None:
    say(f"ADVANCE {seconds}")
    sys.stdin.readline()


def until(ib: IB, test, what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not test():
        if time.monotonic() > end:
            raise SystemExit(f"no {what} came within {DEADLINE:g} s; {ib.trades()[-2:]}")
        ib.sleep(0.01)


def life(trade) -> list:
    return [entry.status + (f" {entry.errorCode}" if entry.errorCode else "") for entry in trade.log]


def market(ib: IB, facts: dict) -> tuple:
    (details,) = ib.reqContractDetails(AAPL)
    facts["details"] = [details.contract.conId, details.contract.symbol, details.minTick, details.longName]
    facts["time_zone"] = details.timeZoneId
    errors: list = []
    ib.errorEvent += lambda *one: errors.append(one)
    assert ib.reqContractDetails(Stock("NOSUCH", "SMART", "USD")) == []
    facts["unknown_contract"] = errors[-1][1]
    ib.qualifyContracts(AAPL)

    (ticker,) = ib.reqTickers(AAPL)
    facts["snapshot"] = {"bid": ticker.bid, "ask": ticker.ask}
    ticker = ib.reqMktData(AAPL, "233")
    until(ib, lambda: ticker.hasBidAsk(), "quotes")
    updates: list = []
    ticker.updateEvent += lambda one: updates.extend(one.ticks)
    advance(300)
    until(ib, lambda: len(updates) > 5 and ticker.rtVolume > 0, "stream")
    ib.cancelMktData(AAPL)

    bars = ib.reqHistoricalData(AAPL, "", "10 D", "1 day", "TRADES", True)
    facts["bars"] = len(bars)
    facts["bar"] = [bars[-1].date.strftime("%Y%m%d"), bars[-1].high >= bars[-1].low > 0, bars[-1].volume > 0]
    live = ib.reqHistoricalData(AAPL, "", "1 D", "1 min", "TRADES", True, keepUpToDate=True)
    count = len(live)
    advance(120)
    until(ib, lambda: len(live) >= count + 1, "live bars")
    facts["live_bar_dates"] = len(live) - count + 1
    ib.cancelHistoricalData(live)
    return ticker.bid, ticker.ask


def place(ib: IB, bid: float, ask: float, facts: dict) -> None:
    def at(trade, status: str):
        until(ib, lambda: trade.orderStatus.status == status, f"{status} of {trade.order.orderId}")

    rest = round(bid * 0.9, 2)
    resting = ib.placeOrder(AAPL, LimitOrder("BUY", 10, rest, tif="GTC", orderRef="resting"))
    at(resting, "Submitted")
    resting.order.lmtPrice = round(rest + 1, 2)
    ib.placeOrder(AAPL, resting.order)
    again = ib.reqAllOpenOrders()
    facts["modified"] = {trade.order.lmtPrice for trade in again} == {round(rest + 1, 2)}

    cancelled = ib.placeOrder(AAPL, LimitOrder("BUY", 10, rest))
    at(cancelled, "Submitted")
    ib.cancelOrder(cancelled.order)
    at(cancelled, "Cancelled")
    facts["cancel_states"] = life(cancelled)
    bought = ib.placeOrder(AAPL, MarketOrder("BUY", 100, orderRef="entry"))
    at(bought, "Filled")
    until(ib, lambda: bought.fills[0].commissionReport.execId, "commission")
    facts["market_states"] = life(bought)
    stop = ib.placeOrder(AAPL, StopOrder("SELL", 10, rest))
    at(stop, "PreSubmitted")
    ib.cancelOrder(stop.order)
    at(stop, "Cancelled")

    root, profit, loss = [
        ib.placeOrder(AAPL, one) for one in ib.bracketOrder("BUY", 10, round(ask + 2, 2), round(ask * 1.2, 2), rest)
    ]
    at(root, "Filled")
    at(profit, "Submitted")
    at(loss, "PreSubmitted")
    ib.cancelOrder(profit.order)
    ib.cancelOrder(loss.order)
    at(profit, "Cancelled")
    at(loss, "Cancelled")
    state = ib.whatIfOrder(AAPL, LimitOrder("BUY", 100, ask))
    facts["what_if"] = [float(state.initMarginChange) > 0, state.commission, []]
    errors: list = []
    ib.errorEvent += lambda *one: errors.append(one[:2])
    wrong = ib.placeOrder(AAPL, LimitOrder("BUY", 1, round(rest + 0.001, 3)))
    until(ib, lambda: errors, "error 110")
    facts["wrong_tick"] = dict(errors).get(wrong.order.orderId)

    large = ib.placeOrder(AAPL, LimitOrder("BUY", 2000, round(ask + 1, 2)))
    at(large, "Submitted")
    for _ in range(60):
        ib.sleep(0.01)
        if large.orderStatus.status == "Filled":
            break
        advance(30)
    at(large, "Filled")
    facts["partial"] = [large.filled(), large.fills[-1].execution.cumQty]
    facts["partial_fills"] = len(large.fills)
    until(ib, lambda: all(fill.commissionReport.execId for fill in large.fills), "commissions")


def account(ib: IB, name: str, facts: dict) -> None:
    live = {fill.execution.execId for fill in ib.fills()}
    asked = ib.reqExecutions()
    facts["executions_agree"] = {fill.execution.execId for fill in asked} == live and len(live) > 2
    # The fills that it answers with carry empty reports; those that it keeps are filled in.
    facts["commissions_agree"] = all(fill.commissionReport.commission > 0 for fill in ib.fills())
    until(ib, lambda: ib.portfolio() and ib.portfolio()[0].position == ib.positions()[0].position, "the portfolio")
    facts["positions"] = {one.contract.symbol: one.position for one in ib.positions()}
    facts["portfolio"] = {one.contract.symbol: one.position for one in ib.portfolio()}
    wanted = {"NetLiquidation", "TotalCashValue", "BuyingPower"}
    facts["summary"] = sorted({value.tag for value in ib.accountSummary()} & wanted)
    facts["net_liquidation"] = [float(v.value) > 0 for v in ib.accountValues() if v.tag == "NetLiquidation"][:1]
    pnl = ib.reqPnL(name)
    single = ib.reqPnLSingle(name, "", AAPL.conId)
    until(ib, lambda: pnl.dailyPnL == pnl.dailyPnL and single.position, "P&L")
    facts["pnl_single_position"] = float(single.position)
    facts["completed"] = sorted(trade.orderStatus.status for trade in ib.reqCompletedOrders(False))


def reconcile(port: int, client_id: int, before: IB, facts: dict) -> None:
    twin = IB()
    refused: list = []
    twin.errorEvent += lambda *one: refused.append(one[1])
    try:
        twin.connect("127.0.0.1", port, client_id, timeout=2)
    except Exception:  # what it raises differs from version to version; the code is the fact
        twin.disconnect()
    facts["duplicate"] = 326 if 326 in refused else refused
    positions = {one.contract.conId: one.position for one in before.positions()}
    executions = {fill.execution.execId for fill in before.fills()}
    highest = max(trade.order.orderId for trade in before.trades())
    before.disconnect()
    before.sleep(0.2)

    ib = IB()
    ib.connect("127.0.0.1", port, client_id, timeout=4)
    facts["next_id_grew"] = ib.client.getReqId() > highest
    facts["reopened"] = [[t.order.orderId, t.order.orderRef, t.orderStatus.status] for t in ib.openTrades()]
    facts["same_executions"] = {fill.execution.execId for fill in ib.fills()} == executions
    facts["same_positions"] = {one.contract.conId: one.position for one in ib.positions()} == positions
    (resting,) = ib.openTrades()
    ib.reqGlobalCancel()
    until(ib, lambda: resting.orderStatus.status == "Cancelled", "the global cancel")
    ib.disconnect()


def main(port: int, client_id: int) -> None:
    problems: list = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: problems.append(record.getMessage())
    logging.getLogger("ib_insync").addHandler(handler)
    facts: dict = {}
    ib = IB()
    began = time.monotonic()
    ib.connect("127.0.0.1", port, client_id, timeout=4)
    facts["connected_in_time"] = time.monotonic() - began < 4
    facts["server_version"] = ib.client.serverVersion()
    (name,) = ib.managedAccounts()
    facts["account"] = name
    bid, ask = market(ib, facts)
    place(ib, bid, ask, facts)
    account(ib, name, facts)
    reconcile(port, client_id, ib, facts)
    facts["problems"] = [one for one in problems if "Error handling fields" in one or "timed out" in one]
    say("FACTS " + json.dumps(facts))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
