"""What the portal asks before it takes an order: one table of message ids, texts, and which orders earn them.

questions_for(session, drafts, suppressed)   the chain of questions that these orders must answer, in order
QUESTIONS                                    the table; every id in it can be suppressed, as IB lists them

Ids and what they are about are IB's ("Suppressible Message IDs" of the Web API documentation; client-portal.md section
2.5). An id that begins with "p" is a prompt, answered through /iserver/notification. The limits are what IB's order
presets hold for a new user, and settings of the door.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from ...domain.order import OrderType, Side
from ...errors import ConfigurationError
from .order_tickets import Draft
from .order_words import plain, price

if TYPE_CHECKING:
    from .session import PortalSession

SURE = "\nAre you sure you want to submit this order?"
#: IB takes at most so many ids in one suppression.
MOST_SUPPRESSED = 51
_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAIL})
_LIMITS = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.LIMIT_ON_CLOSE})

Earned = Callable[["PortalSession", Draft], bool]


def _no_data(session: PortalSession, draft: Draft) -> bool:
    settings, symbol = session.door.settings, draft.details.instrument.symbol
    market = session.door.exchange.market(draft.ticket.con_id)
    return symbol in settings.no_data or symbol in settings.not_subscribed or market.bid is None


def _far_from_market(session: PortalSession, draft: Draft) -> bool:
    """A limit that gives away more than the allowed percentage of the touch, or of its own stop."""
    ticket, market = draft.ticket, session.door.exchange.market(draft.ticket.con_id)
    touch = market.ask if ticket.side is Side.BUY else market.bid
    limit, begin = ticket.limit_price, ticket.stop_price if ticket.type is OrderType.STOP_LIMIT else touch
    if ticket.type not in _LIMITS or limit is None or not begin:
        return False
    return (limit - begin) * ticket.side.sign > begin * session.door.settings.price_percent / 100


def _too_large(session: PortalSession, draft: Draft) -> bool:
    return draft.ticket.quantity > session.door.settings.size_limit


def value_of(session: PortalSession, draft: Draft) -> Decimal | None:
    """What the order is worth at its own price, else at the touch; None without a price."""
    ticket, market = draft.ticket, session.door.exchange.market(draft.ticket.con_id)
    touch = market.ask if ticket.side is Side.BUY else market.bid
    at = ticket.limit_price or ticket.stop_price or touch or market.last
    return None if at is None else at * ticket.quantity * draft.details.instrument.multiplier


def _too_valuable(session: PortalSession, draft: Draft) -> bool:
    value = value_of(session, draft)
    return value is not None and value > session.door.settings.value_limit


def _is_stop(session: PortalSession, draft: Draft) -> bool:
    return draft.ticket.type in _STOPS


def _triggers_at_once(session: PortalSession, draft: Draft) -> bool:
    ticket, last = draft.ticket, session.door.exchange.market(draft.ticket.con_id).last
    if ticket.type not in _STOPS or ticket.stop_price is None or last is None or draft.parent:
        return False
    return (last - ticket.stop_price) * ticket.side.sign >= 0


def _never(session: PortalSession, draft: Draft) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Question:
    """`text` may name {order}, {size}, {value}, {currency}, {percent}, {size_limit} and {value_limit}."""

    id: str
    text: str
    earned: Earned = _never
    options: tuple[str, ...] = ("Yes", "No")

    @property
    def is_prompt(self) -> bool:
        return self.id.startswith("p")


#: In the order in which an order is asked. Those that no order earns here are asked when the settings say so.
QUESTIONS: dict[str, Question] = {
    row.id: row
    for row in (
        Question(
            "o354",
            "You are submitting an order without market data. We strongly recommend against this as it may result in "
            "erroneous and unexpected trades." + SURE,
            _no_data,
        ),
        Question(
            "o163",
            'The following order "{order}" price exceeds \nthe Percentage constraint of {percent}%.' + SURE,
            _far_from_market,
        ),
        Question(
            "o383", 'The following order "{order}" size exceeds the Size Limit of {size_limit}.' + SURE, _too_large
        ),
        Question(
            "o451",
            'The following order "{order}" value estimate of {value} {currency} exceeds \n'
            "the Total Value Limit of {value_limit} {currency}." + SURE,
            _too_valuable,
        ),
        Question("o403", "This order will most likely trigger and fill immediately." + SURE, _triggers_at_once),
        Question(
            "o10331",
            "You are about to submit a stop order. Please be aware of the various stop order types available and the "
            "risks associated with each one." + SURE,
            _is_stop,
        ),
        Question("o382", 'The following order "{order}" price exceeds the tick size limit.' + SURE),
        Question("o2136", "Mixed allocation order warning." + SURE),
        Question("o2137", "Cross side order warning." + SURE),
        Question("o2165", "This instrument does not support fractions outside regular trading hours." + SURE),
        Question("o10082", "Called bond warning." + SURE),
        Question("o10138", "The following order size modification exceeds the size modification limit." + SURE),
        Question("o10151", "Market orders carry the risk of an execution far from the price that you see." + SURE),
        Question("o10152", "Stop orders become market orders once they are active, with the risks of those." + SURE),
        Question("o10153", "A cap on the price may be set to keep the market fair and orderly." + SURE),
        Question("o10164", "Traders are responsible for understanding cash quantity details." + SURE),
        Question("o10223", "Cash quantity order confirmation." + SURE),
        Question("o10288", "Market orders for crypto currencies carry their own risks." + SURE),
        Question("o10332", "Crypto order warning." + SURE),
        Question("o10333", "Option exercise at the money warning." + SURE),
        Question("o10334", "The order will be placed into the current omnibus account." + SURE),
        Question("o10335", "Rapid entry confirmation." + SURE),
        Question("o10336", "This security has limited liquidity." + SURE),
        Question("p6", "This order will be distributed over multiple accounts.", options=("Submit", "Cancel")),
        Question(
            "p12",
            "If your order is not immediately executable, our systems may, depending on market conditions, reject "
            "your order if its limit price is more than the allowed amount away from the reference price.",
            options=("Submit", "Cancel"),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as it is put to one client."""

    question: Question
    text: str


def question(message_id: str) -> Question:
    """Raises ConfigurationError for an id that is not in the table."""
    row = QUESTIONS.get(message_id)
    if row is None:
        raise ConfigurationError(f"question {message_id!r}", "it is not one of IB's", f"use {', '.join(QUESTIONS)}")
    return row


def questions_for(session: PortalSession, drafts: Sequence[Draft], suppressed: Collection[str]) -> list[Asked]:
    """The questions of the settings, then what the orders earn; each id once, suppressed ones not at all."""
    subject = drafts[0]
    chain = {
        row.id: Asked(row, _worded(session, subject, row)) for row in map(question, session.door.settings.questions)
    }
    for row in QUESTIONS.values():
        for draft in drafts:
            if row.id not in chain and row.earned(session, draft):
                chain[row.id] = Asked(row, _worded(session, draft, row))
    return [asked for message_id, asked in chain.items() if message_id not in suppressed]


def _worded(session: PortalSession, draft: Draft, row: Question) -> str:
    settings, ticket, instrument = session.door.settings, draft.ticket, draft.details.instrument
    at = f" @ {price(ticket.limit_price)}" if ticket.limit_price else ""
    place = instrument.primary_exchange or instrument.exchange
    value = value_of(session, draft)
    return row.text.format(
        order=f"{ticket.side} {plain(ticket.quantity)} {instrument.symbol} {place}{at}",
        value="an unknown amount" if value is None else f"{value:,.2f}",
        currency=instrument.currency,
        percent=plain(settings.price_percent),
        size_limit=plain(settings.size_limit),
        value_limit=f"{settings.value_limit:,.0f}",
    )
