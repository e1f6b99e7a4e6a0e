"""Moving a gateway by lines of JSON: one command a line, one answer a line.

    COMMANDS            the table: name -> what it does and what it answers
    await obey(gateway, line) -> dict       the answer; {"error": …} for a line that cannot be obeyed

A line holds exactly one command: {"advance_to": "2026-04-15T14:30:00Z"}. The end of input ends the gateway.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..errors import BrokerError, InvalidRequest
from .fault_table import FAULTS
from .faults import parse_fault
from .gateway import Gateway
from .ledger_view import ledger_view

if TYPE_CHECKING:
    from .portal.door import PortalDoor

log = logging.getLogger(__name__)

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """`argument` says what the value of the line is; `answer` which keys come back."""

    name: str
    argument: str
    answer: str
    run: Callable[[Gateway, Any], Awaitable[Answer]]


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"{what} {value!r}", "it must be text")
    return value


async def _advance_to(gateway: Gateway, value: Any) -> Answer:
    try:
        moment = datetime.fromisoformat(_text(value, "advance_to"))
    except ValueError:
        raise InvalidRequest(f"advance_to {value!r}", "it is not an ISO 8601 time") from None
    return await gateway.advance_to(moment)


async def _advance_by(gateway: Gateway, value: Any) -> Answer:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 366 * 86_400:
        raise InvalidRequest(f"advance_by {value!r}", "it must be a number of seconds, at most a year")
    return await gateway.advance_to(gateway.now + timedelta(seconds=value))


async def _next_session(gateway: Gateway, value: Any) -> Answer:
    day = gateway.next_session()
    return {
        "day": day.day.isoformat(),
        "pre_open": day.pre_open.isoformat(),
        "open": day.open.isoformat(),
        "close": day.close.isoformat(),
        "post_close": day.post_close.isoformat(),
        "early_close": day.early_close,
    }


async def _status(gateway: Gateway, value: Any) -> Answer:
    return gateway.status()


async def _books(gateway: Gateway, value: Any) -> Answer:
    return ledger_view(gateway.exchange)


async def _fault(gateway: Gateway, value: Any) -> Answer:
    name, arguments = parse_fault(_text(value, "fault"))
    gateway.faults.arm(name, *arguments)
    return {"armed": name, "arguments": list(arguments), "lasting": list(gateway.faults.armed)}


async def _release(gateway: Gateway, value: Any) -> Answer:
    return {"released": gateway.faults.release("" if value is True else _text(value, "release"))}


async def _faults(gateway: Gateway, value: Any) -> Answer:
    rows = {fault.name: f"{fault.name}{fault.arguments} — {fault.summary}" for fault in FAULTS.values()}
    return {"faults": rows}


async def _save(gateway: Gateway, value: Any) -> Answer:
    gateway.save()
    return {"saved": str(gateway.settings.state_file) if gateway.settings.state_file else None}


async def _login(gateway: Gateway, value: Any) -> Answer:
    if not isinstance(value, bool):
        raise InvalidRequest(f"login {value!r}", "it must be true or false")
    session = _open_portal(gateway).session
    if value:
        session.log_in()
    else:
        session.expire()
    return session.tiers()


async def _reclaim(gateway: Gateway, value: Any) -> Answer:
    seat = _open_portal(gateway).seat
    reclaimed = seat.reclaim()
    gateway.server.settle()
    return {"reclaimed": reclaimed, "holder": seat.holder.value}


def _open_portal(gateway: Gateway) -> PortalDoor:
    if gateway.doors.portal is None:
        raise InvalidRequest("the portal", "that door is closed", "open it with --portal-port")
    return gateway.portal


_TABLE = (
    Command("advance_to", "an ISO 8601 time with its zone", "now, events, ended, stalled", _advance_to),
    Command("advance_by", "seconds of market time", "now, events, ended, stalled", _advance_by),
    Command("next_session", "true", "day, pre_open, open, close, post_close, early_close", _next_session),
    Command(
        "status", "true", "now, start, end, accounts, clients, open_orders, positions, faults, tws, portal", _status
    ),
    Command("books", "true", "now, accounts, orders, executions", _books),
    Command("login", "true: log in at the portal; false: its login is over", "user, logged_in, authenticated", _login),
    Command("reclaim", "true: TWS takes the brokerage session back", "reclaimed, holder", _reclaim),
    Command("fault", '"NAME[:ARG…]"', "armed, arguments, lasting", _fault),
    Command("release", '"NAME", or true for all', "released", _release),
    Command("faults", "true", "faults: name -> what it does", _faults),
    Command("save", "true", "saved", _save),
)
#: by name
COMMANDS: dict[str, Command] = {command.name: command for command in _TABLE}


async def obey(gateway: Gateway, line: str) -> Answer:
    """Never raises for what a line can hold."""
    try:
        try:
            content = json.loads(line)
        except ValueError:
            raise InvalidRequest(f"control line {line.strip()[:80]!r}", "it is not JSON") from None
        if not isinstance(content, dict) or len(content) != 1:
            raise InvalidRequest("control line", "it must be an object with one command", _known())
        ((name, value),) = content.items()
        command = COMMANDS.get(name)
        if command is None:
            raise InvalidRequest(f"control command {name!r}", "there is no such command", _known())
        return await command.run(gateway, value)
    except BrokerError as error:
        return {"error": str(error)}
    except Exception as error:  # the boundary of one control line: the driver is told, the gateway goes on
        gateway.door.failures["control"] += 1
        log.exception("control line %s failed", line.strip()[:200])
        return {"error": f"the gateway failed: {error}"}


def _known() -> str:
    return f"commands are {', '.join(COMMANDS)}"


async def obey_all(gateway: Gateway, lines: AsyncIterator[str], reply: Callable[[str], None]) -> None:
    """Until the input ends; then the gateway is stopped."""
    async for line in lines:
        if line.strip():
            reply(json.dumps(await obey(gateway, line)))
    gateway.stop()
