"""The market data line of one option: quote, day's figures, open interest, and the greeks of message 21.

It moves with its underlying. Options trade in regular hours only: outside of them no side is quoted, as in TWS.
"""

from __future__ import annotations

from datetime import datetime

from ...domain.instrument import InstrumentDetails
from ..events import ExchangeEvent, Halted
from ..models import MarketView
from ..options.market import Computation, OptionState
from ..past_view import past_view
from . import tick_types as t
from .market_data import CAN_AUTO_EXECUTE, DELAY, MarketDataLine
from .messages_out import encode
from .session import Session

#: tickAttrib of message 21: computed from prices, not from returns.
_PRICE_BASED = 1


class OptionLine(MarketDataLine):
    """As a stock's line; the events that move it are those of the underlying."""

    def __init__(
        self,
        session: Session,
        req_id: int,
        details: InstrumentDetails,
        generics: frozenset[int],
        *,
        snapshot: bool,
        delayed: bool,
    ) -> None:
        super().__init__(session, req_id, details, generics, snapshot=snapshot, delayed=delayed)
        self._con_id = details.under_con_id or 0
        self._told_computations: dict[int, bytes] = {}
        self._computations = t.DELAYED_COMPUTATIONS if delayed else t.LIVE_COMPUTATIONS

    @property
    def _open_now(self) -> bool:
        return self._session.door.options.is_open(self._con_id)

    def _show(self, view: MarketView) -> None:
        self._show_state(self._session.door.options.quote(self._details))

    def _show_past(self, moment: datetime) -> None:
        door = self._session.door
        stock = door.exchange.details(self._con_id)
        view = past_view(door.source, stock, moment) if stock is not None else None
        price = (
            None if view is None else view.last if view.bid is None or view.ask is None else (view.bid + view.ask) / 2
        )
        if price is not None:
            self._show_state(door.options.quote(self._details, moment=moment, spot=float(price)))

    def _on_event(self, event: ExchangeEvent) -> None:
        self._tell_type()
        door = self._session.door
        if isinstance(event, Halted):
            self._ticks.generic(self._types.halted, float(event.halted))
        elif self._delayed:
            self._show_past(door.now - DELAY)
        else:
            self._show_state(door.options.quote(self._details))

    def _show_state(self, state: OptionState | None) -> None:
        if state is None:
            return
        ticks, types, kinds = self._ticks, self._types, self._computations
        quoted = self._open_now or self._type_told in (2, 4)
        bid, ask = (state.bid, state.ask) if quoted else (None, None)
        ticks.price(types.bid, bid, state.bid_size if bid else 0, CAN_AUTO_EXECUTE, size_tick=types.bid_size)
        ticks.price(types.ask, ask, state.ask_size if ask else 0, CAN_AUTO_EXECUTE, size_tick=types.ask_size)
        if state.last is not None:
            ticks.price(types.last, state.last)
        if state.close is not None:
            ticks.price(types.close, state.close)
        ticks.size(types.volume, state.volume)
        self._show_counts(state)
        for kind, computed in (
            (kinds.bid, state.of_bid if quoted else None),
            (kinds.ask, state.of_ask if quoted else None),
            (kinds.last, state.of_last),
            (kinds.model, state.model),
        ):
            if computed is not None:
                self._compute(kind, computed, state.spot)

    def _show_counts(self, state: OptionState) -> None:
        """Generic ticks: an option tells its own figures under the tick of its right, and nothing under the other."""
        wanted, ticks = self._generics, self._ticks
        call = self._details.instrument.right == "C"
        if 100 in wanted:
            ticks.size(t.CALL_VOLUME if call else t.PUT_VOLUME, state.volume)
        if 101 in wanted:
            ticks.size(t.CALL_OPEN_INTEREST if call else t.PUT_OPEN_INTEREST, state.open_interest)
        if 106 in wanted and state.model.volatility is not None:
            ticks.generic(t.IMPLIED_VOLATILITY, state.model.volatility)

    def _compute(self, kind: int, computed: Computation, spot: float) -> None:
        untold = self._session.door.faults.no_greeks
        value = None if untold else computed.value
        frame = encode(
            self._session.version,
            "tickOptionComputation",
            reqId=self._req_id,
            tickType=kind,
            tickAttrib=_PRICE_BASED,
            impliedVol=None if untold else computed.volatility,
            delta=None if value is None else value.delta,
            optPrice=None if untold else computed.price,
            pvDividend=None if untold else 0.0,
            gamma=None if value is None else value.gamma,
            vega=None if value is None else value.vega,
            theta=None if value is None else value.theta,
            undPrice=None if untold else spot,
        )
        if self._told_computations.get(kind) != frame:
            self._told_computations[kind] = frame
            self._session.quote((self._req_id, "computation", kind), frame)
