"""Conditions of an order: the same bytes in placeOrder, openOrder and completedOrder.

    PriceCondition TimeCondition MarginCondition ExecutionCondition VolumeCondition PercentChangeCondition
    CONDITION     kind of one condition, its leading type number included
    CONDITIONS    the table type number -> class and rows

`conjunction` ("a" and, "o" or) joins a condition to the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from .fields import BOOL, ID, INT, QUANTITY, TEXT, Bound, Kind, Reader, Record, Row


@dataclass(frozen=True, slots=True)
class PriceCondition:
    condType: ClassVar[int] = 1
    conjunction: str
    #: True: at or above `price`; False: at or below
    isMore: bool
    price: Decimal
    conId: int
    exchange: str
    #: 0 default, 1 double bid/ask, 2 last, 3 double last, 4 bid/ask, 7 last or bid/ask, 8 midpoint
    triggerMethod: int


@dataclass(frozen=True, slots=True)
class TimeCondition:
    condType: ClassVar[int] = 3
    conjunction: str
    isMore: bool
    #: "YYYYMMDD HH:MM:SS [zone]"
    time: str


@dataclass(frozen=True, slots=True)
class MarginCondition:
    condType: ClassVar[int] = 4
    conjunction: str
    isMore: bool
    #: cushion of the account, in percent
    percent: int


@dataclass(frozen=True, slots=True)
class ExecutionCondition:
    condType: ClassVar[int] = 5
    conjunction: str
    secType: str
    exchange: str
    symbol: str


@dataclass(frozen=True, slots=True)
class VolumeCondition:
    condType: ClassVar[int] = 6
    conjunction: str
    isMore: bool
    volume: int
    conId: int
    exchange: str


@dataclass(frozen=True, slots=True)
class PercentChangeCondition:
    condType: ClassVar[int] = 7
    conjunction: str
    isMore: bool
    changePercent: Decimal
    conId: int
    exchange: str


Condition = (
    PriceCondition | TimeCondition | MarginCondition | ExecutionCondition | VolumeCondition | PercentChangeCondition
)

_JOIN = Row("conjunction", TEXT)
_MORE = Row("isMore", BOOL)
_WHERE = (Row("conId", INT), Row("exchange", TEXT))

CONDITIONS: dict[int, tuple[type[Any], tuple[Row, ...]]] = {
    1: (PriceCondition, (_JOIN, _MORE, Row("price", QUANTITY), *_WHERE, Row("triggerMethod", INT))),
    3: (TimeCondition, (_JOIN, _MORE, Row("time", TEXT))),
    4: (MarginCondition, (_JOIN, _MORE, Row("percent", INT))),
    5: (ExecutionCondition, (_JOIN, Row("secType", TEXT), Row("exchange", TEXT), Row("symbol", TEXT))),
    6: (VolumeCondition, (_JOIN, _MORE, Row("volume", INT), *_WHERE)),
    7: (PercentChangeCondition, (_JOIN, _MORE, Row("changePercent", QUANTITY), *_WHERE)),
}


class _ConditionKind(Kind[Condition]):
    def bind(self, server_version: int) -> Bound:
        take_number = ID.bind(server_version).take
        by_type = {number: Record(*entry).bind(server_version) for number, entry in CONDITIONS.items()}

        def take(reader: Reader) -> Any:
            number = take_number(reader)
            known = by_type.get(number)
            if known is None:
                raise ValueError(f"{number} is no condition type, known are {sorted(by_type)}")
            return known.take(reader)

        def put(value: Condition, out: list[str]) -> None:
            out.append(str(value.condType))
            by_type[value.condType].put(value, out)

        return Bound(take, put)


CONDITION: Kind[Condition] = _ConditionKind()
