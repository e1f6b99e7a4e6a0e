"""Scripted faults of market data, contracts and P&L that are told otherwise than they are, on lines that stay open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from .faults import Fault, Faults, Interception, Place, manual_ticket

if TYPE_CHECKING:
    from .tws.request import Request
    from .tws.session import Session

Arguments = Sequence[str]

#: Tick types that are sizes (message 2) and generic values (message 45); any other is a price (message 1).
SIZE_TICKS = frozenset({0, 3, 5, 8, 69, 70, 71, 74, 89})
GENERIC_TICKS = frozenset({23, 24, 46, 49, 90})
#: A request id that no client has given out.
NOBODYS = 987_654_321
PNL_WAYS = ("unset", "swapped")


def _known(faults: Faults, symbol: str) -> str:
    """The symbol in capitals; raises ValueError for one that does not trade here."""
    manual_ticket(faults, symbol, Decimal(1))
    return symbol.upper()


def _lines(faults: Faults, symbol: str, family: str) -> Iterator[tuple[Session, int]]:
    """Clients and request ids of the open subscriptions to this symbol."""
    for session in faults.door.sessions.values():
        for number in session.numbers(family):
            details = getattr(session.subscription(family, number), "_details", None)
            if details is not None and details.instrument.symbol == symbol:
                yield session, number


def _tick(faults: Faults, arguments: Arguments) -> None:
    from .tws.codec import pack

    symbol, kind, value = _known(faults, arguments[0]), int(arguments[1]), arguments[2]
    float(value)
    size = arguments[3] if len(arguments) > 3 else "100"
    for session, number in _lines(faults, symbol, "quotes"):
        fields: tuple[str, ...]
        if kind in SIZE_TICKS:
            fields = ("2", "6", str(number), str(kind), value)
        elif kind in GENERIC_TICKS:
            fields = ("45", "6", str(number), str(kind), value)
        else:
            fields = ("1", "6", str(number), str(kind), value, size, "0")
        session.write(pack(fields))
    faults.door.flush()


def _data_type(faults: Faults, arguments: Arguments) -> None:
    symbol, kind = _known(faults, arguments[0]), int(arguments[1])
    if kind not in (1, 2, 3, 4):
        raise ValueError("the type is 1 live, 2 frozen, 3 delayed or 4 delayed frozen")
    for session, number in _lines(faults, symbol, "quotes"):
        session.send("marketDataType", reqId=number, marketDataType=kind)
    faults.door.flush()


def _depth_row(faults: Faults, arguments: Arguments) -> None:
    from .tws.ticks import depth_l2

    symbol = _known(faults, arguments[0])
    position, operation, side = (int(text) for text in arguments[1:4])
    if operation not in (0, 1, 2) or side not in (0, 1):
        raise ValueError("the operation is 0 insert, 1 update or 2 delete, the side 0 ask or 1 bid")
    price, size = float(arguments[4]), int(arguments[5])
    for session, number in _lines(faults, symbol, "depth"):
        session.write(depth_l2(session.version, number, True)(position, "ARCA", operation, side, price, size))
    faults.door.flush()


def _stray_answer(faults: Faults, arguments: Arguments) -> None:
    from .tws.handlers.contracts import details_frame

    symbol = _known(faults, arguments[0])
    row = next(one for one in faults.door.exchange.catalogue() if one.instrument.symbol == symbol)

    def act(session: Session, request: Request) -> bool:
        session.write(details_frame(session, NOBODYS, row))
        session.send("contractDetailsEnd", reqId=NOBODYS)
        faults.door.serve(session, request)
        return True

    faults.interceptions.append(Interception("reqContractDetails", act))


def _pnl(faults: Faults, arguments: Arguments) -> None:
    if arguments[0] not in PNL_WAYS:
        raise ValueError(f"the argument is {' or '.join(PNL_WAYS)}")
    faults.pnl = arguments[0]


def _set(name: str, value: object) -> Callable[[Faults], None]:
    return lambda faults: setattr(faults, name, value)


def _arm(name: str) -> Callable[[Faults, Arguments], None]:
    return lambda faults, arguments: setattr(faults, name, True)


ROWS: tuple[Fault, ...] = (
    Fault(
        "tick",
        Place.MARKET,
        "one tick of IB's number TYPE on every open line of a symbol, whatever is true (D06, D08, D09)",
        _tick,
        ":SYMBOL:TYPE:VALUE[:SIZE]",
    ),
    Fault(
        "data-type",
        Place.MARKET,
        "open lines of a symbol say that they deliver another type of data (D10)",
        _data_type,
        ":SYMBOL:TYPE",
    ),
    Fault(
        "depth-row",
        Place.MARKET,
        "one row of depth at any position, whatever the book holds (D11)",
        _depth_row,
        ":SYMBOL:POSITION:OPERATION:SIDE:PRICE:SIZE",
    ),
    Fault(
        "stray-answer",
        Place.MESSAGE,
        "before the next contract question is answered, details of another one answer nobody's question (D14)",
        _stray_answer,
        ":SYMBOL",
    ),
    Fault(
        "no-greeks",
        Place.MARKET,
        'option lines tell -1 and -2, "not computed" (D17)',
        _arm("no_greeks"),
        lasting=True,
        end=_set("no_greeks", False),
    ),
    Fault(
        "round-lots",
        Place.MARKET,
        "sizes of stocks are told in hundreds, as a TWS does that is set to (D07)",
        _arm("round_lots"),
        lasting=True,
        end=_set("round_lots", False),
    ),
    Fault(
        "pnl",
        Place.EVENT,
        "P&L is told as unset numbers, or with realised and unrealised swapped (D18)",
        _pnl,
        ":unset|swapped",
        lasting=True,
        end=_set("pnl", ""),
    ),
)
