"""The table of scripted faults. Row numbers in the summaries are those of reference faults.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from .events import CommissionCharged, Executed
from .evidence_faults import ROWS as EVIDENCE_ROWS
from .faults import SECOND, Fault, Faults, Interception, Place, manual_ticket
from .market_faults import ROWS as MARKET_ROWS
from .portal.fault_rows import ROWS as PORTAL_ROWS
from .tws.offline import BACK, BROKEN, COMPETING, LOST, MARKET_FAMILIES

if TYPE_CHECKING:
    from .tws.request import Request
    from .tws.session import Session

Arguments = Sequence[str]


def _at(arguments: Arguments, position: int, default: str) -> str:
    return arguments[position] if len(arguments) > position and arguments[position] else default


def _seconds(arguments: Arguments, default: str = "") -> float:
    value = float(_at(arguments, 0, default))
    if not 0 <= value < 86_400:
        raise ValueError(f"{value} is not a number of seconds within a day")
    return value


def _count(arguments: Arguments, position: int = 0, default: str = "1") -> int:
    value = int(_at(arguments, position, default))
    if value < 1:
        raise ValueError(f"{value} is not a count")
    return value


# the link


def _set_link(name: str, value: object) -> Callable[[Faults], None]:
    def end(faults: Faults) -> None:
        setattr(faults.link, name, value)

    return end


def _arm_link(name: str) -> Callable[[Faults, Arguments], None]:
    def arm(faults: Faults, arguments: Arguments) -> None:
        setattr(faults.link, name, True)

    return arm


def _let_go(faults: Faults) -> None:
    faults.link.held = faults.link.deaf = False
    for connection in tuple(faults.server.connections):
        if connection.link is not None:
            connection.link.release()


def _half_open(faults: Faults, arguments: Arguments) -> None:
    faults.link.held = faults.link.deaf = True


def _delay(faults: Faults, arguments: Arguments) -> None:
    faults.link.delay = _seconds(arguments)


def _reset(faults: Faults, arguments: Arguments) -> None:
    for connection in tuple(faults.server.connections):
        if connection.link is not None:
            connection.link.reset()


def _close(faults: Faults, arguments: Arguments) -> None:
    for connection in tuple(faults.server.connections):
        if connection.link is not None:
            connection.link.close()


def _inject(*fields: str) -> Callable[[Faults, Arguments], None]:
    def arm(faults: Faults, arguments: Arguments) -> None:
        from .tws.codec import pack

        for session in faults.door.sessions.values():
            session.write(pack(fields))
        faults.door.flush()

    return arm


def _restart(faults: Faults, arguments: Arguments) -> None:
    faults.restart(_seconds(arguments, "0.2"))


def _new_port(faults: Faults, arguments: Arguments) -> None:
    faults.move(int(_at(arguments, 0, "0")))


# requests


def _wait_for(
    faults: Faults,
    kind: str,
    act: Callable[[Session, Request], bool],
    wants: Callable[[Request], bool] = lambda request: True,
) -> None:
    from .tws.messages_in import REQUESTS

    if kind and kind not in {spec.name for spec in REQUESTS.values()}:
        raise ValueError(f"{kind!r} is no request")
    faults.interceptions.append(Interception(kind, act, wants))


def _drop_answer(faults: Faults, arguments: Arguments) -> None:
    for _ in range(_count(arguments, 1)):
        _wait_for(faults, _at(arguments, 0, ""), lambda session, request: True)


def _error(faults: Faults, arguments: Arguments) -> None:
    code, kind, text = int(arguments[0]), _at(arguments, 1, ""), _at(arguments, 2, "Scripted fault")

    def act(session: Session, request: Request) -> bool:
        session.error(request.subject, code, text)
        return True

    _wait_for(faults, kind, act)


def _swallow_order(faults: Faults, arguments: Arguments) -> None:
    _wait_for(faults, "placeOrder", lambda session, request: True)


def _late_order(faults: Faults, arguments: Arguments) -> None:
    delay = _seconds(arguments) * SECOND

    def act(session: Session, request: Request) -> bool:
        door = faults.door
        door.timers.at(door.now + delay, lambda: door.serve(session, request))
        return True

    _wait_for(faults, "placeOrder", act)


def _is_transmitted(request: Request) -> bool:
    from .tws.orders_in import PlaceOrderRequest

    return isinstance(request, PlaceOrderRequest) and request.transmit


def _reset_on_order(served: bool) -> Callable[[Faults, Arguments], None]:
    """RST when the next order comes: after the exchange took it, or before. "transmitted" lets staged ones pass, so
    that a bracket is taken whole."""

    def act_on(faults: Faults) -> Callable[[Session, Request], bool]:
        def act(session: Session, request: Request) -> bool:
            for connection in faults.server.connections:
                if connection.session is session and connection.link is not None:
                    connection.link.reset()
            if served:
                session.closed = True
                faults.door.serve(session, request)
            return True

        return act

    def arm(faults: Faults, arguments: Arguments) -> None:
        if arguments and tuple(arguments) != ("transmitted",):
            raise ValueError("its argument can only be 'transmitted'")
        _wait_for(faults, "placeOrder", act_on(faults), _is_transmitted if arguments else lambda request: True)

    return arm


def _reject_order(faults: Faults, arguments: Arguments) -> None:
    code = int(arguments[0])
    faults.door.exchange.faults.reject_next(code, _at(arguments, 1, "Order rejected - reason:Scripted fault"))


def _warn_order(faults: Faults, arguments: Arguments) -> None:
    code, text = int(arguments[0]), _at(arguments, 1, "Order TIF was set to DAY based on order preset.")

    def act(session: Session, request: Request) -> bool:
        faults.door.serve(session, request)
        session.error(request.subject, code, text)
        return True

    _wait_for(faults, "placeOrder", act)


def _refuse_cancel(faults: Faults, arguments: Arguments) -> None:
    code = int(_at(arguments, 0, "161"))
    text = _at(arguments, 1, "Cancel attempted when order is not in a cancellable state.")

    def act(session: Session, request: Request) -> bool:
        session.error(request.subject, code, text)
        return True

    _wait_for(faults, "cancelOrder", act)


def _read_only(faults: Faults, arguments: Arguments) -> None:
    faults.door.read_only = True


def _end_read_only(faults: Faults) -> None:
    faults.door.read_only = False


def _mute(faults: Faults, arguments: Arguments) -> None:
    from .tws.messages_out import RESPONSES

    name = arguments[0]
    if name not in RESPONSES:
        raise ValueError(f"{name!r} is no message")
    faults.muted[name] = faults.muted.get(name, 0) + _count(arguments, 1)


def _mute_row(name: str) -> Callable[[Faults, Arguments], None]:
    return lambda faults, arguments: _mute(faults, (name, _at(arguments, 0, "1")))


def _ids_back(faults: Faults, arguments: Arguments) -> None:
    faults.order_ids_back = _count(arguments)


def _end_ids_back(faults: Faults) -> None:
    faults.order_ids_back = 0


# order events


def _counter(name: str) -> Callable[[Faults, Arguments], None]:
    def arm(faults: Faults, arguments: Arguments) -> None:
        setattr(faults, name, getattr(faults, name) + _count(arguments))

    return arm


def _correct(faults: Faults, arguments: Arguments) -> None:
    faults.corrected.append(Decimal(_at(arguments, 0, "0.01")))


def _drop_execution(faults: Faults, arguments: Arguments) -> None:
    faults.door.exchange.faults.drop_next(Executed, count=_count(arguments))


def _duplicate_execution(faults: Faults, arguments: Arguments) -> None:
    faults.door.exchange.faults.duplicate_next(Executed, count=_count(arguments))


def _late_commission(faults: Faults, arguments: Arguments) -> None:
    faults.door.exchange.faults.delay_next(CommissionCharged, _seconds(arguments) * SECOND)


def _late_execution(faults: Faults, arguments: Arguments) -> None:
    faults.door.exchange.faults.delay_next(Executed, _seconds(arguments) * SECOND)


# market data


def _silence(faults: Faults, arguments: Arguments) -> None:
    faults.silent_feed = True


def _end_silence(faults: Faults) -> None:
    faults.silent_feed = False


def _no_market_data(faults: Faults, arguments: Arguments) -> None:
    faults.no_market_data = True


def _end_no_market_data(faults: Faults) -> None:
    faults.no_market_data = False


def _to_subscribers(code: int, text: str, families: Sequence[str]) -> Callable[[Faults], None]:
    def tell(faults: Faults) -> None:
        for session in faults.door.sessions.values():
            for number in session.numbers(*families):
                session.error(number, code, text)
        faults.door.flush()

    return tell


def _competing(faults: Faults, arguments: Arguments) -> None:
    faults.silent_feed = faults.competing = True
    _to_subscribers(10197, COMPETING, MARKET_FAMILIES)(faults)


def _end_competing(faults: Faults) -> None:
    faults.silent_feed = faults.competing = False


def _bars_lost(faults: Faults, arguments: Arguments) -> None:
    text = "Failed to request live updates (disconnected)."
    _to_subscribers(10182, text, ("bars",))(faults)
    for session in faults.door.sessions.values():
        session.drop_subscriptions("bars")


def _depth_reset(faults: Faults, arguments: Arguments) -> None:
    text = "Market depth data has been RESET. Please empty deep book contents before applying any new entries."
    _to_subscribers(317, text, ("depth",))(faults)
    for session in faults.door.sessions.values():
        for book in session.subscriptions("depth"):
            restart = getattr(book, "restart", None)
            if restart is not None:
                restart()
    faults.door.flush()


# notices


def _connectivity_lost(faults: Faults, arguments: Arguments) -> None:
    if _at(arguments, 0, "lose") not in ("lose", "tell"):
        raise ValueError("the argument is lose or tell")
    faults.tell_everybody(1100, LOST)
    faults.silent_feed = True
    faults.deafened = _at(arguments, 0, "lose") == "lose"


def _connectivity_back(faults: Faults) -> None:
    faults.silent_feed = faults.deafened = False


def _restored(code: int) -> Callable[[Faults, Arguments], None]:
    def arm(faults: Faults, arguments: Arguments) -> None:
        faults.release("1100")
        if code == 1101:
            for session in faults.door.sessions.values():
                session.drop_subscriptions(*MARKET_FAMILIES)
        faults.tell_everybody(code, BACK[code])

    return arm


def _notice(faults: Faults, arguments: Arguments) -> None:
    faults.tell_everybody(int(arguments[0]), _at(arguments, 1, "Scripted notice"))


#: Farm messages: code -> text without the farm's name.
FARM_TEXTS: dict[int, str] = {
    2103: "Market data farm connection is broken:",
    2104: "Market data farm connection is OK:",
    2105: "HMDS data farm connection is broken:",
    2106: "HMDS data farm connection is OK:",
    2107: "HMDS data farm connection is inactive but should be available upon demand.",
    2108: "Market data farm connection is inactive but should be available upon demand.",
    2119: "Market data farm is connecting:",
    2157: "Sec-def data farm connection is broken:",
    2158: "Sec-def data farm connection is OK:",
}
#: What a farm message does to market data: it goes silent, or is back.
_FARM_SILENCE = {2103: True, 2104: False}


def _farm(code: int) -> Callable[[Faults, Arguments], None]:
    def arm(faults: Faults, arguments: Arguments) -> None:
        default = {2105: "ushmds", 2106: "ushmds", 2107: "ushmds", 2157: "secdefnj", 2158: "secdefnj"}
        faults.tell_everybody(code, FARM_TEXTS[code] + _at(arguments, 0, default.get(code, "usfarm")))
        if code in _FARM_SILENCE:
            faults.silent_feed = _FARM_SILENCE[code]

    return arm


def _broken(faults: Faults, arguments: Arguments) -> None:
    faults.tell_everybody(2110, BROKEN)


# the broker


def _manual_order(faults: Faults, arguments: Arguments) -> None:
    ticket = manual_ticket(faults, arguments[0], Decimal(_at(arguments, 1, "100")))
    faults.door.exchange.place_manual(ticket)
    faults.server.settle()


def _liquidate(faults: Faults, arguments: Arguments) -> None:
    con_id = manual_ticket(faults, arguments[0], Decimal(1)).con_id
    faults.door.exchange.liquidate(faults.door.exchange.accounts[0], con_id)
    faults.server.settle()


def _halt(faults: Faults, arguments: Arguments) -> None:
    faults.door.exchange.halt(manual_ticket(faults, arguments[0], Decimal(1)).con_id)
    faults.server.settle()


def _resume(faults: Faults, arguments: Arguments) -> None:
    faults.door.exchange.resume(manual_ticket(faults, arguments[0], Decimal(1)).con_id)
    faults.server.settle()


def _bulletin(faults: Faults, arguments: Arguments) -> None:
    faults.door.bulletin(_at(arguments, 0, "Scripted bulletin"))
    faults.door.flush()


_TABLE: tuple[Fault, ...] = (
    Fault("hold", Place.LINK, "outgoing bytes are kept back", _arm_link("held"), lasting=True, end=_let_go),
    Fault("half-open", Place.LINK, "nothing is read or written, no FIN (C10)", _half_open, lasting=True, end=_let_go),
    Fault(
        "delay", Place.LINK, "outgoing bytes leave later, real time", _delay, ":SECONDS", True, _set_link("delay", 0.0)
    ),
    Fault(
        "split", Place.LINK, "one byte a write (C17)", _arm_link("split"), lasting=True, end=_set_link("split", False)
    ),
    Fault(
        "partial-frame",
        Place.LINK,
        "the next bytes are cut in the middle, then silence",
        _arm_link("cut_next"),
        lasting=True,
        end=_let_go,
    ),
    Fault("corrupt-length", Place.LINK, "the next frame announces 2³¹−1 bytes (C16)", _arm_link("corrupt_next")),
    Fault("reset", Place.LINK, "every connection ends with RST", _reset),
    Fault("close", Place.LINK, "every connection ends with FIN", _close),
    Fault(
        "no-handshake",
        Place.LINK,
        "accepts, then says nothing (C08)",
        _arm_link("mute_handshake"),
        lasting=True,
        end=_set_link("mute_handshake", False),
    ),
    Fault(
        "eof-on-connect",
        Place.LINK,
        "accepts, then ends at once (C15)",
        _arm_link("refuse_connections"),
        lasting=True,
        end=_set_link("refuse_connections", False),
    ),
    Fault("restart", Place.LINK, "connections end, nobody listens for a while (C11)", _restart, "[:SECONDS]"),
    Fault("1300", Place.LINK, "listens on another port from now on (C06)", _new_port, "[:PORT]"),
    Fault("unknown-message", Place.MESSAGE, "a message that no client knows (C19)", _inject("999", "1", "what")),
    Fault(
        "malformed-message", Place.MESSAGE, "an orderStatus that ends too early (C19)", _inject("3", "1", "Submitted")
    ),
    Fault("mute", Place.MESSAGE, "the next message of this name is left out (C09)", _mute, ":MESSAGE[:COUNT]"),
    Fault("no-accounts", Place.MESSAGE, "managedAccounts never comes (C08)", _mute_row("managedAccounts")),
    Fault("no-next-id", Place.MESSAGE, "nextValidId never comes (C08)", _mute_row("nextValidId")),
    Fault("next-id-back", Place.MESSAGE, "nextValidId goes back (C11)", _ids_back, ":COUNT", True, _end_ids_back),
    Fault("drop-answer", Place.REQUEST, "the next request is never answered (H03)", _drop_answer, "[:REQUEST[:COUNT]]"),
    Fault("error", Place.REQUEST, "the next request is answered with this error", _error, ":CODE[:REQUEST[:TEXT]]"),
    Fault("swallow-order", Place.REQUEST, "the next order never reaches the exchange (O02)", _swallow_order),
    Fault(
        "late-order", Place.REQUEST, "the next order reaches the exchange later, market time", _late_order, ":SECONDS"
    ),
    Fault(
        "reset-after-order",
        Place.REQUEST,
        "the next order is taken, then RST instead of the answer (O01)",
        _reset_on_order(True),
        "[:transmitted]",
    ),
    Fault(
        "reset-before-order",
        Place.REQUEST,
        "RST when the next order arrives; it is not taken",
        _reset_on_order(False),
        "[:transmitted]",
    ),
    Fault(
        "reject-order",
        Place.REQUEST,
        "the next order or change is refused with this code",
        _reject_order,
        ":CODE[:TEXT]",
    ),
    Fault(
        "warn-order",
        Place.REQUEST,
        "the next order is taken, and this code sent for it (O03)",
        _warn_order,
        ":CODE[:TEXT]",
    ),
    Fault("refuse-cancel", Place.REQUEST, "the next cancel is refused (O05)", _refuse_cancel, "[:CODE[:TEXT]]"),
    Fault(
        "read-only",
        Place.REQUEST,
        "orders and cancels are refused with 321",
        _read_only,
        lasting=True,
        end=_end_read_only,
    ),
    Fault(
        "drop-ack",
        Place.EVENT,
        "nothing is ever told of the next order; queries show it (O01)",
        _counter("drop_next_ack"),
        "[:COUNT]",
    ),
    Fault(
        "drop-execution", Place.EVENT, "the next fill is not told; queries show it (O14)", _drop_execution, "[:COUNT]"
    ),
    Fault("duplicate-execution", Place.EVENT, "the next fill is told twice (O12)", _duplicate_execution, "[:COUNT]"),
    Fault(
        "late-execution",
        Place.EVENT,
        "the next fill is told after its status, market time",
        _late_execution,
        ":SECONDS",
    ),
    Fault(
        "late-commission",
        Place.EVENT,
        "the next commission comes later, market time (O11)",
        _late_commission,
        ":SECONDS",
    ),
    Fault(
        "corrected-execution",
        Place.EVENT,
        "the next fill is corrected by this price difference (O13)",
        _correct,
        "[:AMOUNT]",
    ),
    Fault(
        "status-after-terminal",
        Place.EVENT,
        "a stale Submitted follows the next final status (O09)",
        _counter("stale_status"),
        "[:COUNT]",
    ),
    Fault(
        "wrong-echo", Place.EVENT, "the next openOrder names another contract (O32)", _counter("wrong_echo"), "[:COUNT]"
    ),
    Fault(
        "fork-perm-id", Place.EVENT, "the next openOrder carries a second permId (O16)", _counter("forked"), "[:COUNT]"
    ),
    Fault("silent-feed", Place.MARKET, "no market data, no error", _silence, lasting=True, end=_end_silence),
    Fault(
        "competing-session",
        Place.MARKET,
        "10197 on every line, open or asked for, and silence (D01)",
        _competing,
        lasting=True,
        end=_end_competing,
    ),
    Fault(
        "no-market-data",
        Place.MARKET,
        "market data requests are refused with 354 (D05)",
        _no_market_data,
        lasting=True,
        end=_end_no_market_data,
    ),
    Fault("bars-lost", Place.MARKET, "10182: live bars end (D02)", _bars_lost),
    Fault("depth-reset", Place.MARKET, "317, then the books anew (D11)", _depth_reset),
    Fault(
        "1100",
        Place.NOTICE,
        "connectivity lost; order events meanwhile are lost, or still told (C01)",
        _connectivity_lost,
        "[:lose|tell]",
        True,
        _connectivity_back,
    ),
    Fault(
        "1101",
        Place.NOTICE,
        "connectivity restored, market data subscriptions gone (C02)",
        _restored(1101),
    ),
    Fault("1102", Place.NOTICE, "connectivity restored, data maintained (C01)", _restored(1102)),
    Fault("2110", Place.NOTICE, "TWS and server are disconnected (C05)", _broken),
    *(
        Fault(str(code), Place.NOTICE, f"{text.rstrip(':.')} (C03, C04)", _farm(code), "[:FARM]")
        for code, text in FARM_TEXTS.items()
    ),
    Fault("notice", Place.NOTICE, "any code, to every client", _notice, ":CODE[:TEXT]"),
    Fault("bulletin", Place.NOTICE, "a bulletin to those who asked for them", _bulletin, "[:TEXT]"),
    Fault(
        "manual-order",
        Place.BROKER,
        "somebody trades by hand; negative sells (O17)",
        _manual_order,
        ":SYMBOL[:QUANTITY]",
    ),
    Fault("liquidate", Place.BROKER, "the broker closes a position by force (O44)", _liquidate, ":SYMBOL"),
    Fault("halt", Place.BROKER, "trading in a symbol stops (D16)", _halt, ":SYMBOL"),
    Fault("resume", Place.BROKER, "trading in a halted symbol goes on", _resume, ":SYMBOL"),
    *MARKET_ROWS,
    *EVIDENCE_ROWS,
    *PORTAL_ROWS,
)

#: by name
FAULTS: dict[str, Fault] = {fault.name: fault for fault in _TABLE}
