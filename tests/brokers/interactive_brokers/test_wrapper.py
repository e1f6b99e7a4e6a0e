"""The wrapper: every question ends, every order event reaches the listener raw, and nothing grows for ever."""

from __future__ import annotations

import asyncio
import struct
from datetime import UTC, date, datetime
from typing import Any

import pytest
from ib_async import Stock
from ib_async.objects import BarDataList
from ib_async.order import LimitOrder
from ib_async.util import UNSET_DOUBLE
from moondev_ibkr.brokers.errors import (
    LinkLost,
    NoData,
    NoPermission,
    PacingViolation,
    ProtocolViolation,
    RequestFailed,
)
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import order_wrapper
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.api import TwsApi
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.listener import NullListener, Subject
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.message_rate import RateLimit
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.order_wrapper import split_execution_id
from moondev_ibkr.brokers.interactive_brokers.ib_error_codes import OrderEffect, OrderPhase, error_code

AAPL = Stock("AAPL", "SMART", "USD", conId=265598)


def msg(*fields: object) -> bytes:
    payload = ("\0".join(str(field) for field in fields) + "\0").encode()
    return struct.pack(">I", len(payload)) + payload


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[list[str]] = []

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def is_closing(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        data = bytes(data).removeprefix(b"API\0")
        while data:
            (length,) = struct.unpack(">I", data[:4])
            self.sent.append(data[4 : 4 + length].decode().split("\0")[:-1])
            data = data[4 + length :]

    def close(self) -> None:
        return None

    def abort(self) -> None:
        return None


class Recorder:
    """Keeps every event as (name, arguments)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, tuple]] = []

    def __getattr__(self, name: str) -> Any:
        if not hasattr(NullListener, name):
            raise AttributeError(name)
        return lambda *args: self.events.append((name, args))

    def of(self, name: str) -> list[tuple]:
        return [args for kind, args in self.events if kind == name]


class Session:
    def __init__(self, zone: str = "", listener: Any = None) -> None:
        self.heard = listener or Recorder()
        self.transport = Transport()
        self.api = TwsApi(self.heard, naive_zone=zone, opener=self.open, rate=RateLimit(100_000, 1.0, 0, 0))
        self.wrapper = self.api.wrapper

    async def open(self, protocol: asyncio.Protocol, host: str, port: int) -> asyncio.Transport:
        protocol.connection_made(self.transport)
        self.protocol = protocol
        return self.transport

    def say(self, *messages: bytes) -> None:
        self.protocol.data_received(b"".join(messages))

    def sent(self, message_id: int) -> list[list[str]]:
        return [fields for fields in self.transport.sent if fields[:1] == [str(message_id)]]

    async def ask(self, question: Any) -> asyncio.Task:
        task = asyncio.ensure_future(question)
        for _ in range(3):
            await asyncio.sleep(0)
        return task

    def leftovers(self) -> dict[str, int]:
        w = self.wrapper
        return {
            "futures": len(w._futures),
            "results": len(w._results),
            "contracts": len(w._reqId2Contract),
            "streams": len(w.reqId2Ticker),
            "tickers": len(w.tickers),
            "trades": len(w.trades),
            "fills": len(w.fills),
        }


@pytest.fixture
async def session() -> Session:
    return await connected(Session())


async def connected(session: Session) -> Session:
    task = await session.ask(session.api.client.connectAsync("tws", 4002, 7))
    session.say(msg(178, "now"), msg(15, 1, "DU1"), msg(9, 1, 57))
    await task
    return session


EMPTY = dict.fromkeys(("futures", "results", "contracts", "streams", "tickers", "trades", "fills"), 0)
CONTRACT = ("265598", "AAPL", "STK", "", "0.0", "", "", "SMART", "USD", "AAPL", "NMS")


def error(request: int, code: int, text: str = "text", advanced: str = "") -> bytes:
    return msg(4, 2, request, code, text, advanced)


def position(quantity: float, symbol: str = "AAPL", con_id: int = 265598) -> bytes:
    return msg(61, 3, "DU1", con_id, symbol, *CONTRACT[2:], quantity, 120.5)


def execution(
    exec_id: str, request: int = -1, order: int = 5, shares: float = 100, time: str = "20250102-15:00:00"
) -> bytes:
    fields = (
        exec_id,
        time,
        "DU1",
        "NASDAQ",
        "BOT",
        shares,
        150.25,
        1999,
        7,
        0,
        shares,
        150.25,
        "k-1",
        "",
        "",
        "",
        2,
        0,
    )
    return msg(11, request, order, *CONTRACT, *fields)


def open_order(order_id: int, what_if: int = 0, margin: str = "1.7976931348623157E308", client: int = 7) -> bytes:
    before = (5, order_id, *CONTRACT, "BUY", 100, "LMT", 150.25, 0.0, "DAY", "", "DU1", "", 0, "k-1", client, 1999)
    block = ("", "", "", "", "", "", 0, "", -1, 0, "", "", "", "", "", "", 0, 0, 0, "", 3, 0, 0, "", 0, 0, "", 0)
    middle = (0, 0, 0.0, "", "", "", "", "", *block[1:], "None", "", 0, "", "", "", "?", 0, 0, "")
    legs = (0, 0, "", "", "", "", "", 0, 0, 0, "", "", "", "")
    margins = (margin,) * 9
    state = (0, "", "IB", 0, 0, "", 0, what_if, "Submitted", *margins, 1.0, "", "", "USD", "", 0, 0)
    tail = (0, "None", "", "", "", "", "", "", 0, "", "", "", "", 1, 0, 0, 0, "", "", 0, "", "", "", "", "")
    return msg(*before, *middle, *legs, *state, *tail)


async def test_a_question_is_answered_and_nothing_stays_behind(session: Session) -> None:
    for _ in range(50):
        task = await session.ask(session.api.reqMatchingSymbolsAsync("AA"))
        request = session.sent(81)[-1][1]
        session.say(msg(79, request, 1, 265598, "AAPL", "STK", "NASDAQ.NMS", "USD", 1, "OPT", "APPLE INC", ""))
        (match,) = await task
        assert match.contract.symbol == "AAPL"
    assert session.leftovers() == EMPTY


async def test_a_caller_that_gives_up_leaves_nothing_behind_and_a_late_answer_is_counted(session: Session) -> None:
    task = await session.ask(session.api.reqContractDetailsAsync(AAPL))
    request = session.sent(9)[-1][2]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert session.leftovers() == EMPTY
    session.say(msg(75, request, "SMART", 1, "AAPL", 100, 0, 0), msg(52, 1, request))
    assert session.wrapper.late_answers == {"optionChain": 1, "end": 1}
    assert session.heard.of("on_malformed") == []


async def turns() -> None:
    """Of the loop, as many as a waiting question takes to be sent."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_two_callers_of_the_same_question_share_one_answer(session: Session) -> None:
    tasks = [await session.ask(session.api.reqPositionsAsync()) for _ in range(3)]
    assert len(session.sent(61)) == 1
    tasks[1].cancel()
    session.say(position(5), msg(62, 1))
    assert await tasks[0] == await tasks[2] != []
    assert session.leftovers() == EMPTY


async def test_who_asks_the_time_later_is_told_a_later_time(session: Session) -> None:
    first = await session.ask(session.api.reqCurrentTimeAsync())
    later = [await session.ask(session.api.reqCurrentTimeAsync()) for _ in range(3)]
    assert len(session.sent(49)) == 1
    session.say(msg(49, 1, 1767625200))
    assert await first == datetime(2026, 1, 5, 15, tzinfo=UTC)
    await turns()
    later[1].cancel()
    session.say(msg(49, 1, 1767625210))
    assert await later[0] == await later[2] == datetime(2026, 1, 5, 15, 0, 10, tzinfo=UTC)
    assert len(session.sent(49)) == 2, "those who came together share one answer"
    assert session.leftovers() == EMPTY


@pytest.mark.parametrize("ask", ["reqAllOpenOrdersAsync", "reqCompletedOrdersAsync"])
async def test_an_order_sent_behind_a_question_is_not_judged_by_its_answer(session: Session, ask: str) -> None:
    def question() -> Any:
        return getattr(session.api, ask)(*([False] if ask == "reqCompletedOrdersAsync" else []))

    number, end = (16, msg(53, 1)) if ask == "reqAllOpenOrdersAsync" else (99, msg(102))
    early = await session.ask(question())
    late = await session.ask(question())
    session.say(end)
    assert await early == []
    await turns()
    assert len(session.sent(number)) == 2
    assert not late.done()
    session.say(end)
    assert await late == []


async def test_ib_asyncs_own_singleton_calls_both_complete(session: Session) -> None:
    first, second = session.wrapper.startReq("positions"), session.wrapper.startReq("positions")
    session.say(position(5), msg(62, 1))
    assert len(await first) == len(await second) == 1


async def test_different_questions_of_one_kind_take_turns(session: Session) -> None:
    own = await session.ask(session.api.reqOpenOrdersAsync())
    everyone = await session.ask(session.api.reqAllOpenOrdersAsync())
    assert session.sent(16) == []
    session.say(open_order(60), msg(53, 1))
    assert [entry.order_id for entry in await own] == [60]
    await turns()
    assert len(session.sent(16)) == 1
    session.say(open_order(60), open_order(61, client=8), msg(53, 1))
    assert [entry.order_id for entry in await everyone] == [60, 61]


async def test_q13_an_abandoned_question_never_makes_a_later_answer_look_complete(session: Session) -> None:
    early = await session.ask(session.api.reqOpenOrdersAsync())
    session.say(open_order(60))
    early.cancel()
    await asyncio.sleep(0)
    late = await session.ask(session.api.reqOpenOrdersAsync())
    assert len(session.sent(5)) == 2
    session.say(open_order(61), msg(53, 1))
    assert {entry.order_id for entry in await late} == {60, 61}


async def test_the_link_ends_every_question_with_its_reason(session: Session) -> None:
    tasks = [
        await session.ask(session.api.reqContractDetailsAsync(AAPL)),
        await session.ask(session.api.reqPositionsAsync()),
        await session.ask(session.api.reqHeadTimeStampAsync(AAPL, "TRADES", True, 2)),
    ]
    session.protocol.connection_lost(ConnectionResetError("reset"))
    for task in tasks:
        with pytest.raises(LinkLost, match="reset"):
            await task
    assert session.leftovers() == EMPTY
    assert session.wrapper.stale


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (200, "No security definition has been found", RequestFailed),
        (321, "Error validating request", RequestFailed),
        (162, "Historical Market Data Service error message:pacing violation", PacingViolation),
        (354, "not subscribed", NoPermission),
        (430, "We are sorry, but fundamentals data is not available", NoData),
        (162, "No head time stamp", NoData),
        (19999, "something new", RequestFailed),
    ],
)
async def test_an_error_ends_its_question_with_a_typed_exception(
    session: Session, code: int, text: str, kind: type
) -> None:
    task = await session.ask(session.api.reqContractDetailsAsync(AAPL))
    session.say(error(int(session.sent(9)[-1][2]), code, text))
    with pytest.raises(kind) as failed:
        await task
    assert failed.value.code == code
    assert text in str(failed.value)
    ((message,),) = session.heard.of("on_error")
    assert message.subject is Subject.REQUEST
    assert message.contract is AAPL
    assert session.leftovers() == EMPTY


async def test_h02_no_data_is_an_empty_answer(session: Session) -> None:
    task = await session.ask(session.api.reqHistoricalTicksAsync(AAPL, "20250102-15:00:00", "", 1000, "TRADES", False))
    session.say(error(int(session.sent(96)[-1][1]), 162, "HMDS query returned no data: AAPL"))
    assert await task == []


async def test_a_warning_leaves_the_question_open(session: Session) -> None:
    task = await session.ask(session.api.reqContractDetailsAsync(AAPL))
    request = int(session.sent(9)[-1][2])
    session.say(error(request, 2150), error(request, 10167))
    await asyncio.sleep(0)
    assert not task.done()
    session.say(msg(52, 1, request))
    assert await task == []


async def test_c19_an_answer_that_cannot_be_read_ends_its_question(session: Session) -> None:
    task = await session.ask(session.api.reqContractDetailsAsync(AAPL))
    session.say(msg(10, session.sent(9)[-1][2], "AAPL"))
    with pytest.raises(ProtocolViolation, match="contractDetails"):
        await task


async def test_a_what_if_waits_for_its_margin(session: Session) -> None:
    order = LimitOrder("BUY", 1, 5.0)
    task = await session.ask(session.api.whatIfOrderAsync(AAPL, order))
    order_id = int(session.sent(3)[-1][1])
    assert order_id == 57
    assert order.whatIf is False
    session.say(open_order(order_id, what_if=1))
    await asyncio.sleep(0)
    assert not task.done()
    session.say(open_order(order_id, what_if=1, margin="3000.5"))
    assert (await task).initMarginChange == "3000.5"
    assert session.heard.of("on_open_order") == []


async def test_o34_a_what_if_without_figures_ends_all_the_same(session: Session) -> None:
    task = await session.ask(session.api.whatIfOrderAsync(AAPL, LimitOrder("BUY", 1, 5.0)))
    session.say(open_order(int(session.sent(3)[-1][1]), what_if=1, margin=""))
    assert (await task).initMarginChange == ""


async def test_positions_are_replaced_by_a_complete_list(session: Session) -> None:
    session.say(position(5), position(7, "MSFT", 272093))
    task = await session.ask(session.api.reqPositionsAsync())
    session.say(position(6), msg(62, 1))
    await task
    assert {con_id: held.position for con_id, held in session.wrapper.positions["DU1"].items()} == {265598: 6}
    assert [args[2] for args in session.heard.of("on_position")] == [5, 7, 6]


async def test_c25_values_survive_a_lost_link(session: Session) -> None:
    session.say(position(5), msg(6, 2, "NetLiquidation", "100000.00", "USD", "DU1"))
    session.protocol.connection_lost(None)
    assert session.wrapper.stale
    assert session.wrapper.positions["DU1"][265598].position == 5
    assert len(session.wrapper.accountValues) == 1


async def test_order_events_arrive_raw_and_in_order(session: Session) -> None:
    session.say(
        execution("0000e0d5.01.01"),
        open_order(57),
        msg(3, 57, "Filled", 100, 0, 150.25, 1999, 0, 150.25, 7, "", 0.0),
        msg(59, 1, "0000e0d5.01.01", 1.0, "USD", UNSET_DOUBLE, "", ""),
        msg(100, 1999, 7, 57),
    )
    names = [name for name, _ in session.heard.events if name not in ("on_link_up", "on_next_order_id")]
    assert names == ["on_execution", "on_open_order", "on_order_status", "on_commission", "on_order_bound"]
    ((order_id, contract, order, state),) = session.heard.of("on_open_order")
    assert (order_id, contract.conId, order.orderRef, state.status) == (57, 265598, "k-1", "Submitted")
    assert session.heard.of("on_order_status") == [(57, "Filled", 100.0, 0.0, 150.25, 1999, 0, 150.25, 7, "", 0.0)]
    assert session.heard.of("on_commission")[0][0].realizedPNL == UNSET_DOUBLE
    assert session.leftovers() == EMPTY
    assert session.api.client.next_order_id() == 58


async def test_o13_a_correction_replaces_its_base(session: Session) -> None:
    for exec_id in ("0001.02.01", "0001.02.02", "0001.02.02", "0001.02.01", "0009.01.01"):
        session.say(execution(exec_id))
    reports = [args[0] for args in session.heard.of("on_execution")]
    assert [(r.base_id, r.revision, r.replaces, r.duplicate, r.superseded) for r in reports] == [
        ("0001.02", 1, None, False, False),
        ("0001.02", 2, "0001.02.01", False, False),
        ("0001.02", 2, None, True, False),
        ("0001.02", 1, None, False, True),
        ("0009.01", 1, None, False, False),
    ]
    assert all(report.live for report in reports)
    assert reports[0].execution.time == datetime(2025, 1, 2, 15, tzinfo=UTC)


async def test_executions_that_answer_a_question_are_not_live(session: Session) -> None:
    task = await session.ask(session.api.reqExecutionsAsync())
    request = int(session.sent(7)[-1][2])
    session.say(execution("0001.02.01", request, order=2**31 - 1), msg(55, 1, request))
    (fill,) = await task
    assert fill.execution.execId == "0001.02.01"
    ((report,),) = session.heard.of("on_execution")
    assert not report.live
    assert report.execution.orderId == 0
    assert session.heard.of("on_executions_end") == [(request,)]


async def test_a_naive_execution_time_is_in_the_declared_zone() -> None:
    session = await connected(Session("Europe/Berlin"))
    session.say(execution("1.1", time="20250102  16:00:00"))
    assert session.heard.of("on_execution")[0][0].execution.time == datetime(2025, 1, 2, 15, tzinfo=UTC)


async def test_executions_are_remembered_in_bounds(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_wrapper, "EXECUTION_MEMORY", 100)
    for number in range(1000):
        session.say(execution(f"{number}.01"))
    assert len(session.wrapper._revisions) == 100
    assert session.leftovers() == EMPTY


@pytest.mark.parametrize(
    ("text", "parts"),
    [("0000e0d5.1", ("0000e0d5", 1)), ("a.b.01.02", ("a.b.01", 2)), ("x", ("x", 0)), ("a.b", ("a.b", 0))],
)
def test_execution_ids(text: str, parts: tuple[str, int]) -> None:
    assert split_execution_id(text) == parts


async def test_completed_orders_come_asked_and_unasked(session: Session) -> None:
    flat = (
        "BUY",
        100,
        "LMT",
        5.0,
        0.0,
        "DAY",
        "",
        "DU1",
        "",
        0,
        "k-1",
        1999,
        0,
        0,
        0.0,
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
    )
    more = (
        0,
        "",
        -1,
        "",
        "",
        "",
        "",
        "",
        "",
        0,
        0,
        "",
        3,
        0,
        "",
        0,
        "",
        "",
        0,
        0,
        "",
        "",
        "",
        0,
        0,
        0,
        "",
        "",
        "",
        "",
        "",
    )
    tail = (
        "IB",
        0,
        0,
        "",
        0,
        "Filled",
        0,
        0,
        0,
        "",
        "",
        "",
        1,
        0,
        "",
        100,
        0,
        0,
        "",
        0,
        0,
        0,
        "20250102 16:00:00 UTC",
        "Filled Size: 100",
    )
    message = msg(101, *CONTRACT, *flat, *more, *tail, "", "", "", "", "")
    session.say(message)
    task = await session.ask(session.api.reqCompletedOrdersAsync(False))
    session.say(message, msg(102))
    (entry,) = await task
    assert entry.state.completedStatus == "Filled Size: 100"
    assert len(session.heard.of("on_completed_order")) == 2
    assert session.heard.of("on_malformed") == []


@pytest.mark.parametrize("code", [110, 201, 202, 399, 2109, 10147, 10349, 19999])
async def test_o03_errors_about_orders_go_to_the_listener_with_their_row(session: Session, code: int) -> None:
    session.say(error(57, code, "why", '{"a":1}'))
    ((message,),) = session.heard.of("on_error")
    assert (message.request_id, message.code, message.text, message.advanced_json) == (57, code, "why", '{"a":1}')
    assert message.subject is Subject.ORDER_OR_ENDED
    assert message.row == error_code(code)
    if code == 19999:
        assert message.row.order_effect(OrderPhase.LIVE) is OrderEffect.NONE


async def test_c21_a_listener_that_fails_costs_nothing_but_its_own_event(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(NullListener):
        seen = 0

        def on_order_status(self, *args: Any) -> None:
            raise RuntimeError("listener bug")

        def on_commission(self, report: Any) -> None:
            self.seen += 1

    session = await connected(Session(listener=Broken()))
    session.say(
        msg(3, 57, "Filled", 100, 0, 150.25, 1999, 0, 150.25, 7, "", 0.0), msg(59, 1, "1.1", 1.0, "USD", 0, 0, 0)
    )
    assert session.heard.seen == 1
    assert session.wrapper.listener_failures == {"on_order_status": 1}
    assert "listener bug" in caplog.text
    assert session.api.client.decoder.malformed.total() == 0


async def test_streams_that_ended_leave_nothing_behind(session: Session) -> None:
    for _ in range(100):
        session.api.reqMktData(AAPL)
        session.say(msg(1, 6, session.sent(1)[-1][2], 1, 10.0, 5, 1))
        session.api.cancelMktData(AAPL)
    assert session.leftovers() == EMPTY
    assert len(session.sent(2)) == 100


async def test_a_ticker_with_a_second_stream_stays(session: Session) -> None:
    ticker = session.api.reqMktData(AAPL)
    session.api.reqTickByTickData(AAPL, "Last")
    session.api.cancelMktData(AAPL)
    assert session.wrapper.tickers[hash(AAPL)] is ticker
    session.api.cancelTickByTickData(AAPL, "Last")
    assert session.leftovers() == EMPTY


async def test_a_lost_link_ends_streams_but_not_tickers_updates(session: Session) -> None:
    ticker = session.api.reqMktData(AAPL)
    session.protocol.connection_lost(None)
    assert session.wrapper.reqId2Ticker == {}
    assert not ticker.updateEvent.done()
    await connected(session)
    assert session.api.reqMktData(AAPL) is ticker


async def test_an_error_of_a_stream_says_so(session: Session) -> None:
    session.api.reqMktData(AAPL)
    session.say(error(int(session.sent(1)[-1][2]), 354))
    assert session.heard.of("on_error")[0][0].subject is Subject.STREAM


async def test_d11_a_depth_reset_clears_the_book(session: Session) -> None:
    ticker = session.api.reqMktDepth(AAPL)
    request = int(session.sent(10)[-1][2])
    session.say(msg(12, 1, request, 0, 0, 1, 10.5, 100), msg(12, 1, request, 0, 0, 0, 10.6, 100))
    assert (len(ticker.domBids), len(ticker.domAsks)) == (1, 1)
    session.say(error(request, 317))
    assert (ticker.domBids, ticker.domAsks, ticker.domBidsDict, ticker.domAsksDict) == ([], [], {}, {})
    assert [tick.operation for tick in ticker.domTicks] == [2, 2]


def bar_update(request: int, stamp: str, close: float) -> bytes:
    return msg(90, request, 12, stamp, 1.0, close, 2.0, 0.5, 1.2, 1000)


async def test_h12_bars_start_from_nothing_are_revised_and_put_in_order(session: Session) -> None:
    bars, updates = BarDataList(), []
    bars.updateEvent += lambda all_bars, is_added: updates.append(is_added)
    session.wrapper.startSubscription(77, bars, AAPL)
    for stamp, close in (("20250103", 1.5), ("20250103", 1.5), ("20250103", 1.6), ("20250106", 2.0), ("20250103", 1.7)):
        session.say(bar_update(77, stamp, close))
    session.say(bar_update(77, "20250102", 1.1))
    assert [(bar.date, bar.close) for bar in bars] == [
        (date(2025, 1, 2), 1.1),
        (date(2025, 1, 3), 1.7),
        (date(2025, 1, 6), 2.0),
    ]
    assert updates == [True, False, True, False, True]


async def test_times_in_answers_are_aware(session: Session) -> None:
    head = await session.ask(session.api.reqHeadTimeStampAsync(AAPL, "TRADES", True, 1))
    session.say(msg(88, session.sent(87)[-1][1], "19801212-14:30:00"))
    assert await head == datetime(1980, 12, 12, 14, 30, tzinfo=UTC)
    news = await session.ask(session.api.reqHistoricalNewsAsync(8314, "BRFG", "", "", 10))
    request = session.sent(86)[-1][1]
    session.say(msg(86, request, "2025-01-02 10:00:00.0", "BRFG", "BRFG$1", "Head"), msg(87, request, 0))
    assert (await news)[0].time == datetime(2025, 1, 2, 10, tzinfo=UTC)


async def test_news_is_kept_in_bounds(session: Session) -> None:
    for number in range(1500):
        session.say(msg(84, 1, 1700000000000, "BRFG", f"BRFG${number}", "Headline", "K:n/a"))
    assert len(session.wrapper.newsTicks) == 1000
    assert session.wrapper.newsTicks[-1].articleId == "BRFG$1499"


async def test_a_calculation_ends_its_question(session: Session) -> None:
    task = await session.ask(session.api.calculateImpliedVolatilityAsync(AAPL, 5.0, 100.0))
    session.say(msg(21, session.sent(54)[-1][2], 53, 0, 0.25, -2, 5.0, -1, -2, -2, -2, 100.0))
    computation = await task
    assert (computation.impliedVol, computation.delta, computation.theta) == (0.25, None, None)


async def test_snapshots_end_together_and_are_forgotten(session: Session) -> None:
    msft = Stock("MSFT", "SMART", "USD", conId=272093)
    task = await session.ask(session.api.reqTickersAsync(AAPL, msft, AAPL))
    requests = [fields[2] for fields in session.sent(1)]
    session.say(msg(1, 6, requests[1], 1, 10.5, 100, 1), *(msg(57, 1, request) for request in requests))
    assert [ticker.contract.symbol for ticker in await task] == ["AAPL", "MSFT", "AAPL"]
    assert session.leftovers() == EMPTY


async def test_a_snapshot_that_fails_leaves_nothing_behind(session: Session) -> None:
    task = await session.ask(session.api.reqTickersAsync(AAPL))
    session.say(error(int(session.sent(1)[-1][2]), 354))
    with pytest.raises(NoPermission):
        await task
    assert session.leftovers() == EMPTY


async def test_bulletins_are_kept_in_bounds(session: Session) -> None:
    for number in range(1500):
        session.say(msg(14, 1, number, 1, "bulletin", "NYSE"))
    assert list(session.wrapper.msgId2NewsBulletin) == list(range(500, 1500))
