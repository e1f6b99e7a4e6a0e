"""The order channel: what an error means depends on where the order stands; writes say what became of them."""

import asyncio
from decimal import Decimal

import pytest
from ib_async.contract import Contract
from ib_async.objects import CommissionReport
from ib_async.order import Order, OrderState
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side
from moondev_ibkr.brokers.domain.reports import OrderEffect, WireOrder
from moondev_ibkr.brokers.errors import NotConnected, OutcomeUnknown
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import TwsSettings
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.listener import ErrorMessage, Subject
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.message_rate import RateLimit
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.order_channel import EFFECTS, OrderChannel
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.send_queue import SendQueue
from moondev_ibkr.brokers.interactive_brokers.ib_error_codes import OrderEffect as CodeEffect
from moondev_ibkr.brokers.interactive_brokers.ib_error_codes import error_code

AAPL = Instrument("AAPL", con_id=265598)


class Timer:
    """Never fires: the rate limit's window never passes here."""

    def cancel(self):
        return None


class Client:
    """A link whose wire is a list."""

    def __init__(self):
        self.sent = []
        self.open = True
        self.floor = 0
        limit = RateLimit(messages=2, order_reserve=0, cancel_reserve=0)
        self.queue = SendQueue(self.write, lambda: 0.0, lambda when, callback: Timer(), limit)

    def write(self, payload):
        self.sent.append(payload)
        return self.open

    def serverVersion(self):
        return 178

    def raise_order_id(self, floor):
        self.floor = max(self.floor, floor)

    def cancelOrder(self, order_id):
        return self.queue.put(4, b"cancel", order_id)


class Api:
    def __init__(self):
        self.client = Client()


class Session:
    settings = TwsSettings()
    up = True

    def require(self, what):
        if not self.up:
            raise NotConnected(what, "the session is DOWN")


class Listener:
    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda *arguments: self.told.append((name, *arguments))


@pytest.fixture
def channel():
    made = OrderChannel(Api(), Session())
    made.listener = Listener()
    made.set_listener(made.listener)
    return made


def wire(order_id=5):
    return WireOrder(order_id, NewOrder(AAPL, Side.BUY, Decimal(1), OrderType.LIMIT, Decimal(10)), "DU1")


def error(code, order_id=5, subject=Subject.ORDER_OR_ENDED):
    return ErrorMessage(order_id, code, "text", "", error_code(code), subject)


def effect_of(channel, code):
    channel.listener.told.clear()
    channel.on_error(error(code))
    ((_, told),) = channel.listener.told
    return told.effect


def echo(channel, status="Submitted", order_id=5):
    contract = Contract(symbol="AAPL", secType="STK", conId=265598, exchange="SMART", currency="USD")
    order = Order(
        orderId=order_id, action="BUY", totalQuantity=1.0, orderType="LMT", lmtPrice=10.0, tif="DAY", permId=1
    )
    channel.on_open_order(order_id, contract, order, OrderState(status=status))


def status(channel, word, order_id=5):
    channel.on_status(order_id, word, 0.0, 1.0, 0.0, 1, 0, 0.0, 1, "")


def test_every_effect_of_the_code_table_has_a_word():
    assert set(EFFECTS) == set(CodeEffect)


async def test_a_refusal_ends_a_new_order_but_not_a_live_one(channel):
    await channel.place(wire())
    assert effect_of(channel, 201) is OrderEffect.REJECTED
    echo(channel)
    assert effect_of(channel, 201) is not OrderEffect.REJECTED


@pytest.mark.parametrize("word", ["Inactive", "PendingSubmit", "ApiPending"])
async def test_an_echo_of_an_order_that_was_not_taken_leaves_it_new(channel, word):
    await channel.place(wire())
    echo(channel, word)
    status(channel, word)
    assert effect_of(channel, 201) is OrderEffect.REJECTED


async def test_o04_a_refused_change_names_the_change_once(channel):
    await channel.place(wire())
    echo(channel)
    await channel.modify(wire())
    assert effect_of(channel, 201) is OrderEffect.MODIFY_REJECTED


async def test_o05_o06_cancel_answers(channel):
    await channel.place(wire())
    echo(channel)
    assert effect_of(channel, 10148) is OrderEffect.CANCEL_REJECTED
    assert effect_of(channel, 202) is OrderEffect.CANCELLED


async def test_o30_a_locate_holds(channel):
    await channel.place(wire())
    assert effect_of(channel, 404) is OrderEffect.HELD


async def test_q7_no_code_outside_the_table_ends_a_live_order(channel):
    await channel.place(wire())
    echo(channel)
    ends = {code for code in range(20_001) if effect_of(channel, code) in (OrderEffect.REJECTED, OrderEffect.CANCELLED)}
    assert ends == {202}


async def test_errors_of_requests_and_streams_are_no_orders(channel):
    channel.on_error(error(201, 1_000_000_005))
    channel.on_error(error(201, 5, Subject.STREAM))
    channel.on_error(error(1100, -1, Subject.SESSION))
    assert channel.listener.told == []


async def test_nothing_is_written_without_a_session(channel):
    channel._session.up = False
    with pytest.raises(NotConnected):
        await channel.place(wire())
    with pytest.raises(NotConnected):
        await channel.cancel(5, None, None)
    assert channel._api.client.sent == []


async def test_order_ids_that_were_used_are_never_given_again(channel):
    await channel.place(wire(40))
    assert channel._api.client.floor == 41


async def test_c24_what_was_queued_when_the_link_ended_is_proven_not_sent(channel):
    for order_id in (1, 2):
        await channel.place(wire(order_id))
    third = asyncio.ensure_future(channel.place(wire(3)))
    await asyncio.sleep(0)
    assert len(channel._api.client.sent) == 2, "the rate limit holds it back"
    channel._api.client.queue.fail_all()
    with pytest.raises(NotConnected, match="before it left"):
        await third


async def test_a_caller_that_leaves_takes_his_unsent_order_with_him(channel):
    for order_id in (1, 2):
        await channel.place(wire(order_id))
    third = asyncio.ensure_future(channel.place(wire(3)))
    await asyncio.sleep(0)
    third.cancel()
    with pytest.raises((asyncio.CancelledError, OutcomeUnknown)):
        await third
    assert len(channel._api.client.queue) == 0


async def test_what_cannot_be_told_is_counted_never_raised(channel):
    status(channel, "Odd")
    channel.on_open_order(1, Contract(secType="CRYPTO"), Order(action="BUY"), OrderState())
    assert channel.untold == {"status": 1, "order": 1}
    assert channel.listener.told == []


async def test_d09_a_commission_that_ib_did_not_tell_is_not_nothing(channel):
    channel.on_commission(CommissionReport("e.01", 1.7976931348623157e308))
    assert channel.listener.told == []
    channel.on_commission(CommissionReport("e.01", 0.35, "USD"))
    ((name, told),) = channel.listener.told
    assert (name, told.commission) == ("on_commission", Decimal("0.35"))


async def test_a_cancel_never_names_another_client_s_order_by_its_number(channel):
    """Order ids are the client's own: the same number here is another order, or none."""
    with pytest.raises(NotConnected, match="belongs to client 12"):
        await channel.cancel(3, 700, 12)
    assert channel._api.client.sent == []


async def test_q18_a_change_of_what_tws_never_had_is_refused_here_since_there_it_is_a_new_order(channel):
    """Found by the simulation: placed at the portal, changed through TWS, an exit was at the exchange twice."""
    with pytest.raises(NotConnected, match="TWS has no such order"):
        await channel.modify(wire(5))
    assert channel._api.client.sent == []
    contract = Contract(symbol="AAPL", secType="STK", conId=265598, exchange="SMART", currency="USD")
    shown = Order(orderId=5, clientId=1, action="BUY", totalQuantity=1.0, orderType="LMT", lmtPrice=10.0, permId=1)
    channel.on_open_order(5, contract, shown, OrderState(status="Submitted"))
    await channel.modify(wire(5))
    assert len(channel._api.client.sent) == 1


async def test_q10_a_cancel_of_what_only_the_portal_has_named_waits_instead_of_being_refused(channel):
    """Found by the simulation: TWS answered 10147, and the order was called working again."""
    with pytest.raises(NotConnected, match="went through the portal"):
        await channel.cancel(5, -526000017, 1)
    assert channel._api.client.sent == []
    contract = Contract(symbol="AAPL", secType="STK", conId=265598, exchange="SMART", currency="USD")
    shown = Order(orderId=5, clientId=1, action="BUY", totalQuantity=1.0, orderType="LMT", lmtPrice=10.0, permId=1)
    channel.on_open_order(5, contract, shown, OrderState(status="Submitted"))
    await channel.cancel(5, -526000017, 1)
    assert channel._api.client.sent == [b"cancel"]
