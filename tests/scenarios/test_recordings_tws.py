"""What a live paper IB Gateway sent, replayed against ours: order by order, its messages are a subsequence of what we
send, and we add only what TWS itself repeats."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.codec import FrameReader, unpack
from moondev_ibkr.brokers.simulation.tws.contract import Contract
from moondev_ibkr.brokers.simulation.tws.orders_in import PlaceOrderRequest

from ..simulation.tws.rig import START, Message, RawClient, order_lines, running

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "recordings" / "tws"
FILES = sorted(path for path in FOLDER.glob("*.txt")) if FOLDER.is_dir() else []

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the recordings are not part of the repository")

#: What we may add beside repeats of what the recording shows.
EXTRA = frozenset({"openOrder", "orderStatus PreSubmitted", "orderStatus PendingCancel", "commissionReport"})


@dataclass
class Leg:
    """One connection of a recording: its steps in order."""

    steps: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)


def read(path: Path) -> list[Leg]:
    legs: list[Leg] = []
    for line in path.read_text().splitlines():
        if not line or line.startswith(("#", "sleep")):
            continue
        if line.startswith("handshake"):
            legs.append(Leg())
            continue
        if line == "disconnect":
            continue
        side, name, content = line.split(" ", 2)
        if side == "raw":
            legs[-1].steps.append(("raw", name, {"frame": base64.b64decode(content)}))
        else:
            legs[-1].steps.append((side, name, json.loads(content)))
    return legs


def prices_of(legs: list[Leg]) -> dict[str, float]:
    """Quotes near what the recording traded at."""
    prices = {"AAPL": 265.0, "MSFT": 408.0, "MES": 7039.5}
    for leg in legs:
        for _, name, content in leg.steps:
            if name == "execution_detail":
                prices[content["symbol"]] = float(content["price"])
    return prices


def contract_of(content: dict[str, Any]) -> Contract:
    return Contract(
        conId=int(content.get("con_id", 0)),
        symbol=content["symbol"],
        secType=content["sec_type"],
        exchange=content["exchange"],
        currency=content["currency"],
        primaryExchange=content.get("primary_exchange", ""),
        localSymbol=content.get("local_symbol", ""),
    )


def place(content: dict[str, Any]) -> PlaceOrderRequest:
    price = content.get("lmt_price")
    return PlaceOrderRequest(
        orderId=int(content["order_id"]),
        contract=contract_of(content["contract"]),
        action=content["action"],
        totalQuantity=Decimal(content["total_quantity"]),
        orderType=content["order_type"],
        lmtPrice=Decimal(price) if price else None,
        tif=content["tif"],
        account="DU0000001",
        transmit=content.get("transmit", True),
    )


def history(content: dict[str, Any]) -> r.ReqHistoricalData:
    return r.ReqHistoricalData(
        reqId=9001,
        contract=contract_of(content["contract"]),
        includeExpired=False,
        endDateTime="",
        barSizeSetting=content["bar_size"],
        durationStr=content["duration"],
        useRTH=content["use_rth"],
        whatToShow=content["what_to_show"],
        formatDate=1,
        keepUpToDate=False,
    )


#: client step -> the request that it is.
STEPS: dict[str, Any] = {
    "place_order": place,
    "cancel_order": lambda content: r.CancelOrder(orderId=int(content["order_id"])),
    "req_open_orders": lambda content: r.ReqAllOpenOrders() if content["scope"] == "all" else r.ReqOpenOrders(),
    "req_completed_orders": lambda content: r.ReqCompletedOrders(apiOnly=content["api_only"]),
    "req_current_time": lambda content: r.ReqCurrentTime(),
    "req_ids": lambda content: r.ReqIds(numIds=1),
    "req_account_summary": lambda content: r.ReqAccountSummary(
        reqId=9001, groupName=content["account"], tags=",".join(content["tags"])
    ),
    "cancel_account_summary": lambda content: r.CancelAccountSummary(reqId=9001),
    "req_contract_details": lambda content: r.ReqContractDetails(
        reqId=9001, contract=contract_of(content["contract"]), includeExpired=False, secIdType="", secId=""
    ),
    "req_historical_bars": history,
    "req_realtime_bars": lambda content: r.ReqRealTimeBars(
        reqId=9001,
        contract=contract_of(content["contract"]),
        barSize=5,
        whatToShow=content["what_to_show"],
        useRTH=content["use_rth"],
    ),
}

#: recorded message -> ours
NAMES = {
    "managed_accounts": "managedAccounts",
    "next_valid_id": "nextValidId",
    "open_order": "openOrder",
    "open_order_end": "openOrderEnd",
    "order_status": "orderStatus",
    "execution_detail": "execDetails",
    "commission_report": "commissionReport",
    "completed_order": "completedOrder",
    "completed_order_end": "completedOrdersEnd",
    "current_time": "currentTime",
    "account_summary": "accountSummary",
    "account_summary_end": "accountSummaryEnd",
    "contract_details": "contractDetails",
    "contract_details_end": "contractDetailsEnd",
    "historical_schedule": "historicalSchedule",
}


def recorded_orders(legs: list[Leg]) -> dict[int, list[str]]:
    """Order by order: what the real gateway sent, as `order_lines` words it."""
    lines: dict[int, list[str]] = defaultdict(list)
    owner: dict[str, int] = {}
    for leg in legs:
        for side, name, content in leg.steps:
            if side != "server":
                continue
            if name == "open_order":
                lines[content["order_id"]].append("openOrder")
            elif name == "order_status":
                lines[content["order_id"]].append(f"orderStatus {content['status']}")
            elif name == "execution_detail":
                owner[content["exec_id"]] = content["order_id"]
                lines[content["order_id"]].append("execDetails")
            elif name == "commission_report":
                lines[owner[content["exec_id"]]].append("commissionReport")
            elif name == "api_error" and isinstance(content["req_id"], int) and content["req_id"] > 0:
                lines[content["req_id"]].append(f"error {content['code']}")
    return lines


def subsequence_and_rest(wanted: list[str], ours: list[str]) -> tuple[bool, list[str]]:
    """Whether `wanted` is a subsequence of `ours`, and what ours has beside it."""
    rest, at = [], 0
    for line in ours:
        if at < len(wanted) and line == wanted[at]:
            at += 1
        else:
            rest.append(line)
    return at == len(wanted), rest


def other_messages(leg: Leg) -> list[str]:
    """What one connection was sent besides order events: greetings, notices, answers to queries."""
    names = []
    for side, name, content in leg.steps:
        if side == "raw":
            payload = FrameReader().feed(content["frame"])[0]
            names.append({"101": "completedOrder", "102": "completedOrdersEnd"}[unpack(payload)[0]])
        elif side != "server" or name in ("open_order", "order_status", "execution_detail", "commission_report"):
            continue
        elif name == "api_error":
            if not (isinstance(content["req_id"], int) and content["req_id"] > 0):
                names.append(f"error {content['code']}")
        elif name in ("historical_bar", "historical_bars_end"):
            if not names or names[-1] != "historicalData":
                names.append("historicalData")
        else:
            names.append(NAMES[name])
    return names


def ours_besides(messages: list[Message]) -> list[str]:
    names = []
    for name, values in messages:
        if name in ("openOrder", "orderStatus", "execDetails", "commissionReport"):
            continue
        names.append(f"error {values['errorCode']}" if name == "error" else name)
    return names


@dataclass
class Replay:
    """What we sent: per connection, and all of it."""

    legs: list[list[Message]] = field(default_factory=list)

    @property
    def messages(self) -> list[Message]:
        return [message for leg in self.legs for message in leg]


#: Recordings that show an account without a subscription, a farm that sleeps, or a second history farm.
SPECIAL: dict[str, dict[str, Any]] = {
    "realtime_bars_api_error": {
        "not_subscribed": frozenset({"AAPL"}),
        "farms": (
            (2104, "Market data farm connection is OK:usfarm"),
            (2107, "HMDS data farm connection is inactive but should be available upon demand.ushmds"),
            (2158, "Sec-def data farm connection is OK:secdefnj"),
        ),
    },
    "historical_schedule_aapl": {
        "farms": (
            (2104, "Market data farm connection is OK:usfarm"),
            (2106, "HMDS data farm connection is OK:fundfarm"),
            (2106, "HMDS data farm connection is OK:ushmds"),
            (2158, "Sec-def data farm connection is OK:secdefnj"),
        ),
    },
}
#: The recording's moment where it matters for the answer.
MOMENTS = {"historical_schedule_aapl": datetime(2026, 4, 10, 19, 59, tzinfo=UTC)}
#: Client ids of the two connections where the recording says so.
CLIENT_IDS = {"api_client_id0_order_observation_aapl": (1, 0), "place_order_fill_native_execution_time": (94,)}


async def drive(path: Path, legs: list[Leg]) -> Replay:
    replay = Replay()
    tws = SPECIAL.get(path.stem, {})
    async with running(prices_of(legs), start=MOMENTS.get(path.stem, START), tws=tws) as gateway:
        for number, leg in enumerate(legs):
            ids = CLIENT_IDS.get(path.stem, ())
            client = await RawClient.join(gateway.tws_port, ids[number] if number < len(ids) else 1)
            await _prepare(client, leg)
            steps = leg.steps
            for at, (side, name, content) in enumerate(steps):
                if side != "client":
                    continue
                client.send(STEPS[name](content))
                # A client that sends two orders in a row does not wait for the first one's answer.
                if not (at + 1 < len(steps) and steps[at + 1][0] == "client"):
                    await client.quiet()
            replay.legs.append([message for message in client.seen if message[0] != "currentTime" or _asked_time(leg)])
            await client.close()
    return replay


async def _prepare(client: RawClient, leg: Leg) -> None:
    """A recording that only shows completed orders of before: make one to show."""
    if any(side == "raw" for side, _, _ in leg.steps):
        client.send(
            place(
                {
                    "order_id": 1,
                    "contract": {"symbol": "AAPL", "sec_type": "STK", "exchange": "SMART", "currency": "USD"},
                    "action": "SELL",
                    "total_quantity": "1",
                    "order_type": "LMT",
                    "lmt_price": "500",
                    "tif": "GTC",
                }
            )
        )
        client.send(r.CancelOrder(orderId=1))
    await client.quiet()


def _asked_time(leg: Leg) -> bool:
    return any(name == "req_current_time" for _, name, _ in leg.steps)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_recording_is_a_subsequence_of_what_we_send(path: Path) -> None:
    legs = read(path)
    replay = await drive(path, legs)

    for order_id, wanted in recorded_orders(legs).items():
        ours = order_lines(replay.messages, order_id)
        complete, rest = subsequence_and_rest(wanted, ours)
        assert complete, f"order {order_id}: recorded {wanted}, ours {ours}"
        repeats = {line for line in wanted if line.startswith("orderStatus")}
        assert set(rest) <= EXTRA | repeats, f"order {order_id}: we add {rest}"

    for leg, messages in zip(legs, replay.legs, strict=True):
        complete, _ = subsequence_and_rest(other_messages(leg), ours_besides(messages))
        assert complete, f"recorded {other_messages(leg)}, ours {ours_besides(messages)}"


def test_every_recording_is_read() -> None:
    """With the folder there, an empty one would make every promise above hollow."""
    assert len(FILES) >= 17
    assert sum(len(leg.steps) for path in FILES for leg in read(path)) > 100


async def test_facts_of_the_recordings_hold() -> None:
    """Values that a client can check: contract numbers, time stamps, texts."""
    async with running() as gateway:
        client = await RawClient.join(gateway.tws_port, 94)
        client.send(
            STEPS["req_contract_details"](
                {"contract": {"symbol": "AAPL", "sec_type": "STK", "exchange": "SMART", "currency": "USD"}}
            )
        )
        details = await client.until("contractDetails")
        recorded = {
            "conId": 265598,
            "primaryExchange": "NASDAQ",
            "tradingClass": "NMS",
            "marketName": "NMS",
            "longName": "APPLE INC",
            "timeZoneId": "US/Eastern",
            "minTick": 0.01,
        }
        assert {name: details[name] for name in recorded} == recorded

        client.send(
            place(
                {
                    "order_id": 1,
                    "contract": {
                        "con_id": "265598",
                        "symbol": "AAPL",
                        "sec_type": "STK",
                        "exchange": "SMART",
                        "currency": "USD",
                    },
                    "action": "BUY",
                    "total_quantity": "1",
                    "order_type": "MKT",
                    "tif": "DAY",
                }
            )
        )
        fill = await client.until("execDetails")
        assert fill["time"] == "20260415 11:00:00 US/Eastern"
        assert fill["execId"].startswith("0000e0d5.")
        assert fill["execId"].endswith(".01.01")
        fee = await client.until("commissionReport")
        assert (fee["commission"], fee["currency"], fee["realizedPNL"]) == (1, "USD", None)
        await client.close()
