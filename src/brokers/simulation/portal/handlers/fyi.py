"""Notices to the user, and how they are delivered. Source: client-portal.md section 2.6.

This gateway tells of alerts only, so there is one type of notice. Nothing leaves the machine: e-mail and devices are
kept and shown, as a client sets them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..notices import SHOWN, USER_ALERT, Device, Notices
from ..request import Answer, PortalRefusal, PortalRequest
from ..routes import Route, Tier

if TYPE_CHECKING:
    from ..session import PortalSession

#: The most that one call shows.
MOST_SHOWN = 10
DISCLAIMER = "Alerts of this paper gateway are computed from its own simulated market."


def _taken(**extra: Any) -> Answer:
    """V 1: it is valid; T: milliseconds that it took."""
    return Answer({"V": 1, "T": 1} | extra)


def _check_type(request: PortalRequest) -> None:
    """Raises PortalRefusal for a type that this gateway does not tell of."""
    if request.parts["code"] != USER_ALERT:
        raise PortalRefusal(f"Unknown notification type {request.parts['code']}", 500)


def unread_number(session: PortalSession, request: PortalRequest) -> Answer:
    return Answer({"BN": session.door.state(Notices).unread})


def settings(session: PortalSession, request: PortalRequest) -> Answer:
    notices = session.door.state(Notices)
    return Answer(
        [
            {
                "FC": USER_ALERT,
                "H": int(notices.disclaimed),
                "A": int(notices.enabled),
                "FD": "Notify me when one of my alerts is triggered.",
                "FN": "User Alert",
            }
        ]
    )


def set_type(session: PortalSession, request: PortalRequest) -> Answer:
    _check_type(request)
    session.door.state(Notices).enabled = request.flag("enabled")
    return _taken()


def disclaimer(session: PortalSession, request: PortalRequest) -> Answer:
    _check_type(request)
    return Answer({"FC": USER_ALERT, "DT": DISCLAIMER})


def read_disclaimer(session: PortalSession, request: PortalRequest) -> Answer:
    _check_type(request)
    session.door.state(Notices).disclaimed = True
    return _taken()


def notifications(session: PortalSession, request: PortalRequest) -> Answer:
    """The newest first; `max` at most 10."""
    text = request.text("max", str(SHOWN))
    if not text.isascii() or not text.isdigit():
        raise PortalRefusal(f"Bad Request: max {text!r}")
    return Answer([row.row() for row in session.door.state(Notices).rows(min(int(text), MOST_SHOWN))])


def more(session: PortalSession, request: PortalRequest) -> Answer:
    """Those older than the notice `id`."""
    return Answer([row.row() for row in session.door.state(Notices).rows(MOST_SHOWN, request.text("id"))])


def mark_read(session: PortalSession, request: PortalRequest) -> Answer:
    notice = session.door.state(Notices).find(request.parts["notice"])
    if notice is None:
        raise PortalRefusal(f"Unknown notification {request.parts['notice']}", 500)
    notice.read = True
    return _taken(P={"R": 1, "ID": str(notice.number)})


def delivery(session: PortalSession, request: PortalRequest) -> Answer:
    notices = session.door.state(Notices)
    devices = [
        {"NM": row.name, "I": row.number, "UI": row.interface, "A": int(row.enabled)}
        for row in notices.devices.values()
    ]
    return Answer({"E": devices, "M": int(notices.email)})


def set_email(session: PortalSession, request: PortalRequest) -> Answer:
    session.door.state(Notices).email = request.flag("enabled")
    return _taken()


def set_device(session: PortalSession, request: PortalRequest) -> Answer:
    number = request.text("deviceId") or request.text("devicename")
    if not number:
        raise PortalRefusal("Bad Request: deviceId is required")
    name, interface = request.text("deviceName", number), request.text("uiName")
    session.door.state(Notices).devices[number] = Device(number, name, interface, request.flag("enabled"))
    return _taken()


def drop_device(session: PortalSession, request: PortalRequest) -> Answer:
    if session.door.state(Notices).devices.pop(request.parts["device"], None) is None:
        raise PortalRefusal(f"Unknown device {request.parts['device']}", 500)
    return _taken()


ROUTES: tuple[Route, ...] = (
    Route(("GET",), "/fyi/unreadnumber", unread_number, Tier.LOGIN, "how many are unread", "fyi"),
    Route(("GET",), "/fyi/settings", settings, Tier.LOGIN, "types of notices", "fyi"),
    Route(("POST",), "/fyi/settings/{code}", set_type, Tier.LOGIN, "a type on or off", "fyi"),
    Route(("GET",), "/fyi/disclaimer/{code}", disclaimer, Tier.LOGIN, "the disclaimer of a type", "fyi"),
    Route(("PUT",), "/fyi/disclaimer/{code}", read_disclaimer, Tier.LOGIN, "the disclaimer was read", "fyi"),
    Route(("GET",), "/fyi/notifications", notifications, Tier.LOGIN, "the newest notices", "fyi"),
    Route(("GET",), "/fyi/notifications/more", more, Tier.LOGIN, "older notices", "fyi"),
    Route(("PUT",), "/fyi/notifications/{notice}", mark_read, Tier.LOGIN, "a notice was read", "fyi"),
    Route(("GET",), "/fyi/deliveryoptions", delivery, Tier.LOGIN, "how notices are delivered", "fyi"),
    Route(("PUT",), "/fyi/deliveryoptions/email", set_email, Tier.LOGIN, "e-mail on or off", "fyi"),
    Route(("POST",), "/fyi/deliveryoptions/device", set_device, Tier.LOGIN, "a device on or off", "fyi"),
    Route(("DELETE",), "/fyi/deliveryoptions/{device}", drop_device, Tier.LOGIN, "the end of a device", "fyi"),
)
