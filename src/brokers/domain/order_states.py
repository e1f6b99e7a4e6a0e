"""The life cycle of an order: one transition table, and nothing else decides a state.

A missing row is an error (IllegalTransition), except that terminal states absorb every event.
"""

from __future__ import annotations

from enum import StrEnum


class OrderState(StrEnum):
    INTENT = "INTENT"  #: durable in the journal, nothing sent
    SENT = "SENT"  #: bytes handed to the link, no answer yet
    UNKNOWN = "UNKNOWN"  #: it may or may not be at the broker; ends only by evidence
    STAGED = "STAGED"  #: held at the broker untransmitted (transmit=False)
    PRE_SUBMITTED = "PRE_SUBMITTED"  #: accepted, waiting for its trigger, the open, or a parent
    WORKING = "WORKING"  #: live at the exchange
    PENDING_CANCEL = "PENDING_CANCEL"  #: cancel sent, still live until proven otherwise
    INACTIVE = "INACTIVE"  #: accepted and held (e.g. locating shares); may revive
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    NOT_SENT = "NOT_SENT"  #: proven never to have left; safe to place again under a new key

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL

    @property
    def may_be_live(self) -> bool:
        """Whether it can still fill at the broker."""
        return self in MAY_BE_LIVE


TERMINAL = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.NOT_SENT})
MAY_BE_LIVE = frozenset(
    {
        OrderState.SENT,
        OrderState.UNKNOWN,
        OrderState.STAGED,
        OrderState.PRE_SUBMITTED,
        OrderState.WORKING,
        OrderState.PENDING_CANCEL,
        OrderState.INACTIVE,
    }
)


class OrderSignal(StrEnum):
    """What can happen to an order."""

    SEND = "SEND"  #: bytes handed to the link
    SEND_FAILED = "SEND_FAILED"  #: proven that no byte left
    LINK_LOST = "LINK_LOST"  #: the link ended before an acknowledgement
    ACK_TIMEOUT = "ACK_TIMEOUT"  #: no acknowledgement in time
    STAGE = "STAGE"
    PRE_SUBMIT = "PRE_SUBMIT"
    WORK = "WORK"
    HOLD = "HOLD"  #: broker says inactive but not dead
    CANCEL_SENT = "CANCEL_SENT"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    PARTIAL_FILL = "PARTIAL_FILL"
    FILL = "FILL"  #: filled in full, by executions
    CANCEL = "CANCEL"
    REJECT = "REJECT"
    ABSENT = "ABSENT"  #: proven absent by complete queries of the broker (faults.md Q4)


S, E = OrderState, OrderSignal
_LIVE = (S.STAGED, S.PRE_SUBMITTED, S.WORKING, S.INACTIVE)

#: (state, signal) -> next state. Terminal states have no rows: they absorb.
TRANSITIONS: dict[tuple[OrderState, OrderSignal], OrderState] = {
    (S.INTENT, E.SEND): S.SENT,
    (S.INTENT, E.SEND_FAILED): S.NOT_SENT,
    # A restart that finds an INTENT cannot know whether bytes left.
    (S.INTENT, E.LINK_LOST): S.UNKNOWN,
    (S.INTENT, E.ACK_TIMEOUT): S.UNKNOWN,
    (S.INTENT, E.ABSENT): S.NOT_SENT,
    (S.INTENT, E.REJECT): S.REJECTED,
    (S.INTENT, E.CANCEL): S.CANCELLED,
    (S.INTENT, E.STAGE): S.STAGED,
    (S.INTENT, E.PRE_SUBMIT): S.PRE_SUBMITTED,
    (S.INTENT, E.WORK): S.WORKING,
    (S.INTENT, E.HOLD): S.INACTIVE,
    (S.INTENT, E.PARTIAL_FILL): S.WORKING,
    (S.INTENT, E.FILL): S.FILLED,
    (S.INTENT, E.CANCEL_SENT): S.PENDING_CANCEL,
    (S.INTENT, E.CANCEL_REFUSED): S.INTENT,
    (S.SENT, E.SEND): S.SENT,
    (S.SENT, E.SEND_FAILED): S.NOT_SENT,
    (S.SENT, E.LINK_LOST): S.UNKNOWN,
    (S.SENT, E.ACK_TIMEOUT): S.UNKNOWN,
    (S.SENT, E.STAGE): S.STAGED,
    (S.SENT, E.PRE_SUBMIT): S.PRE_SUBMITTED,
    (S.SENT, E.WORK): S.WORKING,
    (S.SENT, E.HOLD): S.INACTIVE,
    (S.SENT, E.CANCEL_SENT): S.PENDING_CANCEL,
    (S.SENT, E.CANCEL_REFUSED): S.SENT,
    (S.SENT, E.PARTIAL_FILL): S.WORKING,
    (S.SENT, E.FILL): S.FILLED,
    (S.SENT, E.CANCEL): S.CANCELLED,
    (S.SENT, E.REJECT): S.REJECTED,
    (S.SENT, E.ABSENT): S.NOT_SENT,
    (S.UNKNOWN, E.SEND): S.UNKNOWN,
    (S.UNKNOWN, E.SEND_FAILED): S.NOT_SENT,
    (S.UNKNOWN, E.LINK_LOST): S.UNKNOWN,
    (S.UNKNOWN, E.ACK_TIMEOUT): S.UNKNOWN,
    (S.UNKNOWN, E.STAGE): S.STAGED,
    (S.UNKNOWN, E.PRE_SUBMIT): S.PRE_SUBMITTED,
    (S.UNKNOWN, E.WORK): S.WORKING,
    (S.UNKNOWN, E.HOLD): S.INACTIVE,
    (S.UNKNOWN, E.CANCEL_SENT): S.UNKNOWN,
    (S.UNKNOWN, E.CANCEL_REFUSED): S.UNKNOWN,
    (S.UNKNOWN, E.PARTIAL_FILL): S.WORKING,
    (S.UNKNOWN, E.FILL): S.FILLED,
    (S.UNKNOWN, E.CANCEL): S.CANCELLED,
    (S.UNKNOWN, E.REJECT): S.REJECTED,
    (S.UNKNOWN, E.ABSENT): S.NOT_SENT,
    **{(state, E.SEND): state for state in _LIVE},  # a modify
    **{(state, E.SEND_FAILED): state for state in _LIVE},
    **{(state, E.LINK_LOST): state for state in _LIVE},
    **{(state, E.ACK_TIMEOUT): state for state in _LIVE},
    **{(state, E.STAGE): S.STAGED for state in _LIVE},
    **{(state, E.PRE_SUBMIT): S.PRE_SUBMITTED for state in _LIVE},
    **{(state, E.WORK): S.WORKING for state in _LIVE},
    **{(state, E.HOLD): S.INACTIVE for state in _LIVE},
    **{(state, E.CANCEL_SENT): S.PENDING_CANCEL for state in _LIVE},
    **{(state, E.CANCEL_REFUSED): state for state in _LIVE},
    **{(state, E.PARTIAL_FILL): S.WORKING for state in _LIVE},
    **{(state, E.FILL): S.FILLED for state in _LIVE},
    **{(state, E.CANCEL): S.CANCELLED for state in _LIVE},
    **{(state, E.REJECT): S.REJECTED for state in _LIVE},
    # Gone from the broker's books with no fill told: only evidence of its end may close it.
    **{(state, E.ABSENT): S.UNKNOWN for state in _LIVE},
    (S.PENDING_CANCEL, E.SEND): S.PENDING_CANCEL,
    (S.PENDING_CANCEL, E.SEND_FAILED): S.PENDING_CANCEL,
    (S.PENDING_CANCEL, E.LINK_LOST): S.PENDING_CANCEL,
    (S.PENDING_CANCEL, E.ACK_TIMEOUT): S.PENDING_CANCEL,
    (S.PENDING_CANCEL, E.STAGE): S.PENDING_CANCEL,
    (S.PENDING_CANCEL, E.PRE_SUBMIT): S.PENDING_CANCEL,
    (S.PENDING_CANCEL, E.WORK): S.PENDING_CANCEL,
    (S.PENDING_CANCEL, E.HOLD): S.PENDING_CANCEL,
    (S.PENDING_CANCEL, E.CANCEL_SENT): S.PENDING_CANCEL,
    (S.PENDING_CANCEL, E.CANCEL_REFUSED): S.WORKING,
    (S.PENDING_CANCEL, E.PARTIAL_FILL): S.PENDING_CANCEL,
    (S.PENDING_CANCEL, E.FILL): S.FILLED,
    (S.PENDING_CANCEL, E.CANCEL): S.CANCELLED,
    (S.PENDING_CANCEL, E.REJECT): S.REJECTED,
    (S.PENDING_CANCEL, E.ABSENT): S.UNKNOWN,
}


class IllegalTransition(RuntimeError):
    """The table has no row for this state and signal: a bug here, never the broker's fault."""


def next_state(state: OrderState, signal: OrderSignal) -> OrderState:
    """The state after `signal`; terminal states absorb. Raises IllegalTransition for a missing row."""
    if state in TERMINAL:
        return state
    try:
        return TRANSITIONS[state, signal]
    except KeyError:
        raise IllegalTransition(f"no transition from {state} on {signal}") from None
