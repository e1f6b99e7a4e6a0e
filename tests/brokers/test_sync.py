"""The synchronous façade: any thread, one loop, a deadline on everything."""

from __future__ import annotations

import asyncio
import inspect
import threading
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.base_broker import BaseBroker
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import Bracket, NewOrder, OrderChange, Side
from moondev_ibkr.brokers.errors import DeadlineExceeded, NotConnected, OutcomeUnknown, UnknownOrder, UsageError
from moondev_ibkr.brokers.sync import LoopThread, SyncBroker, shared_loop


class Feed:
    """A subscription that a test feeds."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[object] = asyncio.Queue()
        self.closed = False

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> object:
        item = await self.queue.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, Exception):
            raise item
        return item

    async def aclose(self) -> None:
        self.closed = True


ORDER = NewOrder(Instrument("AAPL"), Side.BUY, Decimal(1), key="k1")


class EchoBroker:
    """Answers every verb with its name and what it got, on the loop's thread; `slow` verbs never answer."""

    name = "echo"

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.slow: set[str] = set()
        self.feed: Feed | None = None
        self.connected = False

    def __getattr__(self, verb: str):
        declared = getattr(BaseBroker, verb, None)
        if declared is None:
            raise AttributeError(verb)
        if inspect.iscoroutinefunction(declared):
            return lambda *args, **kwargs: self._later(verb, args, kwargs)
        return lambda *args, **kwargs: self._now(verb, args, kwargs)

    async def _later(self, verb, args, kwargs):
        if verb in self.slow:
            await asyncio.sleep(3600)
        return self._now(verb, args, kwargs)

    def _now(self, verb, args, kwargs):
        asyncio.get_running_loop()
        self.threads.add(threading.get_ident())
        if verb in ("stream", "live_bars", "order_events"):
            self.feed = Feed()
            return self.feed
        if verb == "order" and args == ("nobody",):
            raise UnknownOrder("order nobody")
        return (verb, args, {name: value for name, value in kwargs.items() if value is not None})


@pytest.fixture
def loop():
    with LoopThread("test-loop") as loop:
        yield loop
    assert not loop.is_running


@pytest.fixture
def broker(loop):
    return SyncBroker(EchoBroker(), loop, timeout=5)


VERBS = {
    name
    for name, verb in vars(BaseBroker).items()
    if getattr(verb, "__isabstractmethod__", False) and not name.startswith("_")
}


def test_every_verb_of_a_broker_has_a_synchronous_twin():
    for name in VERBS:
        assert callable(getattr(SyncBroker, name, None)), name
        asked = list(inspect.signature(getattr(BaseBroker, name)).parameters)
        assert list(inspect.signature(getattr(SyncBroker, name)).parameters) == asked, name


CALLS = {
    "market_time": (),
    "details": ("AAPL",),
    "quote": ("AAPL",),
    "quotes": (["AAPL"],),
    "bars": ("AAPL",),
    "place": (ORDER,),
    "place_smart_order": (ORDER, None),
    "modify": ("k1", OrderChange(quantity=Decimal(2))),
    "cancel": ("k1",),
    "cancel_all": ("AAPL",),
    "flatten": ("AAPL",),
    "what_if": (ORDER,),
    "order": ("k1",),
    "orders": (),
    "open_orders": (),
    "fills": (),
    "wait": ("k1", 1.0),
    "positions": ("DU1",),
    "owned_positions": ("DU1",),
    "account": ("DU1",),
    "pnl": ("DU1", "AAPL"),
    "reconcile": (),
    "adopt": ("AAPL",),
    "emergency_stop": ("panic",),
    "resume": (),
    "limits": (),
    "latency_report": (),
    "get_statistics": (),
    "snapshot": ("AAPL",),
    "health": (),
    "accounts": (),
}


@pytest.mark.parametrize("verb", CALLS)
def test_each_verb_reaches_the_broker_on_the_loops_thread(broker, verb):
    answer = getattr(broker, verb)(*CALLS[verb])
    if verb != "resume":
        assert answer[0] == verb
        assert answer[1][: len(CALLS[verb])] == CALLS[verb]
    assert threading.get_ident() not in broker.broker.threads
    assert len(broker.broker.threads) == 1


def test_the_table_of_calls_is_complete():
    assert set(CALLS) | {"connect", "disconnect", "stream", "live_bars", "order_events"} == VERBS


def test_a_bracket_is_named_by_its_key(broker):
    broker.broker.slow.add("place")
    with pytest.raises(OutcomeUnknown, match="k1"):
        broker.within(0.01).place(Bracket(ORDER, Decimal(90)))


def test_the_brokers_errors_come_through(broker):
    with pytest.raises(UnknownOrder):
        broker.order("nobody")


def test_a_read_that_takes_too_long_is_a_deadline(broker):
    broker.broker.slow.add("quote")
    with pytest.raises(DeadlineExceeded, match="quote of AAPL"):
        broker.within(0.01).quote("AAPL")


def test_a_write_that_takes_too_long_is_unknown(broker):
    broker.broker.slow.add("cancel")
    with pytest.raises(OutcomeUnknown, match="k1"):
        broker.within(0.01).cancel("k1")


def test_a_deadline_cancels_the_work(loop):
    cancelled = threading.Event()

    async def work():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(DeadlineExceeded):
        loop.call(work(), 0.01)
    assert cancelled.wait(5)


def test_many_threads_share_one_loop(broker):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(broker.quote("AAPL")[0])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert answers == ["quote"] * 20
    assert len(broker.broker.threads) == 1


async def test_it_works_inside_another_running_loop(broker):
    assert broker.quote("AAPL")[0] == "quote"


def test_calling_from_the_loops_own_thread_is_refused_rather_than_deadlocking(broker, loop):
    async def inside():
        return broker.quote("AAPL")

    with pytest.raises(UsageError, match="await"):
        loop.call(inside(), 5)

    async def closing():
        loop.close()

    with pytest.raises(UsageError, match="another thread"):
        loop.call(closing(), 5)


def test_a_closed_loop_says_so():
    loop = LoopThread()
    loop.close()
    with pytest.raises(UsageError, match="closed"):
        SyncBroker(EchoBroker(), loop).quote("AAPL")
    loop.close()


def test_closing_cancels_what_waits_and_ends_the_thread():
    loop = LoopThread("closing")
    waiting: list[BaseException] = []

    async def forever():
        await asyncio.sleep(3600)

    def wait():
        try:
            loop.call(forever(), 30)
        except BaseException as error:
            waiting.append(error)

    loop.call(asyncio.sleep(0), 5)
    thread = threading.Thread(target=wait)
    thread.start()
    while not _sleeping(loop):
        pass
    loop.close()
    thread.join(5)
    assert isinstance(waiting[0], NotConnected)
    assert "closing" not in {one.name for one in threading.enumerate()}


def _sleeping(loop: LoopThread) -> bool:
    async def count() -> int:
        return len(asyncio.all_tasks())

    return loop.call(count(), 5) > 1


def test_connect_and_disconnect_frame_a_block(loop):
    with SyncBroker(EchoBroker(), loop) as broker:
        assert broker.health()[0] == "health"
    assert loop.is_running


def test_the_shared_loop_is_one_and_is_made_anew_after_a_close():
    first = shared_loop()
    assert shared_loop() is first
    assert SyncBroker(EchoBroker())._loop is first
    first.close()
    second = shared_loop()
    assert second is not first
    second.close()


# Subscriptions


@pytest.mark.parametrize("make", ["stream", "live_bars", "order_events"])
def test_a_subscription_is_a_plain_iterator(broker, loop, make):
    source = {
        "stream": lambda: broker.stream(["AAPL"]),
        "live_bars": lambda: broker.live_bars("AAPL"),
        "order_events": broker.order_events,
    }[make]()
    feed = broker.broker.feed
    loop.call(feed.queue.put(1), 5)
    assert next(source) == 1
    loop.call(feed.queue.put(2), 5)
    loop.call(feed.queue.put(None), 5)
    assert list(source) == [2]
    source.close()
    assert feed.closed


def test_no_item_is_lost_when_a_deadline_passes(broker, loop):
    with broker.order_events() as events:
        assert events.get(0.01) is None
        loop.call(broker.broker.feed.queue.put("late"), 5)
        assert events.get(5) == "late"


def test_an_error_of_the_subscription_comes_through_and_it_goes_on(broker, loop):
    events = broker.order_events()
    loop.call(broker.broker.feed.queue.put(NotConnected("feed")), 5)
    with pytest.raises(NotConnected):
        next(events)
    loop.call(broker.broker.feed.queue.put("next"), 5)
    assert next(events) == "next"


def test_a_subscription_ends_with_its_loop():
    loop = LoopThread()
    events = SyncBroker(EchoBroker(), loop).order_events()
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend(events))
    thread.start()
    while not _sleeping(loop):
        pass
    loop.close()
    thread.join(5)
    assert not thread.is_alive()
    assert got == []


def test_the_loop_ends_where_no_thread_can_be_started_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of the interpreter: from Python 3.12 on it refuses new threads there."""
    loop = LoopThread()
    assert loop.call(asyncio.to_thread(sum, (1, 2))) == 3
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    loop.close()
    assert not loop.is_running
    assert failures == []
