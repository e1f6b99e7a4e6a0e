"""Alerts. Source: client-portal.md section 2.6 and its recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..alerts import Alert, Alerts, truth
from ..contract_rows import description
from ..market_faults import MarketFaults
from ..request import Answer, PortalRefusal, PortalRequest
from ..routes import Route, Tier

if TYPE_CHECKING:
    from ....domain.instrument import InstrumentDetails
    from ..session import PortalSession

_SUBMITTED = "Request was submitted"


def _account(session: PortalSession, request: PortalRequest) -> str:
    """Raises PortalRefusal for an account that is not this user's."""
    account = request.parts["account"]
    if account not in session.door.exchange.accounts:
        raise PortalRefusal(f"Unknown account {account}", 500)
    return account


def _alert(session: PortalSession, text: str, account: str | None = None) -> Alert:
    """Raises PortalRefusal when there is none of that number (of `account`)."""
    alert = session.door.state(Alerts).find(int(text)) if text.isascii() and text.isdigit() else None
    if alert is None or account not in (None, alert.account):
        raise PortalRefusal(f"Alert {text} does not exist", 500)
    return alert


def listed(session: PortalSession, request: PortalRequest) -> Answer:
    return Answer([_row(alert) for alert in session.door.state(Alerts).of(_account(session, request))])


def _row(alert: Alert) -> dict[str, Any]:
    return {
        "account": alert.account,
        "order_id": alert.number,
        "alert_name": alert.name,
        "alert_active": int(alert.active),
        "alert_repeatable": int(alert.repeatable),
        "order_time": f"{alert.created:%Y%m%d-%H:%M:%S}",
        "alert_triggered": alert.triggered,
    }


def details(session: PortalSession, request: PortalRequest) -> Answer:
    """`type=Q` is what IB wants to be asked with. Raises PortalRefusal without it."""
    if request.text("type").upper() != "Q":
        raise PortalRefusal("Bad Request: type=Q is required")
    alert = _alert(session, request.parts["alert"])
    return Answer(_details(session, alert))


def _details(session: PortalSession, alert: Alert) -> dict[str, Any]:
    body = alert.body
    return _row(alert) | {
        "alert_message": body.get("alertMessage"),
        "tif": str(body.get("tif") or "GTC"),
        "expire_time": body.get("expireTime"),
        "alert_email": body.get("email"),
        "alert_send_message": int(truth(body.get("sendMessage"))),
        "alert_show_popup": int(truth(body.get("showPopup"))),
        "alert_play_audio": None,
        "order_status": "Submitted" if alert.active else "Inactive",
        "alert_triggered": int(alert.triggered),
        "fg_color": "#FFFFFF",
        "bg_color": "#000000",
        "order_not_editable": False,
        "itws_orders_only": int(truth(body.get("iTWSOrdersOnly"))),
        "alert_mta_currency": None,
        "alert_mta_defaults": None,
        "tool_id": None,
        "time_zone": None,
        "alert_default_type": None,
        "condition_size": len(alert.conditions),
        "condition_outside_rth": int(truth(body.get("outsideRth"))),
        "conditions": [_condition(session, row) for row in body["conditions"]],
    }


def _condition(session: PortalSession, row: dict[str, Any]) -> dict[str, Any]:
    text = str(row.get("conidex") or row.get("conid") or "")
    number = text.partition("@")[0]
    found: InstrumentDetails | None = session.door.exchange.details(int(number)) if number.isdigit() else None
    return {
        "condition_type": int(row["type"]),
        "conidex": text or None,
        "contract_description_1": None if found is None else description(found),
        "condition_operator": row["operator"],
        "condition_trigger_method": str(row.get("triggerMethod") or "0"),
        "condition_value": str(row["value"]),
        "condition_logic_bind": str(row.get("logicBind") or "n"),
        "condition_time_zone": row.get("timeZone"),
    }


def create(session: PortalSession, request: PortalRequest) -> Answer:
    """A new alert, or a change of the one whose orderId the body names."""
    account = _account(session, request)
    if session.door.state(MarketFaults).alerts_refused:
        raise PortalRefusal("Alerts are not available for paper accounts", 403)
    if not isinstance(request.body, dict):
        raise PortalRefusal("Bad Request: the body is an object")
    changed = bool(request.body.get("orderId"))
    alert = session.door.state(Alerts).create(session, account, request.body)
    return Answer(
        {
            "request_id": alert.number - 100_000,
            "order_id": alert.number,
            "success": True,
            "text": "Alert has been modified." if changed else "Alert has been created.",
            "order_status": "PreSubmitted",
            "warning_message": None,
        }
    )


def activate(session: PortalSession, request: PortalRequest) -> Answer:
    alert = _alert(session, request.text("alertId"), _account(session, request))
    session.door.state(Alerts).activate(alert, request.flag("alertActive"))
    return Answer(
        {"request_id": None, "order_id": alert.number, "success": True, "text": _SUBMITTED, "failure_list": ""}
    )


def delete(session: PortalSession, request: PortalRequest) -> Answer:
    """Alert 0 stands for all of the account's."""
    account, text = _account(session, request), request.parts["alert"]
    number = 0 if text == "0" else _alert(session, text, account).number
    session.door.state(Alerts).delete(account, number)
    return Answer({"request_id": None, "order_id": number, "success": True, "text": _SUBMITTED, "failure_list": None})


def assistant(session: PortalSession, request: PortalRequest) -> Answer:
    """The mobile trading assistant's alert, which every account has; here it watches nothing and is off."""
    alert = Alert(0, session.door.exchange.accounts[0], {"conditions": []}, (), session.door.now, active=False)
    return Answer(_details(session, alert) | {"alert_name": "MTA", "tool_id": 55834574848})


ROUTES: tuple[Route, ...] = (
    Route(("GET",), "/iserver/account/mta", assistant, Tier.BROKERAGE, "the mobile trading assistant's alert"),
    Route(("GET",), "/iserver/account/{account}/alerts", listed, Tier.BROKERAGE, "an account's alerts"),
    Route(("GET",), "/iserver/account/alert/{alert}", details, Tier.BROKERAGE, "one alert"),
    Route(("POST",), "/iserver/account/{account}/alert", create, Tier.BROKERAGE, "a new or a changed alert"),
    Route(("POST",), "/iserver/account/{account}/alert/activate", activate, Tier.BROKERAGE, "an alert on or off"),
    Route(("DELETE",), "/iserver/account/{account}/alert/{alert}", delete, Tier.BROKERAGE, "the end of an alert"),
)
