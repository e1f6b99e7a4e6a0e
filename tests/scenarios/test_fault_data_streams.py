"""Streams that are lost or fall silent, and links that are no links: rows Q14, Q15, Q22, C14 and C15 on sockets."""

import asyncio
from dataclasses import replace

import pytest
from moondev_ibkr.brokers.domain.market_data import Gap, Lost, Resumed, StreamKind
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.errors import BrokerError, ConnectFailed, NotConnected
from moondev_ibkr.brokers.interactive_brokers import ib_feed_watch
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import silent_lines
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind, LinkState

from .adapter_world import QUICK, adapter_world, buy
from .wire_tap import wire_tap


def turn_the_clock(world):
    """The machine's clock as the adapter reads it, from now on ahead by what is put into the list."""
    ahead, loop = [0.0], asyncio.get_running_loop()
    world.clock._monotonic = lambda: loop.time() + ahead[0]
    return ahead


async def reading(stream):
    """Everything that the stream gives, as it comes."""
    events = []

    async def read():
        async for event in stream:
            events.append(event)

    return events, asyncio.ensure_future(read())


def kinds_of(events):
    """The markers among the events, and "data" once for what stands between two of them."""
    found = []
    for event in events:
        word = type(event).__name__ if isinstance(event, Gap | Resumed | Lost) else "data"
        if word != "data" or found[-1:] != ["data"]:
            found.append(word)
    return found


async def test_q15_a_silent_feed_is_noticed_in_half_a_minute_and_mended(monkeypatch):
    assert ib_feed_watch.SILENCE + ib_feed_watch.LOOK_EVERY <= 30
    monkeypatch.setattr(ib_feed_watch, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(silent_lines, "FIRST_RETRY", 0.1)
    monkeypatch.setattr(silent_lines, "LONGEST_RETRY", 0.1)
    async with adapter_world(price_kind="synthetic") as world:
        ahead = turn_the_clock(world)
        stream = world.adapter.stream(["AAPL", "MSFT"])
        events, task = await reading(stream)
        await world.advance(60)
        await world.until(lambda: events, "quotes")
        world.arm("silent-feed")
        await world.advance(300)
        ahead[0] = ib_feed_watch.SILENCE - 2
        await world.client.market_time()
        await asyncio.sleep(0.05)
        assert world.adapter.feed_watch.noticed == 0
        with wire_tap(world.gateway) as tap:
            ahead[0] = 30.0 - ib_feed_watch.LOOK_EVERY
            await world.until(lambda: tap.count("reqMktData") >= 2, "both lines to be asked for again")
            await world.until(lambda: "Gap" in kinds_of(events), "the gap to be told")
            assert world.adapter.feed_watch.noticed == 1
            world.release("silent-feed")
            asked = tap.count("reqMktData")
            await world.until(lambda: tap.count("reqMktData") > asked, "one of them to be tried again")
        await world.advance(60)
        await world.until(lambda: kinds_of(events)[-2:] == ["Resumed", "data"], "the end of the gap")
        task.cancel()
        await stream.aclose()


async def test_q15_silence_out_of_session_is_no_fault(monkeypatch):
    monkeypatch.setattr(ib_feed_watch, "LOOK_EVERY", 0.01)
    async with adapter_world() as world:
        ahead = turn_the_clock(world)
        await world.adapter.quotes(["AAPL", "MSFT"])
        world.arm("silent-feed")
        session = world.gateway.next_session()
        await world.gateway.advance_to(session.close)
        await world.adapter.market_time()
        await world.advance(3600)
        assert world.adapter._market_session() is not Session.REGULAR
        looked = world.adapter.feed_watch._session
        looks = []
        world.adapter.feed_watch._session = lambda: looks.append(looked()) or looks[-1]
        ahead[0] = 7200.0
        await world.until(lambda: len(looks) > 3, "the watch to look")
        assert world.adapter.feed_watch.noticed == 0
        assert world.count(LinkEventKind.ALARM) == 0


async def test_q14_a_half_open_link_is_noticed_idle_and_before_an_order_of_which_nothing_leaves():
    shipped = type(QUICK)()
    assert shipped.idle_before_probe + shipped.probe_deadline + shipped.watch_every <= 10
    assert shipped.silent_before_order <= 1
    tenth = replace(QUICK, idle_before_probe=0.4, probe_deadline=0.4, silent_before_order=0.0)
    async with adapter_world(settings=tenth) as world:
        await world.adapter.quote("AAPL")
        loop = asyncio.get_running_loop()
        with wire_tap(world.gateway) as tap:
            world.arm("half-open")
            began = loop.time()
            with pytest.raises(NotConnected):
                await world.adapter.place(buy(limit=140))
            assert loop.time() - began < 1.0
            world.release("half-open")
            await world.until_restored()
            world.arm("half-open")
            began = loop.time()
            await world.until(lambda: world.count(LinkEventKind.LOST) == 2, "the idle link to be probed")
            assert loop.time() - began < 1.5
            world.release("half-open")
            await world.until_restored(2)
            assert tap.orders() == []
        assert world.gateway.exchange.open_orders() == []


#: What takes a stream away, and what gives it back where it does not come back by itself.
LOSSES = {
    "reset": (("reset",),),
    "close": (("close",),),
    "restart": (("restart", "0.1"),),
    "corrupt": (("corrupt-length",),),
    "port": (("1300",),),
    "1101": (("1100",), ("1101",)),
    "1102": (("1100",), ("1102",)),
    "farm": (("2103",), ("2104",)),
}


ALL = (StreamKind.QUOTES, StreamKind.TRADES, StreamKind.DEPTH, StreamKind.TICK_BY_TICK)


def asked_for(session):
    return sum(map(session.count, ("quotes", "tickByTick", "depth")))


@pytest.mark.parametrize(("how", "kind"), [(how, kind) for how in LOSSES for kind in ALL])
async def test_q22_no_stream_comes_back_without_gap_resumed_and_data(how, kind):
    async with adapter_world(price_kind="synthetic") as world:
        stream = world.adapter.stream(["AAPL", "MSFT"], [kind])
        events, task = await reading(stream)

        def are_both_asked_for():
            return sum(map(asked_for, world.gateway.door.sessions.values())) >= 2

        await world.until(are_both_asked_for, "both at the gateway")
        await world.advance(120)
        await world.until(lambda: events, "data")
        for fault in LOSSES[how]:
            world.arm(*fault)
            if how == "corrupt":
                await asyncio.gather(world.client.market_time(), return_exceptions=True)
            else:
                await asyncio.sleep(0.05)
        await world.until(lambda: "Resumed" in kinds_of(events), "the end of the gap")
        await world.until(lambda: world.client.state is LinkState.READY and world.client.is_healthy, "the session")
        await world.until(are_both_asked_for, "both at the gateway again")
        told = len(events)
        await world.advance(300)
        await world.until(lambda: "data" in kinds_of(events[told:]), "data after the gap")
        markers = [event for event in events if isinstance(event, Gap | Resumed)]
        assert [type(event) for event in markers] == [Gap, Resumed]
        # 1102 keeps what there is; tick by tick is two subscriptions a symbol, prints and the top of the book, and a
        # farm gives symbols back
        subscriptions = 0 if how == "1102" else 4 if kind is StreamKind.TICK_BY_TICK and how != "farm" else 2
        assert (markers[1].restored, markers[1].failed) == (subscriptions, 0)
        task.cancel()
        await stream.aclose()


async def test_c14_a_storm_of_losses_makes_one_loop_that_tries_one_connection_at_a_time():
    # attempts that hang for a while, so that a second loop's would be open at the same time
    async with adapter_world(settings=replace(QUICK, handshake_deadline=0.2)) as world:
        tries, open_tries, most = [0], [0], [0]
        session = world.client._session
        establish = session._establish

        async def counted(*arguments):
            tries[0] += 1
            open_tries[0] += 1
            most[0] = max(most[0], open_tries[0])
            try:
                return await establish(*arguments)
            finally:
                open_tries[0] -= 1

        session._establish = counted
        world.arm("no-handshake")
        for _ in range(5):
            world.arm("reset")
            world.arm("close")
            await asyncio.gather(world.client.market_time(), return_exceptions=True)
        await world.until(lambda: tries[0] >= 3, "tries")
        world.release("no-handshake")
        await world.until_restored()
        assert most == [1]
        assert world.count(LinkEventKind.LOST) == 1
        assert len(world.gateway.server.connections) == 1


async def test_c15_an_end_before_the_version_means_that_nothing_is_behind_and_is_not_hammered():
    patient = replace(QUICK, first_wait=0.1, longest_wait=0.4)
    async with adapter_world(connect=False, settings=patient) as world:
        world.arm("eof-on-connect")
        with pytest.raises(ConnectFailed) as failed:
            await world.adapter.connect()
        assert (failed.value.kind, failed.value.data["phase"]) == ("closed_early", "version")
        assert "TWS behind it is down" in str(failed.value)
        assert "client id" not in str(failed.value).lower()
        world.release("eof-on-connect")
        await world.adapter.connect()
        world.arm("eof-on-connect")
        world.arm("reset")
        await world.until(lambda: world.count(LinkEventKind.LOST), "the loss")
        before = world.client._session.attempts
        await asyncio.sleep(0.7)
        assert 1 <= world.client._session.attempts - before <= 6
        with pytest.raises(BrokerError):
            await world.adapter.place(buy(limit=140))
        world.release("eof-on-connect")
        await world.until_restored()
