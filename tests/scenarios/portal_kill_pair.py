"""Trading processes over both doors that end themselves with SIGKILL at a step of a hand-over.

    hand fence | open | told before, after      the old door is fenced, the new one opened, the manager told
    journal switch_door before | inside | after
    read open_orders | …                        an answer of the first reading through the new door
    wire orders 1 …                             the first order through it

In the stories "lost …" the TWS door dies with an order in flight that the exchange has taken; in "told …" the pen is
given away on command. "… one" is one user name for both doors, "… two" two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from moondev_ibkr.brokers.domain.account import Position
from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.domain.order import Fill, NewOrder
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import BrokerOrder
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import TwsSettings
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.connection import open_tcp
from moondev_ibkr.brokers.interactive_brokers.ib_door_pair import DoorPair
from moondev_ibkr.brokers.interactive_brokers.ib_failover import Failover
from moondev_ibkr.brokers.interactive_brokers.ib_failover_policy import FailoverPolicy, Users
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client import IbPortalClient
from moondev_ibkr.brokers.interactive_brokers.ib_transport import IbTransport, LinkState
from moondev_ibkr.brokers.journal import DoorLease, Journal

from .adapter_world import buy
from .kill_driver import MESSAGES, PATIENT, SETTINGS, CutJournal, Knife, connect, is_recovered, serve, until
from .portal_kill_driver import DATA, POLICY, cut_portal, portal_settings

STORIES = ("lost two", "told two", "lost one", "told one")


def first_order(key: str) -> NewOrder:
    """Goes through TWS."""
    return buy(10, key=key)


def second_order(key: str) -> NewOrder:
    """Goes through the portal."""
    return buy(10, key=f"{key}-rest", limit=210)


def failover_policy(users: str) -> FailoverPolicy:
    return FailoverPolicy(Users.ONE if users == "one" else Users.TWO, take_over_after=0.05, retry_every=0.1)


class DyingClient(IbAsyncClient):
    """TWS, that dies once told to: the next order arrives, its answer does not, and nobody is let in any more."""

    def __init__(self, settings: TwsSettings, clock: MarketClock, knife: Knife) -> None:
        self._knife = knife
        self.dies_next = False
        self._is_dying = self._is_dead = False
        super().__init__(settings, clock=clock, opener=self._open)

    async def _open(self, protocol: Any, host: str, port: int) -> Any:
        if self._is_dead:
            raise ConnectionRefusedError("this door is dead")
        transport = await open_tcp(protocol, host, port)
        write, hear = transport.write, protocol.data_received

        class Dying:
            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

            def write(self, payload: bytes) -> None:
                client._note(payload)
                write(payload)

        def data_received(data: bytes) -> None:
            if not self._is_dying:
                hear(data)
            elif not self._is_dead:
                # the answer has come, so that the order was taken
                self._is_dead = self._knife.live = True
                transport.abort()

        client = self
        protocol.transport, protocol.data_received = Dying(), data_received
        return protocol.transport

    def _note(self, payload: bytes) -> None:
        if self.dies_next and MESSAGES.get(payload[4:].split(b"\0", 1)[0]) == "placeOrder":
            self._is_dying = True


class CutPair(DoorPair):
    """Steps after each answer of a reading."""

    def __init__(self, first: IbTransport, second: IbTransport, clock: MarketClock, knife: Knife) -> None:
        self._knife = knife
        super().__init__(first, second, clock)

    async def open_orders(self) -> Sequence[BrokerOrder]:
        told = await super().open_orders()
        self._knife.at("read open_orders")
        return told

    async def completed_orders(self) -> Sequence[BrokerOrder]:
        told = await super().completed_orders()
        self._knife.at("read completed_orders")
        return told

    async def executions(self, since: datetime | None = None) -> Sequence[Fill]:
        told = await super().executions(since)
        self._knife.at("read executions")
        return told

    async def positions(self) -> Sequence[Position]:
        told = await super().positions()
        self._knife.at("read positions")
        return told


class CutFailover(Failover):
    def __init__(self, pair: DoorPair, journal: Journal, users: str, clock: MarketClock, knife: Knife) -> None:
        self._knife = knife
        super().__init__(pair, journal, failover_policy(users), clock)

    async def _fence(self, old: IbTransport, door: IbTransport) -> None:
        self._knife.at("hand fence before")
        await super()._fence(old, door)
        self._knife.at("hand fence after")

    async def _open(self, door: IbTransport) -> None:
        self._knife.at("hand open before")
        await super()._open(door)
        self._knife.at("hand open after")

    def _adopt(self, lease: DoorLease, door: IbTransport, why: str) -> None:
        self._knife.at("hand told before")
        super()._adopt(lease, door, why)
        self._knife.at("hand told after")


def make_pair_adapter(job: dict[str, Any], knife: Knife | None = None) -> IBAdapter:
    """The adapter of one trading process over both doors. Without a knife nothing is wrapped."""
    clock = MarketClock(rate=0.0)
    # a TWS that was kicked answers no start-up query
    tws_settings = replace(PATIENT, port=job["port"], client_id=job["client_id"], section_deadline=1.0)
    settings = portal_settings(job["url"], job["ca_file"], job["client_id"])
    if knife is None:
        book = Journal(job["journal"], now=clock.now)
        pair = DoorPair(
            IbAsyncClient(tws_settings, clock=clock), IbPortalClient(settings, clock=clock, limits=()), clock
        )
        failover = Failover(pair, book, failover_policy(job["users"]), clock)
    else:
        book = CutJournal(job["journal"], knife, now=clock.now)
        pair = CutPair(DyingClient(tws_settings, clock, knife), cut_portal(settings, clock, knife), clock, knife)
        failover = CutFailover(pair, book, job["users"], clock, knife)
    return IBAdapter(pair, journal=book, policy=POLICY, clock=clock, data=DATA, orders=SETTINGS, failover=failover)


async def tell(job: dict[str, Any]) -> dict[str, Any]:
    how, job["users"] = job["story"].split(" ")
    knife = Knife(job["step"], job["key"])
    adapter = make_pair_adapter(job, knife)
    knife.live = how == "recover"
    await connect(adapter)
    if how == "recover":
        await until(lambda: is_recovered(adapter, job["key"]), "the recovery")
    else:
        await hand_over(adapter, job, how, knife)
    adapter.manager._desk.life.writer.flush()
    knife.live = False
    await adapter.disconnect()
    adapter.journal.close()
    return {"steps": list(knife.steps)}


async def hand_over(adapter: IBAdapter, job: dict[str, Any], how: str, knife: Knife) -> None:
    failover = adapter.failover
    assert failover is not None
    tws, portal = failover.pair.doors
    assert isinstance(tws, DyingClient)
    await adapter.quote("AAPL")
    if job["users"] == "two":
        await until(lambda: portal.state is LinkState.READY, "the standby")
    tws.dies_next = how == "lost"
    first = await adapter.place(first_order(job["key"]))
    if how == "told":
        await until(lambda: adapter.order(first.key).commission is not None, "the commission")
        adapter.manager._desk.life.writer.flush()
        knife.live = True
        await failover.hand_over("portal")
    await until(lambda: adapter.transport.name == "portal" and adapter.health().can_trade, "the portal to have the pen")
    await until(lambda: adapter.order(first.key).state is OrderState.FILLED, "the first order's end")
    second = await adapter.place(second_order(job["key"]))
    await until(lambda: adapter.order(second.key).state is OrderState.WORKING, "the second order")
    # every frame that was sent before is heard
    await portal.market_time()


if __name__ == "__main__":
    serve(tell)
