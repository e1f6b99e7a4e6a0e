"""When the pen changes hands: the lease, the fence, the take-over, and the way back.

    failover = Failover(pair, journal, policy, clock)
    await failover.connect()                 the door that the journal's lease names, the standby beside it
    await failover.hand_over("portal", why)  by itself after `take_over_after`, or on command
    failover.status()                        both doors, who holds the pen, what is seen

One door writes at a time. The order of steps is what keeps it so: nothing is written while the pen is changing hands;
the door that loses it is fenced first; the journal's lease is switched before anything is read through the new door;
nothing opens until orders, executions and positions have been read there (client-portal.md section 5).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from ..domain.clock import Clock
from ..errors import BrokerError, ConfigurationError, ConnectFailed, JournalError
from ..journal import DoorLease, Journal
from .ib_door_health import Sign
from .ib_door_pair import DoorPair
from .ib_failover_policy import DoorStatus, FailoverPolicy, FailoverStatus, Takeable, Users
from .ib_order_relay import Sight
from .ib_transport import IbTransport, LinkEvent, LinkEventKind, LinkState

logger = logging.getLogger(__name__)


class Failover:
    """Decides over a DoorPair. `on_lease` is told of every lease that this process takes; `in_doubt` names what keeps
    the pen at the second door."""

    def __init__(self, pair: DoorPair, journal: Journal, policy: FailoverPolicy, clock: Clock) -> None:
        self.pair = pair
        self.policy = policy
        self._journal = journal
        self._clock = clock
        self.lease: DoorLease | None = None
        self.on_lease: Callable[[DoorLease], None] = lambda lease: None
        self.in_doubt: Callable[[], list[str]] = list
        self._timer: asyncio.TimerHandle | None = None
        self._data_timer: asyncio.TimerHandle | None = None
        self._lease_timer: asyncio.TimerHandle | None = None
        self._changing: asyncio.Task[None] | None = None
        self._standing_by: asyncio.Task[None] | None = None
        self._running = False
        #: Attempts to hand over that failed.
        self.failures = 0
        self._told_failure = ""
        pair.watch = self._on_link
        pair.evidence.on_change = self._on_sight

    # Session

    async def connect(self) -> None:
        """The door of the journal's lease, else the first that can be had. Raises ConnectFailed, JournalError."""
        held = self._journal.door()
        if held is not None and any(held.door == door.name for door in self.pair.doors):
            wanted = self.pair.door(held.door)
            if wanted is not self.pair.live:
                self.pair.hand_over(wanted)
                self.pair.move_data(wanted, f"{wanted.name} holds the pen")
        try:
            await self.pair.connect()
        except ConnectFailed as first:
            await self._connect_other(first)
        else:
            await self._leave_if_cut_off()
        self.lease = self._journal.claim_door(self.pair.live.name)
        self._running = True
        self._look_at_lease()
        if self.policy.users is Users.TWO:
            self._stand_by()

    async def _connect_other(self, first: ConnectFailed) -> None:
        """The live door cannot be had: the other one, by the same steps as any change of doors.

        The way back to the first door takes a command: at a start nobody knows yet what is in doubt.
        """
        live = self.pair.live
        other = self.pair.other(live)
        if other is self.pair.doors[0]:
            raise ConnectFailed(
                f"connecting through door {live.name}, which has the pen",
                first.why,
                f"{first.next or 'start it'}; or give the pen back: moondev-ibkr doors --to {other.name}",
                kind=first.data.get("kind", "unreachable"),
            ) from first
        try:
            await self._open(other)
        except ConnectFailed as second:
            raise ConnectFailed(
                "connecting through either door",
                f"{live.name}: {first.why}; {other.name}: {second.why}",
                first.next or second.next,
                kind=first.data.get("kind", "unreachable"),
            ) from second
        self._journal.switch_door(other.name)
        self.pair.hand_over(other)
        self.pair.move_data(other, f"{live.name} cannot be connected")

    async def _leave_if_cut_off(self) -> None:
        """The first door answers, and IB is not behind it: another session of this user may have its place, one of
        ours above all that died before it could switch the lease. Stays where the other door cannot be had."""
        live = self.pair.live
        other = self.pair.other(live)
        if live.state is not LinkState.BROKER_DOWN or other is self.pair.doors[0]:
            return
        why = "IB's own link is down, or another session of this user has its place"
        is_fenced = False
        try:
            await self._fence(live, other)
            is_fenced = True
            await self._connect_other(ConnectFailed(f"door {live.name}", why, kind="unreachable"))
        except ConnectFailed as failure:
            logger.warning("orders stay with %s: %s", live.name, failure)
            if is_fenced:
                await self._unfence(live)

    async def disconnect(self) -> None:
        self._running = False
        for timer in (self._timer, self._data_timer, self._lease_timer):
            if timer is not None:
                timer.cancel()
        tasks = [task for task in (self._changing, self._standing_by) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._timer = self._data_timer = self._lease_timer = None
        await self.pair.disconnect()

    def status(self) -> FailoverStatus:
        pair = self.pair
        rows = tuple(
            DoorStatus(
                door.name, door.state, door is pair.live, door is pair.data, tuple(pair.health[door.name].rows())
            )
            for door in pair.doors
        )
        other = pair.other(pair.live).name
        epoch = self.lease.epoch if self.lease is not None else 0
        return FailoverStatus(
            rows, pair.live.name, epoch, pair.handing_over, pair.evidence.sight(pair.live.name, other)
        )

    # What is seen

    def _on_link(self, door: IbTransport, event: LinkEvent) -> None:
        if not self._running:
            return
        if door is self.pair.live:
            if event.kind is LinkEventKind.LOST:
                self._plan(self.policy.take_over_after)
            elif event.kind is LinkEventKind.RESTORED:
                self._unplan()
        if event.kind in (LinkEventKind.UP, LinkEventKind.RESTORED) and door is not self.pair.data:
            self._plan_data(door)

    def _on_sight(self, viewer: str, other: str, sight: Sight) -> None:
        sign = Sign.SEES_OTHER if sight is Sight.SEES else Sign.BLIND
        self.pair.health[viewer].note(sign, self._clock.now(), f"orders of {other}")
        if sight is Sight.BLIND:
            self.pair.tell(LinkEventKind.ALARM, f"{viewer} does not show the orders placed through {other}")

    def _plan(self, delay: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay, self._take_over)

    def _unplan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan_data(self, door: IbTransport) -> None:
        """Data goes to a door that came up: at once when the present one is lost, else back to the first one once it
        has stood for a while."""
        pair = self.pair
        if pair.data.state is not LinkState.READY:
            pair.move_data(door, f"{pair.data.name} is lost")
        elif door is pair.doors[0] and self._data_timer is None:
            loop = asyncio.get_running_loop()
            self._data_timer = loop.call_later(self.policy.data_back_after, self._data_back, door)

    def _data_back(self, door: IbTransport) -> None:
        self._data_timer = None
        if door.state is LinkState.READY and self._running:
            self.pair.move_data(door, f"{door.name} has stood for {self.policy.data_back_after:g} s")

    # The pen

    def _take_over(self) -> None:
        self._timer = None
        live = self.pair.live
        if live.state is LinkState.READY or not self._running:
            return
        other = self.pair.other(live)
        doubts = self.in_doubt()
        if other is self.pair.doors[0] and doubts:
            # the way back is latched: what was sent through the second door may show only there
            self.pair.tell(LinkEventKind.ALARM, f"orders stay with {live.name}, which is lost: {'; '.join(doubts)}")
            self._plan(self.policy.take_over_after + self.policy.retry_every)
            return
        self._change(self._take(other, f"{live.name} was lost for {self.policy.take_over_after:g} s"))

    def _change(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """One change of doors at a time."""
        if self._changing is not None and not self._changing.done():
            work.close()
            return self._changing
        self._changing = asyncio.get_running_loop().create_task(work, name="failover")
        self._changing.add_done_callback(self._changed)
        return self._changing

    def _changed(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        failure = task.exception()
        if failure is None:
            self._told_failure = ""
            return
        self.failures += 1
        if str(failure) != self._told_failure:
            # the same refusal every few seconds is one alarm (fault C12)
            self._told_failure = str(failure)
            self.pair.tell(LinkEventKind.ALARM, f"the doors were not changed: {failure}")
        if self._running and self.pair.live.state is not LinkState.READY:
            self._plan(self.policy.retry_every)

    async def hand_over(self, name: str, why: str = "on command") -> None:
        """Give the pen to the door called `name`, and wait until it has it.

        What is in doubt stays in doubt: its symbols are blocked until evidence comes, whichever door has the pen.
        Raises ConfigurationError for an unknown name, ConnectFailed when the door cannot be had; the pen is then where
        it was.
        """
        pair = self.pair
        if name not in pair.health:
            raise ConfigurationError(f"door {name!r}", "there is no such door", f"one of {', '.join(pair.health)}")
        door = pair.door(name)
        if door is pair.live:
            return
        await asyncio.shield(self._change(self._take(door, why)))

    async def _take(self, door: IbTransport, why: str) -> None:
        """Fence, open, lease, read. Raises ConnectFailed, JournalError; the pen is then where it was."""
        pair = self.pair
        old = pair.live
        pair.handing_over = True
        try:
            await self._fence(old, door)
            try:
                await self._open(door)
            except BrokerError:
                await self._unfence(old)
                raise
            held = self._journal.door()
            if held is not None and held.door == door.name:
                lease = self._journal.claim_door(door.name)
            else:
                lease = self._journal.switch_door(door.name)
            self._adopt(lease, door, why)
        finally:
            pair.handing_over = False
        pair.synchronise(f"orders go through {door.name} now: {why}")
        if self.policy.users is Users.TWO:
            self._stand_by()

    def _adopt(self, lease: DoorLease, door: IbTransport, why: str) -> None:
        pair, self.lease = self.pair, lease
        pair.hand_over(door)
        self._unplan()
        self.on_lease(lease)
        pair.tell(LinkEventKind.ALARM, f"orders go through {door.name} from now on (epoch {lease.epoch}): {why}")
        if pair.data.state is not LinkState.READY:
            pair.move_data(door, why)

    async def _fence(self, old: IbTransport, door: IbTransport) -> None:
        """One user has one session: the old door is closed for good, its own reconnecting too. With two users it may
        come back and be read; writes go to the live door alone."""
        if self.policy.users is Users.ONE:
            if door.state is not LinkState.READY:
                await self._look_before(door)
            await old.disconnect()
            self.pair.health[old.name].note(Sign.FENCED, self._clock.now(), f"for {door.name}")

    async def _look_before(self, door: IbTransport) -> None:
        """Do not close a door for one that is not even there."""
        if isinstance(door, Takeable) and not await door.is_reachable():
            raise ConnectFailed(f"door {door.name}", "it does not answer, or is not logged in", kind="unreachable")

    async def _unfence(self, old: IbTransport) -> None:
        if self.policy.users is not Users.ONE or old.state is LinkState.READY:
            return
        try:
            await old.connect()
        except BrokerError as failure:
            self.pair.health[old.name].note(Sign.REFUSED, self._clock.now(), str(failure))
            return
        self.pair.synchronise(f"{old.name} is back, {self.pair.other(old).name} could not be had")

    async def _open(self, door: IbTransport) -> None:
        """Connect, first without force. Raises ConnectFailed."""
        if door.state is LinkState.READY:
            return
        if door.state is not LinkState.DOWN:
            await door.disconnect()
        try:
            await door.connect()
        except ConnectFailed as refusal:
            by_force = self.policy.compete and self.policy.users is Users.ONE
            if not by_force or not isinstance(door, Takeable):
                self.pair.health[door.name].note(Sign.REFUSED, self._clock.now(), str(refusal))
                raise
            logger.warning("%s is taken by force: %s", door.name, refusal)
            await door.connect_by_force()
        if door.state is LinkState.BROKER_DOWN:
            # it answers, and nothing that is placed there would reach IB
            await door.disconnect()
            raise ConnectFailed(
                f"door {door.name}",
                "IB is not behind it: its link is down, or another session of this user has its place",
                "let it have its session back (the gateway's own window), then try again",
                kind="unreachable",
            )

    # The standby of two users

    def _stand_by(self) -> None:
        if self._standing_by is None or self._standing_by.done():
            self._standing_by = asyncio.get_running_loop().create_task(self._keep_standby(), name="standby")

    async def standby_tried(self, deadline: float) -> None:
        """Until the door without the pen has been tried, seconds at most; nothing for one user, whose session it would
        take."""
        if self._standing_by is not None:
            await asyncio.wait({self._standing_by}, timeout=deadline)

    async def _keep_standby(self) -> None:
        """Connect the door without the pen until it stands, then see what it shows; it keeps itself from then on."""
        while self._running:
            door = self.pair.other(self.pair.live)
            if door.state is LinkState.DOWN:
                try:
                    await door.connect()
                except BrokerError as failure:
                    self.pair.health[door.name].note(Sign.REFUSED, self._clock.now(), str(failure))
                    await asyncio.sleep(self.policy.retry_every)
                    continue
            if door.state is LinkState.READY:
                await self.probe()
                return
            await asyncio.sleep(self.policy.retry_every)

    async def probe(self) -> Sight:
        """What the standby shows of the live door's orders, by asking it. Never places anything."""
        pair = self.pair
        viewer, other = pair.other(pair.live), pair.live.name
        try:
            pair.evidence.orders(viewer.name, await viewer.open_orders(), is_open=True)
            pair.evidence.fills(viewer.name, await viewer.executions())
        except BrokerError as failure:
            logger.info("what %s shows is not known yet: %s", viewer.name, failure)
        return pair.evidence.sight(viewer.name, other)

    # Other processes that share the journal

    def _look_at_lease(self) -> None:
        if not self._running:
            return
        loop = asyncio.get_running_loop()
        self._lease_timer = loop.call_later(self.policy.lease_every, self._look_at_lease)
        self.follow()

    def follow(self) -> None:
        """Write through the door that the journal names, if another process changed it."""
        try:
            held = self._journal.door()
        except JournalError as failure:
            logger.warning("the lease cannot be read: %s", failure)
            return
        if held is None or self.lease is None or held == self.lease or not self._running:
            return
        if held.door == self.pair.live.name:
            self.lease = held
            self.on_lease(held)
            self.pair.synchronise(f"the lease of {held.door} was renewed")
        elif held.door in self.pair.health:
            self._change(self._take(self.pair.door(held.door), "another process changed the doors"))
