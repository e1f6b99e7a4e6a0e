"""When this gateway itself fails: the client is told, it is counted, and everything else goes on."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails, SecType
from moondev_ibkr.brokers.domain.order import OrderType, Side
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import GatewaySettings
from moondev_ibkr.brokers.simulation.state_file import AccountFile
from moondev_ibkr.brokers.simulation.tickets import OrderTicket
from moondev_ibkr.brokers.simulation.timers import MarketTimers
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.conditions import TimeCondition
from moondev_ibkr.brokers.simulation.tws.contract import Contract
from moondev_ibkr.brokers.simulation.tws.session import Refusal
from moondev_ibkr.brokers.simulation.tws.wire_contract import resolve

from .orders import order
from .rig import AAPL, AAPL_ID, START, joined, order_lines, running


def broken(*_: object) -> None:
    raise RuntimeError("a bug of ours")


def forgive(gateway: Gateway) -> None:
    """The rig fails a test in which the gateway failed; here it was meant to."""
    gateway.door.failures.clear()
    gateway.timers.failures = 0


async def test_a_request_that_breaks_is_answered_322_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as gateway, joined(gateway) as client:
        monkeypatch.setattr(gateway.exchange, "positions", broken)
        client.send(r.ReqPositions())
        assert "reqPositions" in (await client.error(322))["errorString"]
        assert gateway.door.failures == {"reqPositions": 1}
        assert any(record.levelno == logging.ERROR for record in caplog.records)
        client.send(order(1, "BUY", 10, "LMT", limit=100))
        await client.until("orderStatus", status="Submitted")
        forgive(gateway)


async def test_a_subscription_that_breaks_does_not_stop_the_market(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as gateway, joined(gateway) as client:
        stop = gateway.door.watch(AAPL_ID, broken)
        client.send(r.ReqMktData(reqId=9, contract=AAPL, genericTickList="", snapshot=False, regulatorySnapshot=False))
        await client.quiet()
        await gateway.advance_to(gateway.now + timedelta(minutes=2))
        await client.until("tickSize", tickType=8)
        assert gateway.door.failures["subscription"] > 0
        stop()
        forgive(gateway)


def test_a_planned_action_that_breaks_lets_the_others_run() -> None:
    timers, ran = MarketTimers(), []
    timers.at(START, broken)
    timers.at(START, lambda: ran.append("second"))
    cancelled = timers.at(START, lambda: ran.append("never"))
    cancelled.cancel()
    timers.at(START - timedelta(seconds=1), lambda: ran.append("first"))
    assert timers.next_time() == START - timedelta(seconds=1)
    assert timers.run_until(START) == 3
    assert (ran, timers.failures, timers.next_time()) == (["first", "second"], 1, None)


async def test_a_client_whose_answers_no_longer_fit_is_dropped_alone() -> None:
    async with running() as gateway, joined(gateway, 1) as greedy, joined(gateway, 2) as good:
        outbox = gateway.door.sessions[1].outbox
        outbox.pause()
        outbox._limit = 100
        for _ in range(10):
            greedy.send(r.ReqPositions())
            greedy.send(r.ReqCurrentTime())
        assert await greedy.ended()
        assert await good.quiet() == []
        assert list(gateway.door.sessions) == [2]


async def test_a_resting_order_by_hand_is_shown_and_bound_to_client_zero() -> None:
    async with running() as gateway, joined(gateway, 0) as zero:
        number = gateway.exchange.place_manual(
            OrderTicket(
                client_id=0,
                order_id=0,
                con_id=AAPL_ID,
                side=Side.BUY,
                quantity=Decimal(5),
                type=OrderType.LIMIT,
                limit_price=Decimal(100),
            )
        )
        zero.send(r.ReqAutoOpenOrders(autoBind=True))
        bound = await zero.until("orderBound")
        assert (bound["orderId"], bound["clientId"]) == (number, 0)
        shown = await zero.until("openOrder")
        assert (shown["orderType"], shown["lmtPrice"], shown["totalQuantity"], shown["action"]) == (
            "LMT",
            100,
            5,
            "BUY",
        )
        zero.send(r.CancelOrder(orderId=number))
        await zero.until("orderStatus", status="Cancelled")


async def test_times_without_sense_are_refused_where_they_stand() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 1, "LMT", limit=100, conditions=(TimeCondition("a", True, "later"),)))
        assert (await client.error(321))["reqId"] == 1
        client.send(
            r.ReqExecutions(reqId=3, clientId=0, acctCode="", time="then", symbol="", secType="", exchange="", side="")
        )
        assert (await client.error(321))["reqId"] == 3
        assert gateway.exchange.open_orders() == []


def option(strike: int, right: str, expiry: str = "2026-06-19") -> InstrumentDetails:
    from datetime import date

    return InstrumentDetails(
        Instrument(
            "AAPL",
            SecType.OPTION,
            con_id=700_000 + strike + (right == "P"),
            expiry=date.fromisoformat(expiry),
            strike=Decimal(strike),
            right=right,
            multiplier=Decimal(100),
            local_symbol=f"AAPL  260619{right}00{strike}000",
            trading_class="AAPL",
        ),
        valid_exchanges=("SMART", "CBOE"),
        under_con_id=AAPL_ID,
    )


CHAIN = [option(200, "C"), option(200, "P"), option(210, "C"), option(210, "C", "2026-07-17")]


async def test_an_option_chain_is_told_per_exchange() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(
            r.ReqSecDefOptParams(
                reqId=7, underlyingSymbol="AAPL", futFopExchange="", underlyingSecType="STK", underlyingConId=AAPL_ID
            )
        )
        await client.until("securityDefinitionOptionParameterEnd", reqId=7)
        chains = [values for name, values in client.seen if name == "securityDefinitionOptionParameter"]
        assert [chain["exchange"] for chain in chains] == ["AMEX", "CBOE", "ISE", "PHLX", "SMART"]
        assert all(chain["strikes"] == chains[0]["strikes"] for chain in chains)
        chain = chains[1]
        assert (chain["multiplier"], chain["tradingClass"], chain["underlyingConId"]) == ("100", "AAPL", AAPL_ID)
        assert chain["expirations"][:2] == ("20260417", "20260424")
        assert 265.0 in chain["strikes"]


def test_one_option_is_found_by_strike_right_and_expiry_and_several_are_ambiguous() -> None:
    wanted = Contract(symbol="AAPL", secType="OPT", strike=Decimal(210), right="CALL", exchange="SMART")
    with pytest.raises(Refusal) as several:
        resolve(CHAIN, wanted)
    assert (several.value.code, "ambiguous" in several.value.text) == (200, True)
    found = resolve(CHAIN, replace(wanted, lastTradeDateOrContractMonth="202607"))
    assert str(found.instrument.expiry) == "2026-07-17"
    with pytest.raises(Refusal):
        resolve(CHAIN, replace(wanted, multiplier="10"))


def test_an_account_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    file = AccountFile(GatewaySettings(state_file=blocked / "account.json"))
    with pytest.raises(ConfigurationError, match="paper account"):
        file.write(START, {})
    with pytest.raises(ConfigurationError, match="--state"):
        AccountFile(GatewaySettings())


async def test_a_partial_fill_tells_what_is_left() -> None:
    async with running() as gateway, joined(gateway) as client:
        view = gateway.exchange.market(AAPL_ID)
        size = int(view.ask_size or 0)
        client.send(order(1, "BUY", size + 50, "LMT", limit=float(view.ask or 0)))
        await client.quiet()
        status = [values for name, values in client.seen if name == "orderStatus"][-1]
        assert (status["status"], status["filled"], status["remaining"]) == ("Submitted", size, 50)
        await gateway.advance_to(gateway.now + timedelta(minutes=5))
        await client.quiet()
        lines = order_lines(client.seen, 1)
        assert lines.count("execDetails") == lines.count("commissionReport") == 2
        fees = [values["commission"] for name, values in client.seen if name == "commissionReport"]
        assert sum(fees) == max(Decimal(1), (size + 50) * Decimal("0.005"))
