"""The TWS door of the exchange: requests in, messages out. No sockets and no clock of its own.

    door = TwsDoor(exchange, timers, settings)
    door.join(session) / door.leave(session)       after startApi / when its connection ends
    door.serve(session, request)                   one request; every answer is queued when it returns
    door.flush()                                   hands what is queued to the transports

Quotes reach subscriptions through `watch`; orders and fills reach the client that owns them, and nobody else but
client 0 for what was placed outside the API, and the master client.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ...domain.instrument import SecType
from ...errors import BrokerError
from ..events import (
    AccountChanged,
    CancelConfirmed,
    CancelRejected,
    CommissionCharged,
    ExchangeEvent,
    Executed,
    Halted,
    ModifyRejected,
    Notice,
    OrderRejected,
    PositionChanged,
    Printed,
    QuoteChanged,
    StatusChanged,
    Warned,
)
from ..fundamentals import CompanyReports
from ..news.desk import NewsDesk
from ..options.market import OptionMarket
from ..scans import Scanner
from ..timers import MarketTimers
from .accounts_feed import AccountsFeed
from .handlers import HANDLERS
from .messages_in import spec_of
from .offline import BROKEN, Offline
from .outbox import Overflow
from .render import commission_values, execution_values, open_order_frame, status_values
from .request import Request
from .session import Refusal, Session
from .settings import TwsSettings
from .wire_contract import resolve

if TYPE_CHECKING:
    from ...domain.instrument import InstrumentDetails
    from ..exchange import Exchange
    from ..faults import Faults
    from ..market_source import MarketSource
    from .contract import Contract

log = logging.getLogger(__name__)

#: Options are quoted and nothing else.
NO_OPTION_HISTORY = Refusal(
    162, "Historical Market Data Service error message:No market data permissions for SMART OPT"
)
MarketListener = Callable[[ExchangeEvent], None]
_MARKET = (QuoteChanged, Printed, Halted)
_NOTICES = (OrderRejected, ModifyRejected, CancelRejected, CancelConfirmed, Warned)


class TwsDoor:
    """Not thread-safe: everything happens on the loop that drives the exchange.

    `monotonic` is read for IB's pacing only. `failures` counts requests that failed for our own fault, by request.
    """

    def __init__(
        self,
        exchange: Exchange,
        source: MarketSource,
        timers: MarketTimers,
        settings: TwsSettings,
        faults: Faults,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.exchange = exchange
        self.options = OptionMarket(exchange, source.calendar)
        self.scanner = Scanner(exchange, self.options)
        self.reports = CompanyReports(exchange)
        self.news = NewsDesk(exchange, source.calendar)
        self.source = source
        self.timers = timers
        self.settings = settings
        self.faults = faults
        self.monotonic = monotonic
        self.sessions: dict[int, Session] = {}
        self.failures: Counter[str] = Counter()
        self.accounts = AccountsFeed(self)
        self.read_only = settings.read_only
        self.offline = Offline(self)
        #: Clients of another door whose orders and fills this door does not show.
        self.hidden_clients: frozenset[int] = frozenset()
        #: Today's bulletins, as rows of updateNewsBulletin.
        self.bulletins: list[dict[str, object]] = []
        self._dirty: dict[Session, None] = {}
        self._watchers: dict[int, dict[MarketListener, None]] = {}
        self._unsubscribers = [
            exchange.subscribe(self.guarded(self._on_market), *_MARKET),
            exchange.subscribe(self.guarded(self._on_status), StatusChanged),
            exchange.subscribe(self.guarded(self._on_executed), Executed),
            exchange.subscribe(self.guarded(self._on_commission), CommissionCharged),
            exchange.subscribe(self.guarded(self._on_notice), *_NOTICES),
            exchange.subscribe(self.guarded(self._on_books), PositionChanged, AccountChanged),
        ]

    @property
    def now(self) -> datetime:
        """Market time."""
        return self.exchange.now

    def close(self) -> None:
        for unsubscribe in self._unsubscribers:
            unsubscribe()
        self._unsubscribers.clear()

    # clients

    def join(self, session: Session) -> None:
        """The greeting of TWS: accounts, the next order id, and the state of the data farms."""
        self.sessions[session.client_id] = session
        session.send("managedAccounts", accountsList=",".join(self.exchange.accounts))
        session.send("nextValidId", orderId=self.next_order_id(session))
        if self.offline.now:
            session.error(-1, 2110, BROKEN)
            return
        for code, text in self.settings.farms:
            session.error(-1, code, text)

    def leave(self, session: Session) -> None:
        session.closed = True
        session.drop_subscriptions()
        session.outbox.clear()
        self._dirty.pop(session, None)
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]

    def next_order_id(self, session: Session) -> int:
        """Never lower than what this client was told or has used (unless a fault says so)."""
        following = max(self.exchange.next_order_id(session.client_id), session.last_id_told + 1)
        session.last_id_told = following
        return following - self.faults.order_ids_back

    # requests

    def serve(self, session: Session, request: Request) -> None:
        """Every request gets an answer: its data, IB's error, or 322 when this gateway itself failed."""
        self.attempt(session, request, self._handle)

    def _handle(self, session: Session, request: Request) -> None:
        if not self.faults.intercept(session, request) and not self.offline.take(session, request):
            HANDLERS[type(request)](session, request)

    def attempt(self, session: Session, request: Request, work: Callable[[Session, Any], None]) -> None:
        """`work(session, request)`, and the error that the client gets when it fails."""
        name = spec_of(request).name
        try:
            work(session, request)
        except Refusal as refusal:
            subject = request.subject if refusal.subject is None else refusal.subject
            session.error(subject, refusal.code, refusal.text)
        except BrokerError as error:
            session.error(request.subject, 322, f"Error processing request.-'{name}' : cause - {error}")
        except Exception:  # the boundary of one request: the client is told, the others go on
            self.failures[name] += 1
            log.exception("request %s of client %d failed", name, session.client_id)
            session.error(request.subject, 322, f"Error processing request.-'{name}' : cause - Internal error")

    def resolve(self, wanted: Contract, of_option: Refusal = NO_OPTION_HISTORY) -> InstrumentDetails:
        """The one instrument that a client means; raises Refusal, `of_option` where it means an option: of those only
        quotes are served."""
        found = self.resolve_any(wanted)
        if found.instrument.sec_type is SecType.OPTION:
            raise Refusal(of_option.code, of_option.text)
        return found

    def resolve_any(self, wanted: Contract) -> InstrumentDetails:
        """As `resolve`, options included."""
        return resolve(self.listed(wanted), wanted)

    def listed(self, wanted: Contract) -> Sequence[InstrumentDetails]:
        """Everything that could be meant: what the exchange trades, and for an option those on its underlying."""
        catalogue = self.exchange.catalogue()
        if wanted.secType not in ("", SecType.OPTION):
            return catalogue
        symbol = wanted.symbol.upper().replace(".", " ")
        options = self.options.candidates(symbol=symbol, con_id=wanted.conId, local_symbol=wanted.localSymbol.upper())
        return [*catalogue, *options]

    def bulletin(self, text: str, exchange: str = "", kind: int = 1) -> None:
        """A message to those who asked for bulletins; `kind` 1 plain, 2 halted, 3 trading again (IB msgType)."""
        values: dict[str, object] = {
            "msgId": len(self.bulletins) + 1,
            "msgType": kind,
            "message": text,
            "originExch": exchange,
        }
        self.bulletins.append(values)
        for session in self.sessions.values():
            if session.bulletins:
                session.send("updateNewsBulletin", **values)

    # outgoing

    def outgoing(self, session: Session, key: Hashable | None, frame: bytes) -> None:
        try:
            if key is None:
                session.outbox.send(frame)
            else:
                session.outbox.quote(key, frame)
        except Overflow as overflow:
            log.warning("client %d is disconnected: %s", session.client_id, overflow)
            session.closed = True
            session.hang_up()
            return
        self._dirty[session] = None

    def flush(self) -> None:
        """Hands everything queued to the transports."""
        if self._dirty:
            dirty, self._dirty = self._dirty, {}
            for session in dirty:
                session.outbox.flush()

    # market events

    def watch(self, con_id: int, listener: MarketListener) -> Callable[[], None]:
        """`listener` gets every QuoteChanged, Printed and Halted of `con_id`; returns how to stop it."""
        listener = self.guarded(listener)
        listeners = self._watchers.setdefault(con_id, {})
        listeners[listener] = None

        def stop() -> None:
            listeners.pop(listener, None)

        return stop

    def guarded(self, listener: MarketListener) -> MarketListener:
        """`listener`, whose failure is counted and does not stop the exchange or the other listeners."""

        def guard(event: ExchangeEvent) -> None:
            try:
                listener(event)
            except Exception:  # the boundary of one subscription
                self.failures["subscription"] += 1
                log.exception("a subscription failed on %s", type(event).__name__)

        return guard

    def _on_market(self, event: ExchangeEvent) -> None:
        if self.faults.silent_feed or self.offline.now:
            return
        listeners = self._watchers.get(event.con_id)  # type: ignore[attr-defined]
        if listeners:
            for listener in tuple(listeners):
                listener(event)
        self.accounts.on_price(event.con_id)  # type: ignore[attr-defined]

    def _on_books(self, event: ExchangeEvent) -> None:
        if not self.offline.now:
            if isinstance(event, PositionChanged):
                self.accounts.on_position(event)
            else:
                self.accounts.on_account(event)

    # the brokerage session that the other door may take

    def lose_session(self, *, queue_orders: bool) -> None:
        self.offline.begin(queue_orders=queue_orders)

    def regain_session(self, code: int) -> None:
        self.offline.end(code)

    # order events

    def shows(self, client_id: int) -> bool:
        """Whether what `client_id` trades is seen here."""
        return client_id not in self.hidden_clients

    def _audience(self, client_id: int, requested_by: int | None = None) -> Iterator[Session]:
        """Who is told about an order of `client_id`: its owner, whoever asked, the master client."""
        if self.offline.now or not self.shows(client_id):
            return
        wanted = {client_id, self.settings.master_client_id}
        if requested_by is not None:
            wanted.add(requested_by)
        if client_id < 0:
            wanted.add(0)
        for session in self.sessions.values():
            if session.client_id in wanted:
                yield session

    def _on_status(self, event: ExchangeEvent) -> None:
        assert isinstance(event, StatusChanged)
        view = event.order
        for session in self._audience(view.client_id, event.requested_by):
            asked = event.requested_by == session.client_id != view.client_id
            changes = self.faults.echo_changes(view)
            if event.order_changed and not self.faults.withholds(session, event):
                session.write(open_order_frame(session.version, view, **changes))
            if not self.faults.withholds(session, event):
                session.send("orderStatus", **status_values(view, session.client_id if asked else None))
            self.faults.after_status(session, view)

    def _on_executed(self, event: ExchangeEvent) -> None:
        assert isinstance(event, Executed)
        for session in self._audience(event.execution.client_id):
            if not self.faults.withholds(session, event):
                session.send("execDetails", **execution_values(event.execution))
                self.faults.after_execution(session, event.execution)

    def _on_commission(self, event: ExchangeEvent) -> None:
        assert isinstance(event, CommissionCharged)
        for session in self._audience(event.execution.client_id):
            if not self.faults.withholds(session, event):
                session.send("commissionReport", **commission_values(event.execution))

    def _on_notice(self, event: ExchangeEvent) -> None:
        assert isinstance(event, Notice)
        for session in self._audience(event.client_id, event.requested_by):
            if not self.faults.withholds(session, event):
                session.error(event.order_id, event.code, event.text, event.advanced)
