// A whole session with @stoqey/ib; run as `ibapi_session.py` is, with NODE_PATH at the folder that holds @stoqey.
"use strict";

const readline = require("readline");
const { IBApi, EventName, OrderAction, OrderType, SecType } = require("@stoqey/ib");

const DEADLINE = 10_000;
const [port, clientId] = process.argv.slice(2).map(Number);
const AAPL = { symbol: "AAPL", secType: SecType.STK, exchange: "SMART", currency: "USD" };
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function advance(seconds) {
  console.log(`ADVANCE ${seconds}`);
  await answers.next();
}

class Client {
  constructor() {
    this.seen = [];
    this.waiting = new Set();
    this.ib = new IBApi({ host: "127.0.0.1", port });
    for (const name of Object.values(EventName)) {
      if (["all", "received", "sent", "result"].includes(name)) continue;
      this.ib.on(name, (...args) => {
        this.seen.push([name, args]);
        for (const check of [...this.waiting]) check();
      });
    }
  }

  until(test, what) {
    return new Promise((resolve, reject) => {
      const check = () => {
        const found = this.seen.find(([name, args]) => test(name, args));
        if (!found) return false;
        clearTimeout(timer);
        this.waiting.delete(check);
        resolve(found[1]);
        return true;
      };
      const timer = setTimeout(() => {
        const tail = this.seen.slice(-8).map((one) => JSON.stringify(one)).join("\n");
        reject(new Error(`no ${what} came within ${DEADLINE} ms; the last were\n${tail}`));
      }, DEADLINE);
      this.waiting.add(check);
      check();
    });
  }

  found(name, ...start) {
    return this.until((n, a) => n === name && start.every((v, i) => a[i] === v), `${name}(${start})`);
  }

  errorOf(request, code) {
    return this.until((n, a) => n === "error" && a[1] === code && a[2] === request, `error ${code} on ${request}`);
  }

  status(order, status) {
    return this.found("orderStatus", order, status);
  }

  all(name, ...start) {
    return this.seen.filter(([n, a]) => n === name && start.every((v, i) => a[i] === v)).map(([, a]) => a);
  }

  life(order) {
    const words = [];
    const executions = new Set();
    for (const [name, a] of this.seen) {
      if (name === "orderStatus" && a[0] === order) words.push(`orderStatus ${a[1]}`);
      else if (name === "openOrder" && a[0] === order) words.push("openOrder");
      else if (name === "execDetails" && a[0] === -1 && a[2].orderId === order) {
        words.push("execDetails");
        executions.add(a[2].execId);
      } else if (name === "commissionReport" && executions.has(a[0].execId)) words.push("commissionReport");
      else if (name === "error" && a[2] === order) words.push(`error ${a[1]}`);
    }
    return words;
  }
}

const cents = (price) => Math.round(price * 100) / 100;

async function market(client, facts) {
  const ib = client.ib;
  ib.reqContractDetails(101, AAPL);
  const [, details] = await client.found("contractDetails", 101);
  await client.found("contractDetailsEnd", 101);
  facts.details = [details.contract.conId, details.contract.symbol, details.minTick, details.longName];
  facts.time_zone = details.timeZoneId;
  ib.reqContractDetails(102, { ...AAPL, symbol: "NOSUCH" });
  facts.unknown_contract = (await client.errorOf(102, 200))[1];

  ib.reqMktData(103, AAPL, "", true, false);
  await client.found("tickSnapshotEnd", 103);
  const prices = Object.fromEntries(client.all("tickPrice", 103).map((a) => [a[1], a[2]]));
  facts.snapshot = { bid: prices[1], ask: prices[2] };
  ib.reqMktData(104, AAPL, "233", false, false);
  await client.found("tickPrice", 104, 2);
  const before = client.all("tickPrice", 104).length;
  await advance(300);
  await client.until(() => client.all("tickPrice", 104).length > before + 5, "stream");
  ib.cancelMktData(104);

  ib.reqHistoricalData(105, AAPL, "", "10 D", "1 day", "TRADES", 1, 1, false);
  await client.until((n, a) => n === "historicalData" && a[0] === 105 && a[1].startsWith("finished"), "bars");
  const bars = client.all("historicalData", 105).slice(0, -1);
  const [, date, , high, low, , volume] = bars[bars.length - 1];
  facts.bars = bars.length;
  facts.bar = [date, high >= low && low > 0, volume > 0];
  ib.reqHistoricalData(106, AAPL, "", "1 D", "1 min", "TRADES", 1, 2, true);
  await client.until((n, a) => n === "historicalData" && a[0] === 106 && a[1].startsWith("finished"), "live history");
  await advance(120);
  await client.found("historicalDataUpdate", 106);
  facts.live_bar_dates = new Set(client.all("historicalDataUpdate", 106).map((a) => a[1])).size;
  ib.cancelHistoricalData(106);
  return [prices[1], prices[2]];
}

async function place(client, nextId, bid, ask, facts) {
  const ib = client.ib;
  const rest = cents(bid * 0.9);
  const order = (action, totalQuantity, orderType, rest) => ({ action, totalQuantity, orderType, transmit: true, ...rest });
  const add = (one) => {
    ib.placeOrder(nextId, AAPL, one);
    return nextId++;
  };
  const { BUY, SELL } = OrderAction;

  const limit = order(BUY, 10, OrderType.LMT, { lmtPrice: rest, tif: "GTC", orderRef: "resting" });
  const resting = add(limit);
  await client.status(resting, "Submitted");
  const higher = cents(rest + 1);
  ib.placeOrder(resting, AAPL, { ...limit, lmtPrice: higher });
  await client.until((n, a) => n === "openOrder" && a[0] === resting && a[2].lmtPrice === higher, "the changed price");
  facts.modified = true;

  const cancelled = add(order(BUY, 10, OrderType.LMT, { lmtPrice: rest }));
  await client.status(cancelled, "Submitted");
  ib.cancelOrder(cancelled);
  await client.errorOf(cancelled, 202);
  facts.cancel = client.life(cancelled);

  const bought = add(order(BUY, 100, OrderType.MKT, { orderRef: "entry" }));
  await client.until(() => client.life(bought).includes("commissionReport"), "commission");
  facts.market = client.life(bought);
  const stop = add(order(SELL, 10, OrderType.STP, { auxPrice: rest }));
  await client.status(stop, "PreSubmitted");
  ib.cancelOrder(stop);
  await client.errorOf(stop, 202);
  facts.stop = client.life(stop);

  const root = add(order(BUY, 10, OrderType.LMT, { lmtPrice: cents(ask + 2), transmit: false }));
  const profit = add(order(SELL, 10, OrderType.LMT, { lmtPrice: cents(ask * 1.2), parentId: root, transmit: false }));
  const loss = add(order(SELL, 10, OrderType.STP, { auxPrice: rest, parentId: root }));
  await client.status(root, "Filled");
  await client.status(profit, "Submitted");
  await client.status(loss, "PreSubmitted");
  ib.cancelOrder(profit);
  ib.cancelOrder(loss);
  await client.errorOf(profit, 202);
  await client.errorOf(loss, 202);
  facts.bracket = { parent: client.life(root), profit: client.life(profit), loss: client.life(loss) };

  const wish = add(order(BUY, 100, OrderType.LMT, { lmtPrice: ask, whatIf: true }));
  const [, , , state] = await client.found("openOrder", wish);
  facts.what_if = [Number(state.initMarginChange) > 0, state.commission, client.all("orderStatus", wish)];
  const wrong = add(order(BUY, 1, OrderType.LMT, { lmtPrice: rest + 0.001 }));
  facts.wrong_tick = (await client.errorOf(wrong, 110))[1];

  const large = add(order(BUY, 2000, OrderType.LMT, { lmtPrice: cents(ask + 1) }));
  await client.status(large, "Submitted");
  for (let i = 0; i < 60 && !client.all("orderStatus", large, "Filled").length; i++) await advance(30);
  await client.status(large, "Filled");
  const fills = client.all("execDetails", -1).filter((a) => a[2].orderId === large);
  facts.partial = [fills.reduce((sum, a) => sum + a[2].shares, 0), fills[fills.length - 1][2].cumQty];
  facts.partial_fills = fills.length;
  facts.resting = resting;
}

async function account(client, name, facts) {
  const ib = client.ib;
  ib.reqExecutions(201, {});
  await client.found("execDetailsEnd", 201);
  const same = (one, other) => one.length > 2 && JSON.stringify([...one].sort()) === JSON.stringify([...other].sort());
  const live = client.all("execDetails", -1).map((a) => a[2].execId);
  facts.executions_agree = same(client.all("execDetails", 201).map((a) => a[2].execId), live);
  const reports = client.all("commissionReport").map((a) => a[0]);
  facts.commissions_agree =
    same([...new Set(reports.map((r) => r.execId))], live) && reports.every((r) => r.commission > 0);
  facts.execution_time = client.all("execDetails", 201)[0][2].time;

  ib.reqPositions();
  await client.found("positionEnd");
  facts.positions = Object.fromEntries(client.all("position").map((a) => [a[1].symbol, a[2]]));
  ib.cancelPositions();
  ib.reqAccountSummary(202, "All", "NetLiquidation,TotalCashValue,BuyingPower");
  await client.found("accountSummaryEnd", 202);
  facts.summary = [...new Set(client.all("accountSummary", 202).map((a) => a[2]))].sort();
  ib.cancelAccountSummary(202);
  ib.reqAccountUpdates(true, name);
  await client.found("accountDownloadEnd", name);
  facts.net_liquidation = client.all("updateAccountValue", "NetLiquidation").slice(0, 1).map((a) => Number(a[1]) > 0);
  facts.portfolio = Object.fromEntries(client.all("updatePortfolio").map((a) => [a[0].symbol, a[1]]));
  ib.reqAccountUpdates(false, name);
  ib.reqPnL(203, name, "");
  await client.found("pnl", 203);
  ib.reqPnLSingle(204, name, "", facts.details[0]);
  facts.pnl_single_position = (await client.found("pnlSingle", 204))[1];
  ib.cancelPnL(203);
  ib.cancelPnLSingle(204);
  ib.reqCompletedOrders(false);
  await client.found("completedOrdersEnd");
  facts.completed = client.all("completedOrder").map((a) => a[2].status).sort();
}

async function reconcile(before, facts) {
  const twin = new Client();
  twin.ib.connect(clientId);
  // It takes every error on no request for information.
  facts.duplicate = (await twin.until((n, a) => n === "info" && a[1] === 326, "error 326"))[1];
  await twin.until((n) => n === "disconnected", "the twin's end");
  twin.ib.disconnect();
  before.ib.disconnect();
  await before.until((n) => n === "disconnected", "disconnected");

  const client = new Client();
  client.ib.connect(clientId);
  const [first] = await client.found("nextValidId");
  facts.next_id_grew = first > Math.max(...before.all("orderStatus").map((a) => a[0]));
  client.ib.reqOpenOrders();
  await client.found("openOrderEnd");
  facts.reopened = client.all("openOrder").map((a) => [a[0], a[2].orderRef, a[3].status]);
  client.ib.reqExecutions(301, {});
  await client.found("execDetailsEnd", 301);
  const ids = (one, request) => JSON.stringify(one.all("execDetails", request).map((a) => a[2].execId).sort());
  facts.same_executions = ids(client, 301) === ids(before, 201);
  client.ib.reqPositions();
  await client.found("positionEnd");
  const positions = Object.fromEntries(client.all("position").map((a) => [a[1].symbol, a[2]]));
  facts.same_positions = JSON.stringify(positions) === JSON.stringify(facts.positions);
  client.ib.reqGlobalCancel();
  await client.status(facts.resting, "Cancelled");
  await client.errorOf(facts.resting, 202);
  facts.global_cancel = client.life(facts.resting).slice(-2);
  client.ib.disconnect();
}

async function main() {
  const facts = {};
  const client = new Client();
  client.ib.connect(clientId);
  const [nextId] = await client.found("nextValidId");
  facts.server_version = client.ib.serverVersion;
  const [accounts] = await client.found("managedAccounts");
  facts.account = accounts;
  const [bid, ask] = await market(client, facts);
  await place(client, nextId, bid, ask, facts);
  await account(client, accounts, facts);
  await reconcile(client, facts);
  const expected = [200, 202, 110, 162];
  const errors = client.all("error").map((a) => [a[2], a[1], a[0] && a[0].message]);
  facts.problems = errors.filter((one) => !expected.includes(one[1]));
  console.log("FACTS " + JSON.stringify(facts));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error.message);
    process.exit(1);
  },
);
