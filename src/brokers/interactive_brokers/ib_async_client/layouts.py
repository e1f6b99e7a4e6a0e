"""Server-to-client messages as rows: name, number of fields, request id, and what a broken one puts in doubt.

Counts include the message id and hold for server versions 157 to 178 (tws-protocol.md §2.4, §2.5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Repeat:
    """`fixed` fields, one of which (at `counter`) says how often `each` fields follow, then `tail` fields."""

    fixed: int
    counter: int
    each: int
    tail: int = 0

    def __call__(self, fields: Sequence[str], version: int) -> int:
        return self.fixed + int(fields[self.counter] or 0) * self.each + self.tail


@dataclass(frozen=True, slots=True)
class Gated:
    """`below` fields under server version `version`, else `since`."""

    version: int
    below: int
    since: int

    def __call__(self, fields: Sequence[str], version: int) -> int:
        return self.below if version < self.version else self.since


def _option_chain(fields: Sequence[str], version: int) -> int:
    expirations = int(fields[6])
    return 8 + expirations + int(fields[7 + expirations])


def _symbol_samples(fields: Sequence[str], version: int) -> int:
    at = 3
    for _ in range(int(fields[2])):
        at += 6 + int(fields[at + 5]) + (2 if version >= 176 else 0)
    return at


_TICK_BY_TICK = {"1": 9, "2": 9, "3": 9, "4": 5}


def _tick_by_tick(fields: Sequence[str], version: int) -> int:
    return _TICK_BY_TICK[fields[2]]


#: None: the reader of the message checks its length itself (its layout is conditional).
Count = int | Callable[[Sequence[str], int], int] | None


@dataclass(frozen=True, slots=True)
class Layout:
    """One row. `request` is where the request id stands; None when the message carries none."""

    name: str
    count: Count
    request: int | None = None
    #: A message of this kind that cannot be read puts orders, fills or positions in doubt.
    needs_reconcile: bool = False


LAYOUTS: Mapping[int, Layout] = MappingProxyType(
    {
        1: Layout("tickPrice", 7, 2),
        2: Layout("tickSize", 5, 2),
        3: Layout("orderStatus", 12, needs_reconcile=True),
        4: Layout("error", Gated(166, 5, 6), needs_reconcile=True),
        5: Layout("openOrder", None, needs_reconcile=True),
        6: Layout("updateAccountValue", 6),
        7: Layout("updatePortfolio", 20, needs_reconcile=True),
        8: Layout("updateAccountTime", 3),
        9: Layout("nextValidId", 3),
        10: Layout("contractDetails", None, 1),
        11: Layout("execDetails", None, 1, needs_reconcile=True),
        12: Layout("updateMktDepth", 8, 2),
        13: Layout("updateMktDepthL2", 10, 2),
        14: Layout("updateNewsBulletin", 6),
        15: Layout("managedAccounts", 3),
        16: Layout("receiveFA", 4),
        17: Layout("historicalData", Repeat(5, 4, 8), 1),
        18: Layout("bondContractDetails", None, 1),
        19: Layout("scannerParameters", 3),
        20: Layout("scannerData", Repeat(4, 3, 16), 2),
        21: Layout("tickOptionComputation", 12, 1),
        45: Layout("tickGeneric", 5, 2),
        46: Layout("tickString", 5, 2),
        47: Layout("tickEFP", 11, 2),
        49: Layout("currentTime", 3),
        50: Layout("realtimeBar", 11, 2),
        51: Layout("fundamentalData", 4, 2),
        52: Layout("contractDetailsEnd", 3, 2),
        53: Layout("openOrderEnd", 2, needs_reconcile=True),
        54: Layout("accountDownloadEnd", 3),
        55: Layout("execDetailsEnd", 3, 2, needs_reconcile=True),
        56: Layout("deltaNeutralValidation", 6, 2),
        57: Layout("tickSnapshotEnd", 3, 2),
        58: Layout("marketDataType", 4, 2),
        59: Layout("commissionReport", 8, needs_reconcile=True),
        61: Layout("position", 16, needs_reconcile=True),
        62: Layout("positionEnd", 2, needs_reconcile=True),
        63: Layout("accountSummary", 7, 2),
        64: Layout("accountSummaryEnd", 3, 2),
        65: Layout("verifyMessageAPI", 3),
        66: Layout("verifyCompleted", 4),
        67: Layout("displayGroupList", 4, 2),
        68: Layout("displayGroupUpdated", 4, 2),
        69: Layout("verifyAndAuthMessageAPI", 4),
        70: Layout("verifyAndAuthCompleted", 4),
        71: Layout("positionMulti", 18, 2, needs_reconcile=True),
        72: Layout("positionMultiEnd", 3, 2, needs_reconcile=True),
        73: Layout("accountUpdateMulti", 8, 2),
        74: Layout("accountUpdateMultiEnd", 3, 2),
        75: Layout("securityDefinitionOptionParameter", _option_chain, 1),
        76: Layout("securityDefinitionOptionParameterEnd", 2, 1),
        77: Layout("softDollarTiers", Repeat(3, 2, 3), 1),
        78: Layout("familyCodes", Repeat(2, 1, 2)),
        79: Layout("symbolSamples", _symbol_samples, 1),
        80: Layout("mktDepthExchanges", Repeat(2, 1, 5)),
        81: Layout("tickReqParams", 5, 1),
        82: Layout("smartComponents", Repeat(3, 2, 3), 1),
        83: Layout("newsArticle", 4, 1),
        84: Layout("tickNews", 7, 1),
        85: Layout("newsProviders", Repeat(2, 1, 2)),
        86: Layout("historicalNews", 6, 1),
        87: Layout("historicalNewsEnd", 3, 1),
        88: Layout("headTimestamp", 3, 1),
        89: Layout("histogramData", Repeat(3, 2, 2), 1),
        90: Layout("historicalDataUpdate", 10, 1),
        91: Layout("rerouteMktDataReq", 4, 1),
        92: Layout("rerouteMktDepthReq", 4, 1),
        93: Layout("marketRule", Repeat(3, 2, 2)),
        94: Layout("pnl", 5, 1),
        95: Layout("pnlSingle", 7, 1),
        96: Layout("historicalTicks", Repeat(3, 2, 4, tail=1), 1),
        97: Layout("historicalTicksBidAsk", Repeat(3, 2, 6, tail=1), 1),
        98: Layout("historicalTicksLast", Repeat(3, 2, 6, tail=1), 1),
        99: Layout("tickByTick", _tick_by_tick, 1),
        100: Layout("orderBound", 4, needs_reconcile=True),
        101: Layout("completedOrder", None, needs_reconcile=True),
        102: Layout("completedOrdersEnd", 1, needs_reconcile=True),
        103: Layout("replaceFAEnd", 3, 1),
        104: Layout("wshMetaData", 3, 1),
        105: Layout("wshEventData", 3, 1),
        106: Layout("historicalSchedule", Repeat(6, 5, 3), 1),
        107: Layout("userInfo", 3, 1),
    }
)
