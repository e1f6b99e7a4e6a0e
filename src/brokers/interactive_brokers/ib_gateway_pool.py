"""Several gateways behind one transport: orders keep to one of them, questions and market data are spread over all.

    pool = GatewayPool(PoolMember(tws, terms, clock, policy, has_orders=True), others, clock, policy)
    await pool.connect()        the order gateway or an error; the others beside it, and later where they are not there
    pool.status()               health and statistics, one row a gateway

Orders are sticky: whatever the order half of the transport says or hears is the order gateway's word alone, exactly as
without a pool, and no other gateway is ever given an order, a change or a cancel. When it is lost, its orders are in
doubt by the usual rules until it can be asked again. A lost data gateway puts nothing in doubt: what it carried moves
to another at once, between a Gap and a Resumed that name the symbols.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from ..domain.clock import Clock
from ..errors import BrokerError
from .ib_pool_balance import Balancer
from .ib_pool_lines import Moved, PoolLines
from .ib_pool_member import GatewayStatus, PoolMember, PoolPolicy
from .ib_pool_orders import PoolOrders
from .ib_pool_questions import PoolQuestions
from .ib_transport import (
    IbTransport,
    LinkEvent,
    LinkEventKind,
    LinkListener,
    LinkScope,
    LinkState,
    MarketListener,
    Traffic,
    added,
)

logger = logging.getLogger(__name__)

_BACK = (LinkEventKind.UP, LinkEventKind.RESTORED)


class GatewayPool(PoolOrders, PoolQuestions):
    """An IbTransport over many. `first` has the orders; `others` carry data only."""

    def __init__(self, first: PoolMember, others: Iterable[PoolMember], clock: Clock, policy: PoolPolicy) -> None:
        self.first = first
        self.members = (first, *others)
        self.policy = policy
        self._clock = clock
        self._balancer = Balancer(policy.balance)
        self.lines = PoolLines(self.candidates)
        self._link_listeners: list[LinkListener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        #: Whether no gateway at all is ready, and symbols whose Gap was told and whose Resumed was not.
        self._is_dark = True
        self._gaps: set[str] = set()
        self._refusals: dict[str, str] = {}
        #: Symbols moved because their gateway was lost, and moved back from a backup.
        self.moves = 0
        for member in self.members:
            member.transport.add_link_listener(partial(self._on_link, member))
            member.on_refused = self._on_refused

    # Session

    @property
    def orders(self) -> IbTransport:
        return self.first.transport

    async def connect(self) -> None:
        """The order gateway, with the others beside it. Raises ConnectFailed when the order gateway cannot be had; any
        other one is tried again for as long as the pool is connected."""
        others = [member for member in self.members if member is not self.first]
        for member in others:
            self._spawn(member.keep(), f"gateway {member.name}")
        try:
            await self.orders.connect()
        except BaseException:
            await self.disconnect()
            raise
        waiting = [asyncio.ensure_future(member.tried()) for member in others if member.is_wanted]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=self.policy.start_deadline)
            for one in late:
                one.cancel()
        self._spawn(self._watch(), "gateway pool")

    async def disconnect(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(member.transport.disconnect() for member in self.members))
        self._is_dark = True

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("task %s failed", task.get_name(), exc_info=task.exception())

    async def examine(self) -> tuple[GatewayStatus, ...]:
        """Connect every gateway once, whether or not the others are there, ask each the time, and tell what was found.
        The caller disconnects."""
        await asyncio.gather(*(member.examine() for member in self.members))
        return self.status()

    def status(self) -> tuple[GatewayStatus, ...]:
        """One row a gateway, the order gateway first."""
        return tuple(member.status() for member in self.members)

    @property
    def farms_down(self) -> Mapping[str, str]:
        """Data farms by gateway."""
        return {
            name if member is self.first else f"{name} at {member.name}": text
            for member in self.members
            for name, text in member.transport.farms_down.items()
        }

    def latencies(self) -> Mapping[str, Sequence[float]]:
        asked = {f"gateway {member.name}": tuple(member.latencies) for member in self.members}
        return {**self.orders.latencies(), **asked}

    def traffic(self) -> Traffic:
        return added(member.transport.traffic() for member in self.members)

    async def market_time(self) -> datetime:
        if self.orders.state is LinkState.READY:
            return await self.orders.market_time()
        return await self._read(lambda door: door.market_time())

    def add_link_listener(self, listener: LinkListener) -> None:
        self._link_listeners.append(listener)

    def add_market_listener(self, listener: MarketListener) -> None:
        for member in self.members:
            member.transport.add_market_listener(listener)

    def remove_market_listener(self, listener: MarketListener) -> None:
        for member in self.members:
            member.transport.remove_market_listener(listener)

    def resubscribe_silent(self, since: float, only: frozenset[int] | None = None) -> None:
        failure: BrokerError | None = None
        for member in self.members:
            if not member.lines:
                continue
            try:
                member.transport.resubscribe_silent(since, only)
            except BrokerError as error:
                failure = error
        if failure is not None:
            raise failure

    # Who is next

    def candidates(self, is_line: bool = False) -> Sequence[PoolMember]:
        """Those that answer, backups behind the others; those that owe a heartbeat only where nobody else is there; the
        order gateway where nobody is ready at all: what is asked of it then fails, or waits, as without a pool."""
        usable = [member for member in self.members if member.is_ready and (not is_line or member.has_room)]
        answering = [member for member in usable if member.is_responsive]
        in_front = [member for member in answering if not member.terms.is_backup]
        behind = [member for member in answering if member.terms.is_backup]
        late = [member for member in usable if member not in answering]
        ranked = [*self._balancer.ranked(in_front), *(behind if in_front else self._balancer.ranked(behind)), *late]
        return ranked or [self.first]

    # What the gateways tell

    def _on_link(self, member: PoolMember, event: LinkEvent) -> None:
        member.hear(event)
        if event.kind is LinkEventKind.LOST:
            self._lost(member, event)
        elif event.kind in _BACK:
            self._back(member, event)
        elif event.kind is LinkEventKind.SUBSCRIPTIONS_RESTORED:
            self._restored(member, event)
        elif event.kind is LinkEventKind.ALARM and member is self.first:
            self._hand_on(event)
        else:
            if event.kind is LinkEventKind.FARM_DOWN:
                self._gaps.update(event.symbols)
            # what a data gateway alarms about concerns its lines, and nothing that trades
            self._hand_on(replace(event, text=f"{member.name}: {event.text}", scope=LinkScope.DATA, source=member.name))

    def _lost(self, member: PoolMember, event: LinkEvent) -> None:
        has_orders = member is self.first
        if not any(other.is_ready for other in self.members):
            was_dark, self._is_dark = self._is_dark, True
            self._gaps.clear()
            if has_orders or not was_dark:
                scope = LinkScope.ORDERS if was_dark else LinkScope.ALL if has_orders else LinkScope.DATA
                self._hand_on(replace(event, scope=scope, source=member.name))
            return
        if has_orders:
            self._hand_on(replace(event, scope=LinkScope.ORDERS, source=member.name))
        self._leave((member,), event.text)
        self._look_at_backups()

    def _back(self, member: PoolMember, event: LinkEvent) -> None:
        has_orders = member is self.first
        self._refusals.pop(member.name, None)
        if event.kind is LinkEventKind.UP:
            self.lines.ask_again(member)
        if self._is_dark:
            self._is_dark = False
            self._light(member, event)
            scope = LinkScope.ALL if has_orders else LinkScope.DATA
        else:
            stranded = [other for other in self.members if not other.is_ready and (other.lines or other.streams)]
            if stranded:
                self._leave(stranded, f"{member.name} is ready")
            scope = LinkScope.ORDERS if has_orders else LinkScope.DATA
        self._hand_on(replace(event, scope=scope, source=member.name))

    def _light(self, member: PoolMember, event: LinkEvent) -> None:
        """The first gateway after a time with none: everything goes to it."""
        self._gaps.clear()
        left = self.lines.leave(other for other in self.members if not other.is_ready)
        asked = len(self.lines.symbols_at(member))
        if asked or left.stayed or event.kind is LinkEventKind.RESTORED:
            kind = LinkEventKind.SUBSCRIPTIONS_RESTORED
            self._tell(kind, event.text, member.name, restored=asked, failed=len(left.stayed))

    def _restored(self, member: PoolMember, event: LinkEvent) -> None:
        """A gateway has asked for its own lines again, after a farm, a 1101 or a reconnect."""
        if self._is_dark:
            return
        symbols = event.symbols or self.lines.symbols_at(member)
        if not symbols:
            return
        untold = tuple(symbol for symbol in symbols if symbol not in self._gaps)
        if untold:
            self._tell(LinkEventKind.FARM_DOWN, event.text, member.name, symbols=untold)
        self._gaps.difference_update(symbols)
        self._hand_on(replace(event, symbols=symbols, scope=LinkScope.DATA, source=member.name))

    def _leave(self, members: Iterable[PoolMember], why: str) -> None:
        """Everything of `members` goes to the others: a Gap for it, and Resumed for what was had there."""
        left = tuple(members)
        symbols = [symbol for member in left for symbol in self.lines.symbols_at(member)]
        untold = tuple(dict.fromkeys(symbol for symbol in symbols if symbol not in self._gaps))
        names = ", ".join(member.name for member in left)
        if untold:
            self._gaps.update(untold)
            self._tell(LinkEventKind.FARM_DOWN, f"{names}: {why}", names, symbols=untold)
        moved = self.lines.leave(left)
        self._tell_moved(moved, f"market data of {names} moved: {why}")

    def _tell_moved(self, moved: Moved, why: str) -> None:
        done = tuple(symbol for symbol in moved.moved if symbol not in moved.stayed)
        if not done:
            return
        self.moves += len(done)
        self._gaps.difference_update(done)
        carriers = [member.name for member in self.members if set(done) & set(self.lines.symbols_at(member))]
        self._tell(
            LinkEventKind.SUBSCRIPTIONS_RESTORED,
            why,
            ", ".join(carriers),
            symbols=done,
            restored=len(done),
            failed=len(moved.stayed),
        )

    def _tell(self, kind: LinkEventKind, text: str, source: str, **fields: Any) -> None:
        self._hand_on(LinkEvent(kind, self._clock.now(), text, scope=LinkScope.DATA, source=source, **fields))

    def _hand_on(self, event: LinkEvent) -> None:
        for listener in tuple(self._link_listeners):
            listener(event)

    def _on_refused(self, member: PoolMember, why: str) -> None:
        """The same refusal again and again is one alarm (fault C12)."""
        if self._refusals.get(member.name) == why:
            return
        self._refusals[member.name] = why
        text = f"gateway {member.name} cannot be connected; data goes on without it: {why}"
        self._hand_on(LinkEvent(LinkEventKind.ALARM, self._clock.now(), text, source=member.name))
        self._look_at_backups()

    # Watching

    async def _watch(self) -> None:
        """Heartbeats, lines that wait for a place, and backups that are no longer needed."""
        while True:
            await asyncio.sleep(self.policy.beat_every / 2)
            for member in self.members:
                member.sample()
                if member.needs_heartbeat:
                    self._spawn(member.beat(), f"heartbeat {member.name}")
            self._look_at_backups()
            self._give_back()

    def _look_at_backups(self) -> None:
        """Cold backups are wanted from the moment that a gateway is lost until every one has stood for a while."""
        in_front = [member for member in self.members if not member.terms.is_backup]
        is_needed = any(not member.is_ready for member in in_front)
        for member in self.members:
            if not member.terms.is_backup or self.policy.prewarm:
                continue
            if is_needed:
                member.want(True)
            elif self._stand(in_front) and not member.lines and not member.streams:
                member.want(False)

    def _stand(self, members: Iterable[PoolMember]) -> bool:
        now = self._clock.monotonic()
        return all(
            member.is_ready and member.ready_since is not None and now - member.ready_since >= self.policy.back_after
            for member in members
        )

    def _give_back(self) -> None:
        """Backups give their lines back once every other gateway has stood for `back_after`."""
        laden = [member for member in self.members if member.terms.is_backup and (member.lines or member.streams)]
        if laden and self._stand(member for member in self.members if not member.terms.is_backup):
            self._leave(laden, f"every other gateway has stood for {self.policy.back_after:g} s")
