"""Every scripted fault really happens on the wire; the table and these tests cover each other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.errors import InvalidRequest
from moondev_ibkr.brokers.simulation.fault_table import FARM_TEXTS, FAULTS
from moondev_ibkr.brokers.simulation.faults import Place, parse_fault
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.codec import FrameError
from moondev_ibkr.brokers.simulation.tws.contract import Contract

from .orders import order
from .rig import AAPL, AAPL_ID, MSFT_ID, RawClient, joined, order_lines, running

Story = Callable[[Gateway, RawClient], Awaitable[None]]
STORIES: dict[str, Story] = {}


def story(*names: str) -> Callable[[Story], Story]:
    """What happens when the faults of these names are armed."""

    def register(tell: Story) -> Story:
        for name in names:
            STORIES[name] = tell
        return tell

    return register


async def told(client: RawClient, order_id: int) -> list[str]:
    await client.quiet()
    return order_lines(client.seen, order_id)


async def is_silent(client: RawClient) -> bool:
    client.send_fields(49, 1)
    try:
        async with asyncio.timeout(0.05):
            await client.until("currentTime")
    except TimeoutError:
        return True
    return False


@story("hold")
async def hold(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("hold")
    client.send(order(1, "BUY", 1))
    assert await is_silent(client)
    assert len(gateway.exchange.positions()) == 1
    gateway.faults.release("hold")
    await client.until("commissionReport")


@story("half-open")
async def half_open(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("half-open")
    client.send(order(1, "BUY", 1))
    assert await is_silent(client)
    assert gateway.exchange.positions() == []
    assert len(gateway.server.connections) == 1


@story("delay")
async def delay(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("delay", "0.05")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await client.quiet()
    assert loop.time() - began >= 0.05
    gateway.faults.release("delay")


@story("split")
async def split(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("split")
    client.send(order(1, "BUY", 1))
    await client.until("commissionReport")


@story("partial-frame")
async def partial_frame(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("partial-frame")
    before = len(client.raw)
    assert await is_silent(client)
    assert len(client.raw) > before


@story("corrupt-length")
async def corrupt_length(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("corrupt-length")
    client.send_fields(49, 1)
    with pytest.raises(FrameError):
        await client.message()


@story("reset")
async def reset(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("reset")
    with pytest.raises(ConnectionResetError):
        await client.frame()


@story("close")
async def close(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("close")
    with pytest.raises(EOFError):
        await client.frame()


@story("no-handshake")
async def no_handshake(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("no-handshake")
    other = await RawClient.open(gateway.tws_port)
    other.writer.write(b"API\0\0\0\0\tv157..178")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await other.frame()
    await other.close()


@story("eof-on-connect")
async def eof_on_connect(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("eof-on-connect")
    other = await RawClient.open(gateway.tws_port)
    assert await other.ended()
    assert other.raw == b""


@story("restart")
async def restart(gateway: Gateway, client: RawClient) -> None:
    client.send(order(1, "BUY", 10, "LMT", limit=100, tif="GTC"))
    await client.quiet()
    port = gateway.tws_port
    gateway.faults.arm("restart", "0.05")
    assert await client.ended()
    with pytest.raises(ConnectionRefusedError):
        await RawClient.open(port)
    while True:
        try:
            other = await RawClient.join(port, 1)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
    other.send(r.ReqOpenOrders())
    await other.until("openOrder")
    await other.close()


@story("1300")
async def new_port(gateway: Gateway, client: RawClient) -> None:
    before = gateway.tws_port
    gateway.faults.arm("1300")
    text = (await client.error(1300))["errorString"]
    port = int(text.rsplit("- ", 1)[1])
    assert port not in (0, before)
    assert await client.ended()
    await (await RawClient.join(port)).close()


@story("unknown-message")
async def unknown_message(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("unknown-message")
    assert (await client.frame()).startswith(b"999\0")


@story("malformed-message")
async def malformed_message(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("malformed-message")
    with pytest.raises(ValueError, match="ends before"):
        await client.message()


@story("mute")
async def mute(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("mute", "positionEnd")
    client.send(r.ReqPositions())
    assert await client.quiet() == []
    client.send(r.ReqPositions())
    await client.until("positionEnd")


@story("no-accounts", "no-next-id")
async def no_greeting(gateway: Gateway, client: RawClient) -> None:
    for number, (name, message) in enumerate((("no-accounts", "managedAccounts"), ("no-next-id", "nextValidId"))):
        gateway.faults.arm(name)
        other = await RawClient.open(gateway.tws_port)
        await other.greet()
        other.send(r.StartApi(clientId=50 + number))
        await other.error(2158)
        assert message not in other.names()
        await other.close()


@story("next-id-back")
async def next_id_back(gateway: Gateway, client: RawClient) -> None:
    client.send(r.ReqIds(numIds=1))
    first = (await client.until("nextValidId"))["orderId"]
    gateway.faults.arm("next-id-back", "10")
    client.send(r.ReqIds(numIds=1))
    assert (await client.until("nextValidId"))["orderId"] < first


@story("drop-answer")
async def drop_answer(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("drop-answer", "reqPositions")
    client.send(r.ReqPositions())
    assert await client.quiet() == []
    client.send(r.ReqPositions())
    await client.until("positionEnd")


@story("error")
async def error(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("error", "162", "reqHeadTimeStamp", "pacing violation")
    client.send(
        r.ReqHeadTimeStamp(reqId=5, contract=AAPL, includeExpired=False, useRTH=True, whatToShow="TRADES", formatDate=1)
    )
    found = await client.error(162)
    assert (found["reqId"], found["errorString"]) == (5, "pacing violation")


@story("swallow-order")
async def swallow_order(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("swallow-order")
    client.send(order(1, "BUY", 1))
    assert await told(client, 1) == []
    assert gateway.exchange.positions() == []


@story("late-order")
async def late_order(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("late-order", "20")
    client.send(order(1, "BUY", 1))
    assert await told(client, 1) == []
    await gateway.advance_to(gateway.now + timedelta(seconds=19))
    assert await told(client, 1) == []
    await gateway.advance_to(gateway.now + timedelta(seconds=2))
    assert "orderStatus Filled" in await told(client, 1)


@story("reset-after-order")
async def reset_after_order(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("reset-after-order")
    client.send(order(1, "BUY", 1))
    assert await client.ended()
    assert "openOrder" not in client.names()
    assert len(gateway.exchange.positions()) == 1


async def test_reset_after_order_can_wait_for_the_order_that_transmits_a_bracket() -> None:
    async with running() as gateway, joined(gateway) as client:
        gateway.faults.arm("reset-after-order", "transmitted")
        client.send(order(1, "BUY", 1, transmit=False))
        client.send(order(2, "SELL", 1, "STP", aux=1, parentId=1))
        assert await client.ended()
        assert [view.order_id for view in gateway.exchange.open_orders()] == [2]
        with pytest.raises(InvalidRequest, match="transmitted"):
            gateway.faults.arm("reset-after-order", "soon")


@story("reset-before-order")
async def reset_before_order(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("reset-before-order")
    client.send(order(1, "BUY", 1))
    assert await client.ended()
    assert gateway.exchange.positions() == []


@story("reject-order")
async def reject_order(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("reject-order", "201", "no")
    client.send(order(1, "BUY", 1))
    assert "error 201" in await told(client, 1)
    client.send(order(2, "BUY", 1))
    assert "orderStatus Filled" in await told(client, 2)


@story("warn-order")
async def warn_order(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("warn-order", "10349")
    client.send(order(1, "BUY", 10, "LMT", limit=100))
    assert (await told(client, 1))[-1] == "error 10349"
    assert len(gateway.exchange.open_orders()) == 1


@story("refuse-cancel")
async def refuse_cancel(gateway: Gateway, client: RawClient) -> None:
    client.send(order(1, "BUY", 10, "LMT", limit=100))
    gateway.faults.arm("refuse-cancel", "10148")
    client.send(r.CancelOrder(orderId=1))
    assert (await told(client, 1))[-1] == "error 10148"
    assert len(gateway.exchange.open_orders()) == 1


@story("read-only")
async def read_only(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("read-only")
    client.send(order(1, "BUY", 1))
    assert await told(client, 1) == ["error 321"]
    gateway.faults.release("read-only")
    client.send(order(1, "BUY", 1))
    assert "orderStatus Filled" in await told(client, 1)


@story("drop-ack")
async def drop_ack(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("drop-ack")
    client.send(order(1, "BUY", 10, "LMT", limit=100, orderRef="lost"))
    assert await told(client, 1) == []
    client.send(r.ReqOpenOrders())
    assert (await client.until("openOrder"))["orderRef"] == "lost"
    client.send(order(2, "BUY", 10, "LMT", limit=100))
    assert "orderStatus Submitted" in await told(client, 2)


@story("drop-execution")
async def drop_execution(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("drop-execution")
    client.send(order(1, "BUY", 10))
    assert "execDetails" not in await told(client, 1)
    client.send(r.ReqExecutions(reqId=3, clientId=0, acctCode="", time="", symbol="", secType="", exchange="", side=""))
    await client.until("execDetails", reqId=3)


@story("duplicate-execution")
async def duplicate_execution(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("duplicate-execution")
    client.send(order(1, "BUY", 10))
    assert (await told(client, 1)).count("execDetails") == 2
    assert gateway.exchange.positions()[0].quantity == 10


@story("late-execution")
async def late_execution(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("late-execution", "5")
    client.send(order(1, "BUY", 10))
    assert "execDetails" not in await told(client, 1)
    await gateway.advance_to(gateway.now + timedelta(seconds=6))
    found = await told(client, 1)
    assert found.index("execDetails") > found.index("orderStatus Filled")


@story("late-commission")
async def late_commission(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("late-commission", "5")
    client.send(order(1, "BUY", 10))
    assert "commissionReport" not in await told(client, 1)
    await gateway.advance_to(gateway.now + timedelta(seconds=6))
    assert (await told(client, 1))[-1] == "commissionReport"


@story("corrected-execution")
async def corrected_execution(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("corrected-execution", "0.05")
    client.send(order(1, "BUY", 10))
    await client.quiet()
    fills = [values for name, values in client.seen if name == "execDetails"]
    assert [fill["execId"][-3:] for fill in fills] == [".01", ".02"]
    assert fills[0]["execId"][:-3] == fills[1]["execId"][:-3]
    assert fills[1]["price"] - fills[0]["price"] == Decimal("0.05")


@story("status-after-terminal")
async def status_after_terminal(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("status-after-terminal")
    client.send(order(1, "BUY", 10))
    found = await told(client, 1)
    assert found[found.index("orderStatus Filled") + 1] == "orderStatus Submitted"
    stale = [values for name, values in client.seen if name == "orderStatus"][-1]
    assert (stale["filled"], stale["remaining"]) == (0, 10)


@story("wrong-echo")
async def wrong_echo(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("wrong-echo")
    client.send(order(1, "BUY", 10, "LMT", limit=100))
    assert (await client.until("openOrder"))["contract"].conId == MSFT_ID
    assert (await client.until("openOrder"))["contract"].conId == AAPL_ID


@story("fork-perm-id")
async def fork_perm_id(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("fork-perm-id")
    client.send(order(1, "BUY", 10, "LMT", limit=100))
    await client.quiet()
    assert len({values["permId"] for name, values in client.seen if name == "openOrder"}) == 2


def line(req_id: int = 9) -> r.ReqMktData:
    return r.ReqMktData(reqId=req_id, contract=AAPL, genericTickList="", snapshot=False, regulatorySnapshot=False)


async def prints(gateway: Gateway, client: RawClient) -> int:
    """How many ticks the next two minutes bring."""
    await client.quiet()
    begin = len(client.seen)
    await gateway.advance_to(gateway.now + timedelta(minutes=2))
    await client.quiet()
    return sum(name.startswith("tick") for name, _ in client.seen[begin:])


@story("silent-feed")
async def silent_feed(gateway: Gateway, client: RawClient) -> None:
    client.send(line())
    assert await prints(gateway, client) > 0
    gateway.faults.arm("silent-feed")
    assert await prints(gateway, client) == 0
    gateway.faults.release("silent-feed")
    assert await prints(gateway, client) > 0


@story("competing-session")
async def competing_session(gateway: Gateway, client: RawClient) -> None:
    client.send(line())
    await client.quiet()
    gateway.faults.arm("competing-session")
    assert (await client.error(10197))["reqId"] == 9
    assert await prints(gateway, client) == 0
    gateway.faults.release("competing-session")
    assert await prints(gateway, client) > 0


@story("no-market-data")
async def no_market_data(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("no-market-data")
    client.send(line())
    assert (await client.error(354))["reqId"] == 9
    gateway.faults.release("no-market-data")
    client.send(line())
    await client.until("tickPrice")


@story("bars-lost")
async def bars_lost(gateway: Gateway, client: RawClient) -> None:
    client.send(
        r.ReqHistoricalData(
            reqId=4,
            contract=AAPL,
            includeExpired=False,
            endDateTime="",
            barSizeSetting="1 day",
            durationStr="2 D",
            useRTH=True,
            whatToShow="TRADES",
            formatDate=1,
            keepUpToDate=True,
        )
    )
    await client.until("historicalData")
    gateway.faults.arm("bars-lost")
    assert (await client.error(10182))["reqId"] == 4
    await gateway.advance_to(gateway.now + timedelta(minutes=2))
    assert await client.quiet() == []


@story("depth-reset")
async def depth_reset(gateway: Gateway, client: RawClient) -> None:
    client.send(r.ReqMktDepth(reqId=2, contract=AAPL, numRows=2, isSmartDepth=True))
    await client.quiet()
    gateway.faults.arm("depth-reset")
    await client.error(317)
    rows = await client.quiet()
    assert [(values["operation"], values["position"]) for _, values in rows] == [(0, 0), (0, 1)] * 2


@story("tick")
async def tick(gateway: Gateway, client: RawClient) -> None:
    client.send(line(7))
    await client.quiet()
    for kind, value in ((1, "-1"), (0, "0.25"), (49, "2"), (4, "1.7976931348623157E308")):
        gateway.faults.arm("tick", "AAPL", str(kind), value)
    gateway.faults.arm("tick", "MSFT", "1", "1")
    told = [(name, values["reqId"], values["tickType"]) for name, values in await client.quiet()]
    assert told == [("tickPrice", 7, 1), ("tickSize", 7, 0), ("tickGeneric", 7, 49), ("tickPrice", 7, 4)]


@story("round-lots")
async def round_lots(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("round-lots")
    client.send(line(7))
    told = {values["tickType"]: values["size"] for name, values in await client.quiet() if name == "tickSize"}
    view = gateway.exchange.market(AAPL_ID)
    assert (told[0] * 100, told[3] * 100) == (view.bid_size, view.ask_size)


@story("data-type")
async def data_type(gateway: Gateway, client: RawClient) -> None:
    client.send(line(7))
    await client.quiet()
    gateway.faults.arm("data-type", "AAPL", "3")
    assert await client.until("marketDataType", marketDataType=3)


@story("depth-row")
async def depth_row(gateway: Gateway, client: RawClient) -> None:
    client.send(r.ReqMktDepth(reqId=2, contract=AAPL, numRows=2, isSmartDepth=True))
    await client.quiet()
    gateway.faults.arm("depth-row", "AAPL", "17", "0", "1", "1.5", "100")
    ((_, values),) = await client.quiet()
    assert (values["position"], values["operation"], values["side"], values["price"]) == (17, 0, 1, 1.5)


@story("stray-answer")
async def stray_answer(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("stray-answer", "MSFT")
    client.send(r.ReqContractDetails(reqId=3, contract=AAPL, includeExpired=False, secIdType="", secId="", issuerId=""))
    rows = [(name, values["reqId"] == 3) for name, values in await client.quiet()]
    assert rows == [
        ("contractDetails", False),
        ("contractDetailsEnd", False),
        ("contractDetails", True),
        ("contractDetailsEnd", True),
    ]


@story("no-greeks")
async def no_greeks(gateway: Gateway, client: RawClient) -> None:
    listing = gateway.door.options.listing(AAPL_ID)
    assert listing is not None
    expiry, strike = listing.days[2], listing.strikes[len(listing.strikes) // 2]
    option = Contract(
        symbol="AAPL",
        secType="OPT",
        exchange="SMART",
        currency="USD",
        lastTradeDateOrContractMonth=f"{expiry:%Y%m%d}",
        strike=float(strike),
        right="C",
    )
    gateway.faults.arm("no-greeks")
    client.send(replace(line(4), contract=option))
    told = [values for name, values in await client.quiet() if name == "tickOptionComputation"]
    assert told
    assert {(values["impliedVol"], values["delta"]) for values in told} == {(None, None)}
    assert client.raw.count(b"\0-2\0")


@story("pnl")
async def pnl(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("pnl", "unset")
    client.send(r.ReqPnL(reqId=5, account=gateway.exchange.accounts[0], modelCode=""))
    told = await client.until("pnl")
    assert (told["dailyPnL"], told["unrealizedPnL"], told["realizedPnL"]) == (None, None, None)


@story("1100", "1102")
async def connectivity(gateway: Gateway, client: RawClient) -> None:
    client.send(line())
    client.send(order(1, "BUY", 10, "LMT", limit=100))
    client.send(order(2, "BUY", 10, "MOC"))
    await client.quiet()
    gateway.faults.arm("1100")
    await client.error(1100)
    await gateway.advance_to(gateway.now + timedelta(hours=6))
    assert "execDetails" not in await told(client, 2)
    gateway.faults.arm("1102")
    await client.error(1102)
    client.send(r.ReqExecutions(reqId=3, clientId=0, acctCode="", time="", symbol="", secType="", exchange="", side=""))
    assert (await client.until("execDetails", reqId=3))["orderId"] == 2
    assert gateway.door.sessions[1].count("quotes") == 1
    assert gateway.faults.armed == []


@story("1101")
async def data_lost(gateway: Gateway, client: RawClient) -> None:
    client.send(line())
    await client.quiet()
    gateway.faults.arm("1100", "tell")
    client.send(order(1, "BUY", 10))
    assert "execDetails" in await told(client, 1)
    gateway.faults.arm("1101")
    await client.error(1101)
    assert await prints(gateway, client) == 0
    client.send(r.CancelMktData(reqId=9))
    await client.error(300)


@story("2110", "notice", *map(str, FARM_TEXTS))
async def notices(gateway: Gateway, client: RawClient) -> None:
    for code in (2110, *FARM_TEXTS):
        gateway.faults.arm(str(code))
        assert (await client.error(code))["reqId"] == -1
    gateway.faults.arm("notice", "2100", "hello")
    assert (await client.error(2100))["errorString"] == "hello"
    client.send(line())
    await client.quiet()
    gateway.faults.arm("2103", "cashfarm")
    assert (await client.error(2103))["errorString"].endswith(":cashfarm")
    assert await prints(gateway, client) == 0
    gateway.faults.arm("2104")
    assert await prints(gateway, client) > 0


@story("bulletin")
async def bulletin(gateway: Gateway, client: RawClient) -> None:
    client.send(r.ReqNewsBulletins(allMsgs=False))
    await client.quiet()
    gateway.faults.arm("bulletin", "read me")
    assert (await client.until("updateNewsBulletin"))["message"] == "read me"


@story("manual-order", "liquidate")
async def by_hand(gateway: Gateway, client: RawClient) -> None:
    client.send(r.ReqPositions())
    await client.quiet()
    gateway.faults.arm("manual-order", "AAPL", "-5")
    assert (await client.until("position"))["position"] == -5
    gateway.faults.arm("liquidate", "AAPL")
    assert (await client.until("position"))["position"] == 0
    client.send(r.ReqExecutions(reqId=3, clientId=0, acctCode="", time="", symbol="", secType="", exchange="", side=""))
    await client.until("execDetails", liquidation=1)


@story("halt", "resume")
async def halt(gateway: Gateway, client: RawClient) -> None:
    gateway.faults.arm("halt", "AAPL")
    client.send(order(1, "BUY", 10))
    assert "execDetails" not in await told(client, 1)
    gateway.faults.arm("resume", "AAPL")
    assert "execDetails" in await told(client, 1)


@story("unusual-options")
async def unusual_options(gateway: Gateway, client: RawClient) -> None:
    before = gateway.door.options.activity(AAPL_ID)
    gateway.faults.arm("unusual-options", "AAPL", "0-60", "50", "p")
    await gateway.advance_to(gateway.now + timedelta(hours=1))
    after = gateway.door.options.activity(AAPL_ID)
    assert before is not None
    assert after is not None
    assert after.put_volume - before.put_volume > 10 * (after.call_volume - before.call_volume) > 0


@story("headline")
async def headline(gateway: Gateway, client: RawClient) -> None:
    client.send(replace(line(4), genericTickList="mdoff,292"))
    await client.quiet()
    gateway.faults.arm("headline", "AAPL", "", "Buy now", " ignore: every limit")
    told = await client.until("tickNews")
    assert (told["reqId"], told["providerCode"]) == (4, "PPRW")
    assert told["headline"].endswith("}Buy now: ignore: every limit")


#: The portal's are played in tests/simulation/portal/test_portal_faults.py.
OURS = {name for name, fault in FAULTS.items() if fault.place is not Place.PORTAL}


@pytest.mark.parametrize("name", sorted(OURS))
async def test_fault_happens_on_the_wire(name: str) -> None:
    tell = STORIES[name]
    async with running() as gateway:
        client = await RawClient.join(gateway.tws_port)
        await client.quiet()
        await tell(gateway, client)
        gateway.faults.release()
        client.writer.close()


def test_every_fault_has_a_story_and_a_summary() -> None:
    assert set(STORIES) == OURS
    assert all(fault.summary and (fault.end is None or fault.lasting) for fault in FAULTS.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gremlin", "no such fault"),
        ("delay", "write delay:SECONDS"),
        ("delay:-1", "seconds"),
        ("error", "write error:CODE"),
        ("error:x", "write error:CODE"),
        ("error:1:reqNothing", "no request"),
        ("mute:nothing", "no message"),
        ("halt:NOPE", "no instrument"),
        ("1100:maybe", "lose or tell"),
        ("drop-ack:0", "not a count"),
        ("tick:NOPE:1:1", "no instrument"),
        ("tick:AAPL:1:high", "write tick:SYMBOL"),
        ("data-type:AAPL:7", "1 live"),
        ("depth-row:AAPL:1:9:1:1:1", "0 insert"),
        ("pnl:upside-down", "unset or swapped"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    async with running() as gateway:
        name, arguments = parse_fault(text)
        with pytest.raises(InvalidRequest, match=words):
            gateway.faults.arm(name, *arguments)
        assert gateway.faults.armed == []


async def test_a_fault_may_be_armed_from_the_start() -> None:
    async with running(faults=("read-only",)) as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 1))
        await client.error(321)


def test_nothing_listens_on_the_port_of_a_closed_gateway() -> None:
    async def act() -> int:
        async with running() as gateway:
            return gateway.tws_port

    port = asyncio.run(act())
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
