"""The portal session's life: the outer login, the brokerage session inside it, the stream; kept alive and re-begun.

One task at a time restores what was lost. Nothing here logs a person in: that takes a browser (or OAuth).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ...domain.clock import MarketClock
from ...errors import (
    BrokerError,
    ConnectFailed,
    DeadlineExceeded,
    LinkError,
    LinkLost,
    NotConnected,
    PacingViolation,
    RequestFailed,
)
from ..config.ib_config import PortalSettings
from ..ib_link_session import LinkSession, Sections
from ..ib_transport import LinkEventKind, LinkState
from .answers import Trouble, expect_object, failure, judge, told
from .handshake import ACCOUNTS, STATUS, Handshake, is_usable, shortcoming
from .limits import Lanes, Priority
from .session_owner import SessionOwner
from .stream import Stream
from .wire import Ambiguous, HttpCall, HttpReply, NotSent
from .words import to_moment

logger = logging.getLogger(__name__)

#: Portal times are told in milliseconds and are a round trip old.
CLOCK_SLACK = timedelta(seconds=0.25)


class Session(LinkSession):
    """Keeps one portal session alive. `random_number` gives the jitter, 0 to 1."""

    label = "portal: "
    connected_in = frozenset({LinkState.SYNCING, LinkState.READY})

    def __init__(
        self,
        lanes: Lanes,
        stream: Stream,
        settings: PortalSettings,
        clock: MarketClock,
        owner: SessionOwner,
        random_number: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(clock, Sections(settings.connect_deadline, settings.first_wait))
        self.lanes = lanes
        self.stream = stream
        self.settings = settings
        self._market_clock = clock
        self._owner = owner
        self._random = random_number
        self.handshake = Handshake(settings, self.exchange)
        self._restoring: asyncio.Task[None] | None = None
        self._reopening: asyncio.Task[None] | None = None
        stream.on_down = self._on_stream_down
        stream.handle("sts", self._on_sts)
        lanes.on_penalty = self._on_penalty

    @property
    def accounts(self) -> tuple[str, ...]:
        return self.handshake.accounts

    # Asking

    async def ask(self, call: HttpCall, priority: Priority = Priority.DATA) -> Any:
        """The JSON of a question's answer. Raises NotConnected, LinkLost, RequestFailed and its kinds.

        Only for what changes nothing: an answer that asks for /iserver/accounts first is asked again, once.
        """
        for attempt in (1, 2):
            reply = await self.exchange(call, priority)
            row = judge(reply)
            if row is None:
                return reply.json()
            if row.trouble is Trouble.ASK_ACCOUNTS and attempt == 1:
                await self.exchange(HttpCall("GET", ACCOUNTS, what="accounts"), priority)
                continue
            break
        assert row is not None
        self.note_trouble(row.trouble, told(reply))
        raise failure(call, reply, row)

    async def exchange(self, call: HttpCall, priority: Priority) -> HttpReply:
        """One reading exchange. Raises NotConnected, LinkLost, PacingViolation."""
        try:
            return await self.lanes.call(call, priority)
        except NotSent as error:
            self.suspect(str(error))
            raise NotConnected(str(call), error.why, "nothing was sent") from None
        except Ambiguous as error:
            self.suspect(str(error))
            raise LinkLost(str(call), error.why, "ask again") from None

    def note_trouble(self, trouble: Trouble, why: str) -> None:
        """What an answer to any request says of the session as a whole."""
        if trouble in (Trouble.NO_BRIDGE, Trouble.NO_LOGIN, Trouble.COMPETING):
            self.lose(LinkState.BROKER_DOWN, f"{trouble}: {why}")

    def suspect(self, why: str) -> None:
        """A request found no answer: ask the session itself at once."""
        if self.state is LinkState.READY and (self._probe is None or self._probe.done()):
            self._probe = self.spawn(self._probe_link(why), "probe")

    # Connecting

    async def connect(self) -> None:
        """Establish the session and sync. Raises ConnectFailed; nothing is retried."""
        if self._wanted:
            raise ConnectFailed(
                "connecting", f"the session is already {self.state}", "disconnect first", kind="closed_early"
            )
        self._wanted = True
        self.lanes.recall()
        try:
            try:
                await self._establish()
            except (ConnectFailed, PacingViolation) as refusal:
                await self._wait_out(refusal)
                await self._establish()
        except BaseException:
            self._wanted = False
            self.stream.close()
            self.state = LinkState.DOWN
            raise
        self.tell(LinkEventKind.UP, f"connected to {self.settings.url}")

    async def _wait_out(self, refusal: BrokerError) -> None:
        """Another program at this address has just used up a limit: wait for it once, if it is short. Raises `refusal`
        otherwise."""
        pause = self.lanes.closed_until - asyncio.get_running_loop().time()
        if not 0 < pause <= self.settings.connect_deadline:
            raise refusal
        logger.info("connecting again in %.0f s: %s", pause, refusal)
        self.stream.close()
        self.state = LinkState.CONNECTING
        await asyncio.sleep(pause)

    async def _establish(self) -> None:
        self.attempts += 1
        self.state = LinkState.CONNECTING
        began = False
        try:
            async with asyncio.timeout(self.settings.connect_deadline):
                began = await self.handshake.begin()
        except TimeoutError:
            raise ConnectFailed(
                "connecting", f"no session within {self.settings.connect_deadline:g} s", kind="timeout"
            ) from None
        except PacingViolation:
            raise
        except (NotConnected, LinkLost) as error:
            raise ConnectFailed("connecting", error.why, _advice(error.why), kind="unreachable") from error
        except (RequestFailed, LinkError) as error:
            if isinstance(error, ConnectFailed):
                raise
            raise ConnectFailed("connecting", str(error), kind="protocol") from error
        self._owner.check_session(self.handshake.accounts)
        if began or self.established:
            # caches of a session that was lost tell nothing of the new one
            self._owner.forget_caches()
        self.state = LinkState.SYNCING
        await self._open_stream()
        await self._ask_sections(self._owner.startup_queries())
        if self.state is not LinkState.SYNCING:
            raise ConnectFailed("connecting", "the link ended while it was synced", kind="closed_early")
        self.established += 1
        self.state = LinkState.READY
        self._schedule_watch()

    async def _open_stream(self) -> None:
        """A stream that cannot be opened leaves polling; it is tried again."""
        try:
            await self.stream.open(self.handshake.session_id)
        except NotSent as error:
            logger.warning("the stream cannot be opened: %s", error.why)
            self._reopen(error.why)
            return
        await self.set_clock()

    async def disconnect(self) -> None:
        """End the session here; the gateway's login stays, for whoever comes next."""
        self._wanted = False
        self._stop_watch()
        self.stream.close()
        self.lanes.stop()
        await self._end_tasks()
        self._restoring = self._reopening = None
        self.state = LinkState.DOWN

    # Losing and restoring

    def lose(self, state: LinkState, why: str) -> None:
        """The session cannot be used: BROKER_DOWN while the gateway answers, else WAITING. Starts the one task that
        restores it."""
        was = self.state
        if was not in (LinkState.READY, LinkState.SYNCING):
            return
        self._stop_watch()
        self.state = state
        self.stream.close()
        self._sections.forget("the link was lost")
        self.lanes.fail_waiting(f"the session was lost: {why}")
        self._owner.on_session_lost(LinkLost("the session", why))
        if was is LinkState.READY and self._wanted:
            self._owner.on_trust_lost(why)
            self.tell(LinkEventKind.LOST, why)
            if self._restoring is None or self._restoring.done():
                self._restoring = self.spawn(self._restore(state), "restore")

    async def _restore(self, state: LinkState) -> None:
        """One attempt at once (fault P05), then back-off with jitter: a gateway that is asked every minute for hours
        refuses fresh logins."""
        failures, wait = 0, self.settings.first_wait
        while self._wanted:
            try:
                await self._establish()
            except ConnectFailed as error:
                failures += 1
                unreachable = error.kind in ("unreachable", "timeout", "refused")
                self.state = LinkState.WAITING if unreachable else LinkState.BROKER_DOWN
                self.stream.close()
                if failures in (2, 6) or (failures == 1 and error.kind == "account"):
                    self.tell(LinkEventKind.ALARM, f"attempt {failures} to restore the session: {error}")
                await asyncio.sleep(wait * (1 + self.settings.jitter * (2 * self._random() - 1)))
                wait = min(wait * 2, self.settings.longest_wait)
                continue
            except PacingViolation:
                self.state = state
                now = asyncio.get_running_loop().time()
                await asyncio.sleep(max(self.lanes.closed_until - now, self.settings.first_wait))
                continue
            except BrokerError as error:
                self._wanted = False
                self.state = LinkState.DOWN
                self.tell(LinkEventKind.ALARM, f"the new session was refused: {error}")
                return
            break
        if not self._wanted:
            return
        text = f"connected again after {failures} failed attempts"
        restored, failed = self._owner.restore_subscriptions()
        self.tell(LinkEventKind.SUBSCRIPTIONS_RESTORED, text, restored=restored, failed=failed)
        self._owner.on_trust_restored(text)
        self.tell(LinkEventKind.RESTORED, text)

    def _on_penalty(self, why: str) -> None:
        self.tell(LinkEventKind.ALARM, why)
        self.lose(LinkState.BROKER_DOWN, why)

    def _on_sts(self, frame: dict[str, Any]) -> None:
        args = frame.get("args")
        if not isinstance(args, dict) or self.state is not LinkState.READY:
            return
        if args.get("authenticated") is False or args.get("competing") is True:
            self.lose(LinkState.BROKER_DOWN, shortcoming({"authenticated": args.get("authenticated", True), **args}))

    def _on_stream_down(self, why: str) -> None:
        if self.state is LinkState.READY:
            self._owner.on_stream(False, why)
            self._reopen(why)

    def _reopen(self, why: str) -> None:
        if self._reopening is None or self._reopening.done():
            self._reopening = self.spawn(self._reopen_stream(why), "stream")

    async def _reopen_stream(self, why: str) -> None:
        wait = self.settings.first_wait
        while self._wanted and not self.stream.is_open:
            await asyncio.sleep(wait)
            wait = min(wait * 2, self.settings.longest_wait)
            if self.state is not LinkState.READY:
                continue
            try:
                await self.handshake.tickle()
                await self.stream.open(self.handshake.session_id)
            except (NotSent, BrokerError) as error:
                logger.info("the stream cannot be opened yet: %s", error)
                continue
            await self.set_clock()
            self._owner.on_stream(True, why)

    # Watching

    def _schedule_watch(self) -> None:
        self._stop_watch()
        self._watch = asyncio.get_running_loop().call_later(self.settings.watch_every, self._look)

    def _look(self) -> None:
        """Once a second: tickle what is due, probe what is silent, and give up a stream that does not beat."""
        self._watch = None
        if self.state is not LinkState.READY:
            return
        now = asyncio.get_running_loop().time()
        heard = max(self.lanes.last_heard, self.stream.last_frame)
        due = (
            now - heard >= self.settings.idle_before_probe or now - self.handshake.tickled >= self.settings.tickle_every
        )
        if due and (self._probe is None or self._probe.done()):
            self._probe = self.spawn(self._probe_link("the link fell silent"), "probe")
        if self.stream.is_open and now - self.stream.last_frame >= self.settings.stream_silence:
            self.stream.abandon(f"no frame for {self.settings.stream_silence:g} s")
        self._schedule_watch()

    async def _probe_link(self, why: str) -> None:
        try:
            status = await self.handshake.tickle()
        except ConnectFailed as error:
            self.lose(LinkState.BROKER_DOWN, str(error))
        except (NotConnected, LinkLost) as error:
            self.failed_probes += 1
            self.lose(LinkState.WAITING, f"{why}; no answer to a tickle: {error.why}")
        except (LinkError, RequestFailed) as error:
            logger.warning("tickle: %s", error)
        else:
            if status and not is_usable(status):
                self.lose(LinkState.BROKER_DOWN, shortcoming(status))

    async def verify(self, deadline: float) -> None:
        """Prove that an order may leave, unless the gateway answered within the last second (C10)."""
        self.require("an order")
        now = asyncio.get_running_loop().time()
        if now - self.lanes.last_heard <= self.settings.silent_before_order:
            return
        call = HttpCall("POST", STATUS, what="probe before an order", deadline=deadline)
        try:
            reply = await self.within(str(call), self.lanes.call(call, Priority.ORDER), deadline)
        except (NotSent, Ambiguous, DeadlineExceeded) as error:
            self.failed_probes += 1
            self.lose(LinkState.WAITING, f"no answer to a probe within {deadline:g} s")
            raise LinkLost(str(call), str(error)) from None
        row, body = judge(reply), reply.json()
        if row is not None:
            self.note_trouble(row.trouble, told(reply))
            raise LinkLost(str(call), told(reply))
        status = expect_object(call, body)
        if not is_usable(status):
            self.lose(LinkState.BROKER_DOWN, shortcoming(status))
            raise LinkLost(str(call), shortcoming(status))

    async def set_clock(self) -> None:
        """The market clock, by the stream; it stays as it is when the stream tells nothing."""
        moment = to_moment(await self.stream.tic())
        if moment is None:
            return
        if self._offset is None or abs(moment - self._clock.now()) > CLOCK_SLACK or self._market_clock.rate != 1.0:
            self._market_clock.tell(moment)
        self._offset = self._market_clock.offset()


def _advice(why: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in why or "fingerprint" in why.lower():
        return "name the authority's file in IB_PORTAL_CA_FILE, or pin the certificate by IB_PORTAL_FINGERPRINT"
    return "is the gateway running?"
