"""The order journal, shared by every process that trades one account."""

from .codec import decimal_text, instrument_key, same_request
from .leases import ClientLease
from .rows import ChainBreak, DoorLease, ForeignPosition, IntentRow, Observed, OrderRow
from .store import Journal

__all__ = [
    "ChainBreak",
    "ClientLease",
    "DoorLease",
    "ForeignPosition",
    "IntentRow",
    "Journal",
    "Observed",
    "OrderRow",
    "decimal_text",
    "instrument_key",
    "same_request",
]
