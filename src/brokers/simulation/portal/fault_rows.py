"""The scripted faults of the portal door, as rows of the gateway's fault table.

PATH is the end of a path, with or without a method ("POST /orders", "/reply", "/iserver/account/orders"); captured
parts at its end do not count. Row numbers in the summaries are those of reference faults.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..faults import Fault, Faults, Place
from .market_faults import MarketFaults
from .request import Answer, PortalRequest

if TYPE_CHECKING:
    from .session import PortalSession

Arguments = Sequence[str]
Arm = Callable[[Faults, Arguments], None]

#: Real seconds after which IB's own gateway gives an upstream call up.
UPSTREAM_TIMEOUT = 10.0
ORDER_POST = "POST /orders"


def _at(arguments: Arguments, position: int, default: str) -> str:
    return arguments[position] if len(arguments) > position and arguments[position] else default


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 86_400:
        raise ValueError(f"{value} is not a number of seconds within a day")
    return value


def _logged_in(faults: Faults) -> Iterator[PortalSession]:
    return (session for session in tuple(faults.portal_door().sessions.values()) if session.logged_in)


# requests


def _fail(faults: Faults, arguments: Arguments) -> None:
    status, text = int(arguments[0]), ":".join(arguments[2:])
    if not 400 <= status < 600:
        raise ValueError(f"{status} is no status of a failure")
    try:
        body: Any = json.loads(text) if text else {"error": "unknown"}
    except ValueError:
        body = {"error": text}
    faults.portal_door().faults.wait_for(_at(arguments, 1, ""), False, lambda request, answer: Answer(body, status))


def _delay(faults: Faults, arguments: Arguments) -> None:
    seconds = _seconds(arguments[0])
    faults.portal_door().faults.wait_for(
        _at(arguments, 1, ""), True, lambda request, answer: _changed(answer, delay=seconds)
    )


def _changed(answer: Answer | None, *, delay: float) -> Answer:
    assert answer is not None
    return Answer(answer.body, answer.status, answer.content_type, delay, answer.abort)


def _instead(answer: Answer, *, served: bool) -> Arm:
    """This answer for the next request of PATH, an order by default."""

    def arm(faults: Faults, arguments: Arguments) -> None:
        target = _at(arguments, 0, ORDER_POST)
        faults.portal_door().faults.wait_for(target, served, lambda request, served_answer: answer)

    return arm


def _reply_lost(faults: Faults, arguments: Arguments) -> None:
    when = _at(arguments, 0, "after")
    if when not in ("before", "after"):
        raise ValueError("the argument is before or after")

    def change(request: PortalRequest, answer: Answer | None) -> Answer:
        return Answer({"error": f"reply id not found: '{request.path.rpartition('/')[2]}'"}, 400)

    faults.portal_door().faults.wait_for("POST /iserver/reply", when == "after", change)


def _restart(faults: Faults, arguments: Arguments) -> None:
    faults.portal_door()
    faults.restart_portal(_seconds(_at(arguments, 0, "0.2")))


# flags


def _flag(name: str) -> Arm:
    def arm(faults: Faults, arguments: Arguments) -> None:
        setattr(faults.portal_door().faults, name, True)

    return arm


def _end_flag(name: str) -> Callable[[Faults], None]:
    def end(faults: Faults) -> None:
        setattr(faults.portal_door().faults, name, False)

    return end


def _market(name: str, value: bool) -> Callable[[Faults], None]:
    def end(faults: Faults) -> None:
        setattr(faults.portal_door().state(MarketFaults), name, value)

    return end


def _market_flag(name: str) -> Arm:
    return lambda faults, arguments: _market(name, True)(faults)


def _let_go(faults: Faults) -> None:
    door = faults.portal_door()
    door.faults.held = False
    door.faults.on_release()


def _competing(faults: Faults, arguments: Arguments) -> None:
    _say_competing(faults, True)


def _end_competing(faults: Faults) -> None:
    _say_competing(faults, False)


def _say_competing(faults: Faults, competing: bool) -> None:
    faults.portal_door().faults.competing = competing
    for session in _logged_in(faults):
        session.announce()


# streams


def _drop_streams(faults: Faults, arguments: Arguments) -> None:
    for stream in tuple(faults.portal_door().streams):
        stream.leave()
        stream.outlet.abort()


def _expire_quotes(faults: Faults, arguments: Arguments) -> None:
    for stream in faults.portal_door().streams:
        for key in stream.keys:
            if key.startswith("smd+"):
                stream.drop(key)


# sessions


def _auth_lost(faults: Faults, arguments: Arguments) -> None:
    for session in _logged_in(faults):
        session.end_brokerage()


def _login_lost(faults: Faults, arguments: Arguments) -> None:
    for session in _logged_in(faults):
        session.expire()


def _lie(faults: Faults, arguments: Arguments) -> None:
    count = int(_at(arguments, 0, "1"))
    if count < 1:
        raise ValueError(f"{count} is not a count")
    for session in _logged_in(faults):
        session.lies += count


def _bridge_down(status: int) -> Arm:
    def arm(faults: Faults, arguments: Arguments) -> None:
        for session in _logged_in(faults):
            session.bridge_down = status

    return arm


def _cool(faults: Faults, arguments: Arguments) -> None:
    for session in _logged_in(faults):
        session.cool()


def _reclaim(faults: Faults, arguments: Arguments) -> None:
    if not faults.portal_door().seat.reclaim():
        raise ValueError("TWS has its session: it was never taken")


def _penalty(faults: Faults, arguments: Arguments) -> None:
    seconds = _seconds(arguments[0]) if arguments else None
    faults.portal_door().pacer.punish_everybody(seconds)


def _pardon(faults: Faults) -> None:
    faults.portal_door().pacer.pardon()


def _row(name: str, summary: str, arm: Arm, arguments: str = "", end: Callable[[Faults], None] | None = None) -> Fault:
    return Fault(f"portal-{name}", Place.PORTAL, summary, arm, arguments, end is not None, end)


def _flag_row(name: str, summary: str, flag: str) -> Fault:
    return _row(name, summary, _flag(flag), end=_end_flag(flag))


def _market_row(name: str, summary: str, flag: str) -> Fault:
    return _row(name, summary, _market_flag(flag), end=_market(flag, False))


_CUT = Answer(None, 503, abort=True)

ROWS: tuple[Fault, ...] = (
    _row("fail", "the next request is not done and answered with this", _fail, ":STATUS[:PATH[:BODY]]"),
    _row("delay", "the next answer leaves later, real time", _delay, ":SECONDS[:PATH]"),
    _row("abort-before", "the next order is cut off, and was not taken", _instead(_CUT, served=False), "[:PATH]"),
    _row("abort-after", "the next order is taken, then cut off (P01)", _instead(_CUT, served=True), "[:PATH]"),
    _row(
        "503-after",
        "the next order is taken; 10 s later comes an empty 503 (P01)",
        _instead(Answer(None, 503, delay=UPSTREAM_TIMEOUT), served=True),
        "[:PATH]",
    ),
    _row(
        "reply-lost", "the next reply counts, or not, and is said to be unknown (P02)", _reply_lost, "[:after|before]"
    ),
    _row("hold", "requests are served, answers and frames kept back (C10)", _flag("held"), end=_let_go),
    _row("restart", "connections end, nobody listens for a while (C11)", _restart, "[:SECONDS]"),
    _flag_row("maintenance", "every request is answered with 503 (P11)", "maintenance"),
    _row("penalty", "every address is in the penalty box: 429 (P10)", _penalty, "[:SECONDS]", _pardon),
    _row("auth-lost", "the brokerage session ends, as after a time-out (P04)", _auth_lost),
    _row("login-lost", "the login ends, as at its hard limit: 401 (P14)", _login_lost),
    _row("auth-lie", "the next auth/status says authenticated: false, untruly", _lie, "[:COUNT]"),
    _row("no-bridge", "the bridge answers 400 until ssodh/init (P05)", _bridge_down(400)),
    _row("gone", "the bridge answers 410 until ssodh/init", _bridge_down(410)),
    _row("competing", "another session competes, says the status (P16)", _competing, end=_end_competing),
    _row("tws-reclaim", "TWS takes the brokerage session back and kicks the portal (P16)", _reclaim),
    _row("cold", "every cache is as cold as after a new session (P08, P09)", _cool),
    _flag_row("silent-return", "no frame tells that the brokerage session is back (P07)", "silent_restoration"),
    _row("drop-streams", "every WebSocket is cut off", _drop_streams),
    _row("expire-quotes", "every smd subscription ends without a word (P06)", _expire_quotes),
    _flag_row("silent-heartbeat", "no heartbeat on any WebSocket", "silent_heartbeat"),
    _market_row("silent-feed", "market data lines stay open, and nothing new comes", "silent_feed"),
    _market_row("no-market-data", "no contract has any data", "no_data"),
    _market_row("cold-charts", "the first chart of each brokerage session fails", "cold_charts"),
    _market_row("no-alerts", "alerts cannot be created: 403", "alerts_refused"),
)
