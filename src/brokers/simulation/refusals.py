"""IB's error codes and texts for orders, as one table. A text's {names} are filled in by `refuse`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why an order, a change or a cancel is refused, or what it is warned of."""

    DUPLICATE_ID = "DUPLICATE_ID"
    MODIFY_FILLED = "MODIFY_FILLED"
    MODIFY_MISMATCH = "MODIFY_MISMATCH"
    MODIFY_PENDING_CANCEL = "MODIFY_PENDING_CANCEL"
    TICK = "TICK"
    TIF_AND_TYPE = "TIF_AND_TYPE"
    TIF_OF_CLOSING = "TIF_OF_CLOSING"
    PARENT_UNKNOWN = "PARENT_UNKNOWN"
    CANCEL_PENDING = "CANCEL_PENDING"
    NO_CONTRACT = "NO_CONTRACT"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    NOT_ALLOWED = "NOT_ALLOWED"
    INVALID = "INVALID"
    BAD_TYPE = "BAD_TYPE"
    TOO_SMALL = "TOO_SMALL"
    MESSAGE = "MESSAGE"
    STOP_PRICE = "STOP_PRICE"
    LOCATE = "LOCATE"
    ZERO_SIZE = "ZERO_SIZE"
    NO_ACCOUNT = "NO_ACCOUNT"
    OUTSIDE_RTH_IGNORED = "OUTSIDE_RTH_IGNORED"
    CANCEL_UNKNOWN = "CANCEL_UNKNOWN"
    CANCEL_DONE = "CANCEL_DONE"
    FRACTION = "FRACTION"
    FRACTION_TYPE = "FRACTION_TYPE"
    OCA_REVISION = "OCA_REVISION"


@dataclass(frozen=True, slots=True)
class Refusal:
    """IB's error as it goes to the client. `reason` None for codes that a script injected."""

    code: int
    text: str
    reason: Reason | None = None


TEXTS: dict[Reason, tuple[int, str]] = {
    Reason.DUPLICATE_ID: (103, "Duplicate order id"),
    Reason.MODIFY_FILLED: (104, "Cannot modify a filled order."),
    Reason.MODIFY_MISMATCH: (105, "Order being modified does not match original order."),
    Reason.TICK: (110, "The price does not conform to the minimum price variation for this contract."),
    Reason.TIF_AND_TYPE: (111, "The TIF (Tif type) and the order type are incompatible."),
    Reason.TIF_OF_CLOSING: (113, "The Tif option should be set to DAY for MOC and LOC orders."),
    Reason.PARENT_UNKNOWN: (135, "Can't find order with ID ={order_id}"),
    Reason.CANCEL_PENDING: (
        161,
        "Cancel attempted when order is not in a cancellable state.  Order permId ={perm_id}",
    ),
    Reason.MODIFY_PENDING_CANCEL: (161, "Order is being cancelled and cannot be modified.  Order permId ={perm_id}"),
    Reason.NO_CONTRACT: (200, "No security definition has been found for the request"),
    Reason.REJECTED: (201, "Order rejected - reason:{why}"),
    Reason.CANCELLED: (202, "Order Canceled - reason:{why}"),
    Reason.NOT_ALLOWED: (203, "The security {symbol} is not available or allowed for this account."),
    Reason.INVALID: (321, "Error validating request.-'bW' : cause - {why}"),
    Reason.BAD_TYPE: (387, "Unsupported order type for this exchange and security type."),
    Reason.TOO_SMALL: (388, "Order size {quantity} is smaller than the minimum required size of {least}."),
    Reason.MESSAGE: (399, "Order Message:\n{order}\nWarning: {why}"),
    Reason.STOP_PRICE: (403, "Invalid stop price."),
    Reason.LOCATE: (
        404,
        "Shares for this order are not immediately available for short sale. The order will be held while we attempt "
        "to locate the shares.",
    ),
    Reason.ZERO_SIZE: (434, "The order size cannot be zero."),
    Reason.NO_ACCOUNT: (435, "You must specify an account."),
    Reason.OUTSIDE_RTH_IGNORED: (
        2109,
        "Order Event Warning:Attribute 'Outside Regular Trading Hours' is ignored based on the order type and "
        "destination. PlaceOrder is now being processed.",
    ),
    Reason.CANCEL_UNKNOWN: (10147, "OrderId {order_id} that needs to be cancelled is not found."),
    Reason.CANCEL_DONE: (10148, "OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {state}."),
    Reason.FRACTION: (
        10243,
        "Fractional-sized order cannot be placed via API. Please use desktop version to revise the order.",
    ),
    Reason.FRACTION_TYPE: (10318, "This order doesn't support fractional quantity trading"),
    Reason.OCA_REVISION: (10326, "OCA group revision is not allowed"),
}


def refuse(reason: Reason, **names: object) -> Refusal:
    """The error for `reason`. KeyError when a name of its text is missing."""
    code, text = TEXTS[reason]
    return Refusal(code, text.format(**names), reason)


#: Texts that follow "Order rejected - reason:".
MARGIN_TEXT = (
    "YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR EQUITY WITH LOAN VALUE "
    "[{equity:.2f} {currency}] MUST EXCEED THE INITIAL MARGIN [{margin:.2f} {currency}]"
)
CASH_TEXT = (
    "The available cash in the account [{cash:.2f} {currency}] is insufficient for the order's cost "
    "[{cost:.2f} {currency}]; unsettled proceeds do not count"
)
SHORT_TEXT = "Short sales are not allowed in a cash account"
CUTOFF_TEXT = "The cut-off for on-close orders has passed ({cutoff:%H:%M:%S} US/Eastern)"
GOOD_TILL_TEXT = "Good-till date {good_till:%Y%m%d %H:%M:%S} UTC has already passed"
