"""Alerts: what they wait for, and what happens when it comes true. They outlive sessions, as IB keeps them itself.

Source: client-portal.md section 2.6. Conditions on price, time and volume are kept; IB's others (margin, trades, the
mobile trading assistant's) are refused. An alert fires once and is then inactive; a repeatable one fires each time that
its conditions come true anew. Without `outsideRth` it fires in regular hours only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ...domain.sessions import Session as MarketSession
from ..conditions import Facts, hold
from ..events import ExchangeEvent
from ..tickets import Condition, ConditionKind
from ..timers import Timer
from .conids import known
from .market_watch import MarketWatch
from .notices import Notices
from .request import PortalRefusal

if TYPE_CHECKING:
    from .door import PortalDoor
    from .session import PortalSession

#: IB's condition types that this gateway keeps.
KINDS = {1: ConditionKind.PRICE, 3: ConditionKind.TIME, 6: ConditionKind.VOLUME}
#: Trigger methods that look at the last trade: the default and "last".
METHODS = ("0", "2")
FIRST_ID = 100_000


@dataclass
class Alert:
    """`body` is what the client sent. `armed` False: the conditions hold, and have to fail before it fires again."""

    number: int
    account: str
    body: Mapping[str, Any]
    conditions: tuple[Condition, ...]
    created: datetime
    expires: datetime | None = None
    active: bool = True
    triggered: bool = False
    armed: bool = True
    stops: list[Callable[[], None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.body.get("alertName", ""))

    @property
    def repeatable(self) -> bool:
        return truth(self.body.get("alertRepeatable"))

    @property
    def con_ids(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(row.con_id for row in self.conditions if row.con_id))


class Alerts:
    """Every account's alerts, for as long as the door lives."""

    def __init__(self, door: PortalDoor) -> None:
        self._door = door
        self._rows: dict[int, Alert] = {}
        self._last = FIRST_ID

    def of(self, account: str) -> list[Alert]:
        return [row for row in self._rows.values() if row.account == account]

    def find(self, number: int) -> Alert | None:
        return self._rows.get(number)

    def create(self, session: PortalSession, account: str, body: Mapping[str, Any]) -> Alert:
        """A new one, or in place of the one whose `orderId` the body names. Raises PortalRefusal."""
        conditions = read_conditions(session, body.get("conditions"))
        expires = _expiry(body)
        if not str(body.get("alertName") or ""):
            raise PortalRefusal("Bad Request: alertName is required")
        number = _number(body.get("orderId"))
        if number:
            old = self._rows.get(number)
            if old is None or old.account != account:
                raise PortalRefusal(f"Alert {number} does not exist", 500)
            self._quiet(old)
        else:
            self._last += 1
            number = self._last
        alert = Alert(number, account, dict(body), conditions, self._door.now, expires)
        self._rows[number] = alert
        self._listen(alert)
        return alert

    def activate(self, alert: Alert, active: bool) -> None:
        self._quiet(alert)
        alert.active = active
        if active:
            alert.armed, alert.triggered = True, False
            self._listen(alert)

    def delete(self, account: str, number: int) -> bool:
        """0 deletes all of the account's; False when there is none."""
        gone = self.of(account) if number == 0 else [row for row in self.of(account) if row.number == number]
        for alert in gone:
            self._quiet(alert)
            del self._rows[alert.number]
        return bool(gone)

    # waiting

    def _listen(self, alert: Alert) -> None:
        def look(event: ExchangeEvent) -> None:
            self._look(alert)

        watch = self._door.state(MarketWatch)
        alert.stops += [watch.watch(con_id, look) for con_id in alert.con_ids]
        for condition in alert.conditions:
            if condition.moment is not None and condition.moment > self._door.now:
                alert.stops.append(self._plan(condition.moment, lambda: self._look(alert)))
        if alert.expires is not None:
            alert.stops.append(self._plan(alert.expires, lambda: self.activate(alert, False)))
        self._look(alert)

    def _plan(self, moment: datetime, action: Callable[[], None]) -> Callable[[], None]:
        timer: Timer = self._door.timers.at(moment, action)
        return timer.cancel

    def _quiet(self, alert: Alert) -> None:
        while alert.stops:
            alert.stops.pop()()

    def _look(self, alert: Alert) -> None:
        if not alert.active:
            return
        holds = self._in_hours(alert) and hold(alert.conditions, self._facts())
        if not holds:
            alert.armed = True
        elif alert.armed:
            alert.armed = False
            self._fire(alert)

    def _in_hours(self, alert: Alert) -> bool:
        if truth(alert.body.get("outsideRth")):
            return True
        return all(self._door.exchange.session(con_id) is MarketSession.REGULAR for con_id in alert.con_ids)

    def _facts(self) -> Facts:
        exchange = self._door.exchange
        return Facts(
            now=self._door.now,
            last=lambda con_id: exchange.market(con_id).last,
            volume=lambda con_id: exchange.market(con_id).volume,
            change=lambda con_id: None,
            cushion=lambda: None,
            executions=lambda: (),
        )

    def _fire(self, alert: Alert) -> None:
        alert.triggered = True
        if not alert.repeatable:
            self._quiet(alert)
            alert.active = False
        self._door.state(Notices).tell(f"Alert {alert.name}", str(alert.body.get("alertMessage") or alert.name))


def truth(value: Any) -> bool:
    """Real clients send 1, "1", true and "true"."""
    return str(value).strip().lower() in ("1", "true", "yes")


def _number(value: Any) -> int:
    """0 for none. Raises PortalRefusal."""
    text = "" if value is None else str(value).strip()
    if text and not (text.isascii() and text.isdigit()):
        raise PortalRefusal(f"Bad Request: orderId {text!r}")
    return int(text or 0)


def _expiry(body: Mapping[str, Any]) -> datetime | None:
    """None for GTC. Raises PortalRefusal for another tif, or a GTD without a time."""
    tif = str(body.get("tif") or "GTC").upper()
    if tif not in ("GTC", "GTD"):
        raise PortalRefusal(f"Bad Request: tif {tif}")
    return read_time(str(body.get("expireTime") or ""), "UTC") if tif == "GTD" else None


def read_time(text: str, zone: str) -> datetime:
    """ "20260415-15:30:00" in `zone` (IANA, or IB's US/Eastern), as UTC. Raises PortalRefusal."""
    try:
        moment = datetime.strptime(text.strip(), "%Y%m%d-%H:%M:%S").replace(tzinfo=ZoneInfo(zone or "UTC"))
    except (ValueError, ZoneInfoNotFoundError, OSError):
        raise PortalRefusal(f"Bad Request: time {text!r} in zone {zone!r}") from None
    return moment.astimezone(UTC)


def read_conditions(session: PortalSession, rows: Any) -> tuple[Condition, ...]:
    """Raises PortalRefusal for none, and for what this gateway does not keep."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise PortalRefusal("Bad Request: conditions is a list of objects")
    return tuple(_condition(session, row) for row in rows)


def _condition(session: PortalSession, row: Mapping[str, Any]) -> Condition:
    kind = KINDS.get(_number(row.get("type")))
    if kind is None:
        raise PortalRefusal(f"Alert condition type {row.get('type')!r} is not supported", 500)
    operator, bind = str(row.get("operator")), str(row.get("logicBind") or "n").lower()
    if operator not in (">=", "<="):
        raise PortalRefusal(f"Bad Request: operator {operator!r}")
    if bind not in ("a", "o", "n"):
        raise PortalRefusal(f"Bad Request: logicBind {bind!r}")
    common: dict[str, Any] = {"kind": kind, "more": operator == ">=", "conjunction": "o" if bind == "o" else "a"}
    value = str(row.get("value") or "").strip()
    if kind is ConditionKind.TIME:
        return Condition(**common, moment=read_time(value, str(row.get("timeZone") or "UTC")))
    method = str(row.get("triggerMethod") or "0")
    if method not in METHODS:
        raise PortalRefusal(f"Trigger method {method!r} is not supported", 500)
    details = known(session, row.get("conidex") or row.get("conid") or "")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise PortalRefusal(f"Bad Request: value {value!r}") from None
    if not number.is_finite():
        raise PortalRefusal(f"Bad Request: value {value!r}")
    return Condition(**common, value=number, con_id=details.instrument.con_id or 0, trigger_method=int(method))
